"""Which records may stand in one table, which in one row, which in one cell."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dcbench.records import EvaluationRecord, StoredRecord
from dcbench.records.kinds import STOPPED
from dcbench.report.formatting import canonical
from dcbench.report.selection.variants import (
    by_set,
    common_preset,
    row_label,
    variant_words,
    variants_of,
)
from dcbench.report.statistics.sets import SetsSummary, summarise_sets

_HOW_OFTEN = ("networks", "seed", "evaluation_seed")  # a protocol was carried out
_WHO_CHOSE = ("chosen",)  # network and augmentation, which stand in a record themselves


@dataclass(frozen=True)
class Entry:
    """One row: one method with one setting of its fields. ``variant`` names what tells it from the
    method's other rows.
    """

    method: str
    foreign: bool
    variant: Mapping[str, str]
    records: tuple[StoredRecord, ...]

    @property
    def label(self) -> str:
        """The method's title and what tells this row from the method's others."""
        return row_label(self.method, self.foreign, self.variant)

    @property
    def preset(self) -> str:
        """The preset of all records, or nothing if there is none or more than one."""
        return common_preset([stored.record for stored in self.records])

    @property
    def unfinished(self) -> bool:
        """Whether these are snapshots of a trace."""
        return any(STOPPED in stored.record.changed for stored in self.records)

    @property
    def ipcs(self) -> frozenset[int | None]:
        return frozenset(stored.record.ipc for stored in self.records)

    def sets(self, ipc: int | None) -> dict[Hashable, tuple[float, ...]]:
        """The networks' accuracies of each set."""
        return by_set(stored.record for stored in self.records if stored.record.ipc == ipc)

    def summary(self, ipc: int | None) -> SetsSummary:
        """The figures of one cell."""
        return summarise_sets(list(self.sets(ipc).values()))


@dataclass(frozen=True)
class Board:
    """Everything that may be compared: the same data, the same protocol, the same network and
    augmentation.
    """

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
    """The records in groups that may be compared; methods in ``order`` first, then by name.
    Different protocols never meet.
    """
    groups: dict[str, list[StoredRecord]] = defaultdict(list)
    for stored in records:
        groups[_shared(stored.record)].append(stored)
    return sorted(
        (_board(shared, members, order) for shared, members in groups.items()), key=_board_order
    )


def summary_rows(records: Iterable[StoredRecord], told_apart: bool = False) -> list[dict[str, Any]]:
    """One row per method, its settings, conditions and budget over all sets (the ``summary`` of
    JSON); accuracies are fractions.

    ``told_apart``: with the conditions and the variant, which differ where records are not of one command.
    """
    cells = [
        (board, entry, ipc)
        for board in boards(records)
        for entry in board.entries
        for ipc in in_order(entry.ipcs)
    ]
    return [_summary_row(*cell) | (_conditions(*cell) if told_apart else {}) for cell in cells]


def _summary_row(board: Board, entry: Entry, ipc: int | None) -> dict[str, Any]:
    figures = entry.summary(ipc)
    return {
        "method": entry.method,
        "dataset": board.dataset,
        "ipc": ipc,
        "sets": figures.sets,
        "mean": figures.mean,
        "std_sets": figures.std_sets,
        "std_networks": figures.std_networks,
        "ci95_sets": None if figures.ci95_sets is None else list(figures.ci95_sets),
    }


def _conditions(board: Board, entry: Entry, ipc: int | None) -> dict[str, Any]:
    own = [stored.record for stored in entry.records if stored.record.ipc == ipc]
    return {
        "dataset_revision": board.revision,
        "protocol": dict(board.protocol),
        "protocol_hash": _common({record.protocol_hash for record in own}),
        "network": board.network,
        "augment": board.augment,
        "precision": _common({record.precision for record in own}),
        "preset": common_preset(own) or None,
        "variant": variant_words(entry.foreign, entry.variant),
    }


def _common(values: Collection[str]) -> str | None:
    """The one value that all have, if they do."""
    return next(iter(values)) if len(values) == 1 else None


def compared_protocol(protocol: Mapping[str, Any], without: Sequence[str] = ()) -> dict[str, Any]:
    """What records that are compared share of their protocols, but for the settings in ``without``."""
    return {
        key: value
        for key, value in protocol.items()
        if key not in (*_HOW_OFTEN, *_WHO_CHOSE, *without)
    }


def _shared(record: EvaluationRecord) -> str:
    protocol = compared_protocol(record.protocol)
    return canonical(
        [record.dataset, record.dataset_revision, protocol, record.network, record.augment]
    )


def _board(shared: str, members: Sequence[StoredRecord], order: Sequence[str]) -> Board:
    dataset, revision, protocol, network, augment = json.loads(shared)
    key = hashlib.sha256(shared.encode()).hexdigest()[:8]
    return Board(
        key,
        dataset,
        revision,
        protocol,
        network,
        augment,
        tuple(members),
        tuple(entries(members, order)),
    )


def _board_order(board: Board) -> tuple[str, ...]:
    return (
        board.dataset,
        str(board.protocol.get("name", "")),
        board.network,
        board.augment,
        board.revision,
        board.key,
    )


def entries(records: Sequence[StoredRecord], order: Sequence[str] = ()) -> list[Entry]:
    """The records as rows, methods in ``order`` first, then by name."""
    groups: dict[tuple[str, bool, tuple[tuple[str, str], ...]], list[StoredRecord]] = defaultdict(
        list
    )
    for stored, variant in zip(
        records, variants_of([stored.record for stored in records]), strict=True
    ):
        groups[stored.record.method, stored.record.foreign, tuple(variant.items())].append(stored)
    place = {method: index for index, method in enumerate(order)}

    def rank(entry: Entry) -> tuple[Any, ...]:
        variant = (entry.preset != "paper", bool(entry.variant), canonical(entry.variant))
        return place.get(entry.method, len(place)), entry.method, entry.foreign, *variant

    found = [
        Entry(method, foreign, dict(variant), tuple(own))
        for (method, foreign, variant), own in groups.items()
    ]
    return sorted(found, key=rank)
