"""Pictures side by side: image grids of methods at one budget, or of one set over its steps."""

from __future__ import annotations

import hashlib
import io
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from dcbench.records import StoredRecord
from dcbench.report.figures.plotting import COLUMN_INCHES, PAGE_INCHES, Drawing
from dcbench.report.formatting import file_name, title
from dcbench.report.grouping import grouped
from dcbench.report.selection.comparable import Entry, entries
from dcbench.report.selection.dataframes import frame
from dcbench.report.selection.method_variants import row_label, shortened
from dcbench.report.selection.sidecar_files import PICTURE_NAME, find_sidecar_file, inside, read_png
from dcbench.studies.declarations import STUDIES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_IN_ROW = 4  # at least, if there are as many
_MOST_INCHES = 9.0  # of height
# of titles: size, about how wide a letter is, letters in a line, lines
_FONT_SIZE, _LETTER_INCHES, _FEWEST_LETTERS, _MOST_LINES = 7, 0.06, 16, 8
_COLUMNS = ("title", "file", "sha256")


@dataclass(frozen=True)
class Picture:
    """A picture and the title above it."""

    title: str
    path: Path


def grid_drawings(records: Iterable[StoredRecord], root: Path) -> list[Drawing]:
    """For each data set and budget the images of every method that has a picture: of the set with
    the lowest seed.
    """
    groups = grouped(
        records,
        lambda stored: (stored.record.dataset, stored.record.dataset_revision, stored.record.ipc),
    )
    in_order = sorted(
        groups.items(), key=lambda group: (*group[0][:2], group[0][2] is None, group[0][2] or 0)
    )
    drawn = [_grid_drawing(*key, members, root) for key, members in in_order]
    return [drawing for drawing in drawn if drawing is not None]


def _grid_drawing(
    dataset: str, revision: str, ipc: int | None, records: Sequence[StoredRecord], root: Path
) -> Drawing | None:
    shown, shared = [], ""
    # in one row whatever the protocol: the same set has the same images
    rows = entries(records, STUDIES["table3"].methods)
    for (method, foreign), of_the_method in groupby(rows, lambda row: (row.method, row.foreign)):
        own = list(of_the_method)
        short, usual = shortened([entry.variant for entry in own])
        shown += [
            Picture(row_label(method, foreign, variant), path)
            for entry, variant in zip(own, short, strict=True)
            if (path := _first_picture(entry, root)) is not None
        ]
        shared += f" {row_label(method, foreign, usual)} unless said otherwise." if usual else ""
    budget = "without a budget" if ipc is None else f"at IPC {ipc}"
    caption = (
        f"Images on {title(dataset)} {budget}: a class in each row, in pixel space, whitening"
        f" undone; the lowest seed of each method; the same picture once.{shared}"
    )
    name = file_name("images", dataset, f"ipc{ipc}" if ipc else "whole", revision[:8])
    return pictures_drawing(name, caption, shown, root)


def _first_picture(entry: Entry, root: Path) -> Path | None:
    """The picture of the lowest seed that has one."""
    by_seed = sorted(entry.records, key=lambda stored: (stored.record.seed or 0, str(stored.path)))
    found = (find_sidecar_file(stored.path, PICTURE_NAME, root) for stored in by_seed)
    return next((path for path in found if path is not None), None)


def pictures_drawing(
    name: str, caption: str, shown: Sequence[Picture], root: Path
) -> Drawing | None:
    """The pictures below ``root`` that can be read, in rows; None if there are none. Equal pictures
    stand once, below all their titles.

    The data are every picture's title, file name and checksum.
    """
    read = [
        (each, content)
        for each in shown
        if inside(root, each.path) and isinstance(content := read_png(each.path), bytes)
    ]
    if not read:
        return None
    titles = {
        content: ", ".join(each.title for each, _ in own)
        for content, own in grouped(read, lambda pair: pair[1]).items()
    }
    rows = [
        (each.title, str(each.path.relative_to(root)), hashlib.sha256(content).hexdigest())
        for each, content in read
    ]
    data = frame([dict(zip(_COLUMNS, row, strict=True)) for row in rows], _COLUMNS)
    return Drawing(name, caption, data, lambda: _draw(list(titles.values()), list(titles)))


def _draw(titles: Sequence[str], contents: Sequence[bytes]) -> Figure:
    from matplotlib.figure import Figure
    from PIL import Image

    images = [Image.open(io.BytesIO(content)).convert("RGB") for content in contents]
    tall = min(3.0, max(image.height / image.width for image in images))
    laid = _arranged(titles, tall)
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
    """Pictures in rows on one page; lengths in inches."""

    columns: int
    rows: int
    titles: tuple[str, ...]  # in lines
    side: float  # of a picture's width
    height: float  # of the page


def _arranged(words: Sequence[str], tall: float) -> _Arrangement:
    """The fewest columns that make the pictures largest; ``tall``: their height by width."""
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
    height = rows * (above + min(tall * side, room))
    return _Arrangement(columns, rows, titles, min(side, room / tall), height)


def _in_lines(words: str, letters: int) -> str:
    """Break ``words`` into lines; a setting that is too long for one is broken behind its name."""
    broken = " ".join(
        word if len(word) <= letters else word.replace("=", "=\0 ") for word in words.split(" ")
    )
    lines = textwrap.fill(broken, letters, max_lines=_MOST_LINES, placeholder="...")
    return lines.replace("\0 ", "").replace("\0", "")


def _width(columns: int) -> float:
    return PAGE_INCHES if columns > 2 else COLUMN_INCHES
