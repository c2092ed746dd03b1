"""Tells apart the sets of one method that were made with different settings, and decides which
records are of one set.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence

from dcbench.artifacts.importers.catalogue import LAYOUTS
from dcbench.records import EvaluationRecord
from dcbench.records.kinds import STOPPED, OfASet
from dcbench.report.formatting import canonical, one_line, title

ABSENT = "none"
# a field on which a record is silent: it came later than the method, and is at its default
DEFAULT = "default"


def labels(records: Sequence[OfASet]) -> list[str]:
    """Label each record as its table row would be labelled; equal labels of different rows get
    numbers.
    """
    rows = [
        (record.method, record.foreign, tuple(variant.items()))
        for record, variant in zip(records, variants_of(records), strict=True)
    ]
    different = list(dict.fromkeys(rows))
    names = [row_label(method, foreign, dict(variant)) for method, foreign, variant in different]
    named = dict(zip(different, numbered(names), strict=True))
    return [named[row] for row in rows]


def numbered(names: Sequence[str]) -> list[str]:
    """The names; those that occur more than once get numbers."""
    return [
        f"{name} ({names[: place + 1].count(name)})" if names.count(name) > 1 else name
        for place, name in enumerate(names)
    ]


def row_label(method: str, foreign: bool, variant: Mapping[str, str]) -> str:
    """The method's title and the settings that distinguish this row from the method's others."""
    words = variant_words(foreign, variant)
    return one_line(f"{title(method)} ({words})" if words else title(method))


def variant_words(foreign: bool, variant: Mapping[str, str]) -> str:
    """The settings that distinguish a row; empty if it is the method's only one."""
    settings = [f"{name}={value}" for name, value in variant.items()]
    return ", ".join(["foreign", *settings] if foreign else settings)


def shortened(variants: Sequence[Mapping[str, str]]) -> tuple[list[dict[str, str]], dict[str, str]]:
    """Drop every setting that most of one method's rows share.

    Returns:
        The shortened variants and the shared settings; the full variants and nothing if shortening
        would make two rows look alike.
    """
    counts = Counter(setting for own in variants for setting in own.items())
    usual = {
        name: value for (name, value), count in sorted(counts.items()) if 2 * count > len(variants)
    }
    short = [
        {name: value for name, value in own.items() if usual.get(name) != value} for own in variants
    ]
    if len({canonical(own) for own in short}) < len(variants):
        return [dict(own) for own in variants], {}
    return short, usual


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
    if _more_hashes(records, settings) or _more_hashes(records, told):
        found = [own | {"artifact": record.artifact_hash} for record, own in pairs]
    return _named_by_preset(records, found)


def _more_hashes(records: Sequence[OfASet], settings: Sequence[Mapping[str, str]]) -> bool:
    """Whether the settings leave two of our own artifacts alike, as after a change of a method's
    file; only then the hash is shown.
    """
    alike = [tuple(own.items()) for own in settings]
    apart = {
        (own, "" if record.foreign else record.artifact_hash)
        for record, own in zip(records, alike, strict=True)
    }
    return len(set(alike)) < len(apart)


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
        own = {name: _text(value) for name, value in record.fields.items()}
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
