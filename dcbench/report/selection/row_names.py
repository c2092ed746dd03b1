"""Names of rows: a method's main row is its title, another row adds what differs from it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from dcbench.records.kinds import STOPPED, OfASet
from dcbench.report.formatting import one_line, short_hash, title
from dcbench.report.grouping import grouped, grouped_by
from dcbench.report.selection.method_variants import (
    DEFAULT,
    common_preset,
    fields_of,
    set_key,
    variants_of,
)
from dcbench.studies.declared_methods import declared_methods

_MOST_LETTERS = 40  # of one setting in a name

# what a setting is called in a name; the value stands where the braces are
_PHRASES = {
    "iterations": "{} steps",
    "stopped after": "after {} steps",
    "real_batch": "{} real images",
    "init": "from {}",
    "network": "made with {}",
    "loss": "{} loss",
    "space": "{}",
    "distilled in": "made in {}",
    "method version": "version {}",
    "part kept apart": "without {}",
    "checksum": "set {}",
}
_IDENTITIES = ("checksum", "artifact")  # never numbers
_VALUES = {
    "zca": "ZCA",
    "zca-pixels": "ZCA of pixels",
    "normalised": "not whitened",
    "raw": "raw pixels",
    "k-center": "K-Center",
    "herding": "Herding",
    "facility-location": "facility location",
    "random": "random images",
    "true": "on",
    "false": "off",
    "null": "none",
}


class RowKey(NamedTuple):
    """What the records of one row share."""

    method: str
    foreign: bool
    variant: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class RowName:
    """How a row is called, and whether it is its method's main row."""

    label: str
    main: bool


def row_keys(records: Sequence[OfASet]) -> list[RowKey]:
    """The row of each record."""
    return [
        RowKey(record.method, record.foreign, tuple(variant.items()))
        for record, variant in zip(records, variants_of(records), strict=True)
    ]


def labels(records: Sequence[OfASet]) -> list[str]:
    """Each record's row by name; no two rows have the same name."""
    keys = row_keys(records)
    names = row_names(grouped_by(keys, records))
    return [names[key].label for key in keys]


def method_title(records: Sequence[OfASet]) -> str:
    """The usual spelling of the method of ``records``: the project's, else what the newest of them
    says that registered one.
    """
    method = records[0].method
    said = [(record.created, record.title) for record in records if record.title.strip()]
    return one_line(max(said)[1]) if said and method not in declared_methods() else title(method)


def row_names(rows: Mapping[RowKey, Sequence[OfASet]]) -> dict[RowKey, RowName]:
    """The name of each row. A method's main row has the preset that most methods have, and of these
    rows the fewest fields that are not the preset's, then the most budgets and sets.
    """
    presets = main_presets(rows)
    found: dict[RowKey, RowName] = {}
    for own in grouped(rows, lambda key: (key.method, key.foreign)).values():
        ordered = sorted(own, key=lambda key: _place(key, rows[key], presets))
        main = ordered[0]
        called = method_title([record for key in own for record in rows[key]])
        for key in ordered:
            alone = key is main or _anonymous(key)
            words = _words(key, main, ordered, rows)
            label = f"{called} ({', '.join(words)})" if words else called
            found[key] = RowName(label, alone)
    unique = distinct([found[key].label for key in rows])
    return {key: RowName(label, found[key].main) for key, label in zip(rows, unique, strict=True)}


def distinct(names: Sequence[str]) -> list[str]:
    """The names; from its second occurrence on, a name gets a number that makes it unlike all."""
    taken = set(names)
    seen: set[str] = set()
    found = []
    for name in names:
        shown, number = name, 1
        while shown in seen or (number > 1 and shown in taken):
            number += 1
            shown = f"{name} ({number})"
        seen.add(shown)
        found.append(shown)
    return found


def main_presets(rows: Mapping[RowKey, Sequence[OfASet]]) -> list[str]:
    """The presets of the rows, the one that most methods have first."""
    pairs = {(key.method, common_preset(records)) for key, records in rows.items()}
    counts = Counter(preset for _, preset in pairs if preset)
    return sorted(counts, key=lambda preset: (-counts[preset], preset != "paper", preset))


def _place(key: RowKey, records: Sequence[OfASet], presets: Sequence[str]) -> tuple[object, ...]:
    preset = common_preset(records)
    rank = presets.index(preset) if preset in presets else len(presets)
    unfinished = any(STOPPED in record.changed for record in records)
    budgets = {record.ipc for record in records}
    sets: set[Hashable] = {(record.ipc, set_key(record)) for record in records}
    return rank, unfinished, _changes(key, records), -len(budgets), -len(sets), key.variant


def _changes(key: RowKey, records: Sequence[OfASet]) -> int:
    """How many of the fields that tell the row from others are not its preset's."""
    known = declared_methods().get(key.method)
    if key.foreign:
        return 0
    if known is None:  # of a user's own file: its records say what was changed
        return max(len(record.changed.keys() - {STOPPED}) for record in records)
    declared, fields = known.preset(records[0].preset), fields_of(records[0])
    return sum(name in declared and fields.get(name) != declared[name] for name, _ in key.variant)


def _words(
    key: RowKey,
    main: RowKey,
    ordered: Sequence[RowKey],
    rows: Mapping[RowKey, Sequence[OfASet]],
) -> list[str]:
    """What stands behind the method's title: the preset, if it is not the main row's, and what
    differs from the first row of that preset. An anonymous set has no main row: its checksum tells
    which it is.
    """
    foreign = ["foreign"] if key.foreign else []
    own, anonymous = dict(key.variant), _anonymous(key)
    stopped = _stopped(rows[key])
    if key is main and not anonymous and not stopped:
        return foreign
    preset = common_preset(rows[key])
    alike = [other for other in ordered if common_preset(rows[other]) == preset]
    first = alike[0] if preset else main
    words = (
        [] if preset == common_preset(rows[main]) or not preset else [f"preset {one_line(preset)}"]
    )
    beside = {} if anonymous else dict(first.variant)
    own, beside = own | stopped, {name: beside[name] for name in beside if name not in stopped}
    words += [
        setting_words(key.method, name, own.get(name, DEFAULT))
        for name in sorted(own | beside, key=_order)
        if own.get(name) != beside.get(name)
        and name != "preset"
        and (name in own or name not in _IDENTITIES)
    ]
    return foreign + words


def _anonymous(key: RowKey) -> bool:
    """Whether nobody said which method made the set: it stands for itself."""
    return "checksum" in dict(key.variant)


def _stopped(records: Sequence[OfASet]) -> dict[str, str]:
    """After how many steps the sets are snapshots, if they are."""
    steps = {str(record.changed.get(STOPPED, "")) for record in records}
    return {"stopped after": "/".join(sorted(steps))} if any(steps) else {}


def _order(setting: str) -> tuple[int, str]:
    known = list(_PHRASES)
    return (known.index(setting) if setting in known else len(known)), setting


def setting_words(method: str, name: str, value: str) -> str:
    """A setting in short words: "500 steps", "λ 0.1", "ZCA"."""
    shown = title(value) if name == "network" else _shortened(value_words(value))
    if name in _IDENTITIES:
        shown = _shortened(value)
    known = declared_methods().get(method)
    letter = known.letters.get(name) if known else None
    if letter:
        return f"{letter} {shown}"
    phrase = _PHRASES.get(name)
    return phrase.format(shown) if phrase else f"{_shortened(name.replace('_', ' '))} {shown}"


def value_words(value: str) -> str:
    """A value as reports spell it: numbers without zeros at the end, and with commas between
    thousands.
    """
    try:
        number = float(value.removesuffix(" steps"))
    except ValueError:
        return _VALUES.get(value, value)
    return f"{number:,.0f}" if number.is_integer() and abs(number) < 1e9 else f"{number:g}"


def _shortened(text: str) -> str:
    """The text in one line; the middle of a long one gives way to a checksum of the whole."""
    shown = one_line(text, len(text) + 1)
    if len(shown) <= _MOST_LETTERS:
        return shown
    return f"{shown[: _MOST_LETTERS - 11]}... {short_hash(text)}"
