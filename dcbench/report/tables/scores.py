"""The table of scores: each method beside random images and beside the whole data, with the
commands for what is missing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from dcbench.records import EvaluationRecord, StoredRecord
from dcbench.report.formatting import (
    DASH,
    MINUS,
    bounds,
    budget_label,
    canonical,
    file_name,
    protocol_name,
    signed,
    title,
)
from dcbench.report.grouping import grouped
from dcbench.report.selection.comparable import comparable_groups, compared_protocol
from dcbench.report.selection.method_variants import accuracies_by_set
from dcbench.report.statistics.scores import MethodScores, Score, ScoreInputs, scores
from dcbench.report.tables.table import Column, Figure, Table, TableCell

Records = Sequence[EvaluationRecord]

_LABELS = ("labels", "loss", "temperature", "ground_truth", "teacher")
_SOFT = ("kip",)  # our methods of soft labels, whose older records do not say so
_CAPTION = (
    "Scores of {} after DD-Ranking: IOR, accuracy above that of random images by the same "
    "protocol; "
    "HLR, what networks that learn classes lose against the whole data; LRS, both in one figure "
    "from "
    "0 to 1; ARS, the same of IOR with and without augmentation. In brackets 95 % intervals over "
    "sets "
    "and networks; a single set has none"
)
_DIFFERENCES = (
    "Computed from fractions, from last epochs at one rate. DD-Ranking's own code takes percent in "
    "the "
    "exponent, the best test epoch, the best of five rates on the test images, and CIFAR-10's "
    "statistics for CIFAR-100."
)


@dataclass(frozen=True)
class _Row:
    """The records of one method at one budget under one protocol, and all others of its data
    set.
    """

    own: Records
    beside: Records

    @cached_property
    def like(self) -> EvaluationRecord:
        """Any of the method's records, for what all of them share."""
        return self.own[0]

    @cached_property
    def parts(self) -> dict[str, Records]:
        """The records that the scores need, by their part in them; empty where there are none."""
        same = canonical(compared_protocol(self.like.protocol))
        random = [
            one
            for one in self.beside
            if one.method == "random"
            and (one.ipc, one.network, one.augment, one.precision) == _conditions(self.like)
            and canonical(compared_protocol(one.protocol)) == same
        ]
        return {
            "random": random,
            "hard": self.own if all(map(_learned_classes, self.own)) else self._as_classes(),
            "whole": self._whole(),
            "plain": self._without_augmentation(self.own),
            "random_plain": self._without_augmentation(random),
        }

    @cached_property
    def scores(self) -> MethodScores:
        parts = {name: _sets(records) for name, records in self.parts.items()}
        whole = [accuracy for one in self.parts["whole"] for accuracy in one.accuracies]
        return scores(
            ScoreInputs(
                accuracies_by_set(self.own),
                parts["random"],
                parts["hard"],
                whole or None,
                parts["plain"],
                parts["random_plain"],
            )
        )

    def _as_classes(self) -> Records:
        """The same sets by the same protocol, but with classes as labels."""
        known = {(one.which_set, _bare(one, _LABELS), one.augment) for one in self.own}
        return [
            one
            for one in self.beside
            if _learned_classes(one) and (one.which_set, _bare(one, _LABELS), one.augment) in known
        ]

    def _without_augmentation(self, of: Records) -> Records:
        """The same sets as ``of`` by the same protocol, but without augmentation."""
        known = {(one.which_set, _bare(one, ("augment",))) for one in of if one.augment != "none"}
        return [
            one
            for one in self.beside
            if one.augment == "none" and (one.which_set, _bare(one, ("augment",))) in known
        ]

    def _whole(self) -> Records:
        """The networks that learned longest of the whole data."""
        found = [
            one
            for one in self.beside
            if one.method == "whole" and one.network == self.like.network and _learned_classes(one)
        ]
        return sorted(found, key=lambda one: int(one.protocol.get("epochs", 0)))[-1:]


def score_tables(records: Iterable[StoredRecord]) -> list[Table]:
    """A table of scores for each data set of which a method and Random were judged alike."""
    tables = []
    judged = [each for each in records if each.record.protocol.get("judged_on", "test") == "test"]
    data = grouped(judged, lambda one: (one.record.dataset, one.record.dataset_revision))
    for (dataset, revision), own in data.items():
        rows = [row for row in _rows(own) if row.scores.ior is not None]
        if rows:
            tables.append(_table(dataset, revision, rows))
    return tables


def _rows(stored: Sequence[StoredRecord]) -> Iterator[_Row]:
    """Of each method, preset, budget and protocol the setting of which there are most sets: others
    are ablations.
    """
    beside = [each.record for each in stored]
    for group in comparable_groups(stored):
        best: dict[tuple[Hashable, ...], Records] = {}
        for entry in group.entries:
            if entry.method in ("random", "whole") or entry.unfinished:
                continue
            for ipc in entry.ipcs - {None}:
                own = [each.record for each in entry.at(ipc)]
                key = (entry.method, entry.foreign, entry.preset, ipc)
                best[key] = max(best.get(key, []), own, key=len)
        yield from (_Row(own, beside) for own in best.values())


def _table(dataset: str, revision: str, rows: Sequence[_Row]) -> Table:
    rows = sorted(rows, key=lambda row: (row.like.ipc or 0, row.like.method))
    titles = ("method", "budget", "judged by", "IOR", "HLR", "LRS", "ARS")
    missing = _commands(rows)
    notes = [_DIFFERENCES, *([f"Missing, and made by: {'; '.join(missing)}"] if missing else [])]
    return Table(
        file_name("scores", dataset, revision[:8]),
        _CAPTION.format(title(dataset)),
        tuple(map(Column, titles)),
        tuple(map(_cells, rows)),
        tuple(notes),
    )


def _cells(row: _Row) -> tuple[TableCell, ...]:
    like, found = row.like, row.scores
    learned = like.labels if like.labels in ("teacher", "weights") else ""
    made = (title(like.method), like.preset, "foreign" if like.foreign else "")
    judged = (
        protocol_name(like.protocol),
        title(like.network),
        title(like.augment),
        f"labels: {learned}" if learned else "",
        like.precision,
    )
    return (
        TableCell(", ".join(filter(None, made))),
        TableCell(budget_label(like.ipc)),
        TableCell(", ".join(filter(None, judged))),
        _cell("ior", found.ior, signed),
        _cell("hlr", found.hlr, signed),
        _cell("lrs", found.lrs, _plain),
        _cell("ars", found.ars, _plain),
    )


def _plain(value: float) -> str:
    return f"{value:.3f}".replace("-", MINUS)


def _cell(name: str, estimate: Score | None, show: Callable[[float], str]) -> TableCell:
    if estimate is None:
        return TableCell(DASH)
    low, high = estimate.ci95 or (None, None)
    figures: dict[str, Figure] = {"score": name, "value": estimate.value}
    figures |= {"ci95_low": low, "ci95_high": high}
    return TableCell(show(estimate.value), bounds(estimate.ci95, show), figures=figures)


def _commands(rows: Sequence[_Row]) -> list[str]:
    """The commands that make what the scores lack, those of one kind in one."""
    wanted: dict[str, list[EvaluationRecord]] = defaultdict(list)
    methods: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        for name in (name for name, records in row.parts.items() if not records):
            like, tail = row.like, _tail(row.like, name)
            method = {"random_plain": "random", "whole": "whole"}.get(name, like.method)
            if not like.foreign or method != like.method:
                wanted[tail] += row.own
                methods[tail].add(method)
    return [
        f"dcbench run --method {','.join(sorted(methods[tail]))} {_budgets(tail, own)}"
        for tail, own in wanted.items()
    ]


def _tail(like: EvaluationRecord, part: str) -> str:
    """What a command says after the budgets."""
    data = f"--dataset {like.dataset}"
    if part == "whole":
        return f"{data} --protocol whole"
    chosen = f" --network {like.network}" if like.network != "convnet" else ""
    by = (
        f"{data} --preset {like.preset or 'paper'} --protocol "
        f"{protocol_name(like.protocol)}{chosen}"
    )
    if part == "hard":
        return f"{by} --labels hard"
    taught = " --labels teacher" if like.labels == "teacher" else ""
    return f"{by}{taught} --augment none"


def _budgets(tail: str, own: Records) -> str:
    if tail.endswith("--protocol whole"):
        return tail
    ipcs = ",".join(map(str, sorted({one.ipc or 0 for one in own})))
    seeds = ",".join(map(str, sorted({one.seed or 0 for one in own})))
    return f"--ipc {ipcs} --seed {seeds} {tail}"


def _sets(records: Records) -> Mapping[Hashable, Sequence[float]] | None:
    return accuracies_by_set(records) if records else None


def _conditions(record: EvaluationRecord) -> tuple[Hashable, ...]:
    return record.ipc, record.network, record.augment, record.precision


def _bare(record: EvaluationRecord, without: Sequence[str]) -> tuple[str, str]:
    """The network and the protocol of a record but for some of its settings."""
    return record.network, canonical(compared_protocol(record.protocol, without))


def _learned_classes(record: EvaluationRecord) -> bool:
    """Whether the networks learned classes; older records do not say it, and of our methods all but
    KIP's did.
    """
    if record.labels:
        return record.labels == "classes"
    return not record.foreign and record.method not in _SOFT and "labels" not in record.protocol
