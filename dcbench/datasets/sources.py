"""Which source a data set is read from: the first that exists, in a fixed order."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol, runtime_checkable

from dcbench.datasets import folders, parquet, tiny_imagenet, torchvision_files, wordnet_folders
from dcbench.datasets.declaration import Dataset
from dcbench.datasets.decoding import Decoded
from dcbench.datasets.embedded import DigitsSource
from dcbench.datasets.listed import Listed
from dcbench.datasets.places import Places
from dcbench.system.errors import AbsentDataError, DataError, DcbenchError
from dcbench.system.progress import Progress


@runtime_checkable
class Whole(Protocol):
    """Images that are read into memory at once."""

    @property
    def kind(self) -> str:
        """What it is, wherever it is."""

    @property
    def description(self) -> str:
        """What people call it."""

    @property
    def folder(self) -> Path:
        """What its files are named from."""

    def files(self) -> tuple[Path, ...]:
        """All files that it would read."""

    def read(self, progress: Progress) -> Decoded:
        """Decode everything; raises DataError naming what is broken."""


Source = Whole | Listed  # a listed one is read block by block

_ORDER: tuple[Callable[[Dataset, Path], Source | None], ...] = (
    parquet.look,
    tiny_imagenet.look,
    wordnet_folders.look,
    folders.look,
    torchvision_files.look,
)


def locate(dataset: Dataset, where: Places, progress: Progress) -> Source:
    """The source to use; raises AbsentDataError where none exists, DataError where the first is
    incomplete.

    With ``download`` set, torchvision's files are fetched where no source exists, and completed
    where they are the source.
    """
    if dataset.embedded:
        return DigitsSource(dataset)
    source = _first(dataset, where.root)
    if where.download and source is None and dataset.tree:
        source = wordnet_folders.fetch(dataset, where.root, progress)
    elif where.download and (
        source is None or (isinstance(source, torchvision_files.TorchvisionSource) and source.fault)
    ):
        return torchvision_files.fetch(
            dataset, where.root if source is None else source.base, progress
        )
    if source is None:
        raise AbsentDataError(_nothing_found(dataset, where))
    return source


def _first(dataset: Dataset, root: Path) -> Source | None:
    for look in _ORDER:
        try:
            source = look(dataset, root)
        except DcbenchError:
            raise
        except OSError as error:
            raise DataError(f"cannot look for {dataset.name} in {root}: {error}") from error
        if source is not None:
            return source
    return None


def _nothing_found(dataset: Dataset, where: Places) -> str:
    looked = "; ".join(
        f"{kind} in {', '.join(map(str, found))}"
        for kind, places in (
            (parquet.ParquetSource.kind, parquet.places),
            (tiny_imagenet.TinyImageNetSource.kind, tiny_imagenet.places),
            (wordnet_folders.WordNetFolders.kind, wordnet_folders.places),
            (folders.FolderSource.kind, folders.places),
            (torchvision_files.TorchvisionSource.kind, torchvision_files.places),
        )
        if (found := places(dataset, where.root))
    )
    given = "" if where.data_root is not None else "no data root was given, and "
    fetching = ", or use --download" if dataset.torchvision_class else ""
    return (
        f"{given}{dataset.name} was not found: looked for {looked}; "
        f"name the folder that holds it with --data-root or DCBENCH_DATA{fetching}"
    )
