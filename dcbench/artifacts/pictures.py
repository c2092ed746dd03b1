"""Pictures of synthetic sets: one sheet with a row for each class, whitening undone."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import UInt8
from torch import Tensor

from dcbench.images import SyntheticSet

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MADE_BY = "dcbench"  # metadata of each picture, which marks it as written by dcbench
MOST_PER_CLASS = 50
SMALLEST_TILE = 32  # pixels per side on the page: smaller images are enlarged by a whole factor
_PADDING = 2  # pixels
_CENTIMETRE, _POINT = 1 / 2.54, 1 / 72  # in inches
_MOST_LETTERS = 8  # points high, and less where a class has less room
_LETTER_WIDTH = 0.6  # of its height


def grid(synthetic: SyntheticSet) -> UInt8[Tensor, "channels height width"]:
    """Draw all images, at most 50 of each class, on one sheet with a row for each class.

    A class with more than ten images takes several rows.
    """
    from torchvision.utils import make_grid

    labels = synthetic.hard_labels
    members = [
        torch.nonzero(labels == label).flatten()[:MOST_PER_CLASS]
        for label in range(synthetic.spec.classes)
    ]
    longest = max(len(rows) for rows in members)
    columns = min(10, longest)
    rows_per_class = -(-longest // columns)
    pixels = synthetic.pixels
    blank = torch.ones(1, *synthetic.spec.shape)
    tiles = []
    for chosen in members:
        tiles += [pixels[chosen], blank.expand(columns * rows_per_class - len(chosen), -1, -1, -1)]
    factor = max(1, SMALLEST_TILE // synthetic.spec.size)
    enlarged = torch.cat(tiles).repeat_interleave(factor, 2).repeat_interleave(factor, 3)
    sheet = make_grid(enlarged, nrow=columns, padding=_PADDING, pad_value=1.0)
    return (sheet * 255).round().to(torch.uint8)


def figure(synthetic: SyntheticSet, centimetres: float = 1.0) -> Figure:
    """The sheet of ``grid`` for print, each image so many centimetres wide, with the names of the
    classes beside it.
    """
    from matplotlib.figure import Figure

    sheet = grid(synthetic).permute(1, 2, 0).numpy()
    size, names = synthetic.spec.size, synthetic.spec.class_names
    tile = max(1, SMALLEST_TILE // size) * size + _PADDING
    tall, wide = (side / tile * centimetres * _CENTIMETRE for side in sheet.shape[:2])
    letters = min(_MOST_LETTERS, 0.9 * tall / len(names) / _POINT)
    left = (max(map(len, names)) * _LETTER_WIDTH + 1) * letters * _POINT
    drawn = Figure(figsize=(left + wide, tall))
    panel: Any = drawn.add_axes((left / (left + wide), 0, wide / (left + wide), 1))
    panel.imshow(sheet, interpolation="nearest", aspect="auto")
    middles = [(row + 0.5) * sheet.shape[0] / len(names) for row in range(len(names))]
    panel.set_yticks(middles, names, fontsize=letters, parse_math=False)
    panel.set_xticks([])
    panel.tick_params(length=0)
    panel.spines[:].set_visible(False)
    return drawn


def as_pdf(drawn: Figure) -> bytes:
    """Encode a figure as PDF, the same each time."""
    stream = io.BytesIO()
    metadata = {"CreationDate": None, "Creator": MADE_BY}
    drawn.savefig(stream, format="pdf", dpi=600, metadata=metadata)
    return stream.getvalue()


def as_png(sheet: UInt8[Tensor, "channels height width"]) -> bytes:
    """Encode a sheet as PNG."""
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    stream, origin = io.BytesIO(), PngInfo()
    origin.add_text("Software", MADE_BY)
    pixels = sheet.permute(1, 2, 0).contiguous().numpy()
    Image.fromarray(pixels).save(stream, format="PNG", pnginfo=origin)
    return stream.getvalue()


def is_ours(path: Path) -> bool:
    """Return whether dcbench wrote this picture, and may replace it."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path, formats=["PNG"]) as picture:
            return picture.info.get("Software") == MADE_BY
    except (OSError, UnidentifiedImageError, ValueError):
        return False
