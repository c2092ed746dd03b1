"""A table that any format can render: columns, rows of cells, a caption and notes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import pandas as pd

Emphasis = Literal["", "bold", "underline"]
Figure = float | int | str | None


@dataclass(frozen=True)
class TableCell:
    """The text of one cell and the figures behind it (fractions)."""

    text: str
    detail: str = ""  # set smaller, never emphasised
    emphasis: Emphasis = ""
    figures: Mapping[str, Figure] = field(default_factory=dict)


@dataclass(frozen=True)
class Column:
    """The heading of a column; neighbours of one group share a heading above theirs."""

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
    rows: tuple[tuple[TableCell, ...], ...]
    notes: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()  # a heading for each row; neighbours with the same share it
    kind: str = "accuracies"  # or published, scores, searches
    compact: bool = False  # set at the width of the text, its notes in a file of their own

    @property
    def column_groups(self) -> list[tuple[str, int]]:
        """Each shared heading and its number of columns; empty if no column has one."""
        groups = groupby(column.group for column in self.columns)
        widths = [(group, len(list(members))) for group, members in groups]
        return widths if any(group for group, _ in widths) else []

    def headed_rows(self) -> Iterator[tuple[str, tuple[TableCell, ...]]]:
        """The rows, each with the heading above it, if a new one begins there."""
        before = ""
        for heading, row in zip(self.groups or [""] * len(self.rows), self.rows, strict=True):
            yield heading if heading != before else "", row
            before = heading

    def to_frame(self) -> pd.DataFrame:
        """The figures, one row for each cell that has any; accuracies are fractions."""
        from dcbench.report.selection.dataframes import frame

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
