"""``python -m benchmarks.precision [FOLDER]``: what bf16 changes of accuracies, from records of the same work in both precisions.

Training: the same set judged by the same networks (initial values, order of images, augmentation)
in fp32 and in bf16. Distillation: sets of one seed distilled in fp32 and in bf16, both judged in
bf16 by the same networks. Differences are bf16 less fp32, in points, paired by network; intervals
are for these sets, over networks.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from dcbench.records import EvaluationRecord, find_records
from dcbench.report.statistics.accuracies import MeanDifference, compare

MEASURED = Path(__file__).parents[1] / "results" / "measured" / "precision"
MARGIN = 0.5  # points
PRECISIONS = ("fp32", "bf16")


@dataclass(frozen=True)
class Row:
    """One comparison: ``networks`` in each precision."""

    what: str
    ipc: int | None
    networks: int
    means: tuple[float, float]  # fp32, bf16
    comparison: MeanDifference

    @property
    def within(self) -> bool:
        """Whether the interval lies within the margin."""
        interval = self.comparison.ci95
        return interval is not None and 100 * max(map(abs, interval)) <= MARGIN

    def __str__(self) -> str:
        """The row of a table."""
        low, high = (
            "" if end is None else f"{100 * end:+.2f}"
            for end in self.comparison.ci95 or (None, None)
        )
        fp32, bf16 = (f"{100 * mean:.2f}" for mean in self.means)
        difference = f"{100 * self.comparison.difference:+.2f} [{low}, {high}]"
        return f"| {self.what} | {self.ipc} | {self.networks} | {fp32} | {bf16} | {difference} | {'yes' if self.within else 'no'} |"


def rows(records: Iterable[EvaluationRecord]) -> Iterator[Row]:
    """Each set judged in both precisions, then each seed distilled in both."""
    training: dict[tuple[str, int, str], dict[str, EvaluationRecord]] = {}
    distilling: dict[tuple[str, int], dict[str, EvaluationRecord]] = {}
    for record in records:
        made = "" if record.distillation is None else record.distillation.precision
        name, ipc = f"{record.method}, seed {record.seed}", record.ipc or 0
        training.setdefault((f"{name}, distilled in {made}", ipc, record.artifact_hash), {})[
            record.precision
        ] = record
        if record.precision == "bf16":
            distilling.setdefault((name, ipc), {})[made] = record
    yield from (
        _row(f"training on {what}", pair)
        for (what, *_), pair in sorted(training.items())
        if len(pair) == 2
    )
    yield from (
        _row(f"distilling {what}", pair)
        for (what, _), pair in sorted(distilling.items())
        if len(pair) == 2
    )


def _row(what: str, pair: Mapping[str, EvaluationRecord]) -> Row:
    both = [
        {score.network: score.accuracy for score in pair[precision].networks}
        for precision in PRECISIONS
    ]
    shared = sorted(both[0].keys() & both[1].keys())
    fp32, bf16 = ([each[network] for network in shared] for each in both)
    comparison = compare(dict(enumerate(bf16)), dict(enumerate(fp32)))
    return Row(
        what,
        pair["fp32"].ipc,
        len(shared),
        (statistics.fmean(fp32), statistics.fmean(bf16)),
        comparison,
    )


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else MEASURED
    print("| what | IPC | networks | fp32 | bf16 | difference | within ±0.5 |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | --- |")
    for row in rows(stored.record for stored in find_records(folder).records):
        print(row)


if __name__ == "__main__":
    main()
