"""The sentences of captions and notes that all tables share.

``Labelled`` pairs the label of each row (or column) with its stored records.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from dcbench.records import StoredRecord, StoredSearch
from dcbench.report.formatting import listed, one_line, protocol_name, title
from dcbench.studies.published import PublishedTable

Stored = TypeVar("Stored", StoredRecord, StoredSearch)
Labelled = Sequence[tuple[str, Sequence[Stored]]]


def data(dataset: str, notes: Iterable[str]) -> str:
    """The data set's title and what the records note about it."""
    return ", ".join([title(dataset), *(one_line(note) for note in notes if note)])


def protocol(settings: Mapping[str, Any]) -> str:
    """The protocol's name and version."""
    version = one_line(str(settings.get("version", "without a name")))
    return f"Protocol {protocol_name(settings, 'without a name')}, version {version}"


def texts_by_label(
    labelled: Labelled[Stored], texts: Callable[[Stored], Iterable[str]]
) -> dict[str, list[str]]:
    """What the records of each label say, sorted, each text once; labels without text are left out.

    Of rows with the same label (long labels are cut), the last one counts.
    """
    said = {label: _texts(records, texts) for label, records in labelled}
    return {label: own for label, own in said.items() if own}


def labels_by_text(
    labelled: Labelled[Stored], texts: Callable[[Stored], Iterable[str]]
) -> dict[str, list[str]]:
    """The labels of each text, in the order in which the texts are first said."""
    found: dict[str, list[str]] = defaultdict(list)
    for label, records in labelled:
        for text in _texts(records, texts):
            found[text].append(label)
    return found


def _texts(records: Iterable[Stored], texts: Callable[[Stored], Iterable[str]]) -> list[str]:
    return sorted({text for stored in records for text in texts(stored) if text})


def selected(labelled: Labelled[Stored], wanted: Callable[[Stored], bool]) -> Labelled[Stored]:
    """The records that are wanted; labels without any are left out."""
    found = [(label, list(filter(wanted, records))) for label, records in labelled]
    return [(label, records) for label, records in found if records]


def listing(beginning: str, parts: Sequence[str], separator: str = "") -> str:
    """The beginning and the parts ("a, b and c", or with a separator), or nothing without parts."""
    said = separator.join(parts) if separator else listed(parts)
    return f"{beginning}: {said}." if parts else ""


def by_label(
    beginning: str, labelled: Labelled[Stored], texts: Callable[[Stored], Iterable[str]]
) -> str:
    """A sentence of the form "beginning: label (text; text) and label (text)."."""
    said = texts_by_label(labelled, texts)
    parts = [f"{label} ({one_line('; '.join(own))})" for label, own in said.items()]
    return listing(beginning, parts)


def by_text(beginning: str, labelled: Labelled[Stored], text: Callable[[Stored], str]) -> str:
    """A sentence of the form "beginning: label and label (text); label (text)."."""
    said = labels_by_text(labelled, lambda stored: [one_line(text(stored))])
    return listing(beginning, [f"{listed(own)} ({text})" for text, own in said.items()], "; ")


def origins(labelled: Labelled[Stored], show: Callable[[Labelled[Stored]], str]) -> str:
    """Who measured: nothing is said if all records are the user's own."""
    yours = selected(labelled, lambda stored: stored.origin == "yours")
    measured = selected(labelled, lambda stored: stored.origin == "measured")
    if not measured:
        return ""
    if not yours:
        return "Measured by the project."
    return f"Your own: {show(yours)}. Measured by the project: {show(measured)}."


def published(table: PublishedTable, treatment: str) -> str:
    """The source of the published values, and how they are kept apart from measured ones."""
    original = f"on the original {title(table.dataset)}"
    return f"Published: {table.source}: {table.title}, {original}; {treatment}."
