"""What stands where in a table of accuracies, before any of it is put in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby

import numpy as np

from dcbench.report.formatting import title
from dcbench.report.selection.comparable import Board, Entry, in_order
from dcbench.report.statistics.sets import Interval, SetsSummary, less_printed, ranks
from dcbench.studies.declarations import Study
from dcbench.studies.published import PUBLISHED, PublishedTable, PublishedValue

_FEWEST_TO_RANK = 2


@dataclass(frozen=True)
class Line:
    """One row to be: a method, and its entry where it was measured."""

    method: str
    entry: Entry | None
    published: bool  # a method's published values stand in one of its rows alone
    label: str


@dataclass(frozen=True)
class Layout:
    """A board as rows of methods and columns of budgets."""

    board: Board
    lines: tuple[Line, ...]
    ipcs: tuple[int | None, ...]
    published: PublishedTable | None

    @cached_property
    def measured(self) -> Mapping[tuple[int, int | None], SetsSummary]:
        """The figures of each cell that has any, by the row's number and the budget."""
        return {
            (row, ipc): entry.summary(ipc)
            for row, entry in self.entries.items()
            for ipc in entry.ipcs
        }

    @cached_property
    def networks(self) -> Mapping[tuple[int, int | None], tuple[int, int]]:
        """The fewest and the most networks that a set of each cell has."""
        sizes = {
            (row, ipc): [len(networks) for networks in entry.sets(ipc).values()]
            for row, entry in self.entries.items()
            for ipc in entry.ipcs
        }
        return {place: (min(counts), max(counts)) for place, counts in sizes.items()}

    @cached_property
    def ranks(self) -> Mapping[tuple[int, int | None], int]:
        """Each measured cell's rank in its column; none where there is nothing to rank it with."""
        found: dict[tuple[int, int | None], int] = {}
        for ipc in self.ipcs:
            column = {
                row: {key: float(np.mean(networks)) for key, networks in entry.sets(ipc).items()}
                for row, entry in self.entries.items()
                if ipc in entry.ipcs
            }
            if len(column) >= _FEWEST_TO_RANK:
                found |= {(row, ipc): rank for row, rank in ranks(column).items()}
        return found

    @property
    def uniform(self) -> bool:
        """Whether every cell has as many sets, and every set as many networks, as the others."""
        sets = {figures.sets for figures in self.measured.values()}
        return (
            len(sets) == 1
            and len({count for counts in self.networks.values() for count in counts}) == 1
        )

    @property
    def single(self) -> bool:
        """Whether no cell has more than one set."""
        return all(figures.sets == 1 for figures in self.measured.values())

    @property
    def complete(self) -> bool:
        """Whether no cell is missing."""
        measured = all(
            (row, ipc) in self.measured for row in range(len(self.lines)) for ipc in self.ipcs
        )
        return measured and all(
            self.value(line, ipc)
            for line in self.lines
            for ipc in self.ipcs
            if self.has_published(ipc)
        )

    def has_published(self, ipc: int | None) -> bool:
        """Whether the budget has a column of published values."""
        return any(self.value(line, ipc) for line in self.lines)

    def value(self, line: Line, ipc: int | None) -> PublishedValue | None:
        """The published value that stands beside a row's measured one."""
        return (
            self.published.value(str(ipc), line.method)
            if self.published is not None and line.published
            else None
        )

    def difference(self, row: int, ipc: int | None) -> tuple[float, Interval | None] | None:
        """Measured less published, with its interval over sets; nothing where either is missing."""
        measured, printed = self.measured.get((row, ipc)), self.value(self.lines[row], ipc)
        return (
            less_printed(measured, printed.mean)
            if measured is not None and printed is not None
            else None
        )

    def has_difference(self, ipc: int | None) -> bool:
        """Whether the budget has a column of differences."""
        return any(self.difference(row, ipc) is not None for row in range(len(self.lines)))

    @cached_property
    def entries(self) -> Mapping[int, Entry]:
        """What was measured, by the row's number."""
        return {row: line.entry for row, line in enumerate(self.lines) if line.entry is not None}


def lay_out(board: Board, study: Study | None) -> Layout:
    """The rows and columns of ``board``; with a ``study`` of its dataset, all that the study
    declares.
    """
    own = study if study is not None and study.dataset == board.dataset else None
    ipcs = in_order({*board.ipcs, *(own.ipcs if own else ())})
    published = _published(board, own)
    return Layout(
        board, tuple(_lines(board, own.methods if own else (), published)), tuple(ipcs), published
    )


def _lines(board: Board, declared: Sequence[str], published: PublishedTable | None) -> list[Line]:
    present = {entry.method for entry in board.entries}
    lines = [
        Line(method, None, True, title(method)) for method in declared if method not in present
    ]
    for method, of_the_method in groupby(board.entries, lambda entry: entry.method):
        entries = list(of_the_method)
        beside = _beside_published(entries)
        if beside is None and published is not None and published.knows(method):
            lines.append(Line(method, None, True, f"{title(method)} (published)"))
        lines += [Line(method, entry, entry is beside, entry.label) for entry in entries]
    place = {method: index for index, method in enumerate(declared)}
    # stable: what the study does not know keeps its order
    return sorted(lines, key=lambda line: place.get(line.method, len(place)))


def _beside_published(entries: Sequence[Entry]) -> Entry | None:
    """Where a method's published values stand: beside the only row of its own finished sets, or the
    one with the paper's settings.
    """
    own = [entry for entry in entries if not entry.foreign and not entry.unfinished]
    papers = own if len(own) == 1 else [entry for entry in own if entry.preset == "paper"]
    return papers[0] if len(papers) == 1 else None


def _published(board: Board, study: Study | None) -> PublishedTable | None:
    table = PUBLISHED.get(study.published if study else "table3")
    alike = table is not None and (table.dataset, table.network) == (board.dataset, board.network)
    return table if alike and board.protocol.get("judged_on", "test") == "test" else None
