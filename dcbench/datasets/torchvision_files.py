"""torchvision's own files. CIFAR's are pickles: each is compared with its published checksum before
it is read.
"""

from __future__ import annotations

import contextlib
import http.client
import sys
import urllib.error
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from dcbench.datasets.declaration import Dataset
from dcbench.datasets.decoding import Decoded, ImageArrays
from dcbench.system.errors import DataError
from dcbench.system.files import locked, storing
from dcbench.system.progress import Progress

KIND = "torchvision's files"
_UNFETCHED = (
    urllib.error.URLError,
    http.client.HTTPException,
    ConnectionError,
    TimeoutError,
    RuntimeError,
    EOFError,
)
_MNIST_FILES = {"train": "train", "test": "t10k"}


def searched_folders(dataset: Dataset, root: Path) -> list[Path]:
    """Return the folders in which torchvision's files are looked for, in order."""
    return [
        base / dataset.torchvision_folder
        for base in (root, root / dataset.name)
        if dataset.torchvision_folder
    ]


def find_source(dataset: Dataset, root: Path) -> TorchvisionSource | None:
    """Return the first of the folders that exists, complete or not."""
    for base in (root, root / dataset.name):
        if dataset.torchvision_folder and (base / dataset.torchvision_folder).is_dir():
            return TorchvisionSource(dataset, base)
    return None


def fetch(dataset: Dataset, base: Path, progress: Progress) -> TorchvisionSource:
    """Let torchvision download what is missing into ``base``. Raises what ``download`` raises."""
    download(dataset, base, progress)
    return TorchvisionSource(dataset, base)


def download(dataset: Dataset, base: Path, progress: Progress, **words: str) -> None:
    """Let torchvision download what is missing into ``base`` and compare it with the published
    checksums.

    ``words`` are further arguments of its class. Raises DataError if that fails, StorageError if
    ``base`` cannot be written.
    """
    progress(f"downloading {dataset.name}", 0, 1)
    with writing(base):
        try:
            with locked(base), contextlib.redirect_stdout(sys.stderr):
                splits = [{"split": each} for each in _SPLITS] if _in_one(dataset) else [words]
                for split in splits:
                    _published(dataset)(_root(dataset, base), download=True, **split)
        except _UNFETCHED as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise DataError(
                f"the download of {dataset.name} to {base} failed ({reason}); try again, or fetch "
                "it elsewhere"
            ) from error
    progress(f"downloading {dataset.name}", 1, 1)


def writing(base: Path) -> contextlib.AbstractContextManager[None]:
    """Turn an error of writing into a StorageError that says what to do."""
    return storing(base, "choose another --data-root")


_SPLITS = ("train", "test")


def _in_one(dataset: Dataset) -> bool:
    """Return whether each split is one file in torchvision's root itself."""
    return dataset.torchvision_class == "SVHN"


def _root(dataset: Dataset, base: Path) -> Path:
    """Return torchvision's root: for files without a folder of their own, our folder."""
    return base / dataset.torchvision_folder if _in_one(dataset) else base


def _published(dataset: Dataset) -> Any:
    import torchvision

    return getattr(torchvision.datasets, dataset.torchvision_class)


@dataclass(frozen=True)
class TorchvisionSource:
    """The files of one data set that torchvision stores under ``base``."""

    dataset: Dataset
    base: Path

    kind: ClassVar[str] = KIND

    @property
    def folder(self) -> Path:
        return self.base / self.dataset.torchvision_folder

    @property
    def description(self) -> str:
        return f"{self.kind} in {self.folder}"

    def files(self) -> tuple[Path, ...]:
        return tuple(sorted(path for path in self.folder.iterdir() if path.is_file()))

    @property
    def fault(self) -> str:
        """Return which file is missing or differs from the published one; empty if none."""
        from torchvision.datasets.utils import check_integrity

        for name, md5 in self._checksums():
            path = self.folder / name
            if not check_integrity(path, md5):
                other = "not the published file (its md5 differs)"
                return f"{path} is {other if path.is_file() else 'missing'}"
        return ""

    def _checksums(self) -> list[tuple[str, str | None]]:
        """Return the file names with their published md5. MNIST's have None: the checksums are of
        compressed files, which may be absent, and the files hold numbers, not code.
        """
        published = _published(self.dataset)
        if self._is_mnist:
            return [(name.removesuffix(".gz"), None) for name, _ in published.resources]
        if _in_one(self.dataset):
            return [tuple(published.split_list[split][1:]) for split in _SPLITS]
        batches = map(tuple, (*published.train_list, *published.test_list))
        return [*batches, (published.meta["filename"], published.meta["md5"])]

    @property
    def _is_mnist(self) -> bool:
        return self.dataset.torchvision_class in ("MNIST", "FashionMNIST")

    def read(self, progress: Progress) -> Decoded:
        """Read both splits. Raises DataError, which names a file that is missing or not the
        published one.
        """
        if fault := self.fault:
            raise DataError(f"{fault}; delete {self.folder} and use --download")
        parts = []
        for done, split in enumerate(_SPLITS):
            progress(f"reading {self.dataset.name}", done, 2)
            parts.append(self._read(split))
        progress(f"reading {self.dataset.name}", 2, 2)
        return Decoded(parts[0], parts[1], self.dataset.class_names)

    def _read(self, split: str) -> ImageArrays:
        if self._is_mnist:
            return self._read_mnist(split)
        return self._read_svhn(split) if _in_one(self.dataset) else self._read_cifar(split)

    def _read_svhn(self, split: str) -> ImageArrays:
        published = _published(self.dataset)(self.folder, split=split)
        return ImageArrays(
            np.ascontiguousarray(published.data), np.asarray(published.labels, dtype=np.int64)
        )

    def _read_cifar(self, split: str) -> ImageArrays:
        # NumPy 2.4 warns of how the published pickles spell a dtype
        with warnings.catch_warnings():
            warned = np.exceptions.VisibleDeprecationWarning
            warnings.filterwarnings("ignore", r"dtype\(\): align", warned)
            published = _published(self.dataset)(self.base, train=split == "train")
        images = np.ascontiguousarray(published.data.transpose(0, 3, 1, 2))
        return ImageArrays(images, np.asarray(published.targets, dtype=np.int64))

    def _read_mnist(self, split: str) -> ImageArrays:
        from torchvision.datasets.mnist import read_image_file, read_label_file

        images = self._read_numbers(read_image_file, f"{_MNIST_FILES[split]}-images-idx3-ubyte")
        labels = self._read_numbers(read_label_file, f"{_MNIST_FILES[split]}-labels-idx1-ubyte")
        return ImageArrays(images[:, None], labels.astype(np.int64))

    def _read_numbers(self, reader: Any, name: str) -> Any:
        path = self.folder / name
        try:
            return reader(str(path)).numpy()
        except (AssertionError, ValueError, RuntimeError, KeyError, IndexError, TypeError) as error:
            raise DataError(
                f"{path} is truncated or not in MNIST's format; delete {self.folder} and use "
                "--download"
            ) from error
