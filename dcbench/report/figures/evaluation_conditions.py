"""The same sets evaluated under several conditions: other augmentations, other networks. Methods are
never ranked across conditions.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from dcbench.records import EvaluationRecord, StoredRecord
from dcbench.report.figures.plotting import (
    FIGURES,
    INTERVALS,
    Drawing,
    accuracy_figures,
    draw_series,
)
from dcbench.report.formatting import (
    accuracy_words,
    canonical,
    named,
    protocol_name,
    short_hash,
    title,
)
from dcbench.report.grouping import grouped
from dcbench.report.selection.comparable import compared_protocol
from dcbench.report.selection.dataframes import frame
from dcbench.report.selection.method_variants import labels

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

Condition = Literal["augment", "network"]
_COLUMNS = ("series", "condition", "x", *FIGURES)
_CONDITIONS: dict[Condition, tuple[str, ...]] = {  # with the settings that follow from it
    "augment": ("augment",),
    "network": ("network", "normalisation", "augment"),
}
_ORDER = ("none", "autoaugment", "randaugment", "dsa", "convnet", "alexnet", "vgg11", "resnet18")
_SPREAD = 0.12  # between series at one place, so that bars do not cover each other


@dataclass(frozen=True)
class ConditionGroup:
    """Records of one budget whose evaluations differ only in ``condition``."""

    condition: Condition
    key: str
    records: tuple[EvaluationRecord, ...]

    def value(self, record: EvaluationRecord) -> str:
        """The record's value of the condition."""
        return str(getattr(record, self.condition))


def condition_groups(records: Iterable[StoredRecord]) -> list[ConditionGroup]:
    """The groups in which some set was evaluated under several values of a condition."""
    found = []
    own = [stored.record for stored in records]
    for condition in _CONDITIONS:
        groups = defaultdict(list)
        for record in own:
            groups[_shared(record, condition)].append(record)
        for key, members in sorted(groups.items()):
            kept = _under_several(members, condition)
            found += [ConditionGroup(condition, key, tuple(kept))] if kept else []
    return found


def condition_drawings(records: Iterable[StoredRecord]) -> list[Drawing]:
    """A figure for each group: the accuracy of each method under each value of the condition."""
    return [_drawing(group) for group in condition_groups(records)]


def _shared(record: EvaluationRecord, condition: Condition) -> str:
    protocol = compared_protocol(record.protocol, without=_CONDITIONS[condition])
    other = record.network if condition == "augment" else record.augment
    return canonical([record.dataset, record.dataset_revision, record.ipc, protocol, other])


def _under_several(
    records: Sequence[EvaluationRecord], condition: Condition
) -> list[EvaluationRecord]:
    met: dict[tuple[object, ...], set[str]] = defaultdict(set)
    for record in records:
        met[record.which_set].add(getattr(record, condition))
    return [record for record in records if len(met[record.which_set]) > 1]


def _data(group: ConditionGroup) -> pd.DataFrame:
    """One row for each method and value of the condition."""
    values = sorted(set(map(group.value, group.records)), key=_place)
    labelled = zip(labels(group.records), group.records, strict=True)
    cells = grouped(labelled, lambda pair: (pair[0], group.value(pair[1])))
    series = sorted({label for label, _ in cells})
    middle = (len(series) - 1) / 2
    rows = [
        {
            "series": label,
            "condition": value,
            "x": values.index(value) + _SPREAD * (series.index(label) - middle),
            **accuracy_figures(record for _, record in own),
        }
        for (label, value), own in sorted(cells.items())
    ]
    return frame(rows, _COLUMNS)


def _place(value: str) -> tuple[int, str]:
    return (_ORDER.index(value) if value in _ORDER else len(_ORDER)), value


def _drawing(group: ConditionGroup) -> Drawing:
    data, record = _data(group), group.records[0]
    what = "augmentation" if group.condition == "augment" else "network"
    budget = "without a budget" if record.ipc is None else f"at IPC {record.ipc}"
    protocol = protocol_name(record.protocol)
    caption = (
        f"The same sets evaluated with another {what}, on {title(record.dataset)} {budget}:"
        f" {accuracy_words(record.protocol)} by protocol {protocol};"
        f" {INTERVALS}. Methods are ranked within one {what} only."
    )
    ipc = f"ipc{record.ipc}" if record.ipc else "whole"
    name = named(f"{what}s", record.dataset, ipc, protocol, short_hash(group.key))
    return Drawing(name, caption, data, lambda: _draw(data, what))


def _draw(data: pd.DataFrame, what: str) -> Figure:
    figure, panel = draw_series(data, 2.5, columns=2, joined=False)
    values = sorted(set(data["condition"]), key=_place)
    panel.set_xticks(range(len(values)), labels=[title(value) for value in values])
    panel.set_xlim(-0.5, len(values) - 0.5)
    panel.set_xlabel(f"{what} in evaluation")
    return figure
