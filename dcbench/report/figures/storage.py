"""What a set takes to store, and the accuracy that it buys."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from dcbench.datasets import DATASETS
from dcbench.records import EvaluationRecord, StoredRecord
from dcbench.report.figures.cases import FIGURES, INTERVALS, draw_series, figures_of
from dcbench.report.figures.drawing import Drawing, panels
from dcbench.report.formatting import accuracy_words, named, one_line, protocol_words, size, title
from dcbench.report.selection.comparable import Board, boards
from dcbench.report.selection.frames import frame
from dcbench.report.selection.variants import by_set, numbered
from dcbench.studies.declarations import STUDIES

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

# bytes: float32 of a synthetic set, a byte of real data kept whole, int64
_VALUE, _REAL_VALUE, _LABEL = 4, 1, 8
_FEWEST_SIZES = 2  # one size has no curve
_COLUMNS = ("series", "ipc", "x", *FIGURES)


def stored_bytes(record: EvaluationRecord) -> int | None:
    """Images as the artifact holds them, with a class for each: records do not say which sets have
    soft labels.

    Nothing for data whose size is not declared here.
    """
    known = DATASETS.get(record.dataset)
    if known is None:
        return None
    values = int(np.prod(known.shape))
    return record.budget_images * (
        values * (_REAL_VALUE if record.ipc is None else _VALUE) + _LABEL
    )


def storage_drawings(records: Iterable[StoredRecord]) -> list[Drawing]:
    """For each group that may be compared and has a method of several budgets: accuracy against the
    bytes that the set takes.
    """
    return [
        drawing
        for board in boards(records, STUDIES["table3"].methods)
        if (drawing := _drawing(board)) is not None
    ]


def _drawing(board: Board) -> Drawing | None:
    data = _data(board)
    if data.empty or data.groupby("series")["x"].nunique().max() < _FEWEST_SIZES:
        return None
    conditions = protocol_words(board.protocol, board.network, board.augment)
    caption = (
        f"{accuracy_words(board.protocol).capitalize()} against the storage of the set"
        " (images as float32 and a class for each as int64; a set without a budget, one byte for a value)"
        f" on {title(board.dataset)}, by protocol {one_line(str(board.protocol.get('name', '')))} ({conditions}); {INTERVALS}."
    )
    name = named(
        "storage",
        board.dataset,
        str(board.protocol.get("name", "")),
        board.network,
        board.augment,
        board.key,
    )
    return Drawing(name, caption, data, lambda: _draw(data))


def _data(board: Board) -> pd.DataFrame:
    rows = []
    for entry, name in zip(
        board.entries, numbered([entry.label for entry in board.entries]), strict=True
    ):
        sizes: dict[tuple[int | None, int], list[EvaluationRecord]] = defaultdict(list)
        for record in (each.record for each in entry.records):
            stored = stored_bytes(record)
            if stored is not None:
                sizes[record.ipc, stored].append(record)
        in_order = sorted(sizes.items(), key=lambda size: size[0][1])
        rows += [
            {"series": name, "ipc": ipc, "x": stored, **figures_of(by_set(own))}
            for (ipc, stored), own in in_order
        ]
    return frame(rows, _COLUMNS)


def _draw(data: pd.DataFrame) -> Figure:
    figure, (panel,) = panels(1, 2.6)
    draw_series(figure, panel, data, 3)
    panel.set_xscale("log")
    budgets = data.drop_duplicates("x").sort_values("x")
    names = [
        "no budget" if ipc is None else f"IPC {ipc}"
        for ipc in budgets["ipc"].astype(object).where(budgets["ipc"].notna(), None)
    ]
    sizes = [
        f"{size(float(count))}\n{name}" for count, name in zip(budgets["x"], names, strict=True)
    ]
    panel.set_xticks(budgets["x"].astype(float), labels=sizes)
    panel.minorticks_off()
    panel.set_xlabel("stored")
    return figure
