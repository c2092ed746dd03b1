"""DataDAM: ``{"data": [images, labels]}``, or bare tensors ``…_images.pt`` and ``…_labels.pt``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dcbench.artifacts.importers import experiments
from dcbench.artifacts.importers.layout import FileLayout, ForeignSet, ImportOptions
from dcbench.artifacts.importers.reading import labels_beside, read_tensor

if TYPE_CHECKING:
    from dcbench.images import ImageSpec


def read(path: Path, spec: ImageSpec, options: ImportOptions) -> ForeignSet:
    """Read the set in a dict or in two files. Raises FileFormatError."""
    if path.name.endswith("images.pt") and options.experiment is None:
        return ForeignSet(read_tensor(path), read_tensor(labels_beside(path)))
    return experiments.read(path, spec, options)


LAYOUTS = (
    FileLayout(
        "datadam",
        "DataDAM: a dict with [images, labels], or …images.pt and …labels.pt",
        "normalised",
        read,
        options=frozenset({"experiment"}),
    ),
)
