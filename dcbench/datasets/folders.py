"""A folder of images: ``<dataset>/{train,test}/<class>/<image>``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, final

from dcbench.datasets.declaration import Dataset
from dcbench.datasets.listed import SPLITS, Listed, class_by_class
from dcbench.system.errors import DataError


def places(dataset: Dataset, root: Path) -> list[Path]:
    """The folder that is looked for."""
    return [root / dataset.name / "train"]


def look(dataset: Dataset, root: Path) -> FolderSource | None:
    """The image folder, if either split is there; raises DataError where a split or a class is
    missing.
    """
    folders = {split: root / dataset.name / split for split in SPLITS}
    if not any(folder.is_dir() for folder in folders.values()):
        return None
    classes = {split: _class_folders(folder) for split, folder in folders.items()}
    for split, found in classes.items():
        if len(found) != dataset.classes:
            raise DataError(
                f"{folders[split]} holds {len(found)} class folders; {dataset.name} has {dataset.classes} classes"
            )
    if set(classes["train"]) != set(classes["test"]):
        odd = sorted(set(classes["train"]) ^ set(classes["test"]))[0]
        raise DataError(
            f"{root / dataset.name}: train and test have different class folders ({odd!r} stands in one of them only)"
        )
    return FolderSource(dataset, root / dataset.name, class_order(classes["train"], dataset))


def class_order(folders: list[str], dataset: Dataset) -> tuple[tuple[str, str], ...]:
    """Pairs of folder and class name in the order of labels.

    Known class names, or their WordNet ids, stand in their usual order; numbers in numeric order
    (0, 1, … are the labels of the known classes); anything else is sorted and names itself.
    """
    if dataset.wordnet_ids and set(folders) == set(dataset.wordnet_ids):
        return tuple(zip(dataset.wordnet_ids, dataset.class_names, strict=True))
    if set(folders) == set(dataset.class_names):
        return tuple((name, name) for name in dataset.class_names)
    if all(name.isdecimal() for name in folders):
        ordered = sorted(folders, key=lambda name: (int(name), name))
        labels = [int(name) for name in ordered] == list(range(len(dataset.class_names)))
        return tuple(zip(ordered, dataset.class_names if labels else ordered, strict=True))
    return tuple((name, name) for name in sorted(folders))


def _class_folders(folder: Path) -> list[str]:
    if not folder.is_dir():
        raise DataError(f"{folder} is missing, though its sibling is there; complete the copy")
    return [
        entry.name
        for entry in folder.iterdir()
        if entry.is_dir() and not entry.name.startswith(".")
    ]


@final
@dataclass(frozen=True)
class FolderSource(Listed):
    """The image folder of one data set."""

    order: tuple[tuple[str, str], ...]  # folder and class name, in the order of labels

    kind: ClassVar[str] = "class folders"

    @property
    def class_names(self) -> tuple[str, ...]:
        return tuple(name for _, name in self.order)

    def listing(self, split: str) -> list[tuple[Path, int]]:
        """Class by class, files by name."""
        return class_by_class([self.folder / split / name for name, _ in self.order])
