"""Tells apart the sets of one method that were made with different settings, and decides which
records are of one set.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence

from dcbench.artifacts.importers.catalogue import LAYOUTS
from dcbench.records import EvaluationRecord
from dcbench.records.kinds import STOPPED, OfASet
from dcbench.report.formatting import canonical
from dcbench.studies.declared_methods import declared_methods

ABSENT = "none"
# a field that neither the record nor the method's file says anything about
DEFAULT = "default"


def variant_words(foreign: bool, variant: Mapping[str, str]) -> str:
    """The settings that distinguish a row; empty if it is the method's only one."""
    settings = [f"{name}={value}" for name, value in variant.items()]
    return ", ".join(["foreign", *settings] if foreign else settings)


def fields_of(record: OfASet) -> dict[str, object]:
    """The fields of a set. Where the record is silent on a field, because it came later than the
    set, the method's default.
    """
    known = None if record.foreign else declared_methods().get(record.method)
    return {**(known.defaults if known else {}), **record.fields}


def variants_of(records: Sequence[OfASet]) -> list[dict[str, str]]:
    """For each record, the settings that distinguish its set from its method's other sets."""
    places: dict[tuple[str, bool], list[int]] = defaultdict(list)
    for place, record in enumerate(records):
        places[record.method, record.foreign].append(place)
    found: dict[int, dict[str, str]] = {}
    for own in places.values():
        found |= zip(own, _of_one_method([records[place] for place in own]), strict=True)
    return [found[place] for place in range(len(records))]


def _of_one_method(records: Sequence[OfASet]) -> list[dict[str, str]]:
    settings = settings_of(records)
    names = _varying(records, settings)
    # silent where a set has no such field
    found = [{name: own[name] for name in names if name in own} for own in settings]
    pairs = list(zip(records, found, strict=True))
    if len({record.artifact_sha256 for record in records}) > 1 and all(map(unnamed, records)):
        return [own | {"checksum": record.artifact_sha256[:8]} for record, own in pairs]
    told = [{"IPC": str(record.ipc), **own} for record, own in pairs]
    alike = _several_artifacts(records, settings), _several_artifacts(records, told)
    rows = {
        tuple(own.items()) for *several, (_, own) in zip(*alike, pairs, strict=True) if any(several)
    }
    found = [
        own | ({"artifact": record.artifact_hash} if tuple(own.items()) in rows else {})
        for record, own in pairs
    ]
    return _named_by_preset(records, found)


def _several_artifacts(
    records: Sequence[OfASet], settings: Sequence[Mapping[str, str]]
) -> list[bool]:
    """For each record, whether several artifacts of our own have its settings, as after a change of
    a method's file; only then the hash is shown.
    """
    alike = [tuple(own.items()) for own in settings]
    hashes: dict[Hashable, set[str]] = defaultdict(set)
    for record, own in zip(records, alike, strict=True):
        hashes[own].add("" if record.foreign else record.artifact_hash)
    return [len(hashes[own]) > 1 for own in alike]


def unnamed(record: OfASet) -> bool:
    """Whether nobody said which method made a foreign set: it has its layout's name, or none."""
    return record.foreign and record.method in (*LAYOUTS, "foreign")


def made_by(record: EvaluationRecord) -> str:
    """What the sets of one method share besides its name: the artifact's hash, or what a foreign
    set asks for.
    """
    return record.artifact_hash if unnamed(record) or not record.foreign else recipe_words(record)


def _varying(records: Sequence[OfASet], settings: Sequence[Mapping[str, str]]) -> list[str]:
    """The settings that differ between two sets of one budget. A setting that differs only between
    budgets belongs to the method's own schedule.
    """
    budgets: dict[int | None, list[Mapping[str, str]]] = defaultdict(list)
    for record, own in zip(records, settings, strict=True):
        budgets[record.ipc].append(own)
    names = {name for own in settings for name in own}
    return sorted(
        name
        for name in names
        if any(len({own.get(name, DEFAULT) for own in budget}) > 1 for budget in budgets.values())
    )


def settings_of(records: Sequence[OfASet]) -> list[dict[str, str]]:
    """The known settings that decide each set's images, besides data, budget and seed."""
    precisions = {
        record.artifact_hash: record.distillation.precision
        for record in records
        if isinstance(record, EvaluationRecord) and record.distillation is not None
    }
    found = []
    for record in records:
        own = {name: _text(value) for name, value in fields_of(record).items()}
        own["method version"] = str(record.method_version)
        own["part kept apart"] = record.holdout or ABSENT
        own["space"] = record.space
        # what a set of ours asks for follows from its fields, or is learned
        if record.foreign and isinstance(record, EvaluationRecord):
            own["recipe"] = recipe_words(record).replace("=", " ") or ABSENT
        if STOPPED in record.changed:
            own["stopped after"] = f"{record.changed[STOPPED]} steps"
        own["distilled in"] = precisions.get(record.artifact_hash, ABSENT)
        found.append(own)
    return found


def recipe_words(record: EvaluationRecord) -> str:
    """The training settings that the set itself asks for; numbers to six digits, because a file has
    the same rate in single or double precision.
    """
    return ", ".join(
        f"{key}={f'{value:.6g}' if isinstance(value, float) else _text(value)}"
        for key, value in sorted(record.recipe.items())
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else canonical(value)


def _named_by_preset(
    records: Sequence[OfASet], variants: list[dict[str, str]]
) -> list[dict[str, str]]:
    """Replace the variants by the names of their presets, if each variant has its own."""
    groups: dict[str, list[OfASet]] = defaultdict(list)
    for record, variant in zip(records, variants, strict=True):
        groups[canonical(variant)].append(record)
    presets = {common_preset(own) for own in groups.values()}
    if len(groups) == 1 or "" in presets or len(presets) < len(groups):
        return variants
    return [{"preset": str(record.preset)} for record in records]


def common_preset(records: Sequence[OfASet]) -> str:
    """The preset of all records, or nothing if there is none or more than one."""
    return only(record.preset for record in records) or ""


def only(values: Iterable[str | None]) -> str | None:
    """The value, if all are the same."""
    different = set(values)
    return different.pop() if len(different) == 1 else None


def set_key(record: OfASet) -> Hashable:
    """What distinguishes a set from others made alike: its seed, or a foreign set's content."""
    return record.artifact_sha256 if record.foreign or record.seed is None else record.seed


def accuracies_by_set(records: Iterable[EvaluationRecord]) -> dict[Hashable, tuple[float, ...]]:
    """The networks' accuracies of each set; the records are of sets made alike."""
    found: dict[Hashable, tuple[float, ...]] = defaultdict(tuple)
    for record in records:
        found[set_key(record)] += record.accuracies
    return dict(sorted(found.items(), key=lambda item: (str(type(item[0])), item[0])))
