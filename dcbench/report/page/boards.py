"""What the page says of each comparable group: its rows, and all that is known of each set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dcbench.records import Distillation, EvaluationRecord, StoredRecord
from dcbench.report.formatting import (
    DASH,
    TIMES,
    bounds,
    canonical,
    mean_and_std,
    one_line,
    set_title,
    signed,
    title,
)
from dcbench.report.page.images import PageImages, SetPicture
from dcbench.report.page.strips import Curve, Scale, Strip, curve, strip_scale
from dcbench.report.selection.comparable import Entry
from dcbench.report.selection.sidecar_files import HISTORY_NAME, find_sidecar_file, read_history
from dcbench.report.statistics.accuracies import compare, summarise
from dcbench.report.tables.accuracies import compact_table, rank_words, sizes
from dcbench.report.tables.layout import TableLayout, main_rows
from dcbench.report.tables.notes import caption, notes
from dcbench.report.tables.render import to_csv, to_latex
from dcbench.studies.papers import bibtex
from dcbench.studies.published import SOURCES
from dcbench.system.wording import counted, in_words

# key, heading, and the direction in which the column is first sorted
COLUMNS = (
    ("rank", "Rank", "ascending"),
    ("method", "Method", "ascending"),
    ("ipc", "IPC", "ascending"),
    ("accuracy", "Accuracy (%)", "descending"),
    ("random", "Over Random", "descending"),
    ("networks", "Networks", ""),
    ("published", "Published (%)", "descending"),
    ("sets", f"Sets{TIMES}networks", "descending"),
    ("time", "Distilled in", "ascending"),
)
_BASELINE = "random"
_ORIGINS = {"measured": "measured by the project", "yours": "your own"}


@dataclass(frozen=True)
class Board:
    """A leaderboard: a comparable group's main rows, and the other settings of its methods."""

    id: str
    dataset: str
    name: str
    short: str
    conditions: str
    caption: str
    notes: Sequence[str]
    scale: Scale
    main: Sequence[Mapping[str, Any]]
    other: Sequence[Mapping[str, Any]]
    copies: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class SetArticle:
    """All that is known of the set behind one record."""

    heading: str
    measured: str
    warnings: Sequence[str]
    image: SetPicture | None
    curve: Curve | str | None  # text: why there is none
    provenance: Sequence[tuple[str, object]]


def board(layout: TableLayout, images: PageImages) -> Board:
    """The leaderboard of one layout of all rows."""
    group, main = layout.group, main_rows(layout)
    shown = {row.label for row in main.rows}
    others = tuple(row for row in layout.rows if row.entry and row.label not in shown)
    other = TableLayout(group, others, layout.ipcs)
    precision = one_line(str(group.protocol.get("precision", "")))
    conditions = [title(group.network), f"augmentation {title(group.augment)}", precision]
    table = compact_table(main)
    papers = {stored.record.paper for entry in main.entries.values() for stored in entry.records}
    scale = strip_scale(own for stored in group.records for own in stored.record.accuracies)
    return Board(
        table.name,
        group.dataset,
        one_line(f"{group.data}, protocol {group.judged_by}"),
        one_line(f"{group.data}, {group.judged_by}, {', '.join(filter(None, conditions))}"),
        ", ".join(filter(None, conditions)),
        caption(layout),
        notes(main) + (notes(other, compact=True)[2:] if others else ()),
        scale,
        _rows(main, main, scale, images),
        _rows(other, main, scale, images),
        (("CSV", to_csv(table)), ("LaTeX", to_latex(table)), ("BibTeX", bibtex(papers))),
    )


def _rows(
    layout: TableLayout, main: TableLayout, scale: Scale, images: PageImages
) -> list[dict[str, Any]]:
    """Each measured cell, by budget and then by mean."""
    places = sorted(
        layout.measured,
        key=lambda place: (
            layout.ipcs.index(place[1]),
            -layout.measured[place].mean,
            place[0],
        ),
    )
    return [_row(layout, main, *place, scale, images) for place in places]


def _row(
    layout: TableLayout,
    main: TableLayout,
    number: int,
    ipc: int | None,
    scale: Scale,
    images: PageImages,
) -> dict[str, Any]:
    entry, figures = layout.entries[number], layout.measured[number, ipc]
    standing = layout.standing(number, ipc) if layout is main else None
    records = sorted(
        entry.at(ipc),
        key=lambda own: (own.record.seed or 0, own.record.evaluation_seed, str(own.path)),
    )
    sets, printed, seconds = entry.sets(ipc), layout.rows[number].printed, _seconds(records)
    value = layout.value(number, ipc)
    return {
        "label": entry.label,
        "ipc": ipc,
        "budget": "none" if ipc is None else str(ipc),
        "rank": standing.rank if standing else None,
        "rank_words": rank_words(standing.rank, standing.interval) if standing else DASH,
        "mark": {1: "strong", 2: "u"}.get(standing.rank if standing else 0, "span"),
        "mean": figures.mean,
        "accuracy": mean_and_std(figures.mean, figures.shown_std)
        + ("†" if standing and standing.tied else ""),
        "interval": bounds(figures.shown_ci95_sets),
        **_gain(entry, main, ipc),
        "strip": Strip(sets, figures.mean, figures.shown_ci95, scale),
        "published": value and value.mean,
        "published_words": mean_and_std(value.mean, value.std) if value else DASH,
        "difference": _difference(layout, number, ipc),
        "judged": f"{SOURCES[printed.source]}: {printed.judged}" if printed and value else "",
        "sets": figures.sets,
        "sets_words": sizes(figures),
        "seconds": seconds,
        "time": DASH if seconds is None else in_words(seconds),
        "told": _told(records),
        "articles": [_article(stored, images) for stored in records],
    }


def _difference(layout: TableLayout, number: int, ipc: int | None) -> str:
    """Measured minus published, in points."""
    found = layout.difference(number, ipc)
    return f"{signed(found[0])} {bounds(found[1], signed)}".strip() if found else ""


def _gain(entry: Entry, main: TableLayout, ipc: int | None) -> dict[str, Any]:
    """The accuracy over that of random images at the same budget, with its interval over sets."""
    known = {"beside": title(_BASELINE), "gain": None, "gain_words": DASH, "gain_interval": ""}
    baseline = [own for own in main.entries.values() if own.method == _BASELINE and own.at(ipc)]
    if not baseline or baseline[0] is entry:
        return known
    found = compare(entry.means(ipc), baseline[0].means(ipc))
    return known | {
        "gain": found.difference,
        "gain_words": signed(found.difference),
        "gain_interval": bounds(found.ci95, signed),
    }


def _seconds(records: Sequence[StoredRecord]) -> float | None:
    """The mean time of distillation over the sets whose distillation was recorded."""
    made = [(stored.record.artifact_sha256, stored.record.distillation) for stored in records]
    seconds = {sha256: known.distill_seconds for sha256, known in made if known is not None}
    return sum(seconds.values()) / len(seconds) if seconds else None


def _told(records: Sequence[StoredRecord]) -> str:
    warned = sum(bool(stored.record.warnings) for stored in records)
    return counted(len(records), "set") + (f" ({warned} with warnings)" if warned else "")


def _article(stored: StoredRecord, images: PageImages) -> SetArticle:
    record = stored.record
    figures = summarise(record.accuracies)
    given = f" {bounds(figures.shown_ci95)} given this set" if figures.shown_ci95 else ""
    networks = counted(figures.networks, "network")
    return SetArticle(
        _heading(record),
        f"{mean_and_std(figures.mean, figures.std)} %{given}, {networks}",
        record.warnings,
        images.show(stored.path, record),
        _curve(stored, images.root),
        [(name, fact) for name, fact in _provenance(stored, images.root) if fact not in ("", None)],
    )


def _heading(record: EvaluationRecord) -> str:
    if record.ipc is None and not record.foreign:
        return f"The data itself, networks of seed {record.evaluation_seed}"
    if record.seed is None:
        return f"Set {record.artifact_sha256[:8]}"
    if record.evaluation_seed == record.seed:
        return f"Seed {record.seed}"
    return f"Seed {record.seed}, networks of seed {record.evaluation_seed}"


def _curve(stored: StoredRecord, root: Path) -> Curve | str | None:
    path = find_sidecar_file(stored.path, HISTORY_NAME, root)
    points = read_history(path) if path else []
    called = f"Learning curve of {set_title(stored.record)}"
    return points if isinstance(points, str) else curve(points, called)


def _provenance(stored: StoredRecord, root: Path) -> Iterator[tuple[str, object]]:
    record, versions = stored.record, stored.record.versions
    version = "unknown (made by other code)" if record.foreign else record.method_version
    note = f" ({record.dataset_note})" if record.dataset_note else ""
    yield "method", f"{record.method}, version {version}"
    yield "paper", record.paper
    yield "preset", record.preset
    yield "fields", _pairs(record.fields)
    yield "asked for by the set", _pairs(record.recipe)
    yield "images", f"{record.budget_images} in space {record.space}"
    yield "kept apart", record.holdout
    yield "data", f"{record.dataset}, revision {record.dataset_revision}{note}"
    yield "artifact", record.artifact_hash
    yield "checksum", record.artifact_sha256
    yield from _distillation(record.distillation)
    work = f"{in_words(record.evaluate_seconds)}, {record.engine}, {record.precision}"
    yield "evaluated", f"{work}, {record.device_name}"
    yield "protocol", record.protocol_hash
    yield (
        "versions",
        f"dcbench {versions.dcbench}, torch {versions.torch}, Python {versions.python}",
    )
    yield "code", record.code
    yield "created", record.created
    yield "origin", _ORIGINS[stored.origin]
    inside = stored.path.is_relative_to(root)
    yield "record", stored.path.relative_to(root) if inside else stored.path.name


def _distillation(made: Distillation | None) -> Iterator[tuple[str, object]]:
    if made is not None:
        work = f"{in_words(made.distill_seconds)}, {made.engine}, {made.precision}"
        resumed = "on another machine or setting than it, or work that it shares, began with"
        yield "distilled", f"{work}, {made.device_name}, torch {made.torch}"
        yield "distilled by code", made.code
        yield "resumed", resumed if made.resumed_elsewhere else ""


def _pairs(values: Mapping[str, object]) -> str:
    return ", ".join(f"{key}={canonical(value)}" for key, value in values.items())
