"""The same sets evaluated under several conditions: other augmentations, other networks. Methods
are never ranked across conditions.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from functools import partial
from statistics import fmean
from typing import TYPE_CHECKING, Any, Literal

from dcbench.records import EvaluationRecord, StoredRecord
from dcbench.report.figures import plotting
from dcbench.report.formatting import (
    DASH,
    accuracy_words,
    canonical,
    data_title,
    file_name,
    protocol_name,
    short_hash,
    title,
)
from dcbench.report.grouping import grouped
from dcbench.report.selection.comparable import compared_protocol
from dcbench.report.selection.dataframes import frame
from dcbench.report.selection.method_variants import accuracies_by_set, fields_of
from dcbench.report.selection.row_names import labels

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

Condition = Literal["augment", "network"]
_COLUMNS = ("series", "condition", "x", *plotting.FIGURES)
_CONDITIONS: dict[Condition, tuple[str, ...]] = {  # with the settings that follow from it
    "augment": ("augment",),
    "network": ("network", "normalisation", "augment"),
}
_ORDER = ("none", "autoaugment", "randaugment", "dsa", "convnet", "alexnet", "vgg11", "resnet18")
UNSEEN = "mean over unseen"  # networks: the last column
_UNKNOWN = ""  # what a foreign set was distilled with
_SPREAD = 0.12  # between series at one place, so that bars do not cover each other


def condition_drawings(records: Iterable[StoredRecord]) -> list[plotting.Drawing]:
    """For each condition, a figure for each budget and protocol under which some set was evaluated
    with several values of the condition; all else is the same.
    """
    own, drawn = [stored.record for stored in records], []
    for condition in _CONDITIONS:
        groups = grouped(own, partial(_shared, condition=condition))
        for key, members in sorted(groups.items()):
            met = grouped(members, lambda record: record.which_set)
            values = {
                which: {_value(each, condition) for each in own} for which, own in met.items()
            }
            kept = [record for record in members if len(values[record.which_set]) > 1]
            drawn += [_drawing(condition, key, kept)] if kept else []
    return drawn


def _shared(record: EvaluationRecord, condition: Condition) -> str:
    protocol = compared_protocol(record.protocol, without=_CONDITIONS[condition])
    other = record.network if condition == "augment" else record.augment
    return canonical([record.dataset, record.dataset_revision, record.ipc, protocol, other])


def _value(record: EvaluationRecord, condition: Condition) -> str:
    return record.augment if condition == "augment" else record.network


def _data(records: Sequence[EvaluationRecord], condition: Condition) -> pd.DataFrame:
    """One row for each method and value of the condition."""
    cells: dict[tuple[str, str], list[EvaluationRecord]] = defaultdict(list)
    for record, label in zip(records, labels(records), strict=True):
        cells[label, _value(record, condition)].append(record)
    figures = {cell: plotting.accuracy_figures(own) for cell, own in cells.items()}
    if condition == "network":
        figures |= _over_unseen(cells)
    values = sorted({value for _, value in figures}, key=_place)
    series = sorted({label for label, _ in figures})
    middle = (len(series) - 1) / 2
    rows = [
        {
            "series": label,
            "condition": value,
            "x": values.index(value) + _SPREAD * (series.index(label) - middle),
            **own,
        }
        for (label, value), own in sorted(figures.items())
    ]
    return frame(rows, _COLUMNS)


def _over_unseen(
    cells: Mapping[tuple[str, str], Sequence[EvaluationRecord]],
) -> dict[tuple[str, str], dict[str, Any]]:
    """The figures of each series over the networks that its sets were not distilled with.

    Of a set that all of them judged, each network's mean counts once. Sets that were made without a
    network are shown over those that no set here was distilled with, so that rows compare.
    """
    judged: dict[str, dict[str, Mapping[Hashable, Sequence[float]]]] = defaultdict(dict)
    saw: dict[str, set[str]] = defaultdict(set)
    for (label, network), own in cells.items():
        judged[label][network] = accuracies_by_set(own)
        saw[label] |= {name for record in own for name in _distilled_with(record)}
    found = {}
    for label, by in judged.items():
        unseen = [by[name] for name in by.keys() - (saw[label] or set().union(*saw.values()))]
        shared = set.intersection(*map(set, unseen)) if unseen else ()
        means = {seed: [fmean(own[seed]) for own in unseen] for seed in shared}
        if means and _UNKNOWN not in saw[label]:
            single = {"ci95_low": None, "ci95_high": None} if len(means) == 1 else {}
            found[label, UNSEEN] = plotting.figures_of(means) | single
    return found


def _distilled_with(record: EvaluationRecord) -> set[str]:
    """The network that the set was distilled with, or chosen by; empty if there was none."""
    fields = fields_of(record)
    by_features = "convnet" if "feature_epochs" in fields else None
    network = fields.get("network", fields.get("teacher", by_features))
    if network is None:
        return {_UNKNOWN} if record.foreign else set()
    return {str(network)}


def _place(value: str) -> tuple[bool, int, str]:
    return value == UNSEEN, (_ORDER.index(value) if value in _ORDER else len(_ORDER)), value


def _drawing(
    condition: Condition, key: str, records: Sequence[EvaluationRecord]
) -> plotting.Drawing:
    data, record = _data(records, condition), records[0]
    what = "augmentation" if condition == "augment" else "network"
    budget = "without a budget" if record.ipc is None else f"at IPC {record.ipc}"
    where = f"{data_title(record.dataset, record.dataset_revision)} {budget}"
    protocol = protocol_name(record.protocol)
    bars = f"; {plotting.INTERVALS}" if condition == "augment" else ""  # a matrix has none
    caption = (
        f"The same sets evaluated with another {what}, on {where}:"
        f" {accuracy_words(record.protocol)} by protocol {protocol}"
        f"{bars}. Methods are ranked within one {what} only."
    )
    if UNSEEN in set(data["condition"]):
        caption += (
            " Last column: the mean over the networks that a set was not distilled with; of sets"
            " made without a network, over those that no set here was distilled with."
        )
    ipc = f"ipc{record.ipc}" if record.ipc else "whole"
    name = file_name(f"{what}s", record.dataset, ipc, protocol, short_hash(key))
    return plotting.Drawing(name, caption, data, lambda: _draw(data, what))


def _draw(data: pd.DataFrame, what: str) -> Figure:
    values = sorted(set(data["condition"]), key=_place)
    if what == "network":
        return _matrix(data, values)
    figure, panel = plotting.draw_series(data, 2.5, joined=False)
    panel.set_xticks(range(len(values)), labels=[title(value) for value in values])
    panel.set_xlim(-0.5, len(values) - 0.5)
    panel.set_xlabel(f"{what} in evaluation")
    return figure


def _matrix(data: pd.DataFrame, values: Sequence[str]) -> Figure:
    """Accuracies as a matrix: a row for each method, a column for each network that judges."""
    import numpy as np

    series = list(dict.fromkeys(data["series"]))
    accuracies = 100 * data.pivot(index="series", columns="condition", values="mean").reindex(
        index=series, columns=list(values)
    ).astype(float)
    figure, (panel,) = plotting.panels(1, 0.75 + 0.3 * len(series), plotting.PAGE_INCHES * 0.6)
    shown = accuracies.to_numpy()
    panel.imshow(shown, cmap="viridis", aspect="auto")
    middle = (np.nanmin(shown) + np.nanmax(shown)) / 2
    for (row, column), accuracy in np.ndenumerate(shown):
        words = DASH if np.isnan(accuracy) else f"{accuracy:.1f}"
        colour = "black" if accuracy > middle or np.isnan(accuracy) else "white"
        panel.text(column, row, words, ha="center", va="center", color=colour)
    names = ["\n".join(title(value).rsplit(" ", 1)) for value in values]
    panel.set_xticks(range(len(values)), labels=names)
    panel.set_yticks(range(len(series)), labels=series)
    panel.tick_params(length=0)
    panel.spines[:].set_visible(False)
    panel.set_xlabel("accuracy (%) of networks trained on the set")
    return figure
