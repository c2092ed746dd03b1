"""The base class of all kinds of records: versions, JSON, and the fields that describe a set."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar, cast

from annotated_types import MaxLen

from dcbench.records.values import (
    SILENT,
    Name,
    Positive,
    RefusedError,
    Text,
    Timestamp,
    Versions,
    Whole,
    decode,
    encode,
    shown,
)
from dcbench.system.errors import FileFormatError

# the key in ``changed`` for a snapshot's step
STOPPED = "stopped_after"

_Kind = TypeVar("_Kind", bound="RecordKind")


@dataclass(frozen=True, kw_only=True)
class RanOn:
    """The machine and settings that a piece of work ran with."""

    engine: Name
    precision: Name
    threads: Positive
    device: Name
    device_name: Text


@dataclass(frozen=True, kw_only=True)
class RecordKind(RanOn, ABC):
    """Base of all records: a frozen dataclass with protocol, code version and time."""

    kind: ClassVar[str]
    format_version: ClassVar[int]
    # fields added later: the version that added each, and its value in older records
    added: ClassVar[Mapping[str, tuple[int, Any]]] = {}

    protocol: Mapping[str, Any]
    protocol_hash: Name
    versions: Versions
    code: Annotated[str, MaxLen(200)]
    created: Timestamp
    warnings: Annotated[tuple[Text, ...], MaxLen(1000)]

    @property
    @abstractmethod
    def label(self) -> str:
        """A short description of the record, for messages."""

    @property
    @abstractmethod
    def identity(self) -> tuple[object, ...]:
        """What identifies a measurement: two records of the same measurement have it in common."""

    @property
    @abstractmethod
    def measurements(self) -> int:
        """The number of measurements; of two records of the same measurement the larger is kept."""

    @abstractmethod
    def refuse(self) -> str:
        """Return what is wrong with the record although each field is valid; empty if
        nothing is.
        """

    def to_json(self) -> dict[str, Any]:
        """Return the record in JSON's types: first the fields of this kind, then those of all
        kinds.
        """
        values = encode(self)
        common = {field.name: values.pop(field.name) for field in dataclasses.fields(RecordKind)}
        return {"kind": self.kind, "format_version": self.format_version, **values, **common}

    @classmethod
    def from_json(
        cls: type[_Kind], value: Mapping[str, Any], source: str | Path = "record"
    ) -> _Kind:
        """Read what ``to_json`` returned.

        Raises:
            FileFormatError: Naming ``source`` and the field that is wrong.
        """
        try:
            version = _checked_version(cls.kind, cls.format_version, value)
            before = {name: meant for name, (since, meant) in cls.added.items() if version < since}
            own = {
                key: entry for key, entry in value.items() if key not in ("kind", "format_version")
            }
            record = cast(_Kind, decode(cls, before | own, ""))
            if record.refuse():
                raise RefusedError(record.refuse())
        except RefusedError as refusal:
            raise FileFormatError(f"{source}: {refusal}") from refusal
        return record


@dataclass(frozen=True, kw_only=True)
class OfASet(RecordKind):
    """Base of records about one synthetic set: its method, data and file."""

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
    # fields that differ from the preset; older records lack it
    changed: Mapping[str, Any] = field(default_factory=dict)
    # checksum of images and labels alone; older records lack it
    content: Annotated[str, MaxLen(200)] = ""
    # the method's usual spelling, where its own user registered one
    title: Annotated[str, MaxLen(200)] = field(default="", metadata=SILENT)

    @property
    def foreign(self) -> bool:
        """Whether the set was made by another project's code."""
        return self.method_version is None

    @property
    def label(self) -> str:
        return set_in_words(self.method, self.dataset, self.ipc, self.seed)

    @property
    def which_set(self) -> tuple[object, ...]:
        """What identifies the set: two records of the same set have it in common.

        The artifact's hash alone covers neither the budget nor the seed.
        """
        return (
            self.method,
            self.dataset,
            self.dataset_revision,
            self.ipc,
            self.artifact_hash,
            self.seed,
        )


def set_in_words(method: str, dataset: str, ipc: int | None, seed: int | None) -> str:
    """Describe a set in a few words: method, data, IPC and seed, as far as known."""
    numbers = {"IPC": ipc, "seed": seed}
    known = [f"{name} {number}" for name, number in numbers.items() if number is not None]
    return ", ".join([f"{method} on {dataset}", *known])


def _checked_version(kind: str, newest: int, value: Mapping[str, Any]) -> int:
    if value.get("kind") != kind:
        raise RefusedError(f"kind is {shown(value.get('kind'))}, wanted {kind!r}")
    version = value.get("format_version")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise RefusedError(f"format_version is {shown(version)}, wanted {newest}")
    if version > newest:
        raise RefusedError(
            f"format_version {version} is newer than {newest}, the newest that this dcbench reads; "
            "a newer dcbench is needed"
        )
    return version
