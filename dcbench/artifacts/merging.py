"""Merge another folder of results into one's own: check it first, then copy it whole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from dcbench.artifacts.artifact import read_artifact
from dcbench.records import EvaluationRecord, RecordsFound, find_records
from dcbench.system.errors import DataError, FileFormatError, StorageError
from dcbench.system.files import write_folder
from dcbench.system.layout import (
    ARTIFACT,
    HISTORY,
    MEASURED,
    NETWORK_ROWS,
    PICTURE,
    RECORD,
    file_name,
)

_KEPT = frozenset({ARTIFACT, HISTORY, NETWORK_ROWS, PICTURE, RECORD})
_LARGEST = 256 * 2**20  # bytes of the largest file


@dataclass(frozen=True)
class Merged:
    """A folder that was merged."""

    source: Path
    place: Path  # the new folder; its name says whose results they are
    records: int
    sets: int


def merge(source: Path, results: Path, name: str = "") -> Merged:
    """Copy the records below ``source``, with their sets and pictures, to a folder of their own
    below ``results``. Nothing is copied unless all of it is sound.

    Args:
        source: A folder with records, as ``dcbench run --out`` writes them.
        results: The folder to copy to.
        name: The new folder's name, which says whose results they are; that of ``source`` if None.

    Raises:
        DataError: If there is no record, or something is damaged.
        StorageError: If the new folder exists already, or cannot be written.
    """
    whose = file_name(name or source.resolve().name)
    place = results / whose
    if whose == MEASURED:
        raise DataError(
            f"the folder {MEASURED} is the project's own; name yours: dcbench merge {source} "
            "--name WHOSE"
        )
    if place.exists():
        raise StorageError(
            f"{place} already exists; name another: dcbench merge {source} --name WHOSE"
        )
    found = find_records(source)
    _refuse_damaged(source, found)
    files = list(_files(source, found))
    _check_sets(source, files, found)
    write_folder(
        place, {str(_renamed(path.relative_to(source))): path.read_bytes() for path in files}
    )
    sets = sum(path.name == ARTIFACT for path in files)
    return Merged(source, place, sum(path.name == RECORD for path in files), sets)


def _refuse_damaged(source: Path, found: RecordsFound) -> None:
    if found.problems:
        raise DataError(f"nothing was taken from {source}: {'; '.join(found.problems)}")
    if not found.everything:
        raise DataError(
            f"no records below {source}; wanted a folder that `dcbench run --out` wrote"
        )


def _files(source: Path, found: RecordsFound) -> Iterator[Path]:
    """Return the files to copy: those that dcbench writes, in the record's folder and the set's
    folder above it; no links.
    """
    folders = {stored.path.parent for stored in found.everything}
    folders |= {folder.parent.parent for folder in folders if folder.parent.name == "evaluations"}
    for folder in sorted(folders):
        for path in sorted(folder.iterdir()):
            pictured = path.suffix == ".png" and path.name.startswith("step-")
            if path.is_symlink() or not path.is_file() or not (path.name in _KEPT or pictured):
                continue
            if path.stat().st_size > _LARGEST:
                raise DataError(f"{path} has more than {_LARGEST // 2**20} MB")
            yield path


def _renamed(inside: Path) -> Path:
    """A folder called ``measured`` may not come from elsewhere."""
    return Path(*("theirs" if part == MEASURED else part for part in inside.parts))


def _check_sets(source: Path, files: Iterable[Path], found: RecordsFound) -> None:
    """Raise DataError unless every set can be read and is the one that its records measured."""
    wanted = {
        stored.path.parent.parent.parent / ARTIFACT: stored.record.artifact_sha256
        for stored in found.records
        if isinstance(stored.record, EvaluationRecord)
    }
    for path in (path for path in files if path.name == ARTIFACT):
        try:
            sha256 = read_artifact(path).sha256
        except FileFormatError as error:
            raise DataError(f"nothing was taken from {source}: {error}") from error
        if path in wanted and wanted[path] != sha256:
            raise DataError(
                f"nothing was taken from {source}: {path} is another set than its records are of"
            )
