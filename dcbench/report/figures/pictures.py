"""Images of synthetic sets: a row for each method, or for each step of one set, a column for each
class.
"""

from __future__ import annotations

import hashlib
import io
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dcbench.datasets import DATASETS
from dcbench.records import StoredRecord
from dcbench.records.kinds import OfASet
from dcbench.report.figures.plotting import PAGE_INCHES, Drawing
from dcbench.report.formatting import data_title, file_name
from dcbench.report.grouping import grouped
from dcbench.report.selection.comparable import Entry, entries
from dcbench.report.selection.dataframes import frame
from dcbench.report.selection.sidecar_files import PICTURE_NAME, find_sidecar_file, inside, read_png
from dcbench.studies.declarations import STUDIES

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL.Image import Image

_MOST_ROWS = 15  # of a page
_MOST_CLASSES = 10
_LETTERS, _LETTER_INCHES = 36, 0.065  # of a row's name in a line, and how wide one is
_UPRIGHT_INCHES = 0.53  # narrower columns have their names turned
_PADDING = 2  # pixels between the tiles of a picture, as ``dcbench.artifacts.pictures`` lays it out
_COLUMNS = ("title", "file", "sha256")


@dataclass(frozen=True)
class Picture:
    """The picture of a set and the name of its row."""

    title: str
    path: Path
    record: OfASet


def grid_drawings(records: Iterable[StoredRecord], root: Path) -> list[Drawing]:
    """For each data set and budget the images of each method's main row, and on pages of their own
    those of its other rows: of the set with the lowest seed.
    """
    groups = grouped(
        records,
        lambda stored: (stored.record.dataset, stored.record.dataset_revision, stored.record.ipc),
    )
    in_order = sorted(
        groups.items(), key=lambda group: (*group[0][:2], group[0][2] is None, group[0][2] or 0)
    )
    return [drawing for key, members in in_order for drawing in _pages(*key, members, root)]


def _pages(
    dataset: str, revision: str, ipc: int | None, records: Sequence[StoredRecord], root: Path
) -> list[Drawing]:
    budget, short = ("without a budget", "whole") if ipc is None else (f"at IPC {ipc}", f"ipc{ipc}")
    # in one figure whatever the protocol: the same set has the same images
    rows = entries(records, STUDIES["table3"].methods)
    shown = [(entry, picture) for entry in rows if (picture := _first_picture(entry, root))]
    said = (
        f"on {data_title(dataset, revision)} {budget}: the first image of each class, in pixel"
        " space, whitening undone; the lowest seed"
    )
    main = [picture for entry, picture in shown if entry.main]
    other = [picture for entry, picture in shown if not entry.main]
    drawn = [
        pictures_drawing(
            file_name("images", dataset, short, revision[:8]),
            f"Images of each method {said}.",
            main,
            root,
        )
    ]
    for place in range(0, len(other), _MOST_ROWS):
        page = file_name("images-settings", dataset, short, revision[:8], str(place // _MOST_ROWS))
        caption = f"Images of methods at other settings {said}."
        drawn.append(pictures_drawing(page, caption, other[place : place + _MOST_ROWS], root))
    return [drawing for drawing in drawn if drawing is not None]


def _first_picture(entry: Entry, root: Path) -> Picture | None:
    """The picture of the lowest seed that has one."""
    by_seed = sorted(entry.records, key=lambda stored: (stored.record.seed or 0, str(stored.path)))
    for stored in by_seed:
        path = find_sidecar_file(stored.path, PICTURE_NAME, root)
        if path is not None:
            return Picture(entry.label, path, stored.record)
    return None


def pictures_drawing(
    name: str, caption: str, shown: Sequence[Picture], root: Path
) -> Drawing | None:
    """The pictures below ``root`` that can be read, a row each; None if there are none.

    The data are every picture's title, file name and checksum.
    """
    read = [
        (each, content)
        for each in shown
        if inside(root, each.path) and isinstance(content := read_png(each.path), bytes)
    ]
    rows = [
        (each.title, str(each.path.relative_to(root)), hashlib.sha256(content).hexdigest())
        for each, content in read
    ]
    data = frame([dict(zip(_COLUMNS, row, strict=True)) for row in rows], _COLUMNS)
    return Drawing(name, caption, data, lambda: _draw(read)) if read else None


def class_names(record: OfASet) -> tuple[str, ...]:
    """The classes of the record's data, by label; empty where the catalogue has no names."""
    known = DATASETS.get(record.dataset)
    return known.class_names if known is not None else ()


def first_of_each_class(picture: Image, record: OfASet) -> list[Image]:
    """The first image of each class (at most ten classes) from the picture that a run leaves beside
    its set; the whole picture if it is laid out otherwise.
    """
    ipc = record.ipc or 1
    classes = max(1, record.budget_images // ipc)
    columns, rows = min(10, ipc), -(-min(ipc, 50) // 10)
    side = (picture.width - _PADDING) // columns
    if picture.size != (columns * side + _PADDING, classes * rows * side + _PADDING):
        return [picture]
    return [
        picture.crop((_PADDING, top + _PADDING, side, top + side))
        for top in range(0, min(classes, _MOST_CLASSES) * rows * side, rows * side)
    ]


def _draw(read: Sequence[tuple[Picture, bytes]]) -> Figure:
    from matplotlib.figure import Figure
    from PIL import Image

    rows = [
        first_of_each_class(Image.open(io.BytesIO(content)).convert("RGB"), each.record)
        for each, content in read
    ]
    columns = max(map(len, rows))
    side = max(tile.width for row in rows for tile in row)
    sheet = np.full((len(rows) * (side + 2), columns * (side + 2), 3), 255, np.uint8)
    for number, tiles in enumerate(rows):
        for place, tile in enumerate(tiles):
            shown = np.asarray(tile.resize((side, side), Image.Resampling.NEAREST))
            y, x = number * (side + 2), place * (side + 2)
            sheet[y : y + side, x : x + side] = shown
    titles = [textwrap.fill(each.title, _LETTERS) for each, _ in read]
    left = 0.15 + _LETTER_INCHES * max(len(line) for words in titles for line in words.split("\n"))
    inches = min(0.56, (PAGE_INCHES - left - 0.25) / columns)
    top = 0.3 if inches >= _UPRIGHT_INCHES else 0.65
    tall = inches * len(rows) + top + 0.05
    left += max(0.0, PAGE_INCHES - left - columns * inches - 0.25) / 2  # in the middle of the page
    figure = Figure(figsize=(PAGE_INCHES, tall))
    shares = left / PAGE_INCHES, 0.05 / tall, columns * inches / PAGE_INCHES
    panel: Any = figure.add_axes((*shares, inches * len(rows) / tall))
    panel.imshow(sheet, interpolation="nearest")
    middles = np.arange(max(columns, len(rows))) * (side + 2) + side / 2
    panel.set_yticks(middles[: len(rows)], labels=titles)
    names = class_names(read[0][0].record)[:columns] if columns > 1 else ()
    turned = {"rotation": 35, "ha": "left"} if inches < _UPRIGHT_INCHES else {}
    panel.set_xticks(middles[: len(names)], labels=names, **turned)
    panel.tick_params(length=0, labeltop=True, labelbottom=False)
    panel.spines[:].set_visible(False)
    return figure
