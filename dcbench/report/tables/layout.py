"""The rows and columns of a table of accuracies, before they are put in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby

import numpy as np

from dcbench.report.formatting import title
from dcbench.report.selection.comparable import ComparableGroup, Entry, ordered_budgets
from dcbench.report.statistics.accuracies import Interval, SetsSummary, ranks
from dcbench.studies.declarations import Study
from dcbench.studies.published import PUBLISHED, PublishedTable, PublishedValue

_FEWEST_TO_RANK = 2


@dataclass(frozen=True)
class TableRow:
    """A row: a method, and its entry if it was measured."""

    method: str
    entry: Entry | None
    published: bool  # only one row of a method shows its published values
    label: str


@dataclass(frozen=True)
class TableLayout:
    """A comparable group as rows of methods and columns of budgets. Cells are addressed by the
    row's number and the budget.
    """

    group: ComparableGroup
    rows: tuple[TableRow, ...]
    ipcs: tuple[int | None, ...]
    published: PublishedTable | None

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
    def ranks(self) -> Mapping[tuple[int, int | None], int]:
        """Each measured cell's rank in its column, if the column has another to rank it with."""
        found: dict[tuple[int, int | None], int] = {}
        for ipc in self.ipcs:
            column = {
                number: {seed: float(np.mean(accuracies)) for seed, accuracies in sets.items()}
                for number, entry in self.entries.items()
                if (sets := entry.sets(ipc))
            }
            if len(column) >= _FEWEST_TO_RANK:
                found |= {(number, ipc): rank for number, rank in ranks(column).items()}
        return found

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

    @property
    def complete(self) -> bool:
        """Whether no cell is missing."""
        return all(
            (number, ipc) in self.measured
            and (not self.has_published(ipc) or self.value(number, ipc))
            for number in range(len(self.rows))
            for ipc in self.ipcs
        )

    def has_published(self, ipc: int | None) -> bool:
        """Whether the budget has a column of published values."""
        return any(self.value(number, ipc) for number in range(len(self.rows)))

    def has_difference(self, ipc: int | None) -> bool:
        """Whether the budget has a column of differences."""
        return any(self.difference(number, ipc) for number in range(len(self.rows)))

    def value(self, number: int, ipc: int | None) -> PublishedValue | None:
        """The published value that stands beside a row's measured one."""
        row = self.rows[number]
        if self.published is None or not row.published:
            return None
        return self.published.value(str(ipc), row.method)

    def difference(self, number: int, ipc: int | None) -> tuple[float, Interval | None] | None:
        """Measured less published mean, with the interval over sets; None if either is missing.

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


def lay_out(group: ComparableGroup, study: Study | None) -> TableLayout:
    """The rows and columns of ``group``; if it is of the data of ``study``, all methods and budgets
    that the study declares, measured or not.
    """
    own = study if study is not None and study.dataset == group.dataset else None
    published = _published(group, own)
    rows = _rows(group, own.methods if own else (), published)
    ipcs = ordered_budgets({*group.ipcs, *(own.ipcs if own else ())})
    return TableLayout(group, tuple(rows), tuple(ipcs), published)


def _rows(
    group: ComparableGroup, declared: Sequence[str], published: PublishedTable | None
) -> list[TableRow]:
    present = {entry.method for entry in group.entries}
    rows = [
        TableRow(method, None, True, title(method)) for method in declared if method not in present
    ]
    for method, of_the_method in groupby(group.entries, lambda entry: entry.method):
        entries = list(of_the_method)
        beside = _beside_published(entries)
        if beside is None and published is not None and published.knows(method):
            rows.append(TableRow(method, None, True, f"{title(method)} (published)"))
        rows += [TableRow(method, entry, entry is beside, entry.label) for entry in entries]
    place = {method: index for index, method in enumerate(declared)}
    # stable: methods that the study does not declare keep their order
    return sorted(rows, key=lambda row: place.get(row.method, len(place)))


def _beside_published(entries: Sequence[Entry]) -> Entry | None:
    """The row beside which a method's published values stand: its only row of finished sets of our
    own, or the only one with the paper's preset.
    """
    own = [entry for entry in entries if not entry.foreign and not entry.unfinished]
    papers = own if len(own) == 1 else [entry for entry in own if entry.preset == "paper"]
    return papers[0] if len(papers) == 1 else None


def _published(group: ComparableGroup, study: Study | None) -> PublishedTable | None:
    table = PUBLISHED.get(study.published if study else "table3")
    alike = table is not None and (table.dataset, table.network) == (group.dataset, group.network)
    return table if alike and group.protocol.get("judged_on", "test") == "test" else None
