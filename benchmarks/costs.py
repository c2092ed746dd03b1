"""``python -m benchmarks.costs``: what the paper's studies cost, unit by unit: measured where records tell, else from counted operations.

Two cores: the median over the records in ``results/measured`` that were made in bf16 with two
threads, else operations by the rate that ``dcbench.system.machine`` assumes. GPUs: operations by a rate
that is a guess, nothing of it measured.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import torch

from dcbench.distiller import Distiller
from dcbench.evaluation.evaluate import evaluation_macs
from dcbench.evaluation.protocol import PROTOCOLS, Protocol
from dcbench.experiments.presets import build
from dcbench.images import ImageSpec, Space, TestSet, TrainSet
from dcbench.nas.catalogue import SPACES
from dcbench.nas.study import draw
from dcbench.networks.costs import FIRST_ORDER
from dcbench.records import EvaluationRecord, find_records
from dcbench.studies.declarations import STUDIES, StudyPart
from dcbench.system.machine import MACS_PER_SECOND
from dcbench.system.wording import in_words

MEASURED = Path(__file__).parents[1] / "results" / "measured"
CIFAR = ImageSpec("cifar10", "0" * 12, 3, 32, tuple(map(str, range(10))))
CORES = 2
CPU_RATE = CORES * MACS_PER_SECOND["cpu", "bf16", "compiled"]
GPU_RATE = MACS_PER_SECOND["cuda", "bf16", "compiled"]  # 6 % of an H100's dense bf16 peak of 4.9e14
EIGHT = 8
LEAST_MACS = 1e12  # of a set that has a row of its own: seconds


@dataclass(frozen=True)
class Row:
    """Units of one kind."""

    study: str
    unit: str
    units: int
    macs: float  # of one
    measured: float | None = None  # seconds of one on two cores

    @property
    def seconds(self) -> float:
        return self.macs / CPU_RATE if self.measured is None else self.measured

    def gpu_seconds(self, gpus: int) -> float:
        """Of all units: no unit is cut in two."""
        return -(-self.units // gpus) * self.macs / GPU_RATE


def real(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Images that take no memory, and their labels: only their number matters."""
    return torch.zeros(1, 3, 32, 32, dtype=torch.uint8).expand(count, -1, -1, -1), torch.arange(
        10
    ).repeat_interleave(count // 10)


TRAIN = TrainSet(CIFAR, *real(50_000), Space())
TEST = TestSet(CIFAR, *real(10_000), Space())


@cache
def records() -> list[EvaluationRecord]:
    # folder by folder: a measurement that lies in two of them counts once among all records
    found = [
        stored.record
        for folder in sorted(MEASURED.iterdir())
        for stored in find_records(folder).records
    ]
    return [each for each in found if (each.precision, each.threads) == ("bf16", CORES)]


def network_seconds(ipc: int, protocol: Protocol) -> float | None:
    """The median measured network of as many epochs on as many images, after the first of its run,
    which is compiled.
    """
    found = [
        network.seconds
        for record in records()
        if record.ipc == ipc
        and record.protocol["epochs"] == protocol.schedule.epochs
        and record.engine == "compiled"
        for network in record.networks[1:]
    ]
    return statistics.median(found) if found else None


def step_seconds(distiller: Distiller, ipc: int) -> float | None:
    made = [
        each.distillation for each in records() if (each.method, each.ipc) == (distiller.name, ipc)
    ]
    steps = [
        cost.step_seconds for cost in made if cost is not None and cost.step_seconds is not None
    ]
    return statistics.median(steps) if steps else None


def part_rows(study: str, part: StudyPart, counted: set[str]) -> Iterator[Row]:
    """The sets of one part, each seed one unit; work that serves several of them is a unit of its
    own, ``counted`` once.
    """
    for ipc in part.ipcs:
        for name in part.methods:
            distiller = build(name, "paper")
            shared = distiller.shared_macs(TRAIN, ipc)
            for work in shared.keys() - counted:
                yield Row(
                    study,
                    f"what {name} trains, once for several sets",
                    len(part.seeds),
                    shared[work],
                )
            counted.update(shared)
            own, step = (
                distiller.cost_macs(TRAIN, ipc) - sum(shared.values()),
                step_seconds(distiller, ipc),
            )
            if own > LEAST_MACS:
                seconds = None if step is None else step * getattr(distiller, "iterations", 0)
                yield Row(study, f"a set by {name}, IPC {ipc}", len(part.seeds), own, seconds)


def table3() -> Iterator[Row]:
    """Sets of three seeds by each method, and the hundred networks that judge each."""
    protocol, counted = PROTOCOLS["paper"], set[str]()
    for part in STUDIES["table3"].plan("paper").parts:
        yield from part_rows("Table 3", part, counted)
        for ipc in part.ipcs:
            macs = evaluation_macs(protocol, CIFAR, 10 * ipc, len(TEST))
            units = protocol.networks * len(part.seeds) * len(part.methods)
            yield Row(
                "Table 3", f"a network, IPC {ipc}", units, macs, network_seconds(ipc, protocol)
            )


def search(study: str, name: str) -> Iterator[Row]:
    """The sets, and the mean architecture on a proxy and on the whole data, which is also the truth
    where that is trained here.
    """
    plan = STUDIES[name].plan("paper")
    assert plan.search is not None
    space, sought, proxies = SPACES[plan.search.space], plan.search, 0
    drawn = draw(space, CIFAR, sought.sample, 0)
    mean, each = statistics.fmean(drawn.macs.values()), len(drawn.architectures) * sought.seeds
    for part in plan.parts:
        yield from part_rows(study, part, set())
        proxies += len(part.methods) * len(part.ipcs) * len(part.seeds)
    proxies += len(sought.proxies) - 1  # all but the whole data
    images, schedule = plan.parts[0].ipcs[0] * len(CIFAR.class_names), space.protocol.schedule
    yield Row(
        study,
        f"a network of {space.name} on a proxy",
        proxies * each,
        mean * (FIRST_ORDER * images * schedule.epochs + sought.validation),
    )
    seen = (
        FIRST_ORDER * (len(TRAIN) - sought.validation) * space.protocol.truth_epochs
        + sought.validation
        + len(TEST)
    )
    yield Row(study, f"a network of {space.name} on the whole data", each, mean * seen)


def main() -> None:
    rows = [*table3(), *search("Table 4", "table4"), *search("Table 5", "table5")]
    print(
        "| study | unit | units | operations of one (MAC) | one, two cores | all, two cores | all, one GPU | all, eight GPUs |"
    )
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for row in [
        *rows,
        *(_total(rows, study) for study in dict.fromkeys(row.study for row in rows)),
    ]:
        one = (
            ""
            if not row.unit
            else f"{in_words(row.seconds)}{' (measured)' if row.measured is not None else ''}"
        )
        macs = f"{row.macs:.1e}" if row.unit else ""
        print(
            f"| {row.study} | {row.unit or '**all**'} | {row.units} | {macs} | {one} | {_all(rows, row)} |"
        )


def _total(rows: list[Row], study: str) -> Row:
    return replace(
        rows[0], study=study, unit="", units=sum(row.units for row in rows if row.study == study)
    )


def _all(rows: list[Row], row: Row) -> str:
    summed = [row] if row.unit else [each for each in rows if each.study == row.study]
    seconds = [
        sum(each.units * each.seconds for each in summed),
        *(sum(each.gpu_seconds(n) for each in summed) for n in (1, EIGHT)),
    ]
    return " | ".join(map(in_words, seconds))


if __name__ == "__main__":
    main()
