"""Finds and reads the files that a run leaves beside its record: picture and learning curve."""

from __future__ import annotations

import csv
import io
import math
import warnings
from collections.abc import Iterator
from pathlib import Path

PICTURE_NAME, HISTORY_NAME = "images.png", "history.csv"
_SET_PARTS = 5  # data set, budget, method, preset and artifact, seed: the path that tells a set
_MOST_PICTURE_BYTES = 8 * 2**20
_MOST_HISTORY_BYTES = 16 * 2**20
_MOST_PIXELS = 50_000_000

Point = tuple[float, float]  # step and loss


def find_sidecar_file(record: Path, name: str, root: Path) -> Path | None:
    """The file ``name`` of the record's set, if it is below ``root``: in the record's folder, in
    the set's folder above ``evaluations``, or in a folder that has the same set nearer to ``root``.
    """
    folders = [record.parent]
    if record.parent.parent.name == "evaluations":
        made = record.parent.parent.parent
        same_set = made.parts[-_SET_PARTS:]
        folders += [made, *(above.joinpath(*same_set) for above in made.parents)]
    return next((folder / name for folder in folders if inside(root, folder / name)), None)


def inside(root: Path, path: Path) -> bool:
    """Whether ``path`` is a file below ``root``, and not a link out of it."""
    try:
        return path.is_file() and path.resolve().is_relative_to(root.resolve())
    except (OSError, RuntimeError):  # a folder that may not be read, a loop of links
        return False


def read_png(path: Path) -> bytes | str:
    """The file's bytes; if it is not a whole PNG of moderate size, the reason."""
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
    return content


def read_history(path: Path) -> list[Point] | str:
    """Step and loss of each line that has both; if the file cannot be read, the reason."""
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
        except (KeyError, TypeError, ValueError):  # cut short by a crash, or of something else
            continue
        if all(map(math.isfinite, point)):
            yield point
