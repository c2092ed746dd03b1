"""ImageNet's own folders, ``{train,val}/<WordNet id>/<photograph>``: of all classes, or of the ones
that a data set wants.
"""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, final

from dcbench.datasets import torchvision_files
from dcbench.datasets.declaration import Dataset
from dcbench.datasets.listed import Listed, class_by_class, published
from dcbench.system.errors import DataError
from dcbench.system.files import locked
from dcbench.system.progress import Progress

_FOLDERS = {"train": "train", "test": "val"}
_WORDNET_ID = re.compile(r"n\d{8}")
# the smallest published archive whose photographs need no enlarging to 128x128 by much
_DOWNLOADED_SIZE = "320px"


def places(dataset: Dataset, root: Path) -> list[Path]:
    """The folders that are looked for, in order."""
    return [root / name / "train" for name in dataset.folders if dataset.tree == "wordnet"]


def look(dataset: Dataset, root: Path) -> WordNetFolders | None:
    """The first folder with ``train`` and ``val``; raises DataError where one of them or a class is
    missing.
    """
    for folder in (train.parent for train in places(dataset, root)):
        if published(dataset, folder):
            found = {split: _class_folders(folder / name) for split, name in _FOLDERS.items()}
            return WordNetFolders(dataset, folder, _ids(dataset, folder, found))
    return None


def fetch(dataset: Dataset, root: Path, progress: Progress) -> WordNetFolders | None:
    """Let torchvision download and unpack the published archive; raises DataError where it has
    none.
    """
    if not dataset.torchvision_class:
        raise DataError(
            f"{dataset.name} cannot be fetched: torchvision has no archive of it; put {root / dataset.folders[0]} there"
        )
    with locked(root):
        return look(dataset, root) or _unpacked(dataset, root, progress)


def _unpacked(dataset: Dataset, root: Path, progress: Progress) -> WordNetFolders | None:
    """The archive's folders, whole or not at all: torchvision takes a folder that is there for a
    whole one, so it gets one aside.
    """
    aside = root / f"{dataset.name}.unpacking"
    with torchvision_files.writing(aside):
        # what was being unpacked when an earlier process was killed
        for left_over in aside.glob("*/"):
            shutil.rmtree(left_over)
        aside.mkdir(exist_ok=True)
        for archive in (root / f"{name}.tgz" for name in dataset.folders):
            if archive.is_file() and not (aside / archive.name).exists():
                (aside / archive.name).symlink_to(archive.absolute())
        torchvision_files.download(dataset, aside, progress, size=_DOWNLOADED_SIZE)
        for fetched in aside.iterdir():
            if fetched.name in dataset.folders or (
                fetched.suffix == ".tgz" and not fetched.is_symlink()
            ):
                fetched.rename(root / fetched.name)
        shutil.rmtree(aside)
    return look(dataset, root)


def _class_folders(folder: Path) -> frozenset[str]:
    found = frozenset(
        entry.name
        for entry in folder.iterdir()
        if _WORDNET_ID.fullmatch(entry.name) and entry.is_dir()
    )
    if not found:
        raise DataError(
            f"{folder} holds no class folders such as n01440764; sort its images into one folder for each class"
        )
    return found


def _ids(dataset: Dataset, folder: Path, found: dict[str, frozenset[str]]) -> tuple[str, ...]:
    """The WordNet ids in the order of labels: the declared ones, or all that there are, sorted."""
    wanted = dataset.wordnet_ids or tuple(sorted(found["train"] | found["test"]))
    for split, name in _FOLDERS.items():
        missing = [id_ for id_ in wanted if id_ not in found[split]]
        if missing:
            raise DataError(
                f"{folder / name} lacks {missing[0]} ({len(missing)} such classes of {dataset.name}); complete the copy"
            )
    if len(wanted) != dataset.classes:
        raise DataError(
            f"{folder} holds {len(wanted)} classes; {dataset.name} has {dataset.classes}"
        )
    return wanted


@final
@dataclass(frozen=True)
class WordNetFolders(Listed):
    """The class folders of one data set."""

    ids: tuple[str, ...]  # in the order of labels

    kind: ClassVar[str] = "ImageNet's class folders"

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.dataset.class_names or self.ids

    def listing(self, split: str) -> list[tuple[Path, int]]:
        """Class by class, files by name."""
        return class_by_class([self.folder / _FOLDERS[split] / id_ for id_ in self.ids])
