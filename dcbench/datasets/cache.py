"""A cache of decoded images as plain arrays, so that no image is decoded twice.

Each state of a source has a folder with four ``.npy`` files and ``index.json``. The index is
written last. It holds its own checksum and the revision: a hash of all images, labels and class
names, computed again whenever they are read. Damaged, incomplete or changed files do not match the
revision, and are decoded again.
"""

from __future__ import annotations

import hashlib
import io
import json
import tokenize
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dcbench.datasets.declaration import Dataset
from dcbench.datasets.decoding import Decoded, ImageArrays, checked
from dcbench.datasets.listed import ListedSource
from dcbench.datasets.mapped import forget_blocks, write_images
from dcbench.datasets.sources import Source
from dcbench.system.errors import DataError, FileFormatError
from dcbench.system.files import locked, read_json, write_bytes, write_json
from dcbench.system.progress import Progress

FORMAT_VERSION = 1
_INDEX = "index.json"
_SPLITS = ("train", "test")
_DAMAGED = (ValueError, EOFError, tokenize.TokenError)  # what NumPy raises for a damaged header


@dataclass(frozen=True, eq=False)
class CachedImages:
    """Decoded images and their revision."""

    decoded: Decoded
    revision: str


def cached_images(
    dataset: Dataset, source: Source, cache_root: Path, progress: Progress
) -> CachedImages:
    """Return the images of ``source``: from the cache if it is intact, else decoded and cached.

    Raises:
        DataError: If the source is damaged.
        StorageError: If the cache cannot be written.
    """
    state = _state(dataset, source)
    folder = cache_root / "datasets" / f"{dataset.name}-{state}"
    class_names = source.class_names if isinstance(source, ListedSource) else dataset.class_names
    kept = _read(folder, class_names)
    if kept is not None:
        return kept
    with locked(folder):
        kept = _read(folder, class_names)  # another process may have decoded them meanwhile
        if kept is not None:
            return kept
        decoded = checked(_decoded(source, folder, dataset, progress), dataset, source.description)
        if _state(dataset, source) != state:
            raise DataError(f"{source.description}: files changed while they were read; try again")
        fresh = CachedImages(decoded, decoded.revision)
        _write(folder, fresh, source)
        return fresh


def _decoded(source: Source, folder: Path, dataset: Dataset, progress: Progress) -> Decoded:
    """Decode a source: into memory, or, if it has one file for each image, into mapped files of the
    cache.
    """
    if not isinstance(source, ListedSource):
        return source.read(progress)
    parts = []
    for split in _SPLITS:
        listing = source.listing(split)
        if not listing:
            raise DataError(
                f"{source.description}: the {split} split of {dataset.name} holds no images"
            )
        labels = np.array([label for _, label in listing], dtype=np.int64)
        path = folder / f"{split}-images.npy"
        files = [file for file, _ in listing]
        write_images(path, files, dataset, (progress, f"decoding {dataset.name} {split}"))
        parts.append(ImageArrays(_array(path, np.dtype(np.uint8)), labels))
    return Decoded(parts[0], parts[1], source.class_names)


def _state(dataset: Dataset, source: Source) -> str:
    """Hash what decoding depends on: format, kind of source, and name, size and time of
    each file.
    """
    try:
        stats = [
            (path.relative_to(source.folder).as_posix(), path.stat()) for path in source.files()
        ]
    except OSError as error:
        raise DataError(f"cannot read {source.description}: {error}") from error
    files = [(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats]
    state = [FORMAT_VERSION, dataset.name, dataset.shape, dataset.class_names, source.kind, files]
    return hashlib.sha256(json.dumps(state).encode()).hexdigest()[:16]


def _write(folder: Path, kept: CachedImages, source: Source) -> None:
    for split, part in zip(_SPLITS, (kept.decoded.train, kept.decoded.test), strict=True):
        for what, array in (("images", part.images), ("labels", part.labels)):
            if what == "labels" or not isinstance(source, ListedSource):
                buffer = io.BytesIO()
                np.save(buffer, array, allow_pickle=False)
                write_bytes(folder / f"{split}-{what}.npy", buffer.getvalue())
    index = {
        "revision": kept.revision,
        "class_names": kept.decoded.class_names,
        "source": source.description,
    }
    write_json(folder / _INDEX, index | {"index_sha256": _checksum(index)})
    for split in _SPLITS:
        forget_blocks(folder / f"{split}-images.npy")


def _read(folder: Path, class_names: tuple[str, ...]) -> CachedImages | None:
    """Return the images cached in ``folder``; None if they are missing, incomplete, damaged, or do
    not match their revision.
    """
    try:
        index = read_json(folder / _INDEX)
        sound = index.pop("index_sha256", None) == _checksum(index)
        # older versions named classes after their folders
        if not sound or tuple(index["class_names"]) != class_names:
            return None
        train, test = (
            ImageArrays(
                _array(folder / f"{split}-images.npy", np.dtype(np.uint8)),
                _array(folder / f"{split}-labels.npy", np.dtype(np.int64)),
            )
            for split in _SPLITS
        )
        decoded = Decoded(train, test, class_names)
        same = decoded.revision == index["revision"]
        return CachedImages(decoded, index["revision"]) if same else None
    except (FileFormatError, OSError, *_DAMAGED):
        return None


def _checksum(index: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(index, sort_keys=True).encode()).hexdigest()


def _array(path: Path, kind: np.dtype[Any]) -> Any:
    """Map the file privately: processes share its memory, and a process's writes stay its own.

    Raises ValueError if it is not an array of this kind.
    """
    array = np.asarray(np.load(path, mmap_mode="c", allow_pickle=False))
    if array.dtype != kind:
        raise ValueError(f"{path} holds {array.dtype}, wanted {kind}")
    return array
