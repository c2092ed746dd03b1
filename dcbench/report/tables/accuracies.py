"""Tables of accuracies: measured and published values side by side, never in one cell; ties decided
by a test.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from dcbench.records import StoredRecord
from dcbench.report.formatting import (
    DASH,
    TIMES,
    bounds,
    budget_label,
    file_name,
    mean_and_std,
    protocol_name,
    signed,
)
from dcbench.report.selection.comparable import comparable_groups
from dcbench.report.tables.accuracy_notes import caption, notes
from dcbench.report.tables.layout import TableLayout, lay_out
from dcbench.report.tables.table import Column, Emphasis, Figure, Table, TableCell
from dcbench.studies.declarations import STUDIES, Study

_FIGURES = (
    "source",
    "ipc",
    "sets",
    "networks_fewest",
    "networks_most",
    "mean",
    "std_sets",
    "std_networks",
    "ci95_sets_low",
    "ci95_sets_high",
    "rank",
)
_EMPHASIS: Mapping[int | None, Emphasis] = {1: "bold", 2: "underline"}


def build_tables(records: Iterable[StoredRecord], study: Study | None = None) -> list[Table]:
    """One table for each group of comparable records; with a ``study``, all its methods and budgets
    stand there, measured or not.
    """
    order = (study or STUDIES["table3"]).methods
    return [_table(lay_out(group, study)) for group in comparable_groups(records, order)]


def _table(layout: TableLayout) -> Table:
    columns = [Column("method")]
    rows = [[TableCell(row.label)] for row in layout.rows]
    for ipc in layout.ipcs:
        kinds = {"measured": _measured}
        if layout.has_published(ipc):
            kinds["published"] = _published
        if layout.has_difference(ipc):
            kinds["difference"] = _difference
        for kind, cell in kinds.items():
            budget = budget_label(ipc)
            columns.append(Column(kind, budget) if len(kinds) > 1 else Column(budget))
            for number, cells in enumerate(rows):
                cells.append(cell(layout, number, ipc))
    group = layout.group
    name = file_name(
        group.dataset, protocol_name(group.protocol), group.network, group.augment, group.key
    )
    return Table(name, caption(layout), tuple(columns), tuple(map(tuple, rows)), notes(layout))


def _measured(layout: TableLayout, number: int, ipc: int | None) -> TableCell:
    found = layout.measured.get((number, ipc))
    if found is None:
        return TableCell(DASH)
    fewest, most = found.fewest_networks, found.most_networks
    networks = f"{fewest}{DASH}{most}" if most > fewest else str(fewest)
    size = "" if layout.uniform else f"{found.sets}{TIMES}{networks}"
    star = "*" if found.sets == 1 and not layout.single else ""
    rank, interval = layout.ranks.get((number, ipc)), found.shown_ci95_sets
    low, high = interval or (None, None)
    return TableCell(
        mean_and_std(found.mean, found.shown_std) + star,
        f"{bounds(interval)} {size}".strip(),
        _EMPHASIS.get(rank, ""),
        _figures(
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
        ),
    )


def _published(layout: TableLayout, number: int, ipc: int | None) -> TableCell:
    value = layout.value(number, ipc)
    if value is None:
        return TableCell(DASH)
    figures = _figures(source="published", ipc=ipc, mean=value.mean, std_networks=value.std)
    return TableCell(mean_and_std(value.mean, value.std), figures=figures)


def _difference(layout: TableLayout, number: int, ipc: int | None) -> TableCell:
    found = layout.difference(number, ipc)
    if found is None:
        return TableCell(DASH)
    value, interval = found
    low, high = interval or (None, None)
    figures = _figures(
        source="difference", ipc=ipc, mean=value, ci95_sets_low=low, ci95_sets_high=high
    )
    return TableCell(signed(value), bounds(interval, signed), figures=figures)


def _figures(**known: Figure) -> Mapping[str, Figure]:
    return dict.fromkeys(_FIGURES) | known
