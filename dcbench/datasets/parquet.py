"""The Hugging Face hub's parquet layout: ``<dataset>/<config>/{train,test}-*.parquet`` with an
image and a label column, or ``<config>/{train,test}/0000.parquet`` as in its converted branch.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from dcbench.datasets import hub
from dcbench.datasets.class_folders import alike
from dcbench.datasets.declaration import Dataset
from dcbench.datasets.decoding import Decoded, ImageArrays, decode, stack
from dcbench.datasets.hub import HubFile
from dcbench.system.errors import DataError
from dcbench.system.files import locked, twice
from dcbench.system.progress import Progress, silent

KIND = "parquet files"
_IMAGE_COLUMNS = ("img", "image")
_SPLITS = ("train", "test")
# train-00000-of-00002.parquet, with a hash before the suffix in older copies; converted:
# 0000.parquet
_SHARD = re.compile(r"(?:.*?-)?(\d+)(?:-of-(\d+)(?:-[0-9a-f]+)?)?\.parquet")
_ROWS_AT_A_TIME = 1000
_MOST_TIMES_PACKED = 20
_LEAST_IMAGE_BYTES = 64


def searched_folders(dataset: Dataset, root: Path) -> list[Path]:
    """Return the folders in which the hub's files are looked for, in order."""
    repositories = [root / name for name in dataset.hub_names]
    return [
        folder
        for repository in repositories
        for folder in (repository / dataset.hub_config, repository / "data", repository)
    ]


def find_source(dataset: Dataset, root: Path) -> ParquetSource | None:
    """Return the first folder with a parquet file of either split. Raises DataError if a split or a
    shard is missing.
    """
    for folder in searched_folders(dataset, root):
        shards = {split: _shards(folder, split) for split in _SPLITS}
        if any(shards.values()):
            for split, files in shards.items():
                _require_all(folder, split, files)
            return ParquetSource(dataset, folder, shards["train"], shards["test"])
    return None


def fetch(dataset: Dataset, root: Path, progress: Progress) -> ParquetSource:
    """Fetch the hub's files of ``dataset`` into its folder below ``root``.

    Existing files stay. Raises DataError if that fails, StorageError if ``root`` cannot be written.
    """
    repository = dataset.hub_names[-1]
    base = root / repository
    with locked(base):
        for path, sha256 in dataset.hub_files.items():
            if not (base / path).is_file():
                file = HubFile("dataset", repository, dataset.hub_revision, path)
                hub.fetch(file, base / path, sha256, progress)
    train, test = (_shards(base / dataset.hub_config, split) for split in _SPLITS)
    return ParquetSource(dataset, base / dataset.hub_config, train, test)


def _shards(folder: Path, split: str) -> tuple[Path, ...]:
    for pattern in (f"{split}-*.parquet", f"{split}.parquet", f"{split}/[!.]*.parquet"):
        if found := tuple(sorted(folder.glob(pattern))):
            return found
    return ()


def _require_all(folder: Path, split: str, files: tuple[Path, ...]) -> None:
    """Raise DataError unless the shards' numbers are complete: without one, a smaller data set
    would have the same name.
    """
    if not files:
        raise DataError(
            f"{folder} holds no {split}-*.parquet or {split}/*.parquet, though it holds parquet "
            "files; complete the copy"
        )
    matches = [match for file in files if (match := _SHARD.fullmatch(file.name))]
    counts = {int(match[2] or len(files)) for match in matches}
    numbers = {int(match[1]) for match in matches}
    complete = counts == {len(files)} and numbers == set(range(len(files)))
    if not complete and (matches or len(files) > 1):
        raise DataError(
            f"{folder} holds {', '.join(file.name for file in files)}: not one complete set of "
            f"{split} shards; complete the copy"
        )


@dataclass(frozen=True)
class ParquetSource:
    """The hub's parquet files of one data set."""

    dataset: Dataset
    folder: Path
    train: tuple[Path, ...]
    test: tuple[Path, ...]

    kind: ClassVar[str] = KIND

    @property
    def description(self) -> str:
        return f"{self.kind} in {self.folder}"

    def files(self) -> tuple[Path, ...]:
        return self.train + self.test

    def read(self, progress: Progress) -> Decoded:
        """Decode both splits in the files' order. Raises DataError, which names the file and the
        row.
        """
        train, test = (self._read(split, progress) for split in _SPLITS)
        return Decoded(train, test, self.dataset.class_names)

    def _read(self, split: str, progress: Progress) -> ImageArrays:
        shards = [_Shard.open(self.dataset, path) for path in getattr(self, split)]
        total = sum(shard.rows for shard in shards)
        pairs = (pair for shard in shards for pair in shard.pairs())
        return stack(
            pairs, total, self.dataset, (progress, f"decoding {self.dataset.name} {split}")
        )


def read_file(dataset: Dataset, path: Path) -> ImageArrays:
    """Read all rows of one file in order. Raises DataError, which names the file and the row."""
    shard = _Shard.open(dataset, path)
    return stack(shard.pairs(), shard.rows, dataset, (silent, str(path)))


@dataclass(frozen=True, eq=False)
class _Shard:
    dataset: Dataset
    path: Path
    file: Any  # pyarrow.parquet.ParquetFile
    image_column: str
    label_column: str

    @classmethod
    def open(cls, dataset: Dataset, path: Path) -> _Shard:
        from pyarrow import parquet
        from pyarrow.lib import ArrowException
        from pyarrow.types import is_integer, is_struct

        try:
            file: Any = parquet.ParquetFile(path)  # type: ignore[no-untyped-call]
        except (ArrowException, OSError) as error:
            raise DataError(f"{path} is truncated or not a parquet file") from error
        _require_plausible(path, file.metadata)
        schema = file.schema_arrow
        again = twice(schema.names)
        if again:
            raise DataError(f"{path} has two columns {again!r}; wanted each once")
        image = _column(schema.names, _IMAGE_COLUMNS, path)
        label = _column(schema.names, (dataset.label_column, "label"), path)
        kind = schema.field(image).type
        if not is_struct(kind) or kind.get_field_index("bytes") < 0:
            raise DataError(
                f"{path}: column {image!r} holds {kind}; wanted a struct of bytes and path"
            )
        names = _declared_names(schema, label)
        if names and list(map(alike, names)) != list(map(alike, dataset.class_names)):
            raise DataError(
                f"{path}: its labels mean other classes than those of {dataset.name}, or in "
                "another order: "
                f"in the file {', '.join(names[:12])}; here {', '.join(dataset.class_names[:12])}"
            )
        if not is_integer(schema.field(label).type):
            raise DataError(
                f"{path}: column {label!r} holds {schema.field(label).type}; wanted integers"
            )
        return cls(dataset, path, file, image, label)

    @property
    def rows(self) -> int:
        return int(self.file.metadata.num_rows)

    def pairs(self) -> Iterator[tuple[NDArray[np.uint8], int]]:
        row = 0
        for batch in self._batches():
            images = batch.column(self.image_column).field("bytes").to_pylist()
            labels = batch.column(self.label_column).to_pylist()
            for content, label in zip(images, labels, strict=True):
                yield self._pair(content, label, f"{self.path}, row {row}")
                row += 1

    def _batches(self) -> Iterator[Any]:
        from pyarrow.lib import ArrowException

        try:
            yield from self.file.iter_batches(
                batch_size=_ROWS_AT_A_TIME, columns=[self.image_column, self.label_column]
            )
        except (ArrowException, OSError) as error:
            raise DataError(f"{self.path} is damaged: its rows cannot be read") from error

    def _pair(
        self, content: object, label: int | None, where: str
    ) -> tuple[NDArray[np.uint8], int]:
        if not isinstance(content, bytes):
            raise DataError(f"{where} holds no image bytes")
        if label is None or not 0 <= label < self.dataset.classes:
            raise DataError(
                f"{where} has label {label}; {self.dataset.name} has 0 to "
                f"{self.dataset.classes - 1}"
            )
        return decode(content, self.dataset, where), label


def _declared_names(schema: Any, label: str) -> list[str]:
    """Return the class names of a label column from the hub's metadata, in the order of labels."""
    try:
        features = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
        return list(map(str, features[label]["names"]))
    except (KeyError, TypeError, ValueError):
        return []


def _require_plausible(path: Path, metadata: Any) -> None:
    """Refuse files whose rows unpack to implausibly many bytes. Images are compressed already, and
    the smallest take some 64 bytes.
    """
    size = path.stat().st_size
    groups = map(metadata.row_group, range(metadata.num_row_groups))
    unpacked = sum(group.total_byte_size for group in groups)
    too_many = metadata.num_rows * _LEAST_IMAGE_BYTES > max(size, 1 << 20)
    if too_many or unpacked > max(_MOST_TIMES_PACKED * size, 1 << 26):
        raise DataError(
            f"{path} has {size} bytes and claims {metadata.num_rows} rows of {unpacked} bytes; "
            "refused as a bomb"
        )


def _column(present: list[str], wanted: tuple[str, ...], path: Path) -> str:
    for name in wanted:
        if name in present:
            return name
    raise DataError(
        f"{path} has the columns {', '.join(present)}; wanted {' or '.join(dict.fromkeys(wanted))}"
    )
