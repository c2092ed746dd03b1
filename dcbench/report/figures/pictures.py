"""Pictures side by side: image grids of methods at one budget, or of one set over its steps."""

from __future__ import annotations

import hashlib
import io
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dcbench.records import StoredRecord
from dcbench.report.beside import PICTURE_NAME, find_beside, inside, read_png
from dcbench.report.boards import boards, in_order
from dcbench.report.figures.drawing import COLUMN_INCHES, PAGE_INCHES, Drawing, named
from dcbench.report.frames import frame
from dcbench.report.layout import lay_out
from dcbench.report.words import title
from dcbench.studies import STUDIES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_IN_ROW = 4
_COLUMNS = ("title", "file", "sha256")


@dataclass(frozen=True)
class Shown:
    """A picture and what stands above it."""

    title: str
    path: Path


def grid_drawings(records: Iterable[StoredRecord], root: Path) -> list[Drawing]:
    """For each data set and budget the images of every method that has a picture; one set of each, that of the lowest seed."""
    found: dict[tuple[str, str, int | None], dict[Path, str]] = defaultdict(dict)
    for board in boards(records, STUDIES["table3"].methods):
        for line in lay_out(board, None).lines:
            for ipc in in_order(line.entry.ipcs) if line.entry is not None else []:
                path = _first_picture([stored for stored in line.entry.records if stored.record.ipc == ipc] if line.entry else [], root)
                if path is not None:
                    found[board.dataset, board.revision, ipc].setdefault(path, line.label)
    drawn = []
    for (dataset, revision, ipc), pictures in found.items():
        budget = "without a budget" if ipc is None else f"at IPC {ipc}"
        how = "a class in each row, in pixel space, whitening undone; the lowest seed of each method"
        caption = f"Images on {title(dataset)} {budget}: {how}."
        name = named("images", dataset, f"ipc{ipc}" if ipc else "whole", revision[:8])
        drawing = pictures_drawing(name, caption, [Shown(label, path) for path, label in pictures.items()], root)
        drawn += [drawing] if drawing is not None else []
    return drawn


def _first_picture(records: Sequence[StoredRecord], root: Path) -> Path | None:
    by_seed = sorted(records, key=lambda stored: (stored.record.seed or 0, str(stored.path)))
    return next((path for stored in by_seed if (path := find_beside(stored.path, PICTURE_NAME, root)) is not None), None)


def pictures_drawing(name: str, caption: str, shown: Sequence[Shown], root: Path) -> Drawing | None:
    """The different pictures that can be read, in rows; nothing if there are none. The data are the files' names and checksums."""
    read: dict[bytes, Shown] = {}  # the same picture once
    for each in shown:
        content = read_png(each.path) if inside(root, each.path) else ""
        if isinstance(content, bytes):
            read.setdefault(content, each)
    if not read:
        return None
    rows = [(each.title, str(each.path.relative_to(root)), hashlib.sha256(content).hexdigest()) for content, each in read.items()]
    data = frame([dict(zip(_COLUMNS, row, strict=True)) for row in rows], _COLUMNS)
    return Drawing(name, caption, data, lambda: _draw([(each.title, content) for content, each in read.items()]))


def _draw(pictures: Sequence[tuple[str, bytes]]) -> Figure:
    from matplotlib.figure import Figure
    from PIL import Image

    images = [Image.open(io.BytesIO(content)).convert("RGB") for _, content in pictures]
    tall = max(image.height / image.width for image in images)
    columns = min(len(pictures), _IN_ROW if tall <= 2 else 3 * _IN_ROW)
    rows = -(-len(pictures) // columns)
    width = PAGE_INCHES if columns > 2 else COLUMN_INCHES
    height = min(9.0, rows * (0.25 + min(tall, 3.0) * width / columns))
    figure = Figure(figsize=(width, height), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).flat
    for panel, (words, _), image in zip(panels, pictures, images, strict=False):
        panel.imshow(image, interpolation="nearest")
        panel.set_title(words, fontsize=7)
    for panel in figure.axes:
        panel.set_axis_off()
    return figure
