"""IDC: ``data.pt`` with images in [0, 1] and targets; each image is a square of smaller ones."""

from __future__ import annotations

from pathlib import Path

from dcbench.artifacts.importers.layout import FileLayout, ForeignSet, reader
from dcbench.artifacts.importers.reading import pair, read_tensors


def read(path: Path) -> ForeignSet:
    """Read the images as they are stored."""
    return pair(read_tensors(path / "data.pt" if path.is_dir() else path), path)


LAYOUTS = (
    FileLayout(
        "idc",
        "IDC: data.pt with images in [0, 1], four in one (factor 2)",
        "pixels",
        reader(read),
        factor=2,
    ),
    FileLayout("idc3", "the same, nine in one (factor 3)", "pixels", reader(read), factor=3),
)
