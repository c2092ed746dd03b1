"""The hub's image layout: a parquet file with a column of encoded images and one of classes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dcbench.artifacts.importers.layout import FileLayout, ForeignSet, ImportOptions
from dcbench.datasets.catalogue import DATASETS
from dcbench.datasets.declaration import Dataset
from dcbench.system.errors import DataError, FileFormatError

if TYPE_CHECKING:
    from dcbench.images import ImageSpec


def read(path: Path, spec: ImageSpec, options: ImportOptions) -> ForeignSet:
    """Read the images and classes of all rows, in the file's order. Raises FileFormatError."""
    import torch

    from dcbench.datasets.parquet import read_file

    declared = DATASETS.get(spec.dataset)
    wanted = Dataset(
        spec.dataset,
        spec.channels,
        spec.size,
        spec.class_names,
        spec.flips,
        label_column=declared.label_column if declared else "label",
        photographs=options.resize,
    )
    if not path.is_file():
        raise FileFormatError(f"no such file: {path} (wanted a parquet file of images)")
    try:
        found = read_file(wanted, path)
    except DataError as error:
        raise FileFormatError(str(error)) from error
    images = torch.from_numpy(found.images).float() / 255
    doubts = ("images of other sizes, if any, are resized",) if options.resize else ()
    return ForeignSet(images, torch.from_numpy(found.labels), doubts=doubts)


LAYOUTS = (
    FileLayout(
        "parquet",
        "the hub's image layout: a parquet file of encoded images and their classes",
        "pixels",
        read,
        options=frozenset({"resize"}),
    ),
)
