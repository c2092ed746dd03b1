"""IDC: ``data.pt`` with images in [0, 1] and targets; each image is a square of smaller ones.

The smaller images are taken apart and enlarged, as IDC's code decodes them.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from dcbench.artifacts.importers.layout import FileLayout, ForeignSet, ImportOptions
from dcbench.artifacts.importers.reading import in_parts, pair, read_tensors

if TYPE_CHECKING:
    from dcbench.images import ImageSpec


def read(path: Path, _spec: ImageSpec, _options: ImportOptions, factor: int) -> ForeignSet:
    """The set with each image taken apart into ``factor``² ones; raises FileFormatError."""
    packed = pair(read_tensors(path / "data.pt" if path.is_dir() else path), path)
    return in_parts(packed, factor)


LAYOUTS = (
    FileLayout(
        "idc",
        "IDC: data.pt with images in [0, 1], four in one (factor 2)",
        "pixels",
        partial(read, factor=2),
    ),
    FileLayout("idc3", "the same, nine in one (factor 3)", "pixels", partial(read, factor=3)),
)
