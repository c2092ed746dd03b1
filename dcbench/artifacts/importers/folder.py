"""SRe2L, RDED, EDC, D4M: a folder of images for each class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dcbench.artifacts.importers.layout import FileLayout, ForeignSet, ImportOptions
from dcbench.datasets.catalogue import DATASETS
from dcbench.datasets.class_folders import (
    class_by_class,
    class_folders,
    images_in,
    is_litter,
    labels_of,
    listed,
    side_by_side,
)
from dcbench.datasets.declaration import Dataset
from dcbench.system.errors import DataError, FileFormatError

if TYPE_CHECKING:
    from torch import Tensor

    from dcbench.images import ImageSpec


def read(path: Path, spec: ImageSpec, options: ImportOptions) -> ForeignSet:
    """Read the images of all class folders, which are named like the classes. Raises
    FileFormatError.
    """
    import torch

    if not path.is_dir():
        raise FileFormatError(f"{path} is not a folder with one folder of images per class")
    folders = class_folders(path)
    if len(folders) != spec.classes:
        raise FileFormatError(
            f"{path}: {len(folders)} folders, but {spec.dataset} has {spec.classes} classes"
        )
    labels = _labels(folders, spec, options, path)
    try:
        files = class_by_class(path / folder for folder in folders)
        if not files:
            raise FileFormatError(f"{path}: no images in its folders")
        images, resized = _images([file for file, _ in files], spec, options.resize)
    except DataError as error:
        raise FileFormatError(str(error)) from error
    notes, doubts = {}, []
    if options.by_position:
        pairs = [
            f"{one} is {spec.class_names[label]}"
            for one, label in zip(folders, labels, strict=True)
        ]
        notes["classes"] = "by position"
        doubts += [f"classes are taken by position: {listed(pairs)}"]
    files_beside = (entry.name for entry in path.iterdir() if entry.is_file())
    beside = sorted(name for name in files_beside if not is_litter(name))
    if beside:
        doubts += [f"{len(beside)} files beside the class folders are not read: {listed(beside)}"]
    if resized:
        notes["resized"] = resized
        doubts += [f"images are resized: {resized}"]
    found = torch.tensor([labels[position] for _, position in files])
    return ForeignSet(images, found, doubts=tuple(doubts), notes=notes)


def holds_class_folders(path: Path) -> bool:
    """Return whether the folder looks like this layout: folders with files that may be images."""
    folders = class_folders(path)
    return bool(folders) and all(images_in(path / name) for name in folders)


def _labels(
    folders: Sequence[str], spec: ImageSpec, options: ImportOptions, path: Path
) -> list[int]:
    if options.by_position:
        return list(range(len(folders)))
    declared = DATASETS.get(spec.dataset)
    if declared is None or (declared.class_names or spec.class_names) != spec.class_names:
        declared = Dataset(spec.dataset, spec.channels, spec.size, spec.class_names, spec.flips)
    labels = labels_of(folders, spec.class_names, declared.aliases, declared.numbered)
    if labels is None:
        raise FileFormatError(
            f"{path}: its folders are not called as the classes of {spec.dataset} are: "
            f"{side_by_side(folders, spec.class_names)}; rename the folders, or take them in their "
            "order with --classes by-position"
        )
    return labels


def _images(files: Sequence[Path], spec: ImageSpec, resize: bool) -> tuple[Tensor, str]:
    """Decode the files to fractions of white, and say what was resized."""
    import numpy as np
    import torch

    from dcbench.datasets.decoding import ImageSizeError, bombs_refused, decode_within, header_of

    fitting = Dataset(spec.dataset, spec.channels, spec.size, (), spec.flips, photographs=resize)
    try:
        with bombs_refused():
            images = [decode_within(file, fitting, str(file)) for file in files]
            sizes = {header_of(file)[1] for file in files}
    except ImageSizeError as error:
        raise FileFormatError(
            f"{error}; with --resize the middle square of each image is resized to that"
        ) from error
    others = sorted(sizes - {(spec.size, spec.size)})
    was = " and ".join(f"{width}×{height}" for width, height in others[:: max(1, len(others) - 1)])
    many = f"{len(others)} sizes, between " if len(others) > 2 else ""
    resized = f"from {many}{was}, the middle square of each, bilinear, to {spec.size}×{spec.size}"
    return torch.from_numpy(np.stack(images)).float() / 255, resized if others else ""


LAYOUTS = (
    FileLayout(
        "folder",
        "SRe2L, RDED, EDC, D4M: a folder of images per class",
        "pixels",
        read,
        options=frozenset({"by_position", "resize"}),
    ),
)
