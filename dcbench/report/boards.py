"""Which records may stand in one table, which in one row, which in one cell."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dcbench.records import EvaluationRecord, StoredRecord
from dcbench.report.statistics import SetsSummary, summarise_sets

ABSENT = "none"
DEFAULT = "default"  # a field on which a record is silent: it came later than the method, and is at its default
_ARTIFACT = "artifact"
_NOT_OF_THE_PROTOCOL = ("networks", "seed", "evaluation_seed")  # how often it was carried out


@dataclass(frozen=True)
class Entry:
    """One row: one method with one setting of its fields. ``variant`` names what tells it from the method's other rows."""

    method: str
    foreign: bool
    variant: Mapping[str, str]
    records: tuple[StoredRecord, ...]

    @property
    def preset(self) -> str:
        """The preset of all records, or nothing if there is none or more than one."""
        presets = {stored.record.preset for stored in self.records}
        return (presets.pop() or "") if len(presets) == 1 else ""

    @property
    def ipcs(self) -> frozenset[int | None]:
        return frozenset(stored.record.ipc for stored in self.records)

    def sets(self, ipc: int | None) -> dict[Hashable, tuple[float, ...]]:
        """The networks' accuracies of each set: by the seed that made it, or by the content of a foreign one."""
        found: dict[Hashable, tuple[float, ...]] = {}
        for record in (stored.record for stored in self.records if stored.record.ipc == ipc):
            key: Hashable = record.artifact_sha256 if record.foreign or record.seed is None else record.seed
            found[key] = found.get(key, ()) + record.accuracies
        return dict(sorted(found.items(), key=lambda item: (str(type(item[0])), item[0])))

    def summary(self, ipc: int | None) -> SetsSummary:
        """The figures of one cell."""
        return summarise_sets(list(self.sets(ipc).values()))


@dataclass(frozen=True)
class Board:
    """Everything that may be compared: the same data, the same protocol, the same network and augmentation."""

    key: str  # a short hash of what they share
    dataset: str
    revision: str
    protocol: Mapping[str, Any]
    network: str
    augment: str
    records: tuple[StoredRecord, ...]
    entries: tuple[Entry, ...]

    @property
    def ipcs(self) -> list[int | None]:
        """The budgets met, ascending; the set without a budget last."""
        return in_order({stored.record.ipc for stored in self.records})


def in_order(ipcs: Iterable[int | None]) -> list[int | None]:
    """Budgets ascending, none last."""
    return sorted(set(ipcs), key=lambda ipc: (ipc is None, ipc or 0))


def boards(records: Iterable[StoredRecord], order: Sequence[str] = ()) -> list[Board]:
    """The records in groups that may be compared; methods in ``order`` first, then by name. Different protocols never meet."""
    groups: dict[str, list[StoredRecord]] = defaultdict(list)
    for stored in records:
        groups[_shared(stored.record)].append(stored)
    return sorted((_board(shared, members, order) for shared, members in groups.items()), key=_board_order)


def summary_rows(records: Iterable[StoredRecord]) -> list[dict[str, Any]]:
    """One row per method, dataset and budget over all sets (the ``summary`` of ``run --json``), accuracies as fractions."""
    rows = []
    for board in boards(records):
        for entry in board.entries:
            for ipc in in_order(entry.ipcs):
                figures = entry.summary(ipc)
                rows.append(
                    {
                        "method": entry.method,
                        "dataset": board.dataset,
                        "ipc": ipc,
                        "sets": figures.sets,
                        "mean": figures.mean,
                        "std_sets": figures.std_sets,
                        "std_networks": figures.std_networks,
                        "ci95_sets": None if figures.ci95_sets is None else list(figures.ci95_sets),
                    }
                )
    return rows


def _shared(record: EvaluationRecord) -> str:
    protocol = {key: value for key, value in record.protocol.items() if key not in _NOT_OF_THE_PROTOCOL}
    return canonical([record.dataset, record.dataset_revision, protocol, record.network, record.augment])


def _board(shared: str, members: Sequence[StoredRecord], order: Sequence[str]) -> Board:
    dataset, revision, protocol, network, augment = json.loads(shared)
    by_method: dict[tuple[str, bool], list[StoredRecord]] = defaultdict(list)
    for stored in members:
        by_method[stored.record.method, stored.record.foreign].append(stored)
    entries = [entry for (method, foreign), own in by_method.items() for entry in _entries(method, foreign, own)]
    place = {method: index for index, method in enumerate(order)}

    def rank(entry: Entry) -> tuple[Any, ...]:
        return place.get(entry.method, len(place)), entry.method, entry.foreign, entry.preset != "paper", canonical(entry.variant)

    key = hashlib.sha256(shared.encode()).hexdigest()[:8]
    return Board(key, dataset, revision, protocol, network, augment, tuple(members), tuple(sorted(entries, key=rank)))


def _board_order(board: Board) -> tuple[str, ...]:
    return board.dataset, str(board.protocol.get("name", "")), board.network, board.augment, board.revision, board.key


def _entries(method: str, foreign: bool, members: Sequence[StoredRecord]) -> list[Entry]:
    settings = _settings([stored.record for stored in members])
    varying = _varying([stored.record for stored in members], settings)
    groups: dict[tuple[str, ...], list[StoredRecord]] = defaultdict(list)
    for stored, own in zip(members, settings, strict=True):
        groups[_values(own, varying)].append(stored)
    return _named_by_preset([Entry(method, foreign, dict(zip(varying, key, strict=True)), tuple(own)) for key, own in groups.items()])


def _varying(records: Sequence[EvaluationRecord], settings: Sequence[Mapping[str, str]]) -> list[str]:
    """The settings that tell two sets of one budget apart. One that differs between budgets only is the method's own schedule."""
    found: set[str] = set()
    places = [[place for place, record in enumerate(records) if record.ipc == ipc] for ipc in {record.ipc for record in records}]
    for budget in places:
        names = {name for place in budget for name in settings[place]}
        found |= {name for name in names if len({settings[place].get(name, DEFAULT) for place in budget}) > 1}
    varying = sorted(found - {_ARTIFACT})
    for budget in places:  # the hash speaks only where the settings that we know leave two artifacts alike
        alike = {(_values(settings[place], varying), settings[place].get(_ARTIFACT)) for place in budget}
        if len({values for values, _ in alike}) < len(alike):
            return [*varying, _ARTIFACT]
    return varying


def _values(settings: Mapping[str, str], names: Sequence[str]) -> tuple[str, ...]:
    return tuple(settings.get(name, DEFAULT) for name in names)


def _settings(records: Sequence[EvaluationRecord]) -> list[dict[str, str]]:
    """What decides the images of each record's set, besides the data, the budget and the seed."""
    precisions = {record.artifact_hash: record.distillation.precision for record in records if record.distillation is not None}
    found = []
    for record in records:
        own = {name: value if isinstance(value, str) else canonical(value) for name, value in record.fields.items()}
        own |= {"method version": str(record.method_version), "part kept apart": record.holdout or ABSENT, "space": record.space}
        own |= {"distilled in": precisions.get(record.artifact_hash, ABSENT)}
        found.append(own if record.foreign else own | {_ARTIFACT: record.artifact_hash})
    return found


def _named_by_preset(entries: list[Entry]) -> list[Entry]:
    """Where each variant is a preset of its own, the preset's name says it all."""
    presets = [entry.preset for entry in entries]
    if len(entries) == 1 or "" in presets or len(set(presets)) < len(presets):
        return entries
    return [Entry(entry.method, entry.foreign, {"preset": entry.preset}, entry.records) for entry in entries]


def canonical(value: object) -> str:
    """JSON that is the same for the same value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
