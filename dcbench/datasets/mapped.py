"""Decode large folders of images in parallel, block by block, into arrays that are mapped into
memory.

Only one block of decoded images is in memory at a time. Each block's checksum is noted when the
block is on the disk: a process that was stopped has lost at most one block, and damaged blocks are
decoded again.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from dcbench.datasets.declaration import Dataset
from dcbench.datasets.decoding import bombs_refused, decode_within
from dcbench.system.files import append_line, open_no_link, read_lines, storing, write_bytes
from dcbench.system.progress import Progress

BLOCK_BYTES = 16 << 20  # bytes of decoded images in a block
_MOST_THREADS = 32


def write_images(
    path: Path, files: list[Path], dataset: Dataset, report: tuple[Progress, str]
) -> None:
    """Decode ``files`` into the ``.npy`` file ``path``, reporting progress after each block.

    Resumes an interrupted process, also if that had finished this file.

    Raises:
        DataError: Naming the damaged file.
        StorageError: If ``path`` cannot be written.
    """
    blocks = _Blocks(path, dataset, tuple(files))
    progress, text = report
    with storing(path, "what is decoded so far is kept"):
        with blocks.opened() as stream:
            done = blocks.whole(stream)
            progress(text, blocks.images_in(done), len(files))
            for number, images in blocks.decoded(done):
                blocks.write(stream, number, images)
                progress(text, blocks.images_in(number + 1), len(files))
        os.replace(blocks.partial, path)


def forget_blocks(path: Path) -> None:
    """Delete the notes on how ``path`` was written, once its checksum is stored elsewhere."""
    _journal(path).unlink(missing_ok=True)


def _journal(path: Path) -> Path:
    return path.with_name(f"{path.name}.blocks")


@dataclass(frozen=True)
class _Blocks:
    """One array of images as blocks in a file, and the journal of finished blocks."""

    path: Path
    dataset: Dataset
    files: tuple[Path, ...]

    @property
    def partial(self) -> Path:
        return self.path.with_name(f"{self.path.name}.partial")

    @property
    def journal(self) -> Path:
        return _journal(self.path)

    @property
    def size(self) -> int:
        """Images in a block."""
        return max(1, BLOCK_BYTES // self._bytes_per_image)

    @property
    def _bytes_per_image(self) -> int:
        return int(np.prod(self.dataset.shape))

    def images_in(self, blocks: int) -> int:
        """Return how many images ``blocks`` blocks hold."""
        return min(blocks * self.size, len(self.files))

    def opened(self) -> BinaryIO:
        """Open the file, which begins with the header of an array of all images."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # finished, but its checksum is not stored elsewhere yet
        if self.journal.exists() and self.path.exists() and not self.partial.exists():
            os.replace(self.path, self.partial)
        stream = os.fdopen(open_no_link(self.partial, os.O_RDWR | os.O_CREAT), "r+b")
        shape = (len(self.files), *self.dataset.shape)
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(stream, header)
        return stream

    def whole(self, stream: BinaryIO) -> int:
        """Return how many blocks from the beginning match the journal; drop the others."""
        begin, noted = stream.tell(), read_lines(self.journal)
        kept = []
        for number, line in enumerate(noted):
            content = stream.read(
                (self.images_in(number + 1) - self.images_in(number)) * self._bytes_per_image
            )
            if not content or line != _note(number, content):
                break
            kept.append(line)
        if len(kept) < len(noted):
            write_bytes(self.journal, "".join(f"{json.dumps(line)}\n" for line in kept).encode())
        stream.seek(begin + self.images_in(len(kept)) * self._bytes_per_image)
        return len(kept)

    def decoded(self, first: int) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """Yield the images of each block from ``first`` on, decoded by several threads: decoders
        release the interpreter's lock.
        """
        with bombs_refused(), ThreadPoolExecutor(min(_MOST_THREADS, os.cpu_count() or 1)) as pool:
            for number in itertools.count(first):
                files = self.files[number * self.size : (number + 1) * self.size]
                if not files:
                    return
                yield number, self._decode(files, pool)

    def _decode(self, files: tuple[Path, ...], pool: Executor) -> NDArray[np.uint8]:
        images = np.empty((len(files), *self.dataset.shape), np.uint8)
        decoded = pool.map(lambda file: decode_within(file, self.dataset, str(file)), files)
        for index, image in enumerate(decoded):
            images[index] = image
        return images

    def write(self, stream: BinaryIO, number: int, images: NDArray[np.uint8]) -> None:
        """Write the next block after the last one, and note it when it is on the disk."""
        stream.write(images.data)
        stream.flush()
        os.fsync(stream.fileno())
        append_line(self.journal, _note(number, images.data))


def _note(number: int, content: bytes | memoryview) -> dict[str, Any]:
    return {"block": number, "sha256": hashlib.sha256(content).hexdigest()}
