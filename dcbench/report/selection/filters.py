"""Chooses the records that a report shows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dcbench.records import Record, RecordsFound, SearchRecord
from dcbench.report.formatting import listed
from dcbench.system.errors import DataError, UnknownNameError

# what a filter looks at in the record of a search, where that is called otherwise than the filter
_OF_SEARCHES = {
    "method": "proxy",
    "ipc": "proxy_ipc",
    "preset": "proxy_preset",
    "network": "space",
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

    @classmethod
    def of(cls, options: Mapping[str, Sequence[Any] | None]) -> Filters:
        """Return the filters that options of a command ask for; None lets every value through."""
        return cls(**{name: tuple(values or ()) for name, values in options.items()})

    def __call__(self, found: RecordsFound) -> RecordsFound:
        """The records that every filter lets through.

        Raises:
            UnknownNameError: if a name is in none of the records.
            DataError: if no record has the number, or all the values together.
        """
        wanted = {name: own for name, own in vars(self).items() if own}
        for name, values in wanted.items():
            _check(name, values, found)

        def kept(all_stored: Iterable[Any]) -> Any:
            return tuple(
                stored
                for stored in all_stored
                if all(_of(stored.record, name) in values for name, values in wanted.items())
            )

        chosen = RecordsFound(
            kept(found.records),
            found.problems,
            kept(found.searches),
            kept(found.traces),
            kept(found.embeddings),
        )
        if wanted and not chosen.everything:
            asked = listed(f"--{name} {','.join(map(str, own))}" for name, own in wanted.items())
            raise DataError(f"no record fits {asked} together; leave one of them out")
        return chosen


def _of(record: Record, name: str) -> Any:
    """What the filter called ``name`` looks at."""
    if name == "protocol":
        return str(record.protocol.get("name", ""))
    of_a_search = isinstance(record, SearchRecord)
    return getattr(record, _OF_SEARCHES.get(name, name) if of_a_search else name)


def _check(name: str, values: Iterable[object], found: RecordsFound) -> None:
    known = {_of(stored.record, name) for stored in found.everything}
    for value in values:
        if value in known:
            continue
        if isinstance(value, str):
            raise UnknownNameError(name, value, sorted(filter(None, map(str, known))))
        numbers = sorted(number for number in known if isinstance(number, int))
        raise DataError(f"no record has --{name} {value}; there are {listed(map(str, numbers))}")
