"""Tables of architecture searches, as the paper's Tables 4 and 5: a column per proxy, measured
beside published.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any

from dcbench.records import SearchRecord, StoredSearch
from dcbench.records.search import REFERENCE
from dcbench.report.formatting import DASH, MINUS, canonical, one_line, percent, title
from dcbench.report.statistics.rankings import Estimate, RankFigures, difference, judge, top_members
from dcbench.report.tables.accuracies import Cell, Column, Table
from dcbench.report.tables.search_notes import search_caption, search_notes
from dcbench.studies.published import PUBLISHED, PublishedTable

PUBLISHED_OF = {"convnet720": "table4", "nasbench201": "table5"}
_MEGABYTE = 1e6
_Ranked = Mapping[str, tuple[float, float]]


@dataclass(frozen=True)
class SearchBoard:
    """Searches that may be compared: the same architectures on the same data by the same protocol,
    set beside the same truth.
    """

    key: str
    searches: tuple[StoredSearch, ...]

    @property
    def first(self) -> SearchRecord:
        """Any of the records: what they share is the same in all."""
        return self.searches[0].record

    @property
    def name(self) -> str:
        """Fit for a file's name."""
        return f"search-{self.first.space}-{self.first.dataset}-{self.key}"

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """Each proxy's title, with what tells it from the others."""
        return tuple(_labels([stored.record for stored in self.searches]))

    @cached_property
    def figures(self) -> tuple[RankFigures, ...]:
        """Of each search."""
        return tuple(rank_figures(stored.record) for stored in self.searches)

    @property
    def published(self) -> PublishedTable | None:
        """The printed table that these searches repeat, on the data that it was made on."""
        table = PUBLISHED.get(PUBLISHED_OF.get(self.first.space, ""))
        return table if table is not None and table.dataset == self.first.dataset else None


def search_boards(searches: Iterable[StoredSearch]) -> list[SearchBoard]:
    """The searches in groups that may be compared; the whole data stands in each group that differs
    from it in epochs alone.
    """
    groups: dict[str, dict[Any, list[StoredSearch]]] = defaultdict(lambda: defaultdict(list))
    references: dict[str, list[StoredSearch]] = defaultdict(list)
    for stored in searches:
        shared, epochs = _shared(stored.record), stored.record.protocol.get("epochs")
        (
            references[shared]
            if stored.record.proxy == REFERENCE
            else groups[shared][canonical(epochs)]
        ).append(stored)
    for shared, found in references.items():
        for members in groups[shared].values() or [groups[shared]["none"]]:
            members.extend(found)
    boards = [
        _board(f"{shared} {epochs}", members)
        for shared, own in groups.items()
        for epochs, members in own.items()
    ]
    return sorted(boards, key=lambda board: (board.first.space, board.first.dataset, board.key))


def _shared(record: SearchRecord) -> str:
    protocol = {key: value for key, value in record.protocol.items() if key != "epochs"}
    asked = [
        record.space,
        record.space_fields,
        record.search_seed,
        record.seeds,
        record.top,
        record.validation_images,
    ]
    architectures = sorted(score.architecture for score in record.architectures)
    return canonical(
        [*asked, record.dataset, record.dataset_revision, protocol, record.truth, architectures]
    )


def _board(shared: str, members: Sequence[StoredSearch]) -> SearchBoard:
    order = (
        list(table.methods)
        if (table := PUBLISHED.get(PUBLISHED_OF.get(members[0].record.space, "")))
        else []
    )

    def place(stored: StoredSearch) -> tuple[Any, ...]:
        record = stored.record
        known = order.index(record.proxy) if record.proxy in order else len(order)
        which = record.proxy_ipc or 0, record.proxy_seed or 0, record.proxy_hash
        return record.proxy == REFERENCE, known, record.proxy, record.foreign, *which

    return SearchBoard(
        hashlib.sha256(shared.encode()).hexdigest()[:8], tuple(sorted(members, key=place))
    )


def _labels(records: Sequence[SearchRecord]) -> list[str]:
    """The method's title, whether other code made the set, and of several sets of one method the
    least that tells them apart.
    """
    labels: dict[int, str] = {}
    for method in {(record.proxy, record.foreign) for record in records}:
        places = [
            place
            for place, record in enumerate(records)
            if (record.proxy, record.foreign) == method
        ]
        told = _told_apart([records[place] for place in places])
        labels |= {
            place: _label(records[place], parts) for place, parts in zip(places, told, strict=True)
        }
    return [labels[place] for place in range(len(records))]


def _told_apart(records: Sequence[SearchRecord]) -> list[list[str]]:
    values = [
        [
            "no budget" if record.proxy_ipc is None else f"IPC {record.proxy_ipc}"
            for record in records
        ],
        [
            "no seed" if record.proxy_seed is None else f"seed {record.proxy_seed}"
            for record in records
        ],
        [record.proxy_preset or "no preset" for record in records],
        [record.proxy_hash[:8] for record in records],
    ]
    chosen: list[list[str]] = []
    for column in values:
        if len({tuple(row) for row in zip(*chosen, strict=True)} if chosen else {()}) == len(
            records
        ):
            break
        if len(set(column)) > 1:
            chosen.append(column)
    return [list(row) for row in zip(*chosen, strict=True)] if chosen else [[] for _ in records]


def _label(record: SearchRecord, parts: Sequence[str]) -> str:
    words = [*(["foreign"] if record.foreign else []), *parts]
    name = next(
        (
            table.methods[record.proxy]
            for table in PUBLISHED.values()
            if record.proxy in table.methods
        ),
        title(record.proxy),
    )
    return one_line(f"{name} ({', '.join(words)})" if words else name)


def rank_figures(record: SearchRecord) -> RankFigures:
    """What the ranking by one proxy is worth, over the architectures that have both figures."""
    pairs = record.ranked
    return judge(
        [pairs[name][0] for name in sorted(pairs)],
        [pairs[name][1] for name in sorted(pairs)],
        top=record.top,
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
    """One row: what is measured, and under which name the printed tables have it."""

    title: str
    measured: Callable[[RankFigures, SearchRecord], Estimate]
    show: Callable[[float], str]
    published: tuple[str, ...] = ()


def _plain(value: float | None) -> Estimate:
    return Estimate(value, None)


def _signed(value: float) -> str:
    return f"{value:.2f}".replace("-", MINUS)


def _lines(record: SearchRecord) -> list[_Line]:
    share = f"top {100 * record.top:g} %"
    as_printed = ("correlation, top 20 %",) if record.top == 0.2 else ()
    complete = ("correlation, all 720",) if len(record.architectures) == record.space_size else ()
    return [
        _Line(
            "test accuracy of the best (%)",
            lambda figures, _: _plain(figures.top1_accuracy),
            percent,
            ("performance", "top-1"),
        ),
        _Line("regret of the best (points)", lambda figures, _: _plain(figures.regret), percent),
        _Line(
            "test accuracy of the ten best (%)",
            lambda figures, _: _plain(figures.top10_accuracy),
            percent,
        ),
        _Line(
            "regret of the ten best (points)",
            lambda figures, _: _plain(figures.top10_regret),
            percent,
        ),
        _Line(f"Spearman, {share}", lambda figures, _: figures.spearman_top, _signed, as_printed),
        _Line(f"Kendall, {share}", lambda figures, _: figures.kendall_top, _signed),
        _Line(
            "Spearman, all", lambda figures, _: figures.spearman, _signed, ("spearman", *complete)
        ),
        _Line("Kendall, all", lambda figures, _: figures.kendall, _signed),
        _Line(
            "time (min)",
            lambda _, record: _plain(record.seconds / 60),
            lambda value: f"{value:.1f}",
            ("time",),
        ),
        _Line(
            "images stored",
            lambda _, record: _plain(record.storage_images),
            lambda value: f"{value:.0f}",
            ("storage",),
        ),
        _Line(
            "megabytes stored",
            lambda _, record: _plain(record.storage_bytes / _MEGABYTE),
            lambda value: f"{value:.3g}",
        ),
    ]


def search_tables(searches: Iterable[StoredSearch]) -> list[Table]:
    """For each group: the table of its proxies, and, of several, the table of their paired
    differences.
    """
    tables = []
    for board in search_boards(searches):
        tables.append(_search_table(board))
        if len(board.searches) > 1:
            tables.append(_difference_table(board))
    return tables


@dataclass(frozen=True)
class _Head:
    """A column to be: a measured proxy, or a printed one."""

    column: Column
    search: int | None  # its place on the board
    method: str | None  # the printed one


def _heads(board: SearchBoard) -> list[_Head]:
    table, heads, seen = board.published, [], set()
    for place, (stored, label) in enumerate(zip(board.searches, board.labels, strict=True)):
        method = stored.record.proxy
        printed = (
            table is not None
            and method in table.methods
            and method not in seen
            and not stored.record.foreign
        )
        heads.append(_Head(Column("measured", label) if printed else Column(label), place, None))
        if printed:
            heads.append(_Head(Column("published", label), None, method))
        # a foreign set is not what the table is of
        seen |= set() if stored.record.foreign else {method}
    missing = [
        (method, name)
        for method, name in (table.methods if table else {}).items()
        if method not in seen
    ]
    return heads + [_Head(Column("published", name), None, method) for method, name in missing]


def _search_table(board: SearchBoard) -> Table:
    heads = _heads(board)
    rows = [
        (Cell(line.title), *(_cell(board, line, head) for head in heads))
        for line in _lines(board.first)
    ]
    caption = search_caption(board.first, [stored.record for stored in board.searches])
    notes = search_notes(
        list(zip(board.labels, board.searches, strict=True)), board.figures, board.published
    )
    return Table(
        board.name,
        caption,
        (Column("figure"), *(head.column for head in heads)),
        tuple(rows),
        tuple(notes),
    )


def _cell(board: SearchBoard, line: _Line, head: _Head) -> Cell:
    if head.search is None:
        return _published(board, line, str(head.method))
    record = board.searches[head.search].record
    return _shown(
        line.measured(board.figures[head.search], record),
        line.show,
        {"source": "measured", "proxy": record.proxy},
    )


def _published(board: SearchBoard, line: _Line, method: str) -> Cell:
    table = board.published
    values = [table.value(row, method) for row in line.published] if table else []
    value = next((found for found in values if found is not None), None)
    if value is None:
        return Cell(DASH)
    return _shown(_plain(value.mean), line.show, {"source": "published", "proxy": method})


def _shown(estimate: Estimate, show: Callable[[float], str], figures: Mapping[str, str]) -> Cell:
    if estimate.value is None:
        return Cell(DASH)
    low, high = estimate.ci95 or (None, None)
    interval = "" if low is None or high is None else f"[{show(low)}, {show(high)}]"
    return Cell(
        show(estimate.value),
        interval,
        "",
        {**figures, "value": estimate.value, "ci95_low": low, "ci95_high": high},
    )


def search_differences(board: SearchBoard) -> list[tuple[tuple[int, int], Estimate, Estimate]]:
    """For each pair of searches: Spearman's correlation of the first less that of the second, over
    all and over the top share.
    """
    found = []
    for pair in combinations(range(len(board.searches)), 2):
        first, second = (board.searches[place].record.ranked for place in pair)
        names = sorted(first.keys() & second.keys())
        best = [
            names[place]
            for place in top_members([first[name][1] for name in names], board.first.top)
        ]
        few = any(board.figures[place].spearman_top.value is None for place in pair)
        found.append(
            (
                pair,
                _difference(first, second, names),
                Estimate(None, None) if few else _difference(first, second, best),
            )
        )
    return found


def _difference(first: _Ranked, second: _Ranked, names: Sequence[str]) -> Estimate:
    sides = ([ranked[name][0] for name in names] for ranked in (first, second))
    one, other = sides
    return difference(one, other, [first[name][1] for name in names])


def _difference_table(board: SearchBoard) -> Table:
    rows = []
    for (first, second), everywhere, in_top in search_differences(board):
        figures = {"first": board.labels[first], "second": board.labels[second]}
        cells = [_shown(estimate, _signed, figures) for estimate in (everywhere, in_top)]
        rows.append((Cell(f"{board.labels[first]} less {board.labels[second]}"), *cells))
    caption = (
        "Differences of Spearman's correlations between proxies [95 % bootstrap interval over architectures, paired: the same resamples "
        f"for both; not corrected for their number]. {search_caption(board.first, [stored.record for stored in board.searches])}"
    )
    columns = (Column("proxies"), Column("all"), Column(f"top {100 * board.first.top:g} %"))
    return Table(f"{board.name}-differences", caption, columns, tuple(rows))
