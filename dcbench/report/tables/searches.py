"""Tables of architecture searches, as the paper's Tables 4 and 5: a column for each proxy, measured
beside published.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any

from dcbench.records import SearchRecord, StoredSearch
from dcbench.records.search import REFERENCE
from dcbench.report.formatting import (
    DASH,
    bounds,
    budget_label,
    canonical,
    decimals,
    one_line,
    percent,
    short_hash,
    title,
)
from dcbench.report.statistics.rankings import (
    Estimate,
    RankFigures,
    rank_statistics,
    spearman_difference,
    top_members,
)
from dcbench.report.tables.notes import search_caption, search_notes, short_search_caption
from dcbench.report.tables.table import Column, Table, TableCell
from dcbench.studies.declared_methods import declared_methods
from dcbench.studies.published import PUBLISHED, PublishedTable

_MEGABYTE, _TIME = 1e6, "time (min)"
_SHARED = (
    "space",
    "space_fields",
    "search_seed",
    "seeds",
    "top",
    "validation_images",
    "dataset",
    "dataset_revision",
)
_Ranked = Mapping[str, tuple[float, float]]


@dataclass(frozen=True)
class SearchGroup:
    """Searches that may be compared: the same architectures on the same data by the same protocol,
    compared with the same truth.
    """

    key: str
    searches: tuple[StoredSearch, ...]

    @property
    def records(self) -> list[SearchRecord]:
        return [stored.record for stored in self.searches]

    @property
    def first(self) -> SearchRecord:
        """Any of the records, for the fields that all share."""
        return self.searches[0].record

    @property
    def name(self) -> str:
        """Fit for a file's name."""
        return f"search-{self.first.space}-{self.first.dataset}-{self.key}"

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """Each proxy's title and the details that distinguish it from the others."""
        return tuple(_label(record, self.records) for record in self.records)

    @cached_property
    def figures(self) -> tuple[RankFigures, ...]:
        """The figures of each search."""
        return tuple(map(rank_figures, self.records))

    @property
    def published(self) -> PublishedTable | None:
        """The printed table that these searches repeat, if they are on its data."""
        table = _published_of(self.first)
        return table if table is not None and table.dataset == self.first.dataset else None


def search_groups(searches: Iterable[StoredSearch]) -> list[SearchGroup]:
    """Group the searches that may be compared. The whole data stands in each group that differs
    from it in epochs alone.
    """
    groups: dict[str, dict[str, list[StoredSearch]]] = defaultdict(lambda: defaultdict(list))
    references: dict[str, list[StoredSearch]] = defaultdict(list)
    for stored in searches:
        shared = _shared(stored.record)
        if stored.record.proxy == REFERENCE:
            references[shared].append(stored)
        else:
            groups[shared][canonical(stored.record.protocol.get("epochs"))].append(stored)
    for shared, found in references.items():
        for members in groups[shared].values() or [groups[shared]["none"]]:
            members.extend(found)
    found_groups = [
        SearchGroup(short_hash(f"{shared} {epochs}"), tuple(sorted(members, key=_place)))
        for shared, own in groups.items()
        for epochs, members in own.items()
    ]
    return sorted(
        found_groups, key=lambda group: (group.first.space, group.first.dataset, group.key)
    )


def _shared(record: SearchRecord) -> str:
    """What searches that may be compared share, besides the epochs."""
    protocol = {key: value for key, value in record.protocol.items() if key != "epochs"}
    architectures = sorted(score.architecture for score in record.architectures)
    asked = [getattr(record, name) for name in _SHARED]
    asked += [record.top_by] if record.top_by != "test" else []  # older groups keep their names
    return canonical([*asked, protocol, record.truth, architectures])


def _place(stored: StoredSearch) -> tuple[Any, ...]:
    """The printed table's order, then by name; the whole data last."""
    record, table = stored.record, _published_of(stored.record)
    order = list(table.methods) if table else []
    known = order.index(record.proxy) if record.proxy in order else len(order)
    which = record.proxy_ipc or 0, record.proxy_seed or 0, record.proxy_hash
    return record.proxy == REFERENCE, known, record.proxy, record.foreign, *which


def _published_of(record: SearchRecord) -> PublishedTable | None:
    return next((table for table in PUBLISHED.values() if table.network == record.space), None)


_DETAILS: tuple[Callable[[SearchRecord], str], ...] = (
    lambda record: budget_label(record.proxy_ipc),
    lambda record: "no seed" if record.proxy_seed is None else f"seed {record.proxy_seed}",
    lambda record: record.proxy_preset or "no preset",
    lambda record: record.proxy_hash[:8],
)


def _label(record: SearchRecord, records: Sequence[SearchRecord]) -> str:
    """The proxy's title, whether other code made it, and the fewest details that distinguish it
    from the method's other sets among ``records``.
    """
    alike = [
        other for other in records if (other.proxy, other.foreign) == (record.proxy, record.foreign)
    ]
    words = ["foreign"] if record.foreign else []
    apart = [""] * len(alike)
    for detail in _DETAILS:
        if len(set(apart)) == len(alike):
            break
        own = [detail(other) for other in alike]
        if len(set(own)) > 1:
            words.append(detail(record))
            apart = [canonical(pair) for pair in zip(apart, own, strict=True)]
    printed = [table.methods for table in PUBLISHED.values() if record.proxy in table.methods]
    name = printed[0][record.proxy] if printed else _title(record)
    return one_line(f"{name} ({', '.join(words)})" if words else name)


def _title(record: SearchRecord) -> str:
    own = "" if record.proxy in declared_methods() else record.proxy_title.strip()
    return own or title(record.proxy)


def rank_figures(record: SearchRecord) -> RankFigures:
    """The rank statistics of one proxy, over the architectures that have both figures."""
    pairs = [pair for _, pair in sorted(record.ranked.items())]
    return rank_statistics(
        [accuracy for accuracy, _ in pairs],
        [truth for _, truth in pairs],
        top=record.top,
        best_by=[figure for _, figure in sorted(record.top_figures.items())],
    )


def search_summary(record: SearchRecord, path: Path) -> dict[str, Any]:
    """One entry of the ``studies`` of ``nas --json``; accuracies and correlations as fractions."""
    figures = rank_figures(record)
    return {
        "space": record.space,
        "proxy": record.proxy,
        "architectures": len(record.architectures),
        "failed": record.failed,
        "spearman": figures.spearman.value,
        "spearman_ci95": None if figures.spearman.ci95 is None else list(figures.spearman.ci95),
        "kendall": figures.kendall.value,
        "spearman_top": figures.spearman_top.value,
        "top1_accuracy": figures.top1_accuracy,
        "regret": figures.regret,
        "seconds": record.seconds,
        "storage_images": record.storage_images,
        "storage_bytes": record.storage_bytes,
        "validation_seen_by_proxy": record.validation_seen_by_proxy,
        "record": str(path),
    }


@dataclass(frozen=True)
class _Line:
    """One figure: its title, how it is shown and measured, its names in printed tables, and its
    title in a compact table.
    """

    title: str
    show: Callable[[float], str]
    measured: Callable[[RankFigures, SearchRecord], Estimate | float | None]
    printed: tuple[str, ...] = ()
    short: str = ""


def _lines(record: SearchRecord) -> list[_Line]:
    share = f"top {100 * record.top:g} %"
    printed_top = ("correlation, top 20 %",) if record.top == 0.2 else ()
    complete = len(record.architectures) == record.space_size
    printed_all = ("spearman", "correlation, all 720") if complete else ("spearman",)
    best, top, everything = "test accuracy of the best (%)", f"Spearman, {share}", "Spearman, all"
    printed = ("performance", "top-1")
    return [
        _Line(best, percent, lambda own, _: own.top1_accuracy, printed, "performance (%)"),
        _Line("regret of the best (points)", percent, lambda own, _: own.regret),
        _Line("test accuracy of the ten best (%)", percent, lambda own, _: own.top10_accuracy),
        _Line("regret of the ten best (points)", percent, lambda own, _: own.top10_regret),
        _Line(top, decimals, lambda own, _: own.spearman_top, printed_top, f"correlation, {share}"),
        _Line(f"Kendall, {share}", decimals, lambda own, _: own.kendall_top),
        _Line(everything, decimals, lambda own, _: own.spearman, printed_all, "correlation, all"),
        _Line("Kendall, all", decimals, lambda own, _: own.kendall),
        _Line(_TIME, "{:.1f}".format, lambda _, record: record.seconds / 60, ("time",), _TIME),
        _Line("images stored", "{:.0f}".format, lambda _, own: own.storage_images, ("storage",)),
        _Line("megabytes stored", "{:.3g}".format, lambda _, own: own.storage_bytes / _MEGABYTE),
    ]


def search_tables(searches: Iterable[StoredSearch], compact: bool = False) -> list[Table]:
    """For each group the table of its proxies and, if it has several and the tables are not
    compact, the table of their paired differences.
    """
    tables = []
    for group in search_groups(searches):
        tables.append(_compact_table(group) if compact else _full_table(group))
        if len(group.searches) > 1 and not compact:
            tables.append(_difference_table(group))
    return tables


def _cells(group: SearchGroup) -> list[tuple[str, list[TableCell], list[TableCell]]]:
    """Each proxy's name with its measured and its published figures, where there are any; what was
    published alone stands last.
    """
    lines, table, found = _lines(group.first), group.published, []
    printed = dict(table.methods) if table else {}
    for record, label, figures in zip(group.records, group.labels, group.figures, strict=True):
        source = {"source": "measured", "proxy": record.proxy}
        measured = [_cell(line.measured(figures, record), line.show, source) for line in lines]
        # the printed table is not of foreign sets, and of each method's sets beside one
        known = not record.foreign and printed.pop(record.proxy, "")
        found.append(
            (label, measured, _published_cells(table, lines, record.proxy) if known else [])
        )
    return found + [
        (name, [], _published_cells(table, lines, method)) for method, name in printed.items()
    ]


def _full_table(group: SearchGroup) -> Table:
    """A column for each proxy, measured beside published, and a row for each figure."""
    columns = [(Column("figure"), [TableCell(line.title) for line in _lines(group.first)])]
    for name, measured, published in _cells(group):
        if measured:
            columns.append((Column("measured", name) if published else Column(name), measured))
        if published:
            columns.append((Column("published", name), published))
    heads, cells = zip(*columns, strict=True)
    caption, rows = search_caption(group.records), tuple(zip(*cells, strict=True))
    return Table(group.name, caption, heads, rows, _notes(group), kind="searches")


def _compact_table(group: SearchGroup) -> Table:
    """A row for each proxy that was measured: performance, correlations and time."""
    proxies = [each for each in _cells(group) if each[1]]
    columns = [(Column("proxy"), [TableCell(name) for name, *_ in proxies])]
    for place, line in enumerate(_lines(group.first)):
        own = [replace(measured[place], detail="") for _, measured, _ in proxies]
        beside = [cells[place] if cells else TableCell(DASH) for *_, cells in proxies]
        shown = any(cell.text != DASH for cell in beside)
        if line.short:
            columns.append((Column("measured", line.short) if shown else Column(line.short), own))
        if line.short and shown:
            columns.append((Column("published", line.short), beside))
    heads, cells = zip(*columns, strict=True)
    notes = search_caption(group.records), *_notes(group)
    caption, rows = short_search_caption(group.records), tuple(zip(*cells, strict=True))
    return Table(group.name, caption, heads, rows, notes, kind="searches", compact=True)


def _notes(group: SearchGroup) -> tuple[str, ...]:
    labelled = list(zip(group.labels, group.searches, strict=True))
    return tuple(search_notes(labelled, group.figures, group.published))


def _published_cells(
    table: PublishedTable | None, lines: Sequence[_Line], method: str
) -> list[TableCell]:
    cells: list[TableCell] = []
    if table is None:
        return cells
    for line in lines:
        printed = [value for name in line.printed if (value := table.value(name, method))]
        figures = {"source": "published", "proxy": method}
        cells.append(_cell(printed[0].mean if printed else None, line.show, figures))
    return cells


def _cell(
    figure: Estimate | float | None, show: Callable[[float], str], figures: Mapping[str, str]
) -> TableCell:
    estimate = figure if isinstance(figure, Estimate) else Estimate(figure, None)
    if estimate.value is None:
        return TableCell(DASH)
    low, high = estimate.ci95 or (None, None)
    return TableCell(
        show(estimate.value),
        bounds(estimate.ci95, show),
        figures={**figures, "value": estimate.value, "ci95_low": low, "ci95_high": high},
    )


def _difference(first: _Ranked, second: _Ranked, names: Sequence[str]) -> Estimate:
    one, other = ([ranked[name][0] for name in names] for ranked in (first, second))
    return spearman_difference(one, other, [first[name][1] for name in names])


def _difference_table(group: SearchGroup) -> Table:
    """For each pair of searches: Spearman's correlation of the first minus that of the second, over
    all architectures and over the top share.
    """
    searches = zip(group.labels, group.records, group.figures, strict=True)
    rows = []
    for (one, record, figures), (two, other, others) in combinations(searches, 2):
        first, second = record.ranked, other.ranked
        names = sorted(first.keys() & second.keys())
        by = record.top_figures
        best = top_members([by[name] for name in names], group.first.top)
        few = figures.spearman_top.value is None or others.spearman_top.value is None
        top = [] if few else [names[place] for place in best]
        cells = [
            _cell(_difference(first, second, own), decimals, {"first": one, "second": two})
            for own in (names, top)
        ]
        rows.append((TableCell(f"{one} minus {two}"), *cells))
    caption = (
        "Differences of Spearman's correlations between proxies [95 % bootstrap interval over"
        " architectures, paired: the same resamples for both; not corrected for their number]."
        f" {search_caption(group.records)}"
    )
    columns = (Column("proxies"), Column("all"), Column(f"top {100 * group.first.top:g} %"))
    name = f"{group.name}-differences"
    return Table(name, caption, columns, tuple(rows), kind="searches")
