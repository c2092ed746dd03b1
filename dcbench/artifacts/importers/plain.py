"""The plain layout of any project: ``images`` and ``labels`` in an ``.npz``, a ``.safetensors`` or
a dict, or a pair of tensors.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from dcbench.artifacts.importers.layout import FileLayout, ForeignSet, reader
from dcbench.artifacts.importers.reading import (
    keys_of,
    pair,
    read_arrays,
    read_safetensors,
    read_tensors,
)
from dcbench.system.errors import FileFormatError


def read(path: Path) -> ForeignSet:
    """Read the set in whichever of these forms it has."""
    if path.suffix == ".npz":
        return read_arrays(path)
    value = read_safetensors(path) if path.suffix == ".safetensors" else read_tensors(path)
    if not isinstance(value, Mapping):
        return pair(value, path)
    if not {"images", "labels"} <= set(value):
        got = keys_of(value) or "an empty one"
        raise FileFormatError(f"{path}: wanted a dict with images and labels, got {got}")
    return pair([value["images"], value["labels"]], path)


LAYOUTS = (
    FileLayout(
        "plain",
        "anybody's: images and labels in a dict, a pair, an .npz or a .safetensors",
        "pixels",
        reader(read),
    ),
)
