"""Chooses the records that a report shows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from dcbench.records import RecordsFound
from dcbench.report.formatting import listed
from dcbench.system.errors import DataError, UnknownNameError


def _protocol(record: Any) -> str:
    return str(record.protocol.get("name", ""))


# what each filter looks at, in records of sets and in records of searches
_OF_SETS: Mapping[str, Callable[[Any], object]] = {
    "method": lambda record: record.method,
    "dataset": lambda record: record.dataset,
    "ipc": lambda record: record.ipc,
    "protocol": _protocol,
    "preset": lambda record: record.preset,
    "network": lambda record: record.network,
}
_OF_SEARCHES: Mapping[str, Callable[[Any], object]] = {
    "method": lambda record: record.proxy,
    "dataset": lambda record: record.dataset,
    "ipc": lambda record: record.proxy_ipc,
    "protocol": _protocol,
    "preset": lambda record: record.proxy_preset,
    "network": lambda record: record.space,
}


@dataclass(frozen=True)
class Filters:
    """Values that records must have; an empty tuple lets every value through."""

    method: tuple[str, ...] = ()
    dataset: tuple[str, ...] = ()
    ipc: tuple[int, ...] = ()
    protocol: tuple[str, ...] = ()
    preset: tuple[str, ...] = ()
    network: tuple[str, ...] = ()

    def __call__(self, found: RecordsFound) -> RecordsFound:
        """The records that every filter lets through.

        Raises:
            UnknownNameError: if a name is in none of the records.
            DataError: if no record has the number, or all the values together.
        """
        wanted = {name: own for name in _OF_SETS if (own := getattr(self, name))}
        for name, values in wanted.items():
            _check(name, values, found)

        def kept(all_stored: Iterable[Any], looks: Mapping[str, Callable[[Any], object]]) -> Any:
            return tuple(
                stored
                for stored in all_stored
                if all(looks[name](stored.record) in values for name, values in wanted.items())
            )

        chosen = RecordsFound(
            kept(found.records, _OF_SETS),
            found.problems,
            kept(found.searches, _OF_SEARCHES),
            kept(found.traces, _OF_SETS),
            kept(found.embeddings, _OF_SETS),
        )
        if wanted and not any((chosen.records, chosen.searches, chosen.traces, chosen.embeddings)):
            asked = listed(f"--{name} {','.join(map(str, own))}" for name, own in wanted.items())
            raise DataError(f"no record fits {asked} together; leave one of them out")
        return chosen


def _check(name: str, values: Iterable[object], found: RecordsFound) -> None:
    of_sets: tuple[Any, ...] = (*found.records, *found.traces, *found.embeddings)
    known = {_OF_SETS[name](stored.record) for stored in of_sets}
    known |= {_OF_SEARCHES[name](stored.record) for stored in found.searches}
    for value in values:
        if value in known:
            continue
        if isinstance(value, str):
            raise UnknownNameError(name, value, sorted(filter(None, map(str, known))))
        numbers = sorted(number for number in known if isinstance(number, int))
        raise DataError(f"no record has --{name} {value}; there are {listed(map(str, numbers))}")
