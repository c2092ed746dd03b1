"""Studies in TOML files: the user declares a grid of sets, and ``dcbench reproduce`` runs it like a
study of the paper.

The keys are those of the commands' options; each takes one value or a list. A key that a
``[[sets]]`` leaves out is read from the top of the file. A field with several values makes sets of
each.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dcbench.studies.declarations import Plan, Study, StudyPart, find_study
from dcbench.system.errors import DataError, OutOfRangeError, require_known
from dcbench.system.files import read_toml

ENDING = ".toml"
# fields of StudyPart by their keys in the file; each takes one value or a list
_PART: Mapping[str, tuple[str, type]] = {
    "method": ("methods", str),
    "ipc": ("ipcs", int),
    "seed": ("seeds", int),
    "network": ("networks", str),
    "augment": ("augments", str),
    "protocol": ("protocols", str),
}
_LEAST = {"ipc": 1, "seed": 0, "networks": 1, "trace": 0}
_WHOLE = ("title", "dataset", "preset", "networks", "trace", "sets")  # keys of the whole study
_MOST_PARTS = 10_000  # more are probably a mistake in the file


def study_named(name: str) -> Study:
    """Return the paper's study called ``name``, or the study that a file of this name declares.

    Raises UnknownNameError, and what ``read_study`` raises.
    """
    return read_study(Path(name)) if name.endswith(ENDING) else find_study(name)


def read_study(path: Path) -> Study:
    """Read the study that the file at ``path`` declares.

    Raises:
        DataError: If there is no such file.
        FileFormatError: If it is not TOML.
        UnknownNameError: For an unknown key, with the key that may be meant.
        OutOfRangeError: For a value of the wrong type or range, or a missing key.
    """
    try:
        plain = read_toml(path)
    except OSError as error:
        raise DataError(f"no readable file {path} ({error.strerror or error})") from error
    _know(path.name, plain, (*_WHOLE, *_PART, "fields"))
    sets = plain.get("sets", [{}])
    if not isinstance(sets, list) or not all(isinstance(entry, dict) for entry in sets) or not sets:
        raise OutOfRangeError(f"{path.name}: sets are tables that begin with [[sets]], got {sets}")
    common = {key: value for key, value in plain.items() if key not in _WHOLE}
    parts = tuple(part for entry in sets for part in _parts(path, common, entry))
    if len(parts) > _MOST_PARTS:
        raise OutOfRangeError(f"{path.name}: {len(parts)} variants, at most {_MOST_PARTS}")
    preset = _word(path, plain, "preset", "paper")
    plan = Plan(
        parts,
        ensemble=_count(path, plain),
        trace=tuple(sorted(_several(path, plain, "trace", int))),
        dataset=_dataset(path, _word(path, plain, "dataset", None)),
    )
    _require_one_judge(path, plan)
    return Study(
        path.stem,
        _word(path, plain, "title", path.stem),
        tuple(dict.fromkeys(method for part in parts for method in part.methods)),
        plan.dataset,
        tuple(sorted({ipc for part in parts for ipc in part.ipcs})),
        varies="; ".join(_varied(parts)) or "seed",
        plans={preset: plan},
    )


def _dataset(path: Path, name: str) -> str:
    """Return a data set's name; a folder of one's own data lies beside the file."""
    if "/" not in name:
        return name
    folder = path.parent / name
    return str(folder) if folder.is_absolute() else f"./{folder}"


def _require_one_judge(path: Path, plan: Plan) -> None:
    for part in plan.parts if plan.trace else ():
        if max(len(part.networks), len(part.augments), len(part.protocols)) > 1:
            raise OutOfRangeError(
                f"{path.name}: a trace is judged in one way; name one network, augment and protocol"
            )


def _parts(path: Path, common: Mapping[str, Any], own: Mapping[str, Any]) -> Iterable[StudyPart]:
    """Return the parts that one ``[[sets]]`` declares: one for each combination of its fields'
    values.
    """
    _know(f"[[sets]] in {path.name}", own, (*_PART, "fields"))
    said = {**common, **own}
    values = {name: tuple(_several(path, said, key, kind)) for key, (name, kind) in _PART.items()}
    if not values["methods"]:
        raise OutOfRangeError(f'{path.name}: no method is named; wanted such as method = "dm"')
    values["methods"] = tuple(_method(path, name) for name in values["methods"])
    values["ipcs"] = values["ipcs"] or (1,)
    values["seeds"] = values["seeds"] or (0,)
    for fields in _combinations(path, {**_fields(path, common), **_fields(path, own)}):
        yield StudyPart(**values, fields=fields)


def _know(where: str, given: Iterable[str], known: Sequence[str]) -> None:
    for key in given:
        require_known(f"key of {where}", key, known)


def _several(path: Path, given: Mapping[str, Any], key: str, kind: type[Any]) -> list[Any]:
    """Return one value or a list as a list without duplicates; empty if the key is missing."""
    if key not in given:
        return []
    value = given[key]
    values = value if isinstance(value, list) else [value]
    wanted = "text" if kind is str else "a whole number"
    for one in values:
        if type(one) is not kind:
            raise OutOfRangeError(f"{path.name}: {key} must be {wanted} or a list, got {value!r}")
        if kind is int and one < _LEAST[key]:
            raise OutOfRangeError(f"{path.name}: {key} must be at least {_LEAST[key]}, got {one}")
    if not values:
        raise OutOfRangeError(f"{path.name}: {key} is an empty list; leave it out or name one")
    return list(dict.fromkeys(values))


def _word(path: Path, given: Mapping[str, Any], key: str, usual: str | None) -> str:
    value = given.get(key, usual)
    if not isinstance(value, str) or not value:
        got = "nothing" if value is None else repr(value)
        raise OutOfRangeError(f"{path.name}: {key} must be text, got {got}")
    return value


def _count(path: Path, given: Mapping[str, Any]) -> int | None:
    """Return how many networks evaluate each set; None if the file does not say."""
    found = _several(path, given, "networks", int)
    if len(found) > 1:
        raise OutOfRangeError(
            f"{path.name}: networks is how many judge each set, one number, got {found}"
        )
    return found[0] if found else None


def _method(path: Path, name: str) -> str:
    """Return a method's name. A method given by its file is looked up beside the study."""
    file, colon, attribute = name.rpartition(":")
    return f"{path.parent / file}:{attribute}" if colon and file.endswith(".py") else name


def _fields(path: Path, given: Mapping[str, Any]) -> dict[str, Any]:
    fields = given.get("fields", {})
    if not isinstance(fields, dict):
        raise OutOfRangeError(f"{path.name}: fields is a table such as {{lr = 0.1}}, got {fields}")
    return fields


def _combinations(path: Path, fields: Mapping[str, Any]) -> Iterable[dict[str, str]]:
    """Return each combination of the fields' values, as text for ``--set``."""
    choices = []
    for name, value in fields.items():
        values = value if isinstance(value, list) else [value]
        if not values or not all(isinstance(one, bool | int | float | str) for one in values):
            raise OutOfRangeError(
                f"{path.name}: the field {name} takes a value or a list of them, got {value!r}"
            )
        choices.append([(name, _as_word(one)) for one in values])
    return map(dict, itertools.product(*choices))


def _as_word(value: bool | int | float | str) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _varied(parts: Sequence[StudyPart]) -> Iterable[str]:
    """Describe what differs between the sets, in the file's words."""
    for key, (name, _) in _PART.items():
        if key != "seed" and len({value for part in parts for value in getattr(part, name)}) > 1:
            yield key
    fields = sorted({name for part in parts for name in part.fields})
    yield from (name for name in fields if len({part.fields.get(name) for part in parts}) > 1)
