"""The same sets under several conditions of evaluation: other augmentations, other networks. Never
a ranking across them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from dcbench.records import EvaluationRecord, StoredRecord
from dcbench.report.figures.cases import FIGURES, INTERVALS, draw_series, figures_of
from dcbench.report.figures.drawing import Drawing, panels
from dcbench.report.formatting import accuracy_words, canonical, named, one_line, title
from dcbench.report.selection.comparable import compared_protocol
from dcbench.report.selection.frames import frame
from dcbench.report.selection.variants import by_set, labels

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

Condition = Literal["augment", "network"]
_COLUMNS = ("series", "condition", "x", *FIGURES)
_TOLD_BY: dict[Condition, tuple[str, ...]] = {
    "augment": ("augment",),
    "network": ("network", "normalisation", "augment"),
}
_ORDER = ("none", "autoaugment", "randaugment", "dsa", "convnet", "alexnet", "vgg11", "resnet18")
_SPREAD = 0.12  # between series at one place, so that bars do not cover each other


@dataclass(frozen=True)
class Comparison:
    """Records of one budget that differ in the condition alone, besides the sets."""

    condition: Condition
    key: str
    records: tuple[EvaluationRecord, ...]


def comparisons(records: Iterable[StoredRecord]) -> list[Comparison]:
    """Groups in which some set was evaluated under several values of a condition."""
    found = []
    own = [stored.record for stored in records]
    for condition in _TOLD_BY:
        groups: dict[str, list[EvaluationRecord]] = defaultdict(list)
        for record in own:
            groups[_shared(record, condition)].append(record)
        for key, members in sorted(groups.items()):
            kept = _under_several(members, condition)
            found += [Comparison(condition, key, tuple(kept))] if kept else []
    return found


def condition_drawings(records: Iterable[StoredRecord]) -> list[Drawing]:
    """A figure for each group: the accuracy of each method under each value of the condition."""
    return [_drawing(comparison) for comparison in comparisons(records)]


def _shared(record: EvaluationRecord, condition: Condition) -> str:
    protocol = compared_protocol(record.protocol, without=_TOLD_BY[condition])
    other = record.network if condition == "augment" else record.augment
    return canonical([record.dataset, record.dataset_revision, record.ipc, protocol, other])


def _under_several(
    records: Sequence[EvaluationRecord], condition: Condition
) -> list[EvaluationRecord]:
    met: dict[tuple[object, ...], set[str]] = defaultdict(set)
    for record in records:
        met[record.which_set].add(getattr(record, condition))
    return [record for record in records if len(met[record.which_set]) > 1]


def comparison_data(comparison: Comparison) -> pd.DataFrame:
    """One row for each method and value of the condition."""
    values = sorted(
        {getattr(record, comparison.condition) for record in comparison.records}, key=_place
    )
    cells: dict[tuple[str, str], list[EvaluationRecord]] = defaultdict(list)
    for record, label in zip(comparison.records, labels(comparison.records), strict=True):
        cells[label, getattr(record, comparison.condition)].append(record)
    series = sorted({label for label, _ in cells})
    rows = [
        {
            "series": label,
            "condition": value,
            "x": values.index(value) + _SPREAD * (series.index(label) - (len(series) - 1) / 2),
            **figures_of(by_set(own)),
        }
        for (label, value), own in sorted(cells.items())
    ]
    return frame(rows, _COLUMNS)


def _place(value: str) -> tuple[int, str]:
    return (_ORDER.index(value) if value in _ORDER else len(_ORDER)), value


def _drawing(comparison: Comparison) -> Drawing:
    import hashlib

    data, record = comparison_data(comparison), comparison.records[0]
    what = "augmentation" if comparison.condition == "augment" else "network"
    budget = "without a budget" if record.ipc is None else f"at IPC {record.ipc}"
    protocol = one_line(str(record.protocol.get("name", "")))
    caption = (
        f"The same sets evaluated with another {what}, on {title(record.dataset)} {budget}:"
        f" {accuracy_words(record.protocol)} by protocol {protocol};"
        f" {INTERVALS}. Methods are ranked within one {what} only."
    )
    key = hashlib.sha256(comparison.key.encode()).hexdigest()[:8]
    name = named(
        f"{what}s", record.dataset, f"ipc{record.ipc}" if record.ipc else "whole", protocol, key
    )
    return Drawing(name, caption, data, lambda: _draw(data, what))


def _draw(data: pd.DataFrame, what: str) -> Figure:
    figure, (panel,) = panels(1, 2.5)
    draw_series(figure, panel, data, 2, joined=False)
    values = sorted(dict.fromkeys(data["condition"]), key=_place)
    panel.set_xticks(range(len(values)), labels=[title(value) for value in values])
    panel.set_xlim(-0.5, len(values) - 0.5)
    panel.set_xlabel(f"{what} in evaluation")
    return figure
