"""Find a data set's files: the first source that exists, in a fixed order."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from dcbench.datasets import folders, parquet, tiny_imagenet, torchvision_files, wordnet_folders
from dcbench.datasets.declaration import Dataset
from dcbench.datasets.embedded import DigitsSource
from dcbench.datasets.listed import ListedSource
from dcbench.datasets.places import Places
from dcbench.system.errors import AbsentDataError, DataError
from dcbench.system.progress import Progress

# a ListedSource is read block by block, the others into memory at once
Source = ListedSource | parquet.ParquetSource | torchvision_files.TorchvisionSource | DigitsSource

# searched in this order
_FINDERS = (parquet, tiny_imagenet, wordnet_folders, folders, torchvision_files)


def locate(dataset: Dataset, where: Places, progress: Progress) -> Source:
    """Return the source to use.

    With ``download`` set, torchvision's files are fetched if there is no source, and completed if
    they are the source. If torchvision cannot fetch them, the hub's parquet files are fetched.

    Raises:
        AbsentDataError: If there is no source.
        DataError: If the first source is incomplete.
    """
    source = _there(replace(dataset, by_position=where.by_position), where)
    if where.download and source is None and dataset.tree:
        source = wordnet_folders.fetch(dataset, where.root, progress)
    elif where.download and (
        source is None or (isinstance(source, torchvision_files.TorchvisionSource) and source.fault)
    ):
        return _downloaded(dataset, where.root if source is None else source.base, progress)
    if source is None:
        raise AbsentDataError(_nothing_found(dataset, where))
    return source


def _there(dataset: Dataset, where: Places) -> Source | None:
    """Return the first source that exists, if any. Raises DataError if it is incomplete."""
    source = DigitsSource(dataset) if dataset.embedded else _first(dataset, where.root)
    if where.by_position:
        _require_folders(dataset, where, source)
    return source


def _downloaded(dataset: Dataset, base: Path, progress: Progress) -> Source:
    """Fetch torchvision's files, or else the hub's. Raises DataError with the reasons of both."""
    try:
        return torchvision_files.fetch(dataset, base, progress)
    except DataError as error:
        if not dataset.hub_files:
            raise
        try:
            return parquet.fetch(dataset, base, progress)
        except DataError as other:
            raise DataError(f"{error}; the hub's parquet instead: {other}") from error


def _first(dataset: Dataset, root: Path) -> Source | None:
    for finder in (folders,) if dataset.place else _FINDERS:
        try:
            source: Source | None = finder.find_source(dataset, root)
        except OSError as error:
            raise DataError(f"cannot look for {dataset.name} in {root}: {error}") from error
        if source is not None:
            return source
    return None


def _require_folders(dataset: Dataset, where: Places, source: Source | None) -> None:
    """Raise DataError if classes should be taken by position but the source has no class
    folders.
    """
    if source is not None and source.kind != folders.BY_POSITION:
        raise DataError(
            f"{dataset.name} is read from {source.description}, which says its classes; "
            f"--data-classes by-position is for image folders ({where.root / dataset.name}/train)"
        )


def _nothing_found(dataset: Dataset, where: Places) -> str:
    looked = "; ".join(
        f"{finder.KIND} in {', '.join(map(str, found))}"
        for finder in _FINDERS
        if (found := finder.searched_folders(dataset, where.root))
    )
    given = "" if where.data_root is not None else "no data root was given, and "
    fetching = ", or use --download" if dataset.torchvision_class else ""
    return (
        f"{given}{dataset.name} was not found: looked for {looked}; "
        f"name the folder that holds it with --data-root or DCBENCH_DATA{fetching}"
    )
