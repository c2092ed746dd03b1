"""Tables from records: measured and published side by side, never in one cell; ties by a test, not
by eye.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from dcbench.records import StoredRecord
from dcbench.report.formatting import DASH, TIMES, named, percent, signed, spread
from dcbench.report.selection.comparable import boards
from dcbench.report.tables.accuracy_notes import caption, notes
from dcbench.report.tables.layout import Layout, Line, lay_out
from dcbench.studies.declarations import STUDIES, Study

if TYPE_CHECKING:
    import pandas as pd

Emphasis = Literal["", "bold", "underline"]
Figure = float | int | str | None

_FIGURES = (
    *("source", "ipc", "sets", "networks_fewest", "networks_most"),
    *("mean", "std_sets", "std_networks", "ci95_sets_low", "ci95_sets_high", "rank"),
)
_EMPHASIS: Mapping[int | None, Emphasis] = {1: "bold", 2: "underline"}


@dataclass(frozen=True)
class Cell:
    """What one cell says, and the figures behind it (fractions)."""

    text: str
    detail: str = ""  # set smaller, never emphasised
    emphasis: Emphasis = ""
    figures: Mapping[str, Figure] = field(default_factory=dict)


@dataclass(frozen=True)
class Column:
    """A column's head; neighbours of one group share a head above theirs."""

    title: str
    group: str = ""

    @property
    def full_title(self) -> str:
        return f"{self.group}, {self.title}" if self.group else self.title


@dataclass(frozen=True)
class Table:
    """A table that any format can render. The first column names the rows."""

    name: str  # fit for a file's name
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()

    def to_frame(self) -> pd.DataFrame:
        """The figures, one line per cell that has any; accuracies are fractions."""
        from dcbench.report.selection.frames import frame

        head = self.columns[0].full_title
        lines = [
            {head: row[0].text, "column": column.full_title, **cell.figures}
            for row in self.rows
            for column, cell in zip(self.columns[1:], row[1:], strict=True)
            if cell.figures
        ]
        return frame(
            lines, list(dict.fromkeys([head, "column", *(name for line in lines for name in line)]))
        )


def build_tables(records: Iterable[StoredRecord], study: Study | None = None) -> list[Table]:
    """One table for each dataset and protocol met; with a ``study``, all its methods and budgets
    stand there, measured or not.
    """
    order = (study or STUDIES["table3"]).methods
    return [_accuracy_table(lay_out(board, study)) for board in boards(records, order)]


def _accuracy_table(layout: Layout) -> Table:
    columns = [Column("method")]
    for ipc in layout.ipcs:
        budget = "no budget" if ipc is None else f"IPC {ipc}"
        columns += (
            [Column("measured", budget), Column("published", budget)]
            if layout.has_published(ipc)
            else [Column(budget)]
        )
        columns += [Column("difference", budget)] if layout.has_difference(ipc) else []
    rows = [_row(layout, number, line) for number, line in enumerate(layout.lines)]
    board = layout.board
    name = named(
        board.dataset, str(board.protocol.get("name", "")), board.network, board.augment, board.key
    )
    return Table(name, caption(layout), tuple(columns), tuple(rows), notes(layout))


def _row(layout: Layout, number: int, line: Line) -> tuple[Cell, ...]:
    cells = [Cell(line.label)]
    for ipc in layout.ipcs:
        cells.append(_measured(layout, number, ipc))
        if layout.has_published(ipc):
            cells.append(_published(layout, line, ipc))
        if layout.has_difference(ipc):
            cells.append(_difference(layout, number, ipc))
    return tuple(cells)


def _measured(layout: Layout, number: int, ipc: int | None) -> Cell:
    place = number, ipc
    found = layout.measured.get(place)
    if found is None:
        return Cell(DASH)
    fewest, most = layout.networks[place]
    rank = layout.ranks.get(place)
    low, high = found.shown_ci95_sets or (None, None)
    interval = f"[{percent(low)}, {percent(high)}]" if low is not None and high is not None else ""
    size = (
        ""
        if layout.uniform
        else f"{found.sets}{TIMES}{fewest}" + (f"{DASH}{most}" if most > fewest else "")
    )
    figures = _figures(
        source="measured",
        ipc=ipc,
        sets=found.sets,
        networks_fewest=fewest,
        networks_most=most,
        mean=found.mean,
        std_sets=found.std_sets,
        std_networks=found.std_networks,
        ci95_sets_low=low,
        ci95_sets_high=high,
        rank=rank,
    )
    alone = found.sets == 1
    text = spread(found.mean, found.std_networks if alone else found.std_sets) + (
        "*" if alone and not layout.single else ""
    )
    return Cell(text, f"{interval} {size}".strip(), _EMPHASIS.get(rank, ""), figures)


def _published(layout: Layout, line: Line, ipc: int | None) -> Cell:
    value = layout.value(line, ipc)
    if value is None:
        return Cell(DASH)
    return Cell(
        spread(value.mean, value.std),
        figures=_figures(source="published", ipc=ipc, mean=value.mean, std_networks=value.std),
    )


def _difference(layout: Layout, number: int, ipc: int | None) -> Cell:
    found = layout.difference(number, ipc)
    if found is None:
        return Cell(DASH)
    value, interval = found
    low, high = interval or (None, None)
    detail = f"[{signed(low)}, {signed(high)}]" if low is not None and high is not None else ""
    figures = _figures(
        source="difference", ipc=ipc, mean=value, ci95_sets_low=low, ci95_sets_high=high
    )
    return Cell(signed(value), detail, figures=figures)


def _figures(**known: Figure) -> Mapping[str, Figure]:
    return dict.fromkeys(_FIGURES) | known
