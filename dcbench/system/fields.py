"""Typed and bounded fields of dataclasses: read from annotations, checked, parsed from text.

The bound is part of the annotation: ``Annotated[float, Ge(0)]``.
"""

from __future__ import annotations

import math
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, dataclass, fields
from functools import cache
from typing import Any

from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen

from dcbench.system.errors import OutOfRangeError

LARGEST = 2**63 - 1  # in one record


def within(name: str, value: float | None, least: float, most: float = LARGEST) -> None:
    """Raise OutOfRangeError if ``value`` is below ``least``, above ``most`` or NaN, or is not whole
    as ``least`` is; None is none.
    """
    if value is None:
        return
    if type(least) is int and type(value) is not int:
        raise OutOfRangeError(f"{name} must be a whole number, got {value!r}")
    if not value >= least:
        raise OutOfRangeError(f"{name} must be at least {least}, got {value}")
    if value > most:
        raise OutOfRangeError(f"{name} must be at most {most}, got {value}")


@dataclass(frozen=True)
class Fulfils:
    """A condition on a field that is not a range, with words for the message."""

    holds: Callable[[Any], bool]
    wanted: str
    signs: str = ""  # the condition in short notation, for lists of fields


_BOUNDS: Mapping[type, tuple[Callable[[Any, Any], bool], str]] = {
    Ge: (lambda value, bound: value >= bound.ge, "be at least {0.ge}"),
    Gt: (lambda value, bound: value > bound.gt, "be greater than {0.gt}"),
    Le: (lambda value, bound: value <= bound.le, "be at most {0.le}"),
    Lt: (lambda value, bound: value < bound.lt, "be less than {0.lt}"),
    MinLen: (lambda value, bound: len(value) >= bound.min_length, "not be empty"),
    MaxLen: (
        lambda value, bound: len(value) <= bound.max_length,
        "have at most {0.max_length} entries or characters",
    ),
    Fulfils: (lambda value, bound: bound.holds(value), "{0.wanted}"),
}


def violation(bounds: Iterable[object], value: Any) -> str:
    """Return what ``value`` must do to meet the first bound that it breaks; empty if it
    meets all.
    """
    for bound in bounds:
        if type(bound) in _BOUNDS:
            holds, wanted = _BOUNDS[type(bound)]
            if not holds(value, bound):
                return wanted.format(bound)
    return ""


_PLAIN = {bool, int, float, str, type(None)}
# bounds in short notation
_SIGNS: Mapping[type, str] = {
    Ge: "≥{0.ge:g}",
    Gt: ">{0.gt:g}",
    Le: "≤{0.le:g}",
    Lt: "<{0.lt:g}",
    Fulfils: "{0.signs}",
}
_TRUE, _FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")
_TRUTH = dict.fromkeys(_TRUE, True) | dict.fromkeys(_FALSE, False)


@dataclass(frozen=True)
class TypedField:
    """One field of a dataclass: type, range and default."""

    name: str
    kinds: tuple[Any, ...]  # plain types and Literal values' types
    choices: tuple[Any, ...]
    bounds: tuple[object, ...]
    default: Any

    def check(self, owner: str, value: Any) -> None:
        """Raise OutOfRangeError if ``value`` has the wrong type or is out of range."""
        if self.choices:
            if value not in self.choices:
                raise OutOfRangeError(
                    f"{owner}: {self.name} must be one of {', '.join(map(str, self.choices))}, got "
                    f"{value!r}"
                )
            return
        if value is None and type(None) in self.kinds:
            return
        accepted = (*self.kinds, int) if float in self.kinds else self.kinds
        if not isinstance(value, accepted) or (isinstance(value, bool) and bool not in self.kinds):
            raise OutOfRangeError(f"{owner}: {self.name} must be {self._kind_names}, got {value!r}")
        if isinstance(value, float) and not math.isfinite(value):
            raise OutOfRangeError(f"{owner}: {self.name} must be finite, got {value!r}")
        wanted = violation(self.bounds, value)
        if wanted:
            raise OutOfRangeError(f"{owner}: {self.name} must {wanted}, got {value!r}")

    def parse(self, owner: str, text: str) -> Any:
        """Convert ``text`` to the field's type. Raises OutOfRangeError."""
        if self.choices:
            return next((choice for choice in self.choices if str(choice) == text), text)
        if text.lower() in ("none", "null") and type(None) in self.kinds:
            return None
        for kind in (kind for kind in (bool, int, float, str) if kind in self.kinds):
            try:
                return _TRUTH[text.lower()] if kind is bool else kind(text)
            except (ValueError, KeyError):
                continue
        one = "; --set takes one value, so run the command once for each" if "," in text else ""
        raise OutOfRangeError(f"{owner}: {self.name} must be {self._kind_names}, got {text!r}{one}")

    @property
    def domain(self) -> str:
        """Return the field's choices or range in short notation, such as ``>0, ≤10``; empty if any
        value is allowed.
        """
        if self.choices:
            return "|".join(map(str, self.choices))
        signs = (_SIGNS.get(type(bound), "").format(bound) for bound in self.bounds)
        return ", ".join(filter(None, signs))

    def require_plain(self) -> None:
        """Raise TypeError if the command line could not set the field, or if it has no default."""
        if not self.choices and not set(self.kinds) <= _PLAIN:
            kinds = " or ".join(getattr(kind, "__name__", str(kind)) for kind in self.kinds)
            raise TypeError(
                f"field {self.name} is a {kinds}; it may be a bool, int, float, str or Literal, or "
                "one of these or None"
            )
        if self.default is MISSING:
            raise TypeError(f"field {self.name} has no default; give it the paper's value")

    @property
    def _kind_names(self) -> str:
        return " or ".join("none" if kind is type(None) else kind.__name__ for kind in self.kinds)


@cache
def typed_fields(kind: type[Any]) -> dict[str, TypedField]:
    """Return the fields of the dataclass ``kind`` with their types and bounds."""
    hints = typing.get_type_hints(kind, include_extras=True)
    found = {}
    for field in fields(kind):
        annotated, bounds = hints[field.name], ()
        if typing.get_origin(annotated) is typing.Annotated:
            annotated, *bounds = typing.get_args(annotated)  # type: ignore[assignment]
        origin, members = typing.get_origin(annotated), typing.get_args(annotated)
        choices = members if origin is typing.Literal else ()
        union = origin in (typing.Union, types.UnionType)
        kinds = members if union else (tuple if origin is tuple else annotated,)
        found[field.name] = TypedField(field.name, kinds, choices, tuple(bounds), field.default)
    return found


def check_fields(instance: Any, owner: str) -> None:
    """Raise OutOfRangeError if a field has the wrong type or is out of range; the message names
    ``owner``.
    """
    for field in typed_fields(type(instance)).values():  # type: ignore[arg-type]
        field.check(owner, getattr(instance, field.name))
