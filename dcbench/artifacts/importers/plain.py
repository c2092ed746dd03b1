"""Anybody's: ``images`` and ``labels`` in an ``.npz`` or a dict, or a pair of tensors; N×C×H×W, or
N×H×W×C, by their shape.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from dcbench.artifacts.importers.layout import FileLayout, ForeignSet, ImportOptions
from dcbench.artifacts.importers.reading import (
    channels_first,
    keys_of,
    pair,
    read_arrays,
    read_tensors,
)
from dcbench.system.errors import FileFormatError

if TYPE_CHECKING:
    from dcbench.images import ImageSpec


def read(path: Path, spec: ImageSpec, _options: ImportOptions) -> ForeignSet:
    """The set, with its channels first; raises FileFormatError."""
    stored = read_arrays(path) if path.suffix == ".npz" else _from_tensors(path)
    channels, size, _ = spec.shape
    last = tuple(stored.images.shape[1:]) == (size, size, channels) != spec.shape
    return replace(stored, images=channels_first(stored, path)) if last else stored


def _from_tensors(path: Path) -> ForeignSet:
    value = read_tensors(path)
    if not isinstance(value, Mapping):
        return pair(value, path)
    if not {"images", "labels"} <= set(value):
        got = keys_of(value) or "an empty one"
        raise FileFormatError(f"{path}: wanted a dict with images and labels, got {got}")
    return pair([value["images"], value["labels"]], path)


LAYOUTS = (
    FileLayout(
        "plain", "anybody's: images and labels in a dict, a pair or an .npz", "pixels", read
    ),
)
