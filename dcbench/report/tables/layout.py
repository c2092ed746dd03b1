"""The rows and columns of a table of accuracies, before they are put in words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby
from typing import Literal

from dcbench.report.formatting import title
from dcbench.report.selection.comparable import ComparableGroup, Entry, ordered_budgets
from dcbench.report.statistics.accuracies import (
    Interval,
    SetsSummary,
    Standing,
    Standings,
    standings,
)
from dcbench.studies.declarations import Study
from dcbench.studies.declared_methods import Group, declared_methods
from dcbench.studies.published import PublishedResult, PublishedValue, published_result

Shown = Literal["none", "own", "all"]  # of published values
GROUPS: Mapping[Group, str] = {
    "selection": "Selection",
    "generative": "Generative models",
    "matching": "Matching",
    "other": "Other methods",
    "whole": "Whole data",
}
_FEWEST_TO_RANK = 2


@dataclass(frozen=True)
class TableRow:
    """A row: a method, its entry if it was measured, and what was printed of it."""

    method: str
    entry: Entry | None
    label: str
    printed: PublishedResult | None = None  # only one row of a method has it

    @property
    def group(self) -> Group:
        """The kind of method."""
        known = declared_methods().get(self.method)
        return known.group if known else "other"


@dataclass(frozen=True)
class TableLayout:
    """A comparable group as rows of methods and columns of budgets. Cells are addressed by the
    row's number and the budget.
    """

    group: ComparableGroup
    rows: tuple[TableRow, ...]
    ipcs: tuple[int | None, ...]

    @cached_property
    def entries(self) -> Mapping[int, Entry]:
        """What was measured, by the row's number."""
        return {number: row.entry for number, row in enumerate(self.rows) if row.entry is not None}

    @cached_property
    def measured(self) -> Mapping[tuple[int, int | None], SetsSummary]:
        """The figures of each measured cell."""
        return {
            (number, ipc): entry.summary(ipc)
            for number, entry in self.entries.items()
            for ipc in entry.ipcs
        }

    @cached_property
    def standings(self) -> Mapping[int | None, Standings[int]]:
        """How the rows of each column stand, if there are several."""
        found = {}
        for ipc in self.ipcs:
            column = {
                number: means
                for number, entry in self.entries.items()
                if (means := entry.means(ipc))
            }
            if len(column) >= _FEWEST_TO_RANK:
                found[ipc] = standings(column)
        return found

    def standing(self, number: int, ipc: int | None) -> Standing | None:
        """How a cell stands in its column; None if it has nothing to be ranked with."""
        column = self.standings.get(ipc)
        return column.of.get(number) if column else None

    @property
    def uniform(self) -> bool:
        """Whether all cells have equally many sets, and all sets equally many networks."""
        sizes = {
            (cell.sets, networks)
            for cell in self.measured.values()
            for networks in (cell.fewest_networks, cell.most_networks)
        }
        return len(sizes) == 1

    @property
    def single(self) -> bool:
        """Whether no cell has more than one set."""
        return all(cell.sets == 1 for cell in self.measured.values())

    def has_published(self, ipc: int | None) -> bool:
        """Whether the budget has a column of published values."""
        return any(self.value(number, ipc) for number in range(len(self.rows)))

    def has_difference(self, ipc: int | None) -> bool:
        """Whether the budget has a column of differences."""
        return any(self.difference(number, ipc) for number in range(len(self.rows)))

    def value(self, number: int, ipc: int | None) -> PublishedValue | None:
        """The published value that stands beside a row's measured one."""
        printed = self.rows[number].printed
        return printed.values.get(ipc) if printed else None

    def difference(self, number: int, ipc: int | None) -> tuple[float, Interval | None] | None:
        """Measured minus published mean, with the interval over sets; None if either is missing.

        The printed value counts as exact: its deviation is over networks, and the number of sets
        behind it is not known.
        """
        measured, printed = self.measured.get((number, ipc)), self.value(number, ipc)
        if measured is None or printed is None:
            return None
        interval = measured.shown_ci95_sets
        return measured.mean - printed.mean, interval and (
            interval[0] - printed.mean,
            interval[1] - printed.mean,
        )


def lay_out(
    group: ComparableGroup, study: Study | None = None, published: Shown = "own"
) -> TableLayout:
    """The rows and columns of ``group``; if it is of the data of ``study``, all methods and budgets
    that the study declares, measured or not.
    """
    own = study if study is not None and study.dataset == group.dataset else None
    rows = _rows(group, own.methods if own else (), published)
    ipcs = ordered_budgets({*group.ipcs, *(own.ipcs if own else ())})
    return TableLayout(group, tuple(rows), tuple(ipcs))


def main_rows(layout: TableLayout) -> TableLayout:
    """What was measured of each method at its main settings, in groups of methods of one kind. If
    there is one method alone, all its rows.
    """
    measured = [row for row in layout.rows if row.entry is not None]
    several = len({(row.method, row.entry and row.entry.foreign) for row in measured}) > 1
    kept = [row for row in measured if not several or (row.entry and row.entry.main)]
    kept.sort(key=lambda row: list(GROUPS).index(row.group))  # stable
    budgets: Iterable[int | None] = {
        ipc for row in kept for ipc in (row.entry.ipcs if row.entry else ())
    }
    return replace(layout, rows=tuple(kept), ipcs=tuple(ordered_budgets(budgets)))


def _rows(group: ComparableGroup, declared: Sequence[str], published: Shown) -> list[TableRow]:
    present = {entry.method for entry in group.entries}
    rows = [
        TableRow(method, None, title(method), _printed(group, method, published))
        for method in declared
        if method not in present
    ]
    for method, of_the_method in groupby(group.entries, lambda entry: entry.method):
        entries = list(of_the_method)
        beside = _beside_published(entries)
        printed = _printed(group, method, published, beside.preset if beside else "")
        if beside is None and printed is not None:
            rows.append(TableRow(method, None, f"{title(method)} (published)", printed))
        rows += [
            TableRow(method, entry, entry.label, printed if entry is beside else None)
            for entry in entries
        ]
    place = {method: index for index, method in enumerate(declared)}
    # stable: methods that the study does not declare keep their order
    return sorted(rows, key=lambda row: place.get(row.method, len(place)))


def _beside_published(entries: Sequence[Entry]) -> Entry | None:
    """The row beside which a method's published values stand: of finished sets of our own the only
    one with the paper's preset, or else the main row.
    """
    own = [entry for entry in entries if not entry.foreign and not entry.unfinished]
    papers = [entry for entry in own if entry.preset == "paper"]
    chosen = papers if len(papers) == 1 else [entry for entry in own if entry.main]
    return next(iter(chosen), None)


def _printed(
    group: ComparableGroup, method: str, published: Shown, preset: str = ""
) -> PublishedResult | None:
    if published == "none" or group.protocol.get("judged_on", "test") != "test":
        return None
    return published_result(method, group.dataset, group.network, group.augment, preset)
