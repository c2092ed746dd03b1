"""The types of values in records, and their strict conversion to and from JSON."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Annotated, Any

from annotated_types import Ge, Le, MaxLen, MinLen

from dcbench.system.fields import Fulfils, violation

SILENT = {"silent": True}  # metadata of a field that is left out of JSON while it has its default
MAX_DEPTH = 16  # of mappings whose keys are free


def _is_time(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def _is_file_name(text: str) -> bool:
    return text not in (".", "..") and not any(
        letter in "/\\:" or ord(letter) < 32 for letter in text
    )


Name = Annotated[str, MinLen(1), MaxLen(200)]
Text = Annotated[str, MaxLen(2000)]
Timestamp = Annotated[str, MaxLen(40), Fulfils(_is_time, "be a time in ISO form")]
Whole = Annotated[int, Ge(0), Le(2**63 - 1)]
Positive = Annotated[int, Ge(1), Le(2**63 - 1)]
Fraction = Annotated[float, Ge(0), Le(1)]
Seconds = Annotated[float, Ge(0)]
FileName = Annotated[
    str, MinLen(1), MaxLen(200), Fulfils(_is_file_name, "be the name of a file beside the record")
]


@dataclass(frozen=True)
class Versions:
    """The versions of the software that made the record."""

    dcbench: Name
    torch: Name
    python: Name


class RefusedError(ValueError):
    """What is wrong with a value; the caller adds the file's name."""


def encode(value: Any) -> Any:
    """Convert ``value`` to JSON's types, dataclasses to objects; ``decode`` is the inverse.

    ``SILENT`` fields are left out while they have their defaults.
    """
    if dataclasses.is_dataclass(value):
        return {
            field.name: encode(getattr(value, field.name))
            for field in dataclasses.fields(value)
            if not (field.metadata.get("silent") and getattr(value, field.name) == field.default)
        }
    if isinstance(value, Mapping):
        return {key: encode(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [encode(entry) for entry in value]
    return value


def decode(kind: Any, value: Any, where: str) -> Any:
    """Convert ``value`` from JSON to the annotated type ``kind``.

    Raises:
        RefusedError: Naming ``where`` in the record it stood.
    """
    origin = typing.get_origin(kind)
    if origin is Annotated:
        base, *limits = typing.get_args(kind)
        return _within(limits, decode(base, value, where), where)
    if origin in (typing.Union, types.UnionType):
        wanted = next(member for member in typing.get_args(kind) if member is not type(None))
        return None if value is None else decode(wanted, value, where)
    if origin is tuple:
        entries = _expect(list, value, where)
        return tuple(
            decode(typing.get_args(kind)[0], entry, f"{where}[{index}]")
            for index, entry in enumerate(entries)
        )
    if dataclasses.is_dataclass(kind):
        return _decode_fields(typing.cast(type, kind), _expect(dict, value, where), where)
    return _SCALARS[origin or kind](value, where)


def _decode_fields(kind: type, value: Mapping[str, Any], where: str) -> Any:
    hints = _hints(kind)
    prefix = f"{where}." if where else ""
    for name in value:
        if name not in hints:
            raise RefusedError(f"unknown field {shown(prefix + name)}")
    # missing in older files
    unsaid = {field.name for field in dataclasses.fields(kind) if _has_default(field)}
    for name in hints:
        if name not in value and name not in unsaid:
            raise RefusedError(f"field {prefix}{name} is missing")
    there = {name: hint for name, hint in hints.items() if name in value}
    return kind(**{name: decode(hint, value[name], prefix + name) for name, hint in there.items()})


def _has_default(field: dataclasses.Field[Any]) -> bool:
    return (
        field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
    )


@cache
def _hints(kind: type) -> dict[str, Any]:
    hints = typing.get_type_hints(kind, include_extras=True)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}


def _within(limits: Iterable[object], value: Any, where: str) -> Any:
    wanted = violation(limits, value)
    if wanted:
        raise RefusedError(f"field {where} must {wanted}, got {shown(value)}")
    return value


def _expect(kind: type, value: Any, where: str) -> Any:
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise RefusedError(f"field {where} must be {_JSON_NAMES[kind]}, got {shown(value)}")
    return value


def _text(value: Any, where: str) -> str:
    text: str = _expect(str, value, where)
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise RefusedError(f"field {where} holds half a character")
    return text


def _number(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise RefusedError(f"field {where} must be a number, got {shown(value)}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise RefusedError(f"field {where} must be a finite number, got {shown(value)}")
    return number


def _plain(value: Any, where: str, depth: int = 0) -> Any:
    """Return ``value`` if it consists of JSON's types, finite, and not too deep."""
    if depth > MAX_DEPTH:
        raise RefusedError(f"field {where} is nested deeper than {MAX_DEPTH}")
    if isinstance(value, dict):
        return {
            _text(key, where): _plain(entry, f"{where}.{key}", depth + 1)
            for key, entry in value.items()
        }
    if isinstance(value, list):
        return [_plain(entry, f"{where}[{index}]", depth + 1) for index, entry in enumerate(value)]
    if isinstance(value, str):
        return _text(value, where)
    if isinstance(value, float):
        return _number(value, where)
    if value is None or isinstance(value, (bool, int)):
        return value
    raise RefusedError(f"field {where} holds a {type(value).__name__}, which JSON has not")


_JSON_NAMES: Mapping[type, str] = {
    str: "text",
    int: "a whole number",
    bool: "true or false",
    dict: "an object",
    list: "a list",
}
_SCALARS: Mapping[Any, Callable[[Any, str], Any]] = {
    str: _text,
    int: lambda value, where: _expect(int, value, where),
    float: _number,
    bool: lambda value, where: _expect(bool, value, where),
    Mapping: lambda value, where: _plain(_expect(dict, value, where), where),
}


def shown(value: object) -> str:
    """Shorten ``value`` to at most 60 characters, for a message; a list or object to its size."""
    if isinstance(value, (list, tuple, dict)):
        return f"a {type(value).__name__} of {len(value)}"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
