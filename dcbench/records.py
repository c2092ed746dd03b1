"""Records: what was measured, of what, how and where; one JSON file each, read strictly.

A record holds raw figures only (an accuracy for each network); means, intervals and ranks are computed by the report.
All accuracies are fractions. Every field is described in ``results/README.md``.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import stat
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Le, MaxLen, MinLen, Predicate

from dcbench.errors import DataError, FileFormatError
from dcbench.files import write_json

RECORD_NAME = "record.json"
MAX_BYTES = 16 * 1024 * 1024
MEASURED = "measured"  # the folder of the project's own measurements
_MAX_DEPTH = 16  # of the mappings whose keys a record does not fix

Origin = Literal["measured", "yours"]


def _is_time(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


Name = Annotated[str, MinLen(1), MaxLen(200)]
Text = Annotated[str, MaxLen(2000)]
Timestamp = Annotated[str, MaxLen(40), Predicate(_is_time)]
Whole = Annotated[int, Ge(0), Le(2**63 - 1)]
Positive = Annotated[int, Ge(1), Le(2**63 - 1)]
Fraction = Annotated[float, Ge(0), Le(1)]
Seconds = Annotated[float, Ge(0)]


@dataclass(frozen=True)
class NetworkScore:
    """One network trained on the set. ``loss`` is the last epoch's, null where training diverged."""

    network: Whole
    accuracy: Fraction
    loss: float | None
    seconds: Seconds


@dataclass(frozen=True)
class Versions:
    """What the evaluation ran with."""

    dcbench: Name
    torch: Name
    python: Name


@dataclass(frozen=True, kw_only=True)
class Distillation:
    """What making the set took, and on what."""

    distill_seconds: Seconds
    step_seconds: Seconds | None
    compile_seconds: Seconds | None
    peak_memory_bytes: Whole | None
    engine: Name
    precision: Name
    threads: Positive
    device: Name
    device_name: Text
    torch: Name
    resumed_elsewhere: bool


@dataclass(frozen=True, kw_only=True)
class EvaluationRecord:
    """The accuracies of networks trained on one synthetic set. ``distillation`` is null where nobody here saw the set being made."""

    kind: ClassVar[str] = "evaluation"
    format_version: ClassVar[int] = 1

    method: Name
    paper: Name | None
    method_version: Whole | None
    fields: Mapping[str, Any]
    preset: Name | None
    dataset: Name
    dataset_revision: Name
    dataset_note: Text
    ipc: Positive | None
    budget_images: Positive
    seed: Whole | None
    holdout: Text
    space: Name
    artifact_hash: Name
    artifact_sha256: Annotated[str, MaxLen(200)]
    network: Name
    augment: Name
    protocol: Mapping[str, Any]
    protocol_hash: Name
    evaluation_seed: Whole
    recipe: Mapping[str, Any]
    networks: Annotated[tuple[NetworkScore, ...], MinLen(1), MaxLen(100_000)]
    distillation: Distillation | None
    evaluate_seconds: Seconds
    epoch_seconds: Seconds | None
    compile_seconds: Seconds | None
    peak_memory_bytes: Whole | None
    engine: Name
    precision: Name
    threads: Positive
    device: Name
    device_name: Text
    versions: Versions
    code: Annotated[str, MaxLen(200)]
    created: Timestamp
    warnings: Annotated[tuple[Text, ...], MaxLen(1000)]

    @property
    def accuracies(self) -> tuple[float, ...]:
        """One fraction per network, by the network's number."""
        return tuple(result.accuracy for result in sorted(self.networks, key=lambda result: result.network))

    @property
    def foreign(self) -> bool:
        """Whether the set was made by other code than this harness."""
        return self.method_version is None

    @property
    def label(self) -> str:
        """The record in a few words, for people."""
        budget = "" if self.ipc is None else f", IPC {self.ipc}"
        seed = "" if self.seed is None else f", seed {self.seed}"
        return f"{self.method} on {self.dataset}{budget}{seed}"

    @property
    def identity(self) -> tuple[object, ...]:
        """What two records of the same measurement share. The artifact's hash says neither the budget nor the seed."""
        measured = (self.method, self.dataset, self.dataset_revision, self.ipc, self.artifact_hash, self.seed)
        return (*measured, self.protocol_hash, self.evaluation_seed)

    @property
    def worth(self) -> int:
        """How much was measured: of two records of the same, the one with more is kept."""
        return len(self.networks)

    def to_json(self) -> dict[str, Any]:
        """The record as plain values that JSON can hold."""
        return {"kind": self.kind, "format_version": self.format_version, **_encode(self)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any], source: str | Path = "record") -> EvaluationRecord:
        """The inverse of ``to_json``; raises FileFormatError naming ``source`` and the field that is wrong."""
        return _read_as(cls, value, source)

    def refuse(self) -> str:
        """What is wrong though each field is right, or nothing."""
        twice = len({result.network for result in self.networks}) < len(self.networks)
        return "field networks names a network twice" if twice else ""


@dataclass(frozen=True)
class SearchRun:
    """One network of an architecture, trained on the proxy; ``accuracy`` on the validation part.

    ``loss`` is null where it diverged, ``accuracy`` where it could not be trained to the end; ``failure`` says why.
    """

    seed: Whole
    accuracy: Fraction | None
    loss: float | None
    seconds: Seconds
    failure: Text


@dataclass(frozen=True)
class ArchitectureScore:
    """One architecture's networks. ``truth``: its test accuracy when trained on the whole data; null where that failed."""

    architecture: Name
    macs: Annotated[float, Ge(0)]  # multiply-accumulates of one image
    truth: Fraction | None
    runs: Annotated[tuple[SearchRun, ...], MinLen(1), MaxLen(1000)]

    @property
    def accuracy(self) -> float | None:
        """The mean over the networks that did not fail."""
        found = [run.accuracy for run in self.runs if run.accuracy is not None]
        return sum(found) / len(found) if found else None


@dataclass(frozen=True, kw_only=True)
class SearchRecord:
    """What one proxy makes of a search space: accuracies of architectures trained on it, beside the truth."""

    kind: ClassVar[str] = "search"
    format_version: ClassVar[int] = 1

    space: Name
    space_fields: Mapping[str, Any]
    space_size: Positive
    excluded: Annotated[tuple[Name, ...], MaxLen(100_000)]
    sample: Positive | None
    search_seed: Whole
    seeds: Positive
    top: Fraction
    proxy: Name
    proxy_ipc: Positive | None
    proxy_seed: Whole | None
    proxy_preset: Name | None
    proxy_fields: Mapping[str, Any]
    proxy_hash: Name
    proxy_holdout: Text
    image_space: Name
    recipe: Mapping[str, Any]
    storage_images: Positive
    storage_bytes: Positive
    dataset: Name
    dataset_revision: Name
    dataset_note: Text
    validation_images: Positive
    validation_seen_by_proxy: bool
    protocol: Mapping[str, Any]
    protocol_hash: Name
    iterations: Positive
    truth: Mapping[str, Any]
    architectures: Annotated[tuple[ArchitectureScore, ...], MinLen(1), MaxLen(100_000)]
    seconds: Seconds
    engine: Name
    precision: Name
    threads: Positive
    device: Name
    device_name: Text
    versions: Versions
    code: Annotated[str, MaxLen(200)]
    created: Timestamp
    warnings: Annotated[tuple[Text, ...], MaxLen(1000)]

    @property
    def ranked(self) -> Mapping[str, tuple[float, float]]:
        """Mean accuracy on the proxy, and truth, of each architecture that has both."""
        found = {score.architecture: (score.accuracy, score.truth) for score in self.architectures}
        return {name: (accuracy, truth) for name, (accuracy, truth) in found.items() if accuracy is not None and truth is not None}

    @property
    def failed(self) -> int:
        """Architectures of which a network failed, or the truth. One that diverged has an accuracy all the same, and is ranked."""
        return sum(score.truth is None or any(run.failure for run in score.runs) for score in self.architectures)

    @property
    def label(self) -> str:
        """The record in a few words, for people."""
        budget = "" if self.proxy_ipc is None else f", IPC {self.proxy_ipc}"
        seed = "" if self.proxy_seed is None else f", seed {self.proxy_seed}"
        return f"{self.proxy} on {self.dataset}{budget}{seed}, {self.space}"

    @property
    def identity(self) -> tuple[object, ...]:
        """What two records of the same measurement share."""
        plain = _encode(self)
        names = ("space", "space_fields", "sample", "search_seed", "seeds", "dataset", "dataset_revision", "validation_images")
        searched = json.dumps([plain[name] for name in (*names, "truth", "proxy", "proxy_hash")], sort_keys=True)
        return (searched, self.protocol_hash, tuple(sorted(score.architecture for score in self.architectures)))

    @property
    def worth(self) -> int:
        """How much was measured: of two records of the same, the one with more is kept."""
        return len(self.ranked)

    def to_json(self) -> dict[str, Any]:
        """The record as plain values that JSON can hold."""
        return {"kind": self.kind, "format_version": self.format_version, **_encode(self)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any], source: str | Path = "record") -> SearchRecord:
        """The inverse of ``to_json``; raises FileFormatError naming ``source`` and the field that is wrong."""
        return _read_as(cls, value, source)

    def refuse(self) -> str:
        """What is wrong though each field is right, or nothing."""
        twice = len({score.architecture for score in self.architectures}) < len(self.architectures)
        return "field architectures names an architecture twice" if twice else ""


Record = EvaluationRecord | SearchRecord
_KINDS: Mapping[str, type[EvaluationRecord] | type[SearchRecord]] = {kind.kind: kind for kind in (EvaluationRecord, SearchRecord)}
_Kind = typing.TypeVar("_Kind", EvaluationRecord, SearchRecord)


def _read_as(kind: type[_Kind], value: Mapping[str, Any], source: str | Path) -> _Kind:
    try:
        _check_version(kind.kind, kind.format_version, value)
        plain = {key: entry for key, entry in value.items() if key not in ("kind", "format_version")}
        record = typing.cast(_Kind, _decode(kind, plain, ""))
        if record.refuse():
            raise _RefusedError(record.refuse())
    except _RefusedError as refusal:
        raise FileFormatError(f"{source}: {refusal}") from refusal
    return record


@dataclass(frozen=True)
class StoredRecord:
    """A record, where it was found, and whether the project measured it or you did."""

    path: Path
    record: EvaluationRecord
    origin: Origin = "yours"


@dataclass(frozen=True)
class StoredSearch:
    """The same of a search."""

    path: Path
    record: SearchRecord
    origin: Origin = "yours"


@dataclass(frozen=True)
class RecordsFound:
    """The records below a folder by path, and one line for each thing that was passed over."""

    records: tuple[StoredRecord, ...]
    problems: tuple[str, ...]
    searches: tuple[StoredSearch, ...] = ()


def write_record(path: Path, record: Record) -> None:
    """Write ``record`` whole or not at all; raises FileFormatError if it could not be read back, StorageError if the disk refuses."""
    value = record.to_json()
    type(record).from_json(value, f"record meant for {path}")
    write_json(path, value)


def read_record(path: Path) -> Record:
    """Read a record of any known kind; raises FileFormatError naming the file and what is wrong with it."""
    value = _load(path)
    kind = value.get("kind")
    if not isinstance(kind, str) or kind not in _KINDS:
        raise FileFormatError(f"{path}: unknown kind of record {_shown(kind)}; this dcbench reads {', '.join(_KINDS)}")
    return _KINDS[kind].from_json(value, path)


def read_distillation(path: Path) -> Distillation:
    """Read what making a set took; raises FileFormatError naming the file and what is wrong with it."""
    try:
        return typing.cast(Distillation, _decode(Distillation, _load(path), ""))
    except _RefusedError as refusal:
        raise FileFormatError(f"{path}: {refusal}") from refusal


def find_records(root: Path) -> RecordsFound:
    """All records below ``root``, each measurement once (the one with most networks); raises DataError if there is no such folder."""
    if not root.is_dir():
        raise DataError(f"no folder {root}; wanted one with records, as `dcbench run --out` writes them")
    problems: list[str] = []
    found: list[StoredRecord] = []
    searches: list[StoredSearch] = []
    for path in sorted(_record_paths(root, problems)):
        try:
            record = read_record(path)
        except FileFormatError as error:
            problems.append(str(error))
            continue
        if isinstance(record, SearchRecord):
            searches.append(StoredSearch(path, record, _origin(root, path)))
        else:
            found.append(StoredRecord(path, record, _origin(root, path)))
    said = tuple(" ".join(problem.split()) for problem in problems)
    return RecordsFound(tuple(_each_once(found)), said, tuple(_each_once(searches)))


def _record_paths(root: Path, problems: list[str]) -> Iterator[Path]:
    def unreadable(error: OSError) -> None:
        problems.append(f"{error.filename} cannot be read: {error.strerror}")

    top = root.resolve()
    for folder, subfolders, files in os.walk(root, onerror=unreadable):
        subfolders.sort()
        links = [Path(folder, name) for name in (*subfolders, RECORD_NAME) if Path(folder, name).is_symlink()]
        # A link that stays inside leads to what is found in its own place anyway.
        problems.extend(f"{link} is a link that leaves {root}; not followed" for link in links if not _inside(top, link))
        if RECORD_NAME in files and Path(folder, RECORD_NAME) not in links:
            yield Path(folder, RECORD_NAME)
        elif RECORD_NAME in subfolders:
            problems.append(f"{Path(folder, RECORD_NAME)} is a folder, wanted a file")


def _inside(top: Path, link: Path) -> bool:
    try:
        return link.resolve().is_relative_to(top)
    except (OSError, RuntimeError):  # a loop of links
        return False


def _origin(root: Path, path: Path) -> Origin:
    folders = (root.resolve().name, *path.relative_to(root).parent.parts)
    return "measured" if MEASURED in folders else "yours"


_Stored = typing.TypeVar("_Stored", StoredRecord, StoredSearch)


def _each_once(found: Iterable[_Stored]) -> list[_Stored]:
    def worth(stored: _Stored) -> tuple[int, bool]:
        return stored.record.worth, stored.origin == "measured"

    kept: dict[tuple[object, ...], _Stored] = {}
    for stored in found:
        before = kept.get(stored.record.identity)
        if before is None or worth(stored) > worth(before):
            kept[stored.record.identity] = stored
    return sorted(kept.values(), key=lambda stored: stored.path)


def _load(path: Path) -> dict[str, Any]:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise FileFormatError(f"{path} is not a file")
        if status.st_size > MAX_BYTES:
            raise FileFormatError(f"{path} has {status.st_size} bytes; a record has at most {MAX_BYTES}")
        value = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse_constant)
    except (OSError, ValueError, RecursionError) as error:
        raise FileFormatError(f"{path} is not a readable record: {str(error) or type(error).__name__}") from error
    if not isinstance(value, dict):
        raise FileFormatError(f"{path} holds a JSON {type(value).__name__}, wanted an object")
    return value


def _refuse_constant(name: str) -> float:
    raise ValueError(f"it holds {name}, and a figure that does not exist is null")


class _RefusedError(ValueError):
    """What is wrong with a value, before it is known which file it came from."""


def _check_version(kind: str, newest: int, value: Mapping[str, Any]) -> None:
    if value.get("kind") != kind:
        raise _RefusedError(f"kind is {_shown(value.get('kind'))}, wanted {kind!r}")
    version = value.get("format_version")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise _RefusedError(f"format_version is {_shown(version)}, wanted {newest}")
    if version > newest:
        raise _RefusedError(
            f"format_version {version} is newer than {newest}, the newest that this dcbench reads; a newer dcbench is needed"
        )


def _encode(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return {field.name: _encode(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: _encode(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_encode(entry) for entry in value]
    return value


def _decode(kind: Any, value: Any, where: str) -> Any:
    """``value`` from JSON as the annotated type ``kind``; raises _RefusedError naming ``where`` in the record it stood."""
    origin = typing.get_origin(kind)
    if origin is Annotated:
        base, *limits = typing.get_args(kind)
        return _within(limits, _decode(base, value, where), where)
    if origin in (typing.Union, types.UnionType):
        wanted = next(member for member in typing.get_args(kind) if member is not type(None))
        return None if value is None else _decode(wanted, value, where)
    if origin is tuple:
        entries = _expect(list, value, where)
        return tuple(_decode(typing.get_args(kind)[0], entry, f"{where}[{index}]") for index, entry in enumerate(entries))
    if dataclasses.is_dataclass(kind):
        return _decode_fields(typing.cast(type, kind), _expect(dict, value, where), where)
    return _SCALARS[origin or kind](value, where)


def _decode_fields(kind: type, value: Mapping[str, Any], where: str) -> Any:
    hints = _hints(kind)
    prefix = f"{where}." if where else ""
    for name in value:
        if name not in hints:
            raise _RefusedError(f"unknown field {_shown(prefix + name)}")
    for name in hints:
        if name not in value:
            raise _RefusedError(f"field {prefix}{name} is missing")
    return kind(**{name: _decode(hint, value[name], prefix + name) for name, hint in hints.items()})


@cache
def _hints(kind: type) -> dict[str, Any]:
    hints = typing.get_type_hints(kind, include_extras=True)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}


def _within(limits: Iterable[object], value: Any, where: str) -> Any:
    for limit in limits:
        wanted = _violated(limit, value)
        if wanted:
            raise _RefusedError(f"field {where} must {wanted}, got {_shown(value)}")
    return value


def _violated(limit: object, value: Any) -> str:
    match limit:
        case Ge(least) if value < least:
            return f"be at least {least}"
        case Le(most) if value > most:
            return f"be at most {most}"
        case MinLen(least) if len(value) < least:
            return "not be empty"
        case MaxLen(most) if len(value) > most:
            return f"have at most {most} entries or characters"
        case Predicate(holds) if not holds(value):
            return "be a time in ISO form"
        case _:
            return ""


def _expect(kind: type, value: Any, where: str) -> Any:
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise _RefusedError(f"field {where} must be {_JSON_NAMES[kind]}, got {_shown(value)}")
    return value


def _text(value: Any, where: str) -> str:
    text: str = _expect(str, value, where)
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise _RefusedError(f"field {where} holds half a character")
    return text


def _number(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _RefusedError(f"field {where} must be a number, got {_shown(value)}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise _RefusedError(f"field {where} must be a finite number, got {_shown(value)}")
    return number


def _plain(value: Any, where: str, depth: int = 0) -> Any:
    """``value`` if it is made of JSON's types alone, finite, not too deep."""
    if depth > _MAX_DEPTH:
        raise _RefusedError(f"field {where} is nested deeper than {_MAX_DEPTH}")
    if isinstance(value, dict):
        return {_text(key, where): _plain(entry, f"{where}.{key}", depth + 1) for key, entry in value.items()}
    if isinstance(value, list):
        return [_plain(entry, f"{where}[{index}]", depth + 1) for index, entry in enumerate(value)]
    if isinstance(value, str):
        return _text(value, where)
    if isinstance(value, float):
        return _number(value, where)
    if value is None or isinstance(value, (bool, int)):
        return value
    raise _RefusedError(f"field {where} holds a {type(value).__name__}, which JSON has not")


_JSON_NAMES: Mapping[type, str] = {str: "text", int: "a whole number", bool: "true or false", dict: "an object", list: "a list"}
_SCALARS: Mapping[Any, Callable[[Any, str], Any]] = {
    str: _text,
    int: lambda value, where: _expect(int, value, where),
    float: _number,
    bool: lambda value, where: _expect(bool, value, where),
    Mapping: lambda value, where: _plain(_expect(dict, value, where), where),
}


def _shown(value: object) -> str:
    text = repr(value) if not isinstance(value, (list, tuple, dict)) else f"a {type(value).__name__} of {len(value)}"
    return text if len(text) <= 60 else f"{text[:57]}..."
