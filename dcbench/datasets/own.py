"""A user's own data set: a folder of images, with an optional ``dcbench.toml`` that describes it.

Images are ``FOLDER/{train,test}/<class>/<image>``. The file may set ``name``, ``size``, ``mean``,
``std``, ``flips`` (whether a mirrored image keeps its class) and ``classes`` (the order of labels).
The data set has a name of its own, so no published numbers are shown beside it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from dcbench.datasets.class_folders import class_folders, images_in
from dcbench.datasets.declaration import Dataset
from dcbench.system.errors import DataError, FileFormatError
from dcbench.system.files import read_toml

DECLARATION = "dcbench.toml"
LEAST_IMAGES = 2  # least number of training images of a class
_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,58}")
_GREY = frozenset({"1", "L", "LA"})


def names_a_folder(name: str) -> bool:
    """Return whether the name of a data set is a path: ``./mydata``, ``/data/mine``, ``..``."""
    return "/" in name or "\\" in name or name in (".", "..")


def own_dataset(folder: Path, taken: Collection[str]) -> Dataset:
    """Declare the data set in ``folder``. Its name must not be one of ``taken``.

    Raises:
        DataError: If it is no image folder, or if its ``dcbench.toml`` is wrong.
    """
    train = folder / "train"
    if not (train.is_dir() and (folder / "test").is_dir()):
        raise DataError(
            f"{folder} is no image folder: wanted {train}/CLASS/IMAGE and "
            f"{folder / 'test'}/CLASS/IMAGE; divide your images between the two"
        )
    said = _declaration(folder / DECLARATION)
    name = said.get("name", re.sub(r"[^a-z0-9_.-]+", "-", folder.resolve().name.lower()))
    if not _NAME.fullmatch(name) or name in taken:
        reason = "is the name of a published data set" if name in taken else "is no name"
        raise DataError(
            f'{name!r} {reason}; give your data another: write name = "mydata" into '
            f"{folder / DECLARATION} (small letters, digits, - and _)"
        )
    found = class_folders(train)
    classes = said.get("classes", found)
    if sorted(classes) != sorted(found):
        raise DataError(
            f"{folder / DECLARATION}: classes are {', '.join(classes)}, but {train} has the "
            f"folders {', '.join(found) or 'none'}"
        )
    _require_images(name, train, classes)
    shapes = [_shape_of(images_in(train / each)[0]) for each in classes]
    channels, side = max(channels for channels, _ in shapes), shapes[0][1]
    size: int | None = said.get("size", side)
    if size is None:
        raise DataError(
            f"the images in {train} are not square; say which size they are resized to: size = 32 "
            f"in {folder / DECLARATION}"
        )
    for key in ("mean", "std"):
        if len(said.get(key, ())) not in (0, channels):
            raise DataError(
                f"{folder / DECLARATION}: {key} needs {channels} numbers, got {said[key]}"
            )
    return Dataset(
        name=name,
        channels=channels,
        size=size,
        class_names=tuple(classes),
        flips=said.get("flips", True),
        mean=tuple(said.get("mean", ())),
        std=tuple(said.get("std", ())),
        photographs="size" in said,
        place=str(folder.absolute()),
    )


def _require_images(name: str, train: Path, classes: list[str]) -> None:
    if len(classes) < 2:
        raise DataError(f"{train} holds {len(classes)} class folders; wanted at least two")
    for each in classes:
        count = len(images_in(train / each))
        if count < LEAST_IMAGES:
            raise DataError(
                f"class {each!r} of {name} has {count} image{'' if count == 1 else 's'} in "
                f"{train}; wanted at least {LEAST_IMAGES}"
            )


def _numbers(value: Any) -> bool:
    return isinstance(value, list) and all(type(one) in (int, float) for one in value)


def _names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


_KEYS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "name": (lambda value: isinstance(value, str), "text"),
    "size": (lambda value: type(value) is int and 0 < value <= 4096, "a whole number of pixels"),
    "mean": (_numbers, "a list of numbers, one per channel, of pixels in [0, 1]"),
    "std": (
        lambda value: _numbers(value) and min(value, default=1) > 0,
        "a list of numbers above 0",
    ),
    "flips": (lambda value: isinstance(value, bool), "true or false"),
    "classes": (_names, "a list of the class folders' names"),
}


def _declaration(path: Path) -> dict[str, Any]:
    """Return the content of ``dcbench.toml``; nothing if there is none."""
    if not path.exists():
        return {}
    try:
        said = read_toml(path)
    except (OSError, FileFormatError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    for key, value in said.items():
        if key not in _KEYS:
            raise DataError(f"{path}: unknown key {key!r}; it may say {', '.join(_KEYS)}")
        fits, wanted = _KEYS[key]
        if not fits(value):
            raise DataError(f"{path}: {key} must be {wanted}, got {value!r}")
    if ("mean" in said) != ("std" in said):
        raise DataError(f"{path}: mean and std go together; say both or neither")
    return said


def _shape_of(path: Path) -> tuple[int, int | None]:
    """Return channels and pixels per side of an image file; None if it is not square."""
    from dcbench.datasets.decoding import header_of

    mode, (width, height) = header_of(path)
    return 1 if mode in _GREY else 3, width if width == height else None
