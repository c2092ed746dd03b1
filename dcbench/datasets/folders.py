"""A folder of images: ``<dataset>/{train,test}/<class>/<image>``."""

from __future__ import annotations

from pathlib import Path

from dcbench.datasets.class_folders import (
    class_folders,
    labels_of,
    require_no_loose_images,
    side_by_side,
)
from dcbench.datasets.declaration import Dataset
from dcbench.datasets.listed import SPLITS, ListedSource, by_class
from dcbench.system.errors import DataError

KIND = "class folders"
BY_POSITION = f"{KIND} by position"


def searched_folders(dataset: Dataset, root: Path) -> list[Path]:
    """Return the folder in which an image folder of the data set is looked for."""
    return [_folder(dataset, root) / "train"]


def _folder(dataset: Dataset, root: Path) -> Path:
    return Path(dataset.place) if dataset.place else root / dataset.name


def find_source(dataset: Dataset, root: Path) -> ListedSource | None:
    """Return the image folder, if either split exists. Raises DataError if a split or class is
    missing, or if a folder is not named like a class.
    """
    folder = _folder(dataset, root)
    splits = {split: folder / split for split in SPLITS}
    if not any(path.is_dir() for path in splits.values()):
        return None
    for path in splits.values():
        if not path.is_dir():
            raise DataError(f"{path} is missing, though its sibling is there; complete the copy")
        require_no_loose_images(path)
    found = {split: class_folders(path) for split, path in splits.items()}
    for split, names in found.items():
        if len(names) != dataset.classes:
            raise DataError(
                f"{splits[split]} holds {len(names)} class folders; {dataset.name} has "
                f"{dataset.classes} classes"
            )
    odd = sorted(set(found["train"]) ^ set(found["test"]))
    if odd:
        raise DataError(
            f"{folder}: train and test have different class folders ({odd[0]!r} stands in one of "
            "them only)"
        )
    order = _in_order(found["train"], dataset, folder)
    listing = by_class(folder, {split: split for split in SPLITS}, order)
    kind = BY_POSITION if dataset.by_position else KIND
    return ListedSource(kind, folder, dataset.class_names or order, listing)


def _in_order(folders: list[str], dataset: Dataset, where: Path) -> tuple[str, ...]:
    """Return the folders in the order of labels. If no class names are declared, the folders name
    the classes.
    """
    if dataset.by_position or not dataset.class_names:
        return tuple(folders)
    labels = labels_of(folders, dataset.class_names, dataset.aliases, dataset.numbered)
    if labels is None:
        raise DataError(
            f"{where}: its folders are not called as the classes of {dataset.name} are: "
            f"{side_by_side(folders, dataset.class_names)}; rename the folders, "
            "or take them in their order with --data-classes by-position"
        )
    return tuple(name for _, name in sorted(zip(labels, folders, strict=True)))
