"""Decode image files to arrays of bytes with labels; check every image."""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import struct
import warnings
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from dcbench.datasets.declaration import Dataset
from dcbench.system.errors import DataError
from dcbench.system.progress import Progress

_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "PPM", "TIFF", "WEBP")
_EIGHT_BIT_MODES = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"})
_REPORT_EVERY = 1000
_BOMBS = (Image.DecompressionBombError, Image.DecompressionBombWarning)
_DAMAGED = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error)


class ImageSizeError(DataError):
    """An image whose size differs from the data set's."""


@dataclass(frozen=True, eq=False)
class ImageArrays:
    """One split: images uint8 (n, channels, size, size), labels int64 (n,)."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]

    def chosen(self, members: NDArray[np.bool_]) -> ImageArrays:
        """Return the images for which ``members`` is true."""
        return ImageArrays(self.images[members], self.labels[members])


@dataclass(frozen=True, eq=False)
class Decoded:
    """A whole data set in memory."""

    train: ImageArrays
    test: ImageArrays
    class_names: tuple[str, ...]

    @property
    def revision(self) -> str:
        """The revision: the first 12 digits of a sha256 over shapes, pixels, labels and class
        names.

        The same images in another order, or with one pixel changed, are another revision. Takes a
        pass over all pixels.
        """
        parts = (self.train, self.test)
        head = {"class_names": self.class_names, "shapes": [part.images.shape for part in parts]}
        digest = hashlib.sha256(json.dumps(head, sort_keys=True).encode())
        for part in parts:
            digest.update(np.ascontiguousarray(part.images).reshape(-1).data)
            digest.update(np.ascontiguousarray(part.labels, dtype="<i8").data)
        return digest.hexdigest()[:12]


def decode(image: Path | bytes, dataset: Dataset, where: str) -> NDArray[np.uint8]:
    """Decode one image file to uint8 (channels, size, size).

    The header is checked before a pixel is unpacked, so that a small file cannot claim a large
    memory.

    Raises:
        DataError: Its message starts with ``where``.
    """
    with bombs_refused():
        return decode_within(image, dataset, where)


@contextmanager
def bombs_refused() -> Iterator[None]:
    """Turn Pillow's warning of a decompression bomb into an error, in all threads.

    Enter it once around the threads, not in each.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def decode_within(image: Path | bytes, dataset: Dataset, where: str) -> NDArray[np.uint8]:
    """``decode`` for callers that have already entered ``bombs_refused``."""
    try:
        file = io.BytesIO(image) if isinstance(image, bytes) else image
        with Image.open(file, formats=_FORMATS) as opened:
            _check_header(opened, dataset, where)
            decoded = opened.convert("L" if dataset.channels == 1 else "RGB")
            if dataset.photographs:  # of any size: the middle square
                square = (dataset.size, dataset.size)
                decoded = ImageOps.fit(decoded, square, Image.Resampling.BILINEAR)
            pixels = np.asarray(decoded)
    except UnidentifiedImageError as error:
        raise DataError(
            f"{where} is truncated or not an image (readable kinds: {', '.join(_FORMATS)})"
        ) from error
    except _BOMBS as error:
        most = f"the {dataset.size}x{dataset.size} of {dataset.name}"
        if dataset.photographs:
            most = "a photograph has"
        raise DataError(f"{where} claims far more pixels than {most}") from error
    except _DAMAGED as error:
        reason = str(error).splitlines()[0][:120] if str(error) else "damaged"
        raise DataError(f"{where} is truncated or not an image ({reason})") from error
    return pixels.reshape(dataset.size, dataset.size, dataset.channels).transpose(2, 0, 1)


def header_of(image: Path) -> tuple[str, tuple[int, int]]:
    """Return Pillow's mode of an image file, and its width and height. Raises DataError."""
    try:
        with bombs_refused(), Image.open(image, formats=_FORMATS) as opened:
            return opened.mode, opened.size
    except (*_BOMBS, *_DAMAGED) as error:
        raise DataError(f"{image} is no image that can be read: {error}") from error


def _check_header(opened: Image.Image, dataset: Dataset, where: str) -> None:
    width, height = opened.size
    if not dataset.photographs and (width, height) != (dataset.size, dataset.size):
        own = f"; to resize all, write size = {dataset.size} into {dataset.place}/dcbench.toml"
        raise ImageSizeError(
            f"{where} is an image of {width}x{height} pixels; {dataset.name} has "
            f"{dataset.size}x{dataset.size}{own if dataset.place else ''}"
        )
    if opened.mode not in _EIGHT_BIT_MODES:
        raise DataError(f"{where} is an image of mode {opened.mode}; wanted 8 bits per channel")
    if getattr(opened, "is_animated", False):
        count = getattr(opened, "n_frames", "several")
        raise DataError(f"{where} holds {count} images; wanted one in a file")


def stack(
    items: Iterable[tuple[NDArray[np.uint8], int]],
    total: int,
    dataset: Dataset,
    report: tuple[Progress, str],
) -> ImageArrays:
    """Fill one split from ``total`` pairs of image and label. ``report`` (a progress function and
    its text) is called from time to time.

    Raises DataError if there are fewer pairs.
    """
    progress, text = report
    images = np.empty((total, *dataset.shape), dtype=np.uint8)
    labels = np.empty(total, dtype=np.int64)
    done = 0
    for image, label in itertools.islice(items, total):
        images[done], labels[done] = image, label
        done += 1
        if done % _REPORT_EVERY == 0 or done == total:
            progress(text, done, total)
    if done < total:
        raise DataError(f"{text}: {done} images found, though the files announce {total}")
    return ImageArrays(images, labels)


def checked(decoded: Decoded, dataset: Dataset, where: str) -> Decoded:
    """Return ``decoded`` if every split has the data set's shape and classes.

    Raises:
        DataError: Its message starts with ``where``.
    """
    for split, part in (("train", decoded.train), ("test", decoded.test)):
        if not len(part.images):
            raise DataError(f"{where}: the {split} split of {dataset.name} holds no images")
        if part.images.shape[1:] != dataset.shape or part.labels.shape != part.images.shape[:1]:
            shapes = f"images {part.images.shape} and labels {part.labels.shape}"
            raise DataError(
                f"{where}: the {split} split holds {shapes}; {dataset.name} has images of "
                f"{dataset.shape}, one label each"
            )
        if part.labels.min() < 0 or part.labels.max() >= dataset.classes:
            found = f"{part.labels.min()} to {part.labels.max()}"
            raise DataError(
                f"{where}: labels of the {split} split run from {found}; {dataset.name} has 0 to "
                f"{dataset.classes - 1}"
            )
    # whoever divides their own images may forget a class in the test images
    splits = {"training": decoded.train} | ({"test": decoded.test} if dataset.place else {})
    for split, part in splits.items():
        missing = sorted(set(range(dataset.classes)) - set(np.unique(part.labels).tolist()))
        if missing:
            raise DataError(
                f"{where}: no {split} image of class {decoded.class_names[missing[0]]!r} "
                f"({len(missing)} of {dataset.classes} classes)"
            )
    return decoded
