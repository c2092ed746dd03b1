"""Tables of accuracies: measured and published values side by side, never in one cell; marks by
mean, and by a test over sets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Literal

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
    title,
)
from dcbench.report.selection.comparable import comparable_groups, ordered_budgets
from dcbench.report.statistics.accuracies import SetsSummary
from dcbench.report.tables.layout import GROUPS, Shown, TableLayout, lay_out, main_rows
from dcbench.report.tables.notes import caption, notes, short_caption
from dcbench.report.tables.table import Column, Emphasis, Figure, Table, TableCell
from dcbench.studies.declarations import STUDIES, Study
from dcbench.studies.published import SOURCES, published_results

Style = Literal["compact", "full"]
_FIGURES = (
    *("source", "ipc", "sets", "networks_fewest", "networks_most", "mean", "std_sets"),
    *("std_networks", "ci95_sets_low", "ci95_sets_high", "rank", "rank_low", "rank_high", "tied"),
)
_EMPHASIS: Mapping[int, Emphasis] = {1: "bold", 2: "underline"}


def build_tables(
    records: Iterable[StoredRecord],
    study: Study | None = None,
    style: Style = "full",
    published: Shown = "own",
) -> list[Table]:
    """One table for each group of comparable records.

    Args:
        records: of any methods, data and protocols.
        study: all its methods and budgets stand in full tables, measured or not.
        style: ``compact`` has the main row of each method, for a paper; ``full`` everything.
        published: no values of papers, each method's own, or a table of all beside them.
    """
    order = (study or STUDIES["table3"]).methods
    groups = comparable_groups(records, order)
    if style == "compact":
        tables = [compact_table(main_rows(lay_out(group, None, published))) for group in groups]
    else:
        tables = [_table(lay_out(group, study, published)) for group in groups]
    if published == "all":
        tables += [_printed_table(name) for name in dict.fromkeys(each.dataset for each in groups)]
    return tables


def compact_table(layout: TableLayout) -> Table:
    """Methods × budgets in groups of methods of one kind: mean and deviation, and the published
    value where there is one.
    """
    kinds = [GROUPS[row.group] for row in layout.rows]
    table = _table(layout, compact=True)
    return replace(table, groups=tuple(kinds) if len(set(kinds)) > 1 else ())


def _name(layout: TableLayout) -> str:
    group = layout.group
    return file_name(
        group.dataset, protocol_name(group.protocol), group.network, group.augment, group.key
    )


def _table(layout: TableLayout, compact: bool = False) -> Table:
    columns = [Column("method")]
    rows = [[TableCell(row.label)] for row in layout.rows]
    for ipc in layout.ipcs:
        kinds: dict[str, Callable[[TableLayout, int, int | None], TableCell]]
        kinds = {"measured": partial(_measured, detailed=not compact)}
        if layout.has_published(ipc):
            kinds["published"] = _published
        if layout.has_difference(ipc) and not compact:
            kinds["difference"] = _difference
        for kind, cell in kinds.items():
            budget = budget_label(ipc)
            columns.append(Column(kind, budget) if len(kinds) > 1 else Column(budget))
            for number, cells in enumerate(rows):
                cells.append(cell(layout, number, ipc))
    return Table(
        _name(layout),
        (short_caption if compact else caption)(layout),
        tuple(columns),
        tuple(map(tuple, rows)),
        notes(layout, compact),
        compact=compact,
    )


def _printed_table(dataset: str) -> Table:
    """Every printed accuracy on one data set, with who printed it and how it was judged."""
    results = [result for result in published_results() if result.dataset == dataset]
    ipcs = ordered_budgets({ipc for result in results for ipc in result.values})
    rows = []
    for result in results:
        values = (result.values.get(ipc) for ipc in ipcs)
        cells = [
            TableCell(mean_and_std(value.mean, value.std) if value else DASH) for value in values
        ]
        where = [title(result.network), result.judged, SOURCES[result.source]]
        rows.append((TableCell(title(result.method)), *cells, *map(TableCell, where)))
    heads = ["method", *map(budget_label, ipcs), "network", "how it was judged", "printed by"]
    said = f"Published test accuracy (%) on {title(dataset)}, as printed; none was measured here."
    return Table(
        file_name("published", dataset),
        said,
        tuple(map(Column, heads)),
        tuple(rows),
        kind="published",
    )


def _measured(
    layout: TableLayout, number: int, ipc: int | None, detailed: bool = True
) -> TableCell:
    found = layout.measured.get((number, ipc))
    if found is None:
        return TableCell(DASH)
    size = "" if layout.uniform else sizes(found)
    star = "*" if found.sets == 1 and not layout.single else ""
    standing, interval = layout.standing(number, ipc), found.shown_ci95_sets
    low, high = interval or (None, None)
    rank = standing.rank if standing else None
    places = standing.interval if standing else None
    ranked = f"rank {rank_words(rank, places)}" if rank and places else ""
    detail = " ".join(filter(None, [bounds(interval), size, ranked])) if detailed else ""
    return TableCell(
        mean_and_std(found.mean, found.shown_std)
        + star
        + ("†" if standing and standing.tied else ""),
        detail,
        _EMPHASIS.get(rank or 0, ""),
        _figures(
            source="measured",
            ipc=ipc,
            sets=found.sets,
            networks_fewest=found.fewest_networks,
            networks_most=found.most_networks,
            mean=found.mean,
            std_sets=found.std_sets,
            std_networks=found.std_networks,
            ci95_sets_low=low,
            ci95_sets_high=high,
            rank=rank,
            rank_low=places[0] if places else None,
            rank_high=places[1] if places else None,
            tied=standing.tied if standing else None,
        ),
    )


def sizes(found: SetsSummary) -> str:
    """The number of sets, and of the networks of each: 3×2, or 3×1–2."""
    fewest, most = found.fewest_networks, found.most_networks
    return f"{found.sets}{TIMES}{fewest}" + (f"{DASH}{most}" if most > fewest else "")


def rank_words(rank: int, places: tuple[int, int] | None) -> str:
    """A rank, and its interval if that is wider: 2 (1–3)."""
    if places is None or places == (rank, rank):
        return str(rank)
    return f"{rank} ({places[0]}{DASH}{places[1]})"


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
