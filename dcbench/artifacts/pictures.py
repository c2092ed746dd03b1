"""Pictures of synthetic sets: one sheet with a row for each class, whitening undone."""

from __future__ import annotations

import io
from pathlib import Path

import torch
from jaxtyping import UInt8
from torch import Tensor

from dcbench.images import SyntheticSet

MADE_BY = "dcbench"  # metadata of each picture, which marks it as written by dcbench
MOST_PER_CLASS = 50
SMALLEST_TILE = 32  # pixels per side on the page: smaller images are enlarged by a whole factor


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
    return (
        (make_grid(enlarged, nrow=columns, padding=2, pad_value=1.0) * 255).round().to(torch.uint8)
    )


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
