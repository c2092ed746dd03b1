"""A leaderboard: what may be compared with one another, a row for each method and budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dcbench.records import StoredRecord
from dcbench.report.formatting import DASH, TIMES, one_line, percent, signed, spread, title
from dcbench.report.page.album import Album
from dcbench.report.page.markup import Markup, element, join
from dcbench.report.page.scales import Scale
from dcbench.report.page.sets import set_article
from dcbench.report.page.strips import axis, strip, strip_label, strip_scale
from dcbench.report.selection.comparable import Entry
from dcbench.report.statistics.sets import Interval, SetsSummary, summarise
from dcbench.report.tables.accuracy_notes import caption, notes
from dcbench.report.tables.layout import Layout, Line
from dcbench.system.wording import counted, in_words

# key: head, and the direction in which it is first sorted
COLUMNS: Mapping[str, tuple[str, str]] = {
    "rank": ("Rank", "ascending"),
    "method": ("Method", "ascending"),
    "ipc": ("IPC", "ascending"),
    "accuracy": ("Accuracy (%)", "descending"),
    "networks": ("Networks", ""),
    "published": ("Published (%)", "descending"),
    "difference": ("Difference", "descending"),
    "sets": (f"Sets{TIMES}networks", "descending"),
    "time": ("Distilled in", "ascending"),
}
LAST = "none"  # stands for a figure that is not there; such rows come last however one sorts


@dataclass(frozen=True)
class _Row:
    """One method at one budget."""

    layout: Layout
    number: int
    ipc: int | None
    scale: Scale
    budget_scale: Scale  # of all methods at this budget: finer than that of the whole board

    @property
    def line(self) -> Line:
        return self.layout.lines[self.number]

    @property
    def figures(self) -> SetsSummary:
        return self.layout.measured[self.number, self.ipc]

    @property
    def entry(self) -> Entry:
        return self.layout.entries[self.number]

    @property
    def records(self) -> list[StoredRecord]:
        found = [stored for stored in self.entry.records if stored.record.ipc == self.ipc]
        return sorted(
            found,
            key=lambda stored: (
                stored.record.seed or 0,
                stored.record.evaluation_seed,
                str(stored.path),
            ),
        )

    @property
    def networks(self) -> list[tuple[float, ...]]:
        """The accuracies of each set."""
        return list(self.entry.sets(self.ipc).values())


def leaderboard(layout: Layout, album: Album) -> Markup:
    """The section of one board: its conditions, its rows, what is said below it."""
    board = layout.board
    scale = _scale(board.records)
    budgets = {
        ipc: _scale([stored for stored in board.records if stored.record.ipc == ipc])
        for ipc in board.ipcs
    }
    rows = [
        _Row(layout, number, ipc, scale, own)
        for ipc, own in budgets.items()
        for number in _by_mean(layout, ipc)
    ]
    name = one_line(
        f"{title(board.dataset)}, protocol {board.protocol.get('name', 'without a name')}"
    )
    conditions = [
        title(board.network),
        f"augmentation {title(board.augment)}",
        str(board.protocol.get("precision", "")),
    ]
    said = element("small", ", ".join(filter(None, map(one_line, conditions))))
    return element(
        "section",
        element("h2", name, " ", said, id=f"board-{board.key}"),
        element(
            "details",
            element("summary", "What was measured, and by which protocol"),
            element("p", caption(layout)),
            class_="protocol",
        ),
        _table(rows, scale, name, album),
        element("ul", *(element("li", note) for note in notes(layout)), class_="notes"),
        class_="board",
        aria_labelledby=f"board-{board.key}",
    )


def _scale(records: Sequence[StoredRecord]) -> Scale:
    return strip_scale(accuracy for stored in records for accuracy in stored.record.accuracies)


def _by_mean(layout: Layout, ipc: int | None) -> list[int]:
    rows = [number for number in range(len(layout.lines)) if (number, ipc) in layout.measured]
    return sorted(rows, key=lambda number: -layout.measured[number, ipc].mean)


def _table(rows: Sequence[_Row], scale: Scale, name: str, album: Album) -> Markup:
    heads = [_head(key, scale) for key in COLUMNS]
    bodies = [_body(row, album) for row in rows]
    caption_of = element("caption", f"{name}: a row for each method and budget", class_="unseen")
    return element(
        "table", caption_of, element("thead", element("tr", *heads)), *bodies, class_="board-table"
    )


def _head(key: str, scale: Scale) -> Markup:
    text, direction = COLUMNS[key]
    inner = (
        element("button", text, type="button", data_key=key, data_first=direction)
        if direction
        else join(text, " (%)", axis(scale))
    )
    return element("th", inner, scope="col", class_=key, aria_sort="none" if direction else None)


def _body(row: _Row, album: Album) -> Markup:
    figures, ipc = row.figures, row.ipc
    printed, difference = row.layout.value(row.line, ipc), row.layout.difference(row.number, ipc)
    rank = row.layout.ranks.get((row.number, ipc))
    seconds = _seconds(row.records)
    best = "strong" if rank == 1 else "span"
    accuracy = element(
        best, spread(figures.mean, figures.std_networks if figures.sets == 1 else figures.std_sets)
    )
    words = strip_label(row.networks, figures.mean, _interval(row))
    cells = [
        _cell("rank", DASH if rank is None else str(rank), rank),
        element(
            "th", row.entry.label, scope="row", class_="method", data_value=row.entry.label.lower()
        ),
        _cell("ipc", "none" if ipc is None else str(ipc), ipc),
        _cell("accuracy", join(accuracy, _bounds(figures.shown_ci95_sets)), figures.mean),
        _cell(
            "networks", strip(row.networks, figures.mean, _interval(row), row.scale, words), None
        ),
        _cell(
            "published",
            DASH if printed is None else spread(printed.mean, printed.std),
            printed and printed.mean,
        ),
        _cell(
            "difference",
            DASH if difference is None else _difference(*difference),
            difference and difference[0],
        ),
        _cell("sets", f"{figures.sets}{TIMES}{_sizes(row)}", figures.sets),
        _cell("time", DASH if seconds is None else in_words(seconds), seconds),
    ]
    articles = [set_article(stored, row.budget_scale, album) for stored in row.records]
    summary = element("summary", f"{_told(row.records)} in detail")
    more = element(
        "td",
        element("details", summary, element("div", *articles, class_="articles")),
        colspan=len(COLUMNS),
    )
    rows = element("tr", *cells, class_="figures"), element("tr", more, class_="more")
    return element(
        "tbody",
        *rows,
        data_ipc="none" if ipc is None else ipc,
        data_dataset=row.layout.board.dataset,
    )


def _interval(row: _Row) -> Interval | None:
    """Over sets; of one set, over its networks."""
    return (
        row.figures.shown_ci95_sets
        if row.figures.sets > 1
        else summarise(row.networks[0]).shown_ci95
    )


def _cell(key: str, shown: object, value: object) -> Markup:
    """A cell with its column's name, which stands before it on a narrow screen, and what it is
    sorted by.
    """
    head = COLUMNS[key][0]
    return element(
        "td", shown, class_=key, data_head=head, data_value=LAST if value is None else value
    )


def _difference(value: float, interval: Interval | None) -> Markup:
    return join(
        signed(value),
        None
        if interval is None
        else element("small", f"[{signed(interval[0])}, {signed(interval[1])}]"),
    )


def _bounds(interval: Interval | None) -> Markup | None:
    return (
        None
        if interval is None
        else element("small", f"[{percent(interval[0])}, {percent(interval[1])}]")
    )


def _sizes(row: _Row) -> str:
    fewest, most = row.layout.networks[row.number, row.ipc]
    return str(fewest) if fewest == most else f"{fewest}{DASH}{most}"


def _seconds(records: Sequence[StoredRecord]) -> float | None:
    """The mean over the sets whose making was seen."""
    made = [(stored.record.artifact_sha256, stored.record.distillation) for stored in records]
    seconds = {sha256: known.distill_seconds for sha256, known in made if known is not None}
    return sum(seconds.values()) / len(seconds) if seconds else None


def _told(records: Sequence[StoredRecord]) -> str:
    warned = sum(bool(stored.record.warnings) for stored in records)
    return counted(len(records), "set") + (f" ({warned} with warnings)" if warned else "")
