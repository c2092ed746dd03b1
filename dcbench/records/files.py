"""Read, write and find records: one JSON file each."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar, cast

from dcbench.records.embedding import EmbeddingRecord
from dcbench.records.evaluation import Distillation, EvaluationRecord
from dcbench.records.kinds import RecordKind
from dcbench.records.search import SearchRecord
from dcbench.records.trace import TraceRecord
from dcbench.records.values import RefusedError, decode, shown
from dcbench.system.errors import DataError, FileFormatError
from dcbench.system.files import distinct_keys, write_json
from dcbench.system.layout import RECORD

MAX_BYTES = 16 * 1024 * 1024

Origin = Literal["measured", "yours"]
Record = EvaluationRecord | SearchRecord | TraceRecord | EmbeddingRecord
KINDS: Mapping[str, type[Record]] = {
    kind.kind: kind for kind in (EvaluationRecord, SearchRecord, TraceRecord, EmbeddingRecord)
}
Kind = TypeVar("Kind", bound=RecordKind)


@dataclass(frozen=True)
class Stored(Generic[Kind]):
    """A record and its path. ``origin`` tells the project's own measurements (``measured``) from
    the user's (``yours``).
    """

    path: Path
    record: Kind
    origin: Origin = "yours"


StoredRecord = Stored[EvaluationRecord]
StoredSearch = Stored[SearchRecord]
StoredTrace = Stored[TraceRecord]
StoredEmbedding = Stored[EmbeddingRecord]


@dataclass(frozen=True)
class RecordsFound:
    """The records below a folder, by path, and a message for each file that was skipped."""

    records: tuple[StoredRecord, ...]
    problems: tuple[str, ...]
    searches: tuple[StoredSearch, ...] = ()
    traces: tuple[StoredTrace, ...] = ()
    embeddings: tuple[StoredEmbedding, ...] = ()
    # evaluations left out: one of another set with the same method, settings and seed is shown
    hidden: tuple[Path, ...] = ()

    @property
    def everything(self) -> tuple[Stored[Any], ...]:
        """Return the records of all kinds."""
        return (*self.records, *self.searches, *self.traces, *self.embeddings)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Return what to say of files that no table shows."""
        passed = tuple(f"passed over: {problem}" for problem in self.problems)
        if not self.hidden:
            return passed
        return (
            *passed,
            f"not shown: {len(self.hidden)} of another set with the settings and seed of one that "
            f"is shown, such as {self.hidden[0]}; report or compare the folders one by one",
        )


def write_record(path: Path, record: Record) -> None:
    """Write ``record`` whole or not at all.

    A file that already holds the same measurement is kept: its time and code version are those of
    the measurement.

    Raises:
        FileFormatError: If the record could not be read back.
        StorageError: If the disk refuses.
    """
    value = record.to_json()
    readable = type(record).from_json(value, f"record meant for {path}")
    if not _stands(path, readable):
        write_json(path, value)


def _stands(path: Path, record: Record) -> bool:
    """Return whether the file at ``path`` holds the same measurement, whatever its time and code
    version.
    """
    try:
        there = read_record(path)
    except FileFormatError:
        return False
    return (
        replace(there, created=record.created, code=record.code, versions=record.versions) == record
    )


def read_record(path: Path) -> Record:
    """Read a record of any kind.

    Raises:
        FileFormatError: Naming the file and what is wrong with it.
    """
    value = _load(path)
    kind = value.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        raise FileFormatError(
            f"{path}: unknown kind of record {shown(kind)}; this dcbench reads {', '.join(KINDS)}"
        )
    return KINDS[kind].from_json(value, path)


def read_distillation(path: Path) -> Distillation:
    """Read what making a set took.

    Raises:
        FileFormatError: Naming the file and what is wrong with it.
    """
    try:
        return cast(Distillation, decode(Distillation, _load(path), ""))
    except RefusedError as refusal:
        raise FileFormatError(f"{path}: {refusal}") from refusal


def find_records(root: Path) -> RecordsFound:
    """Return all records below ``root``. Of several records of one measurement, the one with the
    most networks.

    Raises:
        DataError: If there is no such folder.
    """
    if not root.is_dir():
        raise DataError(
            f"no folder {root}; wanted one with records, as `dcbench run --out` writes them"
        )
    problems: list[str] = []
    found: list[Stored[Any]] = []
    for path in sorted(_record_paths(root, problems)):
        try:
            found.append(Stored(path, read_record(path), _origin(path)))
        except FileFormatError as error:
            problems.append(str(error))
    records = _of(EvaluationRecord, found)
    return RecordsFound(
        records=records,
        problems=tuple(" ".join(problem.split()) for problem in problems),
        searches=_of(SearchRecord, found),
        traces=_of(TraceRecord, found),
        embeddings=_of(EmbeddingRecord, found),
        hidden=_hidden(found, records),
    )


def _hidden(found: Iterable[Stored[Any]], shown: Iterable[StoredRecord]) -> tuple[Path, ...]:
    """Return the evaluations of another set than the one that is shown with the same method,
    settings and seed. Older records do not say which set it was.
    """
    contents = {stored.record.identity: stored.record.content for stored in shown}
    evaluations = [stored for stored in found if isinstance(stored.record, EvaluationRecord)]
    pairs = [(own, own.record.content, contents[own.record.identity]) for own in evaluations]
    return tuple(own.path for own, one, other in pairs if one and other and one != other)


def _record_paths(root: Path, problems: list[str]) -> Iterator[Path]:
    def unreadable(error: OSError) -> None:
        problems.append(f"{error.filename} cannot be read: {error.strerror}")

    top = root.resolve()
    for folder, subfolders, files in os.walk(root, onerror=unreadable):
        subfolders.sort()
        links = [
            Path(folder, name) for name in (*subfolders, RECORD) if Path(folder, name).is_symlink()
        ]
        # A link that stays inside leads to what is found in its own place anyway.
        problems.extend(
            f"{link} is a link that leaves {root}; not followed"
            for link in links
            if not _inside(top, link)
        )
        if RECORD in files and Path(folder, RECORD) not in links:
            yield Path(folder, RECORD)
        elif RECORD in subfolders:
            problems.append(f"{Path(folder, RECORD)} is a folder, wanted a file")


def _inside(top: Path, link: Path) -> bool:
    try:
        return link.resolve().is_relative_to(top)
    except (OSError, RuntimeError):  # a loop of links
        return False


@cache
def measured_by_the_project() -> frozenset[str]:
    """Return the checksums of the project's own records (``make measured`` lists them): they count
    as measured wherever they are.
    """
    listed = Path(__file__).with_name("measured.sha256").read_text(encoding="utf-8")
    return frozenset(line.split()[0] for line in listed.splitlines())


def _origin(path: Path) -> Origin:
    checksum = hashlib.sha256(path.read_bytes()).hexdigest()
    return "measured" if checksum in measured_by_the_project() else "yours"


def _of(kind: type[Kind], found: Iterable[Stored[Any]]) -> tuple[Stored[Kind], ...]:
    """Return the records of one kind, each measurement once, by path."""

    def priority(stored: Stored[Kind]) -> tuple[int, bool]:
        return stored.record.measurements, stored.origin == "measured"

    kept: dict[tuple[object, ...], Stored[Kind]] = {}
    for stored in found:
        if isinstance(stored.record, kind):
            before = kept.get(stored.record.identity)
            if before is None or priority(stored) > priority(before):
                kept[stored.record.identity] = stored
    return tuple(sorted(kept.values(), key=lambda stored: stored.path))


def _load(path: Path) -> dict[str, Any]:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise FileFormatError(f"{path} is not a file")
        if status.st_size > MAX_BYTES:
            raise FileFormatError(
                f"{path} has {status.st_size} bytes; a record has at most {MAX_BYTES}"
            )
        value = json.loads(
            path.read_text(encoding="utf-8"),
            parse_constant=_refuse_constant,
            object_pairs_hook=distinct_keys,
        )
    except (OSError, ValueError, RecursionError) as error:
        raise FileFormatError(
            f"{path} is not a readable record: {str(error) or type(error).__name__}"
        ) from error
    if not isinstance(value, dict):
        raise FileFormatError(f"{path} holds a JSON {type(value).__name__}, wanted an object")
    return value


def _refuse_constant(name: str) -> float:
    raise ValueError(f"it holds {name}, and a figure that does not exist is null")
