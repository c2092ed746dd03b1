"""The table of scores: each method beside random images and beside the whole data, with the
commands for what is missing.
"""

from __future__ import annotations

import importlib.metadata
import shlex
from collections import defaultdict
from collections.abc import Callable, Container, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from dcbench.datasets.catalogue import DATASETS, installed
from dcbench.records import EvaluationRecord, StoredRecord
from dcbench.report.formatting import (
    DASH,
    bounds,
    budget_label,
    canonical,
    data_title,
    decimals,
    file_name,
    protocol_name,
    protocol_title,
    signed,
    title,
)
from dcbench.report.grouping import grouped
from dcbench.report.selection.comparable import comparable_groups, compared_protocol
from dcbench.report.selection.method_variants import accuracies_by_set
from dcbench.report.selection.row_names import method_title
from dcbench.report.statistics.scores import MethodScores, Score, ScoreInputs, scores
from dcbench.report.tables.table import Column, Figure, Table, TableCell
from dcbench.studies.declared_methods import declared_methods

Records = Sequence[EvaluationRecord]

_PLUGINS = "dcbench.distillers"  # entry points of installed packages with methods
_LABELS = ("labels", "loss", "temperature", "ground_truth", "teacher")
_SOFT = ("kip",)  # our methods of soft labels, whose older records do not say so
_CAPTION = (
    "Scores of {} after DD-Ranking: IOR, accuracy above that of random images by the same protocol;"
    " HLR, what networks that learn classes lose against the whole data; LRS, both in one figure"
    " from 0 to 1; ARS, the same of IOR with and without augmentation"
)
_INTERVALS = "[95 % intervals over sets and networks; a single set has none]"
_DIFFERENCES = (
    "Computed from fractions, from last epochs at one rate. DD-Ranking's own code takes percent in"
    " the exponent, the best test epoch, the best of five rates on the test images, and CIFAR-10's"
    " statistics for CIFAR-100."
)
_WHITENED = {"normalised": "off", "zca": "on", "zca-pixels": "pixels"}  # words of --zca


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


def score_tables(
    records: Iterable[StoredRecord],
    compact: bool = False,
    data_root: str = "",
    out: str = "",
) -> list[Table]:
    """A table of scores for each data set of which a method and Random were judged alike.

    Args:
        records: of any methods, data and protocols.
        compact: without intervals, and only where there is more than IOR.
        data_root: where the commands that the notes give find data.
        out: the folder to which those commands write; ``results`` if it is empty.
    """
    tables = []
    judged = [each for each in records if each.record.protocol.get("judged_on", "test") == "test"]
    data = grouped(judged, lambda one: (one.record.dataset, one.record.dataset_revision))
    for (dataset, revision), own in data.items():
        rows = [row for row in _rows(own) if row.scores.ior is not None]
        rows.sort(key=lambda row: (row.like.ipc or 0, row.like.method))
        if any(row.scores.hlr or row.scores.ars for row in rows) if compact else rows:
            missing = _commands(rows, data_root, out)
            name = file_name("scores", dataset, revision[:8])
            tables.append(_table(name, data_title(dataset, revision), rows, missing, compact))
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


def _table(
    name: str, data: str, rows: Sequence[_Row], missing: Sequence[str], compact: bool
) -> Table:
    titles = ("method", "budget", "judged by", "IOR", "HLR", "LRS", "ARS")
    caption = _CAPTION.format(data)
    return Table(
        name,
        f"{caption}." if compact else f"{caption} {_INTERVALS}.",
        tuple(map(Column, titles)),
        tuple(_cells(row, compact) for row in rows),
        (_DIFFERENCES, *([f"Missing, and made by: {'; '.join(missing)}"] if missing else [])),
        kind="scores",
        compact=compact,
    )


def _cells(row: _Row, compact: bool) -> tuple[TableCell, ...]:
    like, found = row.like, row.scores
    learned = like.labels if like.labels in ("teacher", "weights") else ""
    made = (method_title(row.own), like.preset, "foreign" if like.foreign else "")
    judged = (
        protocol_title(like.protocol),
        title(like.network),
        title(like.augment),
        f"labels: {learned}" if learned else "",
        like.precision,
    )
    words = (", ".join(filter(None, made)), budget_label(like.ipc), ", ".join(filter(None, judged)))
    about: dict[str, Figure] = {"ipc": like.ipc, "judged_by": words[2]}
    cells = [
        _cell(
            about | {"score": name},
            getattr(found, name),
            signed if name in ("ior", "hlr") else _plain,
            compact,
        )
        for name in ("ior", "hlr", "lrs", "ars")
    ]
    return *map(TableCell, words), *cells


def _plain(value: float) -> str:
    return decimals(value, 3)


def _cell(
    about: dict[str, Figure], estimate: Score | None, show: Callable[[float], str], compact: bool
) -> TableCell:
    if estimate is None:
        return TableCell(DASH)
    low, high = estimate.ci95 or (None, None)
    figures = about | {"value": estimate.value, "ci95_low": low, "ci95_high": high}
    detail = "" if compact else bounds(estimate.ci95, show)
    return TableCell(show(estimate.value), detail, figures=figures)


def _commands(rows: Sequence[_Row], data_root: str, out: str) -> list[str]:
    """The commands that make what the scores lack; those that differ in methods or budgets alone
    in one.
    """
    seeds: dict[tuple[Sequence[str], str, int], set[int]] = defaultdict(set)
    plugins = importlib.metadata.entry_points(group=_PLUGINS)
    methods, datasets = {*declared_methods(), *plugins.names}, {*DATASETS, *installed()}
    for row in rows:
        for part, records in row.parts.items():
            made = row.parts["random"] if part == "random_plain" else row.own
            like = made[0]
            plain = part in ("plain", "random_plain") and like.augment == "none"
            method = "whole" if part == "whole" else like.method
            data = _data(made, data_root, datasets)
            # a command names neither other code nor a file of one's own
            nameable = part == "whole" or (not like.foreign and method in methods)
            if records or plain or not data or not nameable:
                continue
            place = () if out in ("", "results") else ("--out", out)
            tail = (*data, *_conditions_of(made, part), *place)
            for one in made if part != "whole" else made[:1]:
                budget, seed = (1, 0) if part == "whole" else (one.ipc or 1, one.seed or 0)
                seeds[tail, method, budget].add(seed)
    budgets = grouped(seeds, lambda key: (key[0], key[1], tuple(sorted(seeds[key]))))
    sets = {key: tuple(sorted(ipc for *_, ipc in own)) for key, own in budgets.items()}
    commands = grouped(sets, lambda key: (key[0], sets[key], key[2]))
    return [
        shlex.join(
            [
                *("dcbench", "run", "--method", ",".join(sorted(method for _, method, _ in own))),
                *(() if own[0][1] == "whole" else ("--ipc", _listed(ipcs), "--seed", _listed(by))),
                *tail,
            ]
        )
        for (tail, ipcs, by), own in commands.items()
    ]


def _listed(numbers: Iterable[int]) -> str:
    return ",".join(map(str, numbers))


def _data(records: Records, data_root: str, known: Container[str]) -> tuple[str, ...]:
    """The words that name the data; none if no command can."""
    name = max(one.data_folder for one in records)
    if not name and records[0].dataset in known:
        name = records[0].dataset
    return (*("--dataset", name), *(("--data-root", data_root) * bool(data_root))) if name else ()


def _conditions_of(made: Records, part: str) -> tuple[str, ...]:
    """The words that make the same sets and judge them for one part of the scores."""
    like = made[0]
    network = ("--network", like.network) if like.network != "convnet" else ()
    machine = ("--precision", like.precision)
    if part == "whole":
        return "--protocol", "whole", *network, *machine
    preset = like.preset or "paper"
    words = ["--preset", preset, *_settings(like)]
    if like.space in _WHITENED and (like.space != "normalised" or preset in ("paper", "own")):
        words += ["--zca", _WHITENED[like.space]]
    if like.holdout:
        words += ["--holdout", like.holdout.split()[0]]
    words += ["--protocol", protocol_name(like.protocol), *network]
    words += ["--networks", str(min(len(one.networks) for one in made))]
    words += ["--epochs", str(like.protocol.get("epochs", ""))]
    labels = {"hard": ("--labels", "hard")}.get(part) or (
        ("--labels", "teacher") if like.labels == "teacher" else ()
    )
    return *words, *labels, "--augment", like.augment if part == "hard" else "none", *machine


def _settings(like: EvaluationRecord) -> Iterator[str]:
    """What was changed of the preset; older records do not say it."""
    known, changed = declared_methods().get(like.method), dict(like.changed)
    if known and not like.content:
        usual = known.preset(like.preset)
        changed = {
            name: own for name, own in like.fields.items() if name in usual and usual[name] != own
        }
    for name, value in sorted(changed.items()):
        shown = value if isinstance(value, str) else canonical(value)
        yield from ("--set", f"{like.method}.{name}={shown}")


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
