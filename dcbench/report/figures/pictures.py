"""Pictures side by side: image grids of methods at one budget, or of one set over its steps."""

from __future__ import annotations

import hashlib
import io
import textwrap
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dcbench.records import StoredRecord
from dcbench.report.figures.drawing import COLUMN_INCHES, PAGE_INCHES, Drawing
from dcbench.report.formatting import named, title
from dcbench.report.selection.comparable import Entry, entries
from dcbench.report.selection.frames import frame
from dcbench.report.selection.sidecar_files import PICTURE_NAME, find_beside, inside, read_png
from dcbench.report.selection.variants import in_short, row_label
from dcbench.studies.declarations import STUDIES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_IN_ROW, _MOST_INCHES = 4, 9.0  # at least, where there are as many; of height
# of titles; about how wide a letter is; in a line
_FONT_SIZE, _LETTER_INCHES, _FEWEST_LETTERS, _MOST_LINES = 7, 0.06, 16, 8
_COLUMNS = ("title", "file", "sha256")


@dataclass(frozen=True)
class Shown:
    """A picture and what stands above it."""

    title: str
    path: Path


def grid_drawings(records: Iterable[StoredRecord], root: Path) -> list[Drawing]:
    """For each data set and budget the images of every method that has a picture; one set of each,
    that of the lowest seed.
    """
    groups: dict[tuple[str, str, int | None], list[StoredRecord]] = defaultdict(list)
    for stored in records:
        groups[stored.record.dataset, stored.record.dataset_revision, stored.record.ipc].append(
            stored
        )
    drawn = []
    for (dataset, revision, ipc), members in sorted(
        groups.items(), key=lambda group: (*group[0][:2], group[0][2] is None, group[0][2] or 0)
    ):
        # whatever judged them: the same set has the same images
        rows = entries(members, STUDIES["table3"].methods)
        titles, usual = _titles(rows)
        budget = "without a budget" if ipc is None else f"at IPC {ipc}"
        how = "a class in each row, in pixel space, whitening undone; the lowest seed of each method; the same picture once"
        name = named("images", dataset, f"ipc{ipc}" if ipc else "whole", revision[:8])
        found = [
            (each, _first_picture(entry.records, root))
            for each, entry in zip(titles, rows, strict=True)
        ]
        shown = [Shown(each, path) for each, path in found if path is not None]
        drawing = pictures_drawing(
            name, f"Images on {title(dataset)} {budget}: {how}.{usual}", shown, root
        )
        drawn += [drawing] if drawing is not None else []
    return drawn


def _titles(rows: Sequence[Entry]) -> tuple[list[str], str]:
    """What stands above each row's picture, without what most rows of its method share; and that,
    for the caption.
    """
    places: dict[tuple[str, bool], list[int]] = defaultdict(list)
    for place, entry in enumerate(rows):
        places[entry.method, entry.foreign].append(place)
    titles, shared = [""] * len(rows), ""
    for (method, foreign), own in places.items():
        short, usual = in_short([rows[place].variant for place in own])
        for place, variant in zip(own, short, strict=True):
            titles[place] = row_label(method, foreign, variant)
        shared += f" {row_label(method, foreign, usual)} unless said otherwise." if usual else ""
    return titles, shared


def _first_picture(records: Sequence[StoredRecord], root: Path) -> Path | None:
    by_seed = sorted(records, key=lambda stored: (stored.record.seed or 0, str(stored.path)))
    return next(
        (
            path
            for stored in by_seed
            if (path := find_beside(stored.path, PICTURE_NAME, root)) is not None
        ),
        None,
    )


def pictures_drawing(name: str, caption: str, shown: Sequence[Shown], root: Path) -> Drawing | None:
    """The pictures that can be read, in rows; nothing if there are none. The same picture stands
    once, below all its titles.

    The data are every picture's title, its file's name and checksum.
    """
    read = [
        (each, content)
        for each in shown
        if inside(root, each.path) and isinstance(content := read_png(each.path), bytes)
    ]
    if not read:
        return None
    titles: dict[bytes, list[str]] = defaultdict(list)
    for each, content in read:
        titles[content].append(each.title)
    rows = [
        (each.title, str(each.path.relative_to(root)), hashlib.sha256(content).hexdigest())
        for each, content in read
    ]
    data = frame([dict(zip(_COLUMNS, row, strict=True)) for row in rows], _COLUMNS)
    return Drawing(
        name,
        caption,
        data,
        lambda: _draw([(", ".join(own), content) for content, own in titles.items()]),
    )


def _draw(pictures: Sequence[tuple[str, bytes]]) -> Figure:
    from matplotlib.figure import Figure
    from PIL import Image

    images = [Image.open(io.BytesIO(content)).convert("RGB") for _, content in pictures]
    tall = min(3.0, max(image.height / image.width for image in images))
    laid = _arranged([words for words, _ in pictures], tall)
    figure = Figure(figsize=(_width(laid.columns), laid.height), layout="constrained")
    panels = figure.subplots(laid.rows, laid.columns, squeeze=False).flat
    for panel, words, image in zip(panels, laid.titles, images, strict=False):
        panel.imshow(image, interpolation="nearest")
        panel.set_title(words, fontsize=_FONT_SIZE)
    for panel in figure.axes:
        panel.set_axis_off()
    return figure


@dataclass(frozen=True)
class _Arrangement:
    """Pictures in rows on one page, lengths in inches."""

    columns: int
    rows: int
    titles: tuple[str, ...]  # in lines
    side: float  # of a picture's width
    height: float  # of the page


def _arranged(words: Sequence[str], tall: float) -> _Arrangement:
    """As many in a row as make the pictures largest, as few as do; ``tall``: a picture's height by
    its width.
    """
    fewest = min(len(words), _IN_ROW if tall <= 2 else 3 * _IN_ROW)
    # more would tear the titles' words
    most = min(len(words), int(PAGE_INCHES / (_FEWEST_LETTERS * _LETTER_INCHES)))
    arrangements = [
        _in_columns(columns, words, tall) for columns in range(fewest, max(fewest, most) + 1)
    ]
    return max(arrangements, key=lambda laid: (laid.side, -laid.columns))


def _in_columns(columns: int, words: Sequence[str], tall: float) -> _Arrangement:
    letters = max(10, int(_width(columns) / columns / _LETTER_INCHES))
    titles = tuple(_in_lines(each, letters) for each in words)
    rows, lines = -(-len(words) // columns), max(each.count("\n") + 1 for each in titles)
    above = 0.13 + 0.12 * lines
    room = _MOST_INCHES / rows - above  # for a picture's height
    side = _width(columns) / columns
    return _Arrangement(
        columns, rows, titles, min(side, room / tall), rows * (above + min(tall * side, room))
    )


def _in_lines(words: str, letters: int) -> str:
    """``words`` in lines of so many letters; a setting too long for one is broken behind its name."""
    broken = " ".join(
        word if len(word) <= letters else word.replace("=", "=\0 ") for word in words.split(" ")
    )
    return (
        textwrap.fill(broken, letters, max_lines=_MOST_LINES, placeholder="...")
        .replace("\0 ", "")
        .replace("\0", "")
    )


def _width(columns: int) -> float:
    return PAGE_INCHES if columns > 2 else COLUMN_INCHES
