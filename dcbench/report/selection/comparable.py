"""Groups records into what may be compared (a table), and into rows and cells."""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dcbench.records import StoredRecord
from dcbench.records.kinds import STOPPED
from dcbench.report.formatting import (
    canonical,
    data_title,
    natural,
    protocol_setting,
    protocol_title,
    short_hash,
)
from dcbench.report.grouping import grouped, grouped_by
from dcbench.report.selection.method_variants import (
    accuracies_by_set,
    common_preset,
    only,
    variant_words,
)
from dcbench.report.selection.row_names import row_keys, row_names
from dcbench.report.statistics.accuracies import SetsSummary, means_of, summarise_sets

_HOW_OFTEN = ("networks", "seed", "evaluation_seed")  # a protocol was carried out
_SUMMARY = ("sets", "mean", "std_sets", "std_networks")
_WHO_CHOSE = ("chosen",)  # network and augmentation, which stand in a record themselves


@dataclass(frozen=True)
class Entry:
    """One row: one method with one setting of its fields. ``variant`` holds the settings that
    distinguish it from the method's other rows.
    """

    method: str
    foreign: bool
    variant: Mapping[str, str]
    records: tuple[StoredRecord, ...]
    label: str  # unlike that of any other row
    main: bool  # the one row of its method that stands for it

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

    def at(self, ipc: int | None) -> list[StoredRecord]:
        """The records of one budget."""
        return [stored for stored in self.records if stored.record.ipc == ipc]

    def sets(self, ipc: int | None) -> dict[Hashable, tuple[float, ...]]:
        """The networks' accuracies of each set of one budget."""
        return accuracies_by_set(stored.record for stored in self.at(ipc))

    def means(self, ipc: int | None) -> dict[Hashable, float]:
        """The mean accuracy of each set of one budget."""
        return means_of(self.sets(ipc))

    def summary(self, ipc: int | None) -> SetsSummary:
        """The figures of one cell."""
        return summarise_sets(list(self.sets(ipc).values()))


@dataclass(frozen=True)
class ComparableGroup:
    """Records that may be compared: the same data, protocol, network and augmentation."""

    key: str  # a short hash of what they share
    dataset: str
    revision: str
    protocol: Mapping[str, Any]
    network: str
    augment: str
    records: tuple[StoredRecord, ...]
    entries: tuple[Entry, ...]
    # settings, in words, that differ from those of groups with the same data, protocol and network
    apart: str = ""

    @property
    def data(self) -> str:
        """The data set as people write it, and what is known of this copy."""
        notes = (stored.record.dataset_note for stored in self.records)
        return data_title(self.dataset, self.revision, notes)

    @property
    def judged_by(self) -> str:
        """The protocol in a few words; no two groups of the same data and network share them."""
        name = protocol_title(self.protocol, "without a name")
        return ", ".join(filter(None, [name, self.apart]))

    @property
    def ipcs(self) -> list[int | None]:
        """The budgets met, ascending; the set without a budget last."""
        return ordered_budgets({stored.record.ipc for stored in self.records})


def ordered_budgets(ipcs: Iterable[int | None]) -> list[int | None]:
    """Budgets ascending, none last."""
    return sorted(set(ipcs), key=lambda ipc: (ipc is None, ipc or 0))


def comparable_groups(
    records: Iterable[StoredRecord], order: Sequence[str] = ()
) -> list[ComparableGroup]:
    """Group the records that may be compared; different protocols never meet.

    Args:
        records: of any methods, data and protocols.
        order: the methods that come first in each group; the others follow by name.
    """
    found = [
        ComparableGroup(
            short_hash(shared), *_fields(members[0]), tuple(members), tuple(entries(members, order))
        )
        for shared, members in grouped(records, lambda stored: canonical(_fields(stored))).items()
    ]
    return sorted(
        _told_apart(found),
        key=lambda group: (
            group.dataset,
            str(group.protocol.get("name", "")),
            group.network,
            group.augment,
            group.revision,
            group.key,
        ),
    )


def _told_apart(groups: Sequence[ComparableGroup]) -> list[ComparableGroup]:
    """The groups, each with the settings in which it differs from those that are called alike."""
    told = []
    for alike in grouped(groups, _heading).values():
        settings = [{"revision": group.revision, **group.protocol} for group in alike]
        keys = {key: None for own in settings for key in own}
        differing = [key for key in keys if len({canonical(own.get(key)) for own in settings}) > 1]
        short = [
            key for key in differing if not any(isinstance(own.get(key), dict) for own in settings)
        ]
        if len({canonical([own.get(key) for key in short]) for own in settings}) == len(settings):
            differing = short  # a teacher's settings stand in captions
        told += [
            replace(
                group,
                apart=", ".join(protocol_setting(key, own[key]) for key in differing if key in own),
            )
            for group, own in zip(alike, settings, strict=True)
        ]
    return told


def _heading(group: ComparableGroup) -> tuple[str, ...]:
    precision = str(group.protocol.get("precision", ""))
    return group.data, protocol_title(group.protocol), group.network, group.augment, precision


def compared_protocol(protocol: Mapping[str, Any], without: Sequence[str] = ()) -> dict[str, Any]:
    """The settings of a protocol that compared records share, except those in ``without``."""
    ignored = (*_HOW_OFTEN, *_WHO_CHOSE, *without)
    return {key: value for key, value in protocol.items() if key not in ignored}


def _fields(stored: StoredRecord) -> tuple[str, str, dict[str, Any], str, str]:
    """The fields of a ``ComparableGroup`` from ``dataset`` to ``augment``."""
    record = stored.record
    protocol = json.loads(canonical(compared_protocol(record.protocol)))  # keys in order
    return record.dataset, record.dataset_revision, protocol, record.network, record.augment


def entries(records: Sequence[StoredRecord], order: Sequence[str] = ()) -> list[Entry]:
    """The records as rows: methods in ``order`` first, then by name; of each method its main row
    first.
    """
    keys = row_keys([stored.record for stored in records])
    stored_of = grouped_by(keys, records)
    names = row_names({key: [each.record for each in own] for key, own in stored_of.items()})
    place = {method: index for index, method in enumerate(order)}

    def rank(entry: Entry) -> tuple[Any, ...]:
        within = (not entry.main, entry.preset != "paper", natural(entry.label))
        return place.get(entry.method, len(place)), entry.method, entry.foreign, *within

    found = [
        Entry(
            key.method,
            key.foreign,
            dict(key.variant),
            tuple(own),
            names[key].label,
            names[key].main,
        )
        for key, own in stored_of.items()
    ]
    return sorted(found, key=rank)


def summary_rows(records: Iterable[StoredRecord], told_apart: bool = False) -> list[dict[str, Any]]:
    """One row for each method, its settings, conditions and budget (the ``summary`` of JSON);
    accuracies are fractions.

    Args:
        records: of any methods, data and protocols.
        told_apart: add the conditions and the variant, which differ if the records come from
            several commands.
    """
    rows = []
    for group in comparable_groups(records):
        for entry in group.entries:
            for ipc in ordered_budgets(entry.ipcs):
                figures = entry.summary(ipc)
                row: dict[str, Any] = {"method": entry.method, "dataset": group.dataset, "ipc": ipc}
                row |= {name: getattr(figures, name) for name in _SUMMARY}
                interval = figures.ci95_sets
                row["ci95_sets"] = None if interval is None else list(interval)
                rows.append(row | (_conditions(group, entry, ipc) if told_apart else {}))
    return rows


def _conditions(group: ComparableGroup, entry: Entry, ipc: int | None) -> dict[str, Any]:
    own = [stored.record for stored in entry.at(ipc)]
    return {
        "dataset_revision": group.revision,
        "protocol": dict(group.protocol),
        "protocol_hash": only(record.protocol_hash for record in own),
        "network": group.network,
        "augment": group.augment,
        "precision": only(record.precision for record in own),
        "preset": common_preset(own) or None,
        "variant": variant_words(entry.foreign, entry.variant),
    }
