"""What a run leaves beside its record: the picture of its images, and its learning curve."""

from __future__ import annotations

import base64
import csv
import io
import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dcbench.report.page.curves import Point

PICTURE_NAME, HISTORY_NAME = "images.png", "history.csv"
_MOST_PICTURE_BYTES = 8 * 2**20
_MOST_HISTORY_BYTES = 16 * 2**20
_MOST_PIXELS = 50_000_000


@dataclass(frozen=True)
class Picture:
    """A picture as an address that holds it; sizes in pixels."""

    address: str
    width: int
    height: int


def find_beside(record: Path, name: str, root: Path) -> Path | None:
    """The file ``name`` of the set that ``record`` is of: in its folder, or in that of the set above ``evaluations``.

    A file outside ``root`` is not taken.
    """
    folders = [record.parent]
    if record.parent.parent.name == "evaluations":
        folders.append(record.parent.parent.parent)
    top = root.resolve()
    for candidate in (folder / name for folder in folders):
        try:
            if candidate.is_file() and candidate.resolve().is_relative_to(top):
                return candidate
        except (OSError, RuntimeError):  # a folder that may not be read, a loop of links
            continue
    return None


def read_picture(path: Path) -> Picture | str:
    """The picture, or why there is none: only a whole PNG of moderate size is shown."""
    from PIL import Image

    try:
        if path.stat().st_size > _MOST_PICTURE_BYTES:
            return f"{path.name} has more than {_MOST_PICTURE_BYTES // 2**20} MB"
        content = path.read_bytes()
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # of a picture so large that it must be an attack
            with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
                width, height = image.size
                if width * height > _MOST_PIXELS:
                    return f"{path.name} has {width} × {height} pixels"
                image.load()
    except Exception as error:  # a file that is no picture makes its reader raise anything
        return f"{path.name} cannot be shown: {type(error).__name__}"
    return Picture(f"data:image/png;base64,{base64.b64encode(content).decode()}", width, height)


def read_history(path: Path) -> list[Point] | str:
    """Step and loss of each line that has both, or why there are none."""
    try:
        if path.stat().st_size > _MOST_HISTORY_BYTES:
            return f"{path.name} has more than {_MOST_HISTORY_BYTES // 2**20} MB"
        content = path.read_text(encoding="utf-8")
        return list(_points(content))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        return f"{path.name} cannot be read: {type(error).__name__}"


def _points(content: str) -> Iterator[Point]:
    for row in csv.DictReader(io.StringIO(content)):
        try:
            point = float(row["step"]), float(row["loss"])
        except (KeyError, TypeError, ValueError):  # a line that a crash cut short, or a history of something else
            continue
        if all(map(math.isfinite, point)):
            yield point
