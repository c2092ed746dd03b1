"""Tiny ImageNet's own layout: ``train/<WordNet id>/images/``, and ``val/images/`` with
``val/val_annotations.txt``.

The published test images have no labels, so the validation images are the test split, as in all of
this literature. Labels are the WordNet ids in sorted order, the ones that readers of folders give.
"""

from __future__ import annotations

from pathlib import Path

from dcbench.datasets.class_folders import (
    class_by_class,
    class_folders,
    images_in,
    require_no_loose_images,
)
from dcbench.datasets.declaration import Dataset
from dcbench.datasets.listed import ListedSource, published
from dcbench.system.errors import DataError

KIND = "Tiny ImageNet's folders"
_MOST_BYTES = 16 << 20  # of the annotations, which have less than one


def searched_folders(dataset: Dataset, root: Path) -> list[Path]:
    """Return the folders that are looked for, in order."""
    return [root / name / "val" for name in dataset.folders if dataset.tree == "tiny-imagenet"]


def find_source(dataset: Dataset, root: Path) -> ListedSource | None:
    """Return the first folder with ``train`` and ``val``. Raises DataError if one of them or a
    class is missing.
    """
    folder = published(dataset, root) if dataset.tree == "tiny-imagenet" else None
    if folder is None:
        return None
    train, annotations = folder / "train", folder / "val" / "val_annotations.txt"
    require_no_loose_images(train)
    classes = tuple(name for name in class_folders(train) if (train / name / "images").is_dir())
    if len(classes) != dataset.classes:
        raise DataError(
            f"{train} holds {len(classes)} classes with a folder called images; {dataset.name} has "
            f"{dataset.classes}"
        )

    def listing(split: str) -> list[tuple[Path, int]]:
        """Class by class, files by name; the test split in the annotations' order."""
        if split == "test":
            return _annotated(annotations, classes)
        return class_by_class(train / name / "images" for name in classes)

    return ListedSource(KIND, folder, classes, listing, (annotations,))


def _annotated(annotations: Path, classes: tuple[str, ...]) -> list[tuple[Path, int]]:
    """Return the images that ``annotations`` names. Raises DataError, which names the wrong
    line.
    """
    labels = {name: label for label, name in enumerate(classes)}
    present = {path.name: path for path in images_in(annotations.parent / "images")}
    found: dict[str, int] = {}
    for number, line in enumerate(_lines(annotations), 1):
        name, class_name, *_ = *line.split("\t"), "", ""
        if name not in present or class_name not in labels or name in found:
            raise DataError(
                f"{annotations}, line {number}: wanted an image of val/images, once, and its "
                f"class; got {line[:60]!r}"
            )
        found[name] = labels[class_name]
    if len(found) != len(present):
        raise DataError(
            f"{annotations} names {len(found)} of the {len(present)} images in val/images; "
            "complete the copy"
        )
    return [(present[name], label) for name, label in found.items()]


def _lines(path: Path) -> list[str]:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise DataError(f"{path} has more than {_MOST_BYTES} bytes: not Tiny ImageNet's")
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}; complete the copy") from error
