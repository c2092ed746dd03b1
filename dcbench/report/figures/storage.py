"""Accuracy against the storage of the set."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from dcbench.datasets import DATASETS
from dcbench.records import EvaluationRecord, StoredRecord
from dcbench.report.figures import plotting
from dcbench.report.formatting import (
    accuracy_words,
    budget_label,
    file_name,
    protocol_clause,
    protocol_name,
    size,
)
from dcbench.report.grouping import grouped
from dcbench.report.selection.comparable import ComparableGroup, comparable_groups
from dcbench.report.selection.dataframes import budgets, frame
from dcbench.studies.declarations import STUDIES

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

# bytes: float32 of a synthetic set, a byte of real data kept whole, int64
_VALUE, _REAL_VALUE, _LABEL = 4, 1, 8
_FEWEST_SIZES = 2  # one size has no curve
_COLUMNS = ("series", "ipc", "x", *plotting.FIGURES)


def stored_bytes(record: EvaluationRecord) -> int | None:
    """The bytes of the images as the artifact holds them, with a class for each (records do not say
    which sets have soft labels). None for data whose shape is not in the catalogue.
    """
    known = DATASETS.get(record.dataset)
    if known is None:
        return None
    value = _REAL_VALUE if record.ipc is None else _VALUE
    return record.budget_images * (int(np.prod(known.shape)) * value + _LABEL)


def storage_drawings(records: Iterable[StoredRecord]) -> list[plotting.Drawing]:
    """A figure for each comparable group in which a method has several sizes."""
    groups = comparable_groups(records, STUDIES["table3"].methods)
    return [drawing for group in groups if (drawing := _drawing(group)) is not None]


def _drawing(group: ComparableGroup) -> plotting.Drawing | None:
    data = _data(group)
    if data.empty or data.groupby("series")["x"].nunique().max() < _FEWEST_SIZES:
        return None
    protocol = group.protocol
    caption = (
        f"{accuracy_words(protocol).capitalize()} against the storage of the set (images as float32"
        " and a class for each as int64; a set without a budget, one byte for a value)"
        f" on {group.data},"
        f" {protocol_clause(protocol, group.network, group.augment)}; {plotting.INTERVALS}."
    )
    parts = [group.dataset, protocol_name(protocol), group.network, group.augment, group.key]
    return plotting.Drawing(file_name("storage", *parts), caption, data, lambda: _draw(data))


def _data(group: ComparableGroup) -> pd.DataFrame:
    rows = []
    for entry in filter(lambda entry: entry.main, group.entries):
        own = [stored.record for stored in entry.records]
        sizes = grouped(own, lambda record: (stored_bytes(record), record.ipc))
        rows += [
            {"series": entry.label, "ipc": ipc, "x": stored, **plotting.accuracy_figures(records)}
            for (stored, ipc), records in sorted(sizes.items(), key=lambda item: item[0][0] or 0)
            if stored is not None
        ]
    return frame(rows, _COLUMNS)


def _draw(data: pd.DataFrame) -> Figure:
    figure, panel = plotting.draw_series(data, 2.6)
    panel.set_xscale("log")
    places = data.drop_duplicates("x").sort_values("x")
    names = [
        f"{size(float(x))}\n{budget_label(ipc)}"
        for x, ipc in zip(places["x"], budgets(places), strict=True)
    ]
    panel.set_xticks(places["x"].astype(float), labels=names)
    panel.minorticks_off()
    panel.set_xlabel("stored")
    return figure
