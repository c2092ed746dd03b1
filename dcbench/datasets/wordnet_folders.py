"""ImageNet's own folders, ``{train,val}/<WordNet id>/<photograph>``: all classes, or those of a
subset.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from dcbench.datasets import torchvision_files
from dcbench.datasets.class_folders import class_folders, require_no_loose_images
from dcbench.datasets.declaration import Dataset
from dcbench.datasets.listed import PUBLISHED, ListedSource, by_class, published
from dcbench.system.errors import DataError
from dcbench.system.files import locked
from dcbench.system.progress import Progress

KIND = "ImageNet's class folders"
_WORDNET_ID = re.compile(r"n\d{8}")
# the smallest published archive whose photographs need little enlarging for 128x128
_DOWNLOADED_SIZE = "320px"


def searched_folders(dataset: Dataset, root: Path) -> list[Path]:
    """Return the folders that are looked for, in order."""
    return [root / name / "train" for name in dataset.folders if dataset.tree == "wordnet"]


def find_source(dataset: Dataset, root: Path) -> ListedSource | None:
    """Return the first folder with ``train`` and ``val``. Raises DataError if one of them or a
    class is missing.
    """
    folder = published(dataset, root) if dataset.tree == "wordnet" else None
    if folder is None:
        return None
    ids = _ids(dataset, folder)
    return ListedSource(KIND, folder, dataset.class_names or ids, by_class(folder, PUBLISHED, ids))


def fetch(dataset: Dataset, root: Path, progress: Progress) -> ListedSource | None:
    """Let torchvision download and unpack the published archive. Raises DataError if there
    is none.
    """
    if not dataset.torchvision_class:
        raise DataError(
            f"{dataset.name} cannot be fetched: torchvision has no archive of it; put "
            f"{root / dataset.folders[0]} there"
        )
    with locked(root):
        return find_source(dataset, root) or _unpacked(dataset, root, progress)


def _unpacked(dataset: Dataset, root: Path, progress: Progress) -> ListedSource | None:
    """Unpack the archive's folders whole or not at all: torchvision takes an existing folder for a
    complete one, so it unpacks to a temporary one.
    """
    aside = root / f"{dataset.name}.unpacking"
    with torchvision_files.writing(aside):
        # left by an earlier process that was killed while it unpacked
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
    return find_source(dataset, root)


def _ids(dataset: Dataset, folder: Path) -> tuple[str, ...]:
    """Return the WordNet ids in the order of labels: the declared ones, or all that exist,
    sorted.
    """
    found = {}
    for path in (folder / name for name in PUBLISHED.values()):
        found[path] = {name for name in class_folders(path) if _WORDNET_ID.fullmatch(name)}
        if found[path]:
            require_no_loose_images(path)
        if not found[path]:
            raise DataError(
                f"{path} holds no class folders such as n01440764; sort its images into one folder "
                "for each class"
            )
    wanted = dataset.wordnet_ids or tuple(sorted(set.union(*found.values())))
    for path, ids in found.items():
        missing = [id_ for id_ in wanted if id_ not in ids]
        if missing:
            raise DataError(
                f"{path} lacks {missing[0]} ({len(missing)} such classes of {dataset.name}); "
                "complete the copy"
            )
    if len(wanted) != dataset.classes:
        raise DataError(
            f"{folder} holds {len(wanted)} classes; {dataset.name} has {dataset.classes}"
        )
    return wanted
