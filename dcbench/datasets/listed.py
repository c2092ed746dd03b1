"""What sources of one file for each image have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from dcbench.datasets.declaration import Dataset
from dcbench.system.errors import DataError

SPLITS = ("train", "test")
# what desktops leave behind, besides names with a leading dot
_LITTER = frozenset({"Thumbs.db", "desktop.ini"})


@dataclass(frozen=True)
class Listed(ABC):
    """Files of a data set below a folder. A subclass says which, and what their classes are called."""

    dataset: Dataset
    folder: Path

    kind: ClassVar[str]
    besides: ClassVar[tuple[str, ...]] = ()  # files in the folder that are read and are no images

    @property
    def description(self) -> str:
        """What people call it."""
        return f"{self.kind} in {self.folder}"

    def files(self) -> tuple[Path, ...]:
        """All files that it would read."""
        return (
            *(self.folder / name for name in self.besides),
            *(path for split in SPLITS for path, _ in self.listing(split)),
        )

    @property
    @abstractmethod
    def class_names(self) -> tuple[str, ...]:
        """In the order of labels."""

    @abstractmethod
    def listing(self, split: str) -> list[tuple[Path, int]]:
        """The files of a split with their labels."""


def published(dataset: Dataset, folder: Path) -> bool:
    """Whether ``folder`` holds ``train`` and ``val``; raises DataError where it holds one of them,
    and is no image folder.

    An image folder has the data set's own name, and ``test`` beside ``train``.
    """
    missing = [name for name in ("train", "val") if not (folder / name).is_dir()]
    own = folder.name == dataset.name
    if len(missing) == 1 and not (own and (folder / "test").is_dir()):
        instead = " (or test)" if own and missing == ["val"] else ""
        raise DataError(
            f"{folder / missing[0]}{instead} is missing, though its sibling is there; complete the copy"
        )
    return not missing


def class_by_class(folders: list[Path]) -> list[tuple[Path, int]]:
    """The files of each class's folder, by name, with the folder's place in the list as their
    label.
    """
    return [(path, label) for label, folder in enumerate(folders) for path in images_in(folder)]


def images_in(folder: Path) -> list[Path]:
    """All files of a class folder: what is not an image there is an error later, not silently left
    out.
    """
    return sorted(
        path
        for path in folder.iterdir()
        if not path.name.startswith(".") and path.name not in _LITTER
    )
