"""Sources with one file for each image."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import final

from dcbench.datasets.class_folders import class_by_class
from dcbench.datasets.declaration import Dataset
from dcbench.system.errors import DataError

SPLITS = ("train", "test")
PUBLISHED = {"train": "train", "test": "val"}  # the split folders of ImageNet and its relatives


@final
@dataclass(frozen=True)
class ListedSource:
    """The image files of a data set below a folder."""

    kind: str
    folder: Path
    class_names: tuple[str, ...]  # in the order of labels
    listing: Callable[[str], list[tuple[Path, int]]]  # the files of a split with their labels
    other_files: tuple[Path, ...] = ()  # files that are read but are not images

    @property
    def description(self) -> str:
        """The source in words, for messages."""
        return f"{self.kind} in {self.folder}"

    def files(self) -> tuple[Path, ...]:
        """All files that it would read."""
        return (*self.other_files, *(path for split in SPLITS for path, _ in self.listing(split)))


def by_class(
    folder: Path, splits: Mapping[str, str], classes: tuple[str, ...]
) -> Callable[[str], list[tuple[Path, int]]]:
    """List the files ``<split's folder>/<class>/<image>``; ``classes`` are in the order of
    labels.
    """
    return lambda split: class_by_class(folder / splits[split] / name for name in classes)


def published(dataset: Dataset, root: Path) -> Path | None:
    """Return the first of the data set's folders that holds ``train`` and ``val``.

    Raises DataError if a folder holds only one of them. An image folder, which has the data set's
    own name and ``test`` beside ``train``, is skipped.
    """
    for folder in (root / name for name in dataset.folders):
        missing = [name for name in PUBLISHED.values() if not (folder / name).is_dir()]
        if not missing:
            return folder
        own = folder.name == dataset.name
        if len(missing) == 1 and not (own and (folder / "test").is_dir()):
            instead = " (or test)" if own and missing == ["val"] else ""
            raise DataError(
                f"{folder / missing[0]}{instead} is missing, though its sibling is there; complete "
                "the copy"
            )
    return None
