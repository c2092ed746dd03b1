"""A leaderboard: one comparable group, a row for each method and budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dcbench.records import StoredRecord
from dcbench.report.formatting import (
    DASH,
    TIMES,
    bounds,
    mean_and_std,
    one_line,
    protocol_name,
    signed,
    title,
)
from dcbench.report.page.evaluated_sets import set_article
from dcbench.report.page.images import PageImages
from dcbench.report.page.markup import Markup, element, join, notes_list
from dcbench.report.page.strip_plots import Scale, axis, strip, strip_scale
from dcbench.report.selection.comparable import Entry
from dcbench.report.statistics.accuracies import SetsSummary
from dcbench.report.tables.accuracies import rank_words
from dcbench.report.tables.layout import TableLayout
from dcbench.report.tables.notes import caption, notes
from dcbench.system.wording import counted, in_words

# key: heading, and the direction in which the column is first sorted
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
LAST = "none"  # the value of a missing figure; such rows come last in any order


@dataclass(frozen=True)
class _Row:
    """One method at one budget."""

    layout: TableLayout
    number: int
    ipc: int | None
    scale: Scale
    budget_scale: Scale  # of all methods at this budget: finer than that of the leaderboard

    @property
    def figures(self) -> SetsSummary:
        return self.layout.measured[self.number, self.ipc]

    @property
    def entry(self) -> Entry:
        return self.layout.entries[self.number]

    @property
    def records(self) -> list[StoredRecord]:
        return sorted(
            self.entry.at(self.ipc),
            key=lambda own: (own.record.seed or 0, own.record.evaluation_seed, str(own.path)),
        )


def leaderboard(layout: TableLayout, images: PageImages) -> Markup:
    """The section of one comparable group: its conditions, its rows, the notes below."""
    group = layout.group
    scale = _scale(group.records)
    rows = []
    for ipc in group.ipcs:
        own = _scale([stored for stored in group.records if stored.record.ipc == ipc])
        numbers = [number for number, each in layout.measured if each == ipc]
        numbers.sort(key=lambda number: (-layout.measured[number, ipc].mean, number))
        rows += [_Row(layout, number, ipc, scale, own) for number in numbers]
    protocol = protocol_name(group.protocol, "without a name")
    name = one_line(f"{title(group.dataset)}, protocol {protocol}")
    conditions = [
        title(group.network),
        f"augmentation {title(group.augment)}",
        str(group.protocol.get("precision", "")),
    ]
    said = element("small", ", ".join(filter(None, map(one_line, conditions))))
    summary = element("summary", "What was measured, and by which protocol")
    return element(
        "section",
        element("h2", name, " ", said, id=f"board-{group.key}"),
        element("details", summary, element("p", caption(layout)), class_="protocol"),
        _table(rows, scale, name, images),
        notes_list(notes(layout)),
        class_="board",
        aria_labelledby=f"board-{group.key}",
    )


def _scale(records: Sequence[StoredRecord]) -> Scale:
    return strip_scale(accuracy for stored in records for accuracy in stored.record.accuracies)


def _table(rows: Sequence[_Row], scale: Scale, name: str, images: PageImages) -> Markup:
    head = element("tr", *(_head(key, scale) for key in COLUMNS))
    bodies = [_body(row, images) for row in rows]
    unseen = element("caption", f"{name}: a row for each method and budget", class_="unseen")
    return element("table", unseen, element("thead", head), *bodies, class_="board-table")


def _head(key: str, scale: Scale) -> Markup:
    text, direction = COLUMNS[key]
    if not direction:
        return element("th", join(text, " (%)", axis(scale)), scope="col", class_=key)
    button = element("button", text, type="button", data_key=key, data_first=direction)
    return element("th", button, scope="col", class_=key, aria_sort="none")


def _body(row: _Row, images: PageImages) -> Markup:
    ipc, label = row.ipc, row.entry.label
    budget = "none" if ipc is None else str(ipc)
    name = element("th", label, scope="row", class_="method", data_value=label.lower())
    rank, *others = _cells(row)
    summary = element("summary", f"{_told(row.records)} in detail")
    articles = [set_article(stored, row.budget_scale, images) for stored in row.records]
    details = element("details", summary, element("div", *articles, class_="articles"))
    more = element("td", details, colspan=len(COLUMNS))
    return element(
        "tbody",
        element("tr", rank, name, _cell("ipc", budget, ipc), *others, class_="figures"),
        element("tr", more, class_="more"),
        data_ipc=budget,
        data_dataset=row.layout.group.dataset,
    )


def _cells(row: _Row) -> list[Markup]:
    """The cells of the row's figures, in the order of the columns."""
    layout, place, figures = row.layout, (row.number, row.ipc), row.figures
    standing, seconds = layout.standing(*place), _seconds(row.records)
    rank = standing.rank if standing else None
    kind = {1: "strong", 2: "u"}.get(rank or 0, "span")
    tied = "†" if standing and standing.tied else ""
    accuracy = element(kind, mean_and_std(figures.mean, figures.shown_std) + tied)
    sets, interval = list(row.entry.sets(row.ipc).values()), figures.shown_ci95
    printed = layout.value(*place)
    published = mean_and_std(printed.mean, printed.std) if printed else DASH
    value, reach = layout.difference(*place) or (None, None)
    difference = DASH if value is None else join(signed(value), _small(bounds(reach, signed)))
    fewest, most = figures.fewest_networks, figures.most_networks
    networks = str(fewest) if fewest == most else f"{fewest}{DASH}{most}"
    shown = join(accuracy, _small(bounds(figures.shown_ci95_sets)))
    return [
        _cell("rank", rank_words(rank, standing.interval) if rank and standing else DASH, rank),
        _cell("accuracy", shown, figures.mean),
        _cell("networks", strip(sets, figures.mean, interval, row.scale), None),
        _cell("published", published, printed and printed.mean),
        _cell("difference", difference, value),
        _cell("sets", f"{figures.sets}{TIMES}{networks}", figures.sets),
        _cell("time", DASH if seconds is None else in_words(seconds), seconds),
    ]


def _cell(key: str, shown: object, value: object) -> Markup:
    """A cell with its column's heading, which is shown on narrow screens, and the value by which it
    is sorted.
    """
    kept = LAST if value is None else value
    return element("td", shown, class_=key, data_head=COLUMNS[key][0], data_value=kept)


def _small(words: str) -> Markup | None:
    return element("small", words) if words else None


def _seconds(records: Sequence[StoredRecord]) -> float | None:
    """The mean time of distillation over the sets whose distillation was recorded."""
    made = [(stored.record.artifact_sha256, stored.record.distillation) for stored in records]
    seconds = {sha256: known.distill_seconds for sha256, known in made if known is not None}
    return sum(seconds.values()) / len(seconds) if seconds else None


def _told(records: Sequence[StoredRecord]) -> str:
    warned = sum(bool(stored.record.warnings) for stored in records)
    return counted(len(records), "set") + (f" ({warned} with warnings)" if warned else "")
