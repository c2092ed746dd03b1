"""The truth: the test accuracy of each architecture after training on the whole data.

It is read from a table, or trained here.
"""

from __future__ import annotations

import csv
import hashlib
import io
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dcbench.nas.space import SearchSpace
from dcbench.system.errors import DataError, FileFormatError, MismatchError, OutOfRangeError
from dcbench.system.files import twice, write_bytes

VALIDATION_COLUMN = "validation_accuracy"  # in tables written here
ARCHITECTURE_COLUMNS = ("architecture", "arch")
# of an unpacked table; that of all 15,625 cells of NAS-Bench-201 has two million bytes
MOST_BYTES = 64 << 20
MOST_ROWS = 1_000_000
# if a table has these columns, they must match the search
DATASET_COLUMN, REVISION_COLUMN = "dataset", "dataset_revision"


@dataclass(frozen=True)
class Truth:
    """True accuracies (fractions) by architecture, and their source."""

    accuracies: Mapping[str, float]  # on the test images
    origin: Mapping[str, Any]
    # on the validation images, of the same networks; empty if unknown
    validation: Mapping[str, float] = field(default_factory=dict)

    def require(self, architectures: Sequence[str], where: Path) -> None:
        """Raise DataError if the table ``where`` lacks one of ``architectures``; the message names
        the first.
        """
        lacking = [name for name in architectures if name not in self.accuracies]
        if lacking:
            raise DataError(
                f"{where} lacks {len(lacking)} of the {len(architectures)} architectures drawn, "
                f"first {lacking[0]}"
            )


def read_truth(
    path: Path,
    space: SearchSpace,
    dataset: str,
    column: str | None = None,
    revision: str | None = None,
) -> Truth:
    """Read and check the table in ``path``: parquet by its ending, else CSV. ``column`` is the
    space's own if None.

    Raises:
        DataError: If there is no such file.
        FileFormatError: Naming the row that is wrong.
        MismatchError: If the table is of another data set, or of another revision than
            ``revision``.
    """
    if not path.is_file():
        raise DataError(f"no such file: {path}; wanted {space.truth_help}")
    chosen = column or space.truth_column(dataset)
    table = _Table(path, space, dataset, revision, chosen)
    rows = _parquet_rows(path) if path.suffix == ".parquet" else _csv_rows(path)
    accuracies: dict[str, float] = {}
    validation: dict[str, float] = {}
    for number, row in rows:
        identifier, accuracy = table.entry(number, row)
        if identifier in accuracies:
            raise FileFormatError(
                f"{path}, row {number}: architecture {identifier} stands there twice"
            )
        accuracies[identifier] = accuracy
        if VALIDATION_COLUMN in row:
            validation[identifier] = table.accuracy(number, row, VALIDATION_COLUMN)
    if not accuracies:
        raise FileFormatError(f"{path} has no rows; wanted {space.truth_help}")
    if space.truth_most > 1 and max(accuracies.values()) * space.truth_most <= 1:
        raise FileFormatError(
            f"{path}: column {chosen} seems to hold fractions; wanted percent, as the benchmark "
            "has them"
        )
    origin = {
        "source": "table",
        "file": path.name,
        "column": chosen,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "rows": len(accuracies),
    }
    return Truth(accuracies, origin, validation)


@dataclass(frozen=True)
class _Table:
    path: Path
    space: SearchSpace
    dataset: str
    revision: str | None
    column: str

    def entry(self, number: int, row: Mapping[str, Any]) -> tuple[str, float]:
        """Return identifier and accuracy of one row."""
        where = f"{self.path}, row {number}"
        named = next((name for name in ARCHITECTURE_COLUMNS if name in row), None)
        if named is None or self.column not in row:
            wanted = self.column if named else " or ".join(ARCHITECTURE_COLUMNS)
            raise FileFormatError(
                f"{self.path} has no column {wanted}; it has {', '.join(map(str, row))}; "
                "--truth-column chooses one"
            )
        if row.get(DATASET_COLUMN, self.dataset) != self.dataset:
            raise MismatchError(
                f"{where}: truth on {row[DATASET_COLUMN]!r}, but the search is on {self.dataset!r}"
            )
        measured = row.get(REVISION_COLUMN, self.revision)
        if self.revision is not None and measured != self.revision:
            raise MismatchError(
                f"{where}: truth on revision {measured} of {self.dataset}, but the search is on "
                f"{self.revision}; give the table of these data, or none, and it is trained here"
            )
        try:
            identifier = self.space.canonical(str(row[named]))
        except OutOfRangeError as error:
            raise FileFormatError(f"{where}: {error}") from error
        return identifier, self.accuracy(number, row, self.column)

    def accuracy(self, number: int, row: Mapping[str, Any], column: str) -> float:
        """Return the accuracy in a column of one row, as a fraction."""
        value, most = row[column], self.space.truth_most
        where = f"{self.path}, row {number}: {column}"
        try:
            accuracy = float(value)
        except (TypeError, ValueError) as error:
            raise FileFormatError(f"{where} is {value!r:.40}, wanted a number") from error
        if not (math.isfinite(accuracy) and 0 <= accuracy <= most):
            raise FileFormatError(f"{where} is {value!r:.40}, wanted 0 to {most:g}")
        return accuracy / most


def _csv_rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    _require_small(path, path.stat().st_size)
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream, strict=True)
            _require_distinct(path, reader.fieldnames or ())
            for row in reader:
                if None in row or None in row.values():
                    raise FileFormatError(
                        f"{path}, row {reader.line_num}: not as many entries as the head has"
                    )
                yield reader.line_num, row
    except (csv.Error, UnicodeDecodeError) as error:
        raise FileFormatError(f"{path} is not a readable CSV table: {error}") from error


def _parquet_rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    from pyarrow import lib, parquet

    try:
        metadata = parquet.read_metadata(path)  # type: ignore[no-untyped-call]
        groups = map(metadata.row_group, range(metadata.num_row_groups))
        _require_small(path, sum(group.total_byte_size for group in groups))
        if metadata.num_rows > MOST_ROWS:
            raise FileFormatError(
                f"{path} claims {metadata.num_rows} rows; a table of truths has at most {MOST_ROWS}"
            )
        _require_distinct(path, metadata.schema.to_arrow_schema().names)
        rows = parquet.read_table(path).to_pylist()  # type: ignore[no-untyped-call]
    except (lib.ArrowException, OSError) as error:
        raise FileFormatError(
            f"{path} is not a readable parquet table: {str(error).splitlines()[0]:.120}"
        ) from error
    yield from enumerate(rows, 1)


def _require_distinct(path: Path, columns: Iterable[str]) -> None:
    again = twice(columns)
    if again:
        raise FileFormatError(f"{path} has two columns {again!r:.60}; wanted each once")


def _require_small(path: Path, size: int) -> None:
    if size > MOST_BYTES:
        raise FileFormatError(
            f"{path} unpacks to {size} bytes; a table of truths has at most {MOST_BYTES}"
        )


def write_truth(
    path: Path, dataset: tuple[str, str], rows: Iterable[tuple[str, float, float, int]]
) -> None:
    """Write a table that ``read_truth`` reads: identifier, test accuracy, validation accuracy
    (fractions) and number of seeds.

    ``dataset`` is its name and revision. Raises StorageError.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    columns = ("architecture", "test_accuracy", VALIDATION_COLUMN, "seeds")
    writer.writerow([*columns, DATASET_COLUMN, REVISION_COLUMN])
    writer.writerows((*row, *dataset) for row in rows)
    write_bytes(path, text.getvalue().encode())
