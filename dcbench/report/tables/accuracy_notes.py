"""Caption and notes of a table of accuracies: the conditions under which its figures hold."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from dcbench.records import EvaluationRecord, StoredRecord
from dcbench.report.formatting import (
    DASH,
    TIMES,
    accuracy_words,
    budget_label,
    canonical,
    listed,
    one_line,
    protocol_words,
    title,
)
from dcbench.report.selection.method_variants import recipe_words, unnamed
from dcbench.report.statistics.accuracies import SIGNIFICANCE
from dcbench.report.tables import sentences
from dcbench.report.tables.layout import TableLayout
from dcbench.system.wording import counted

_MOST_WARNINGS = 5


def caption(layout: TableLayout) -> str:
    """Data, accuracy, protocol and its version, numbers of sets and networks."""
    group = layout.group
    data = sentences.data(
        group.dataset, sorted({stored.record.dataset_note for stored in group.records})
    )
    presets = sorted({stored.record.preset or "" for stored in group.records} - {"", "paper"})
    cells = layout.measured.values()
    sets = _between([cell.sets for cell in cells], "set")
    networks = _between(
        [count for cell in cells for count in (cell.fewest_networks, cell.most_networks)], "network"
    )
    words = protocol_words(group.protocol, group.network, group.augment)
    said = [
        f"{accuracy_words(group.protocol).capitalize()} (%) on {data} (revision"
        f" {one_line(group.revision[:12])}) of networks trained on the synthetic set alone:"
        f" {_figures(layout)}.",
        f"{sentences.protocol(group.protocol)}: {words};"
        " accuracy after the last epoch, never the best.",
        f"{sets} per method and budget, {networks} per set.",
    ]
    if presets:
        names = listed(map(one_line, presets))
        said.append(f"Preset {names}: not the settings of the published methods.")
    return " ".join(said)


def notes(layout: TableLayout) -> tuple[str, ...]:
    """The signs used, and what distinguishes single rows."""
    labelled = [(row.label, row.entry.records) for row in layout.rows if row.entry]
    records = [stored.record for stored in layout.group.records]
    spaces = sorted({one_line(record.space) for record in records})
    resumed = sentences.selected(
        labelled,
        lambda stored: bool(
            stored.record.distillation and stored.record.distillation.resumed_elsewhere
        ),
    )
    written = [
        *_signs(layout),
        sentences.listing("Made with fields other than the preset's", _changed_fields(labelled)),
        _foreign([record for record in records if record.foreign]),
        sentences.by_label(
            "Trained with what the set itself asks for, not by the protocol alone",
            labelled,
            lambda stored: [recipe_words(stored.record)],
        ),
        sentences.listing("Trained and tested in the space of the set", spaces),
        sentences.by_label(
            "Made with a part of the training data kept apart",
            labelled,
            lambda stored: [stored.record.holdout],
        ),
        sentences.origins(labelled, lambda own: listed(_sets_by_label(own))),
        sentences.listing(
            "Continued on another machine or setting half-way, or from shared work of one",
            _sets_by_label(resumed),
        ),
        *_warnings(labelled),
    ]
    return tuple(filter(None, written))


def _figures(layout: TableLayout) -> str:
    if not layout.single:
        return "mean ± standard deviation over sets [95 % t interval over sets]"
    if all(cell.most_networks == 1 for cell in layout.measured.values()):
        return "the accuracy of the one network trained on the one set made"
    return "mean ± standard deviation over the networks trained on the one set made"


def _between(numbers: Sequence[int], noun: str) -> str:
    least, most = min(numbers), max(numbers)
    return counted(most, noun) if least == most else f"{least} to {counted(most, noun)}"


def _signs(layout: TableLayout) -> list[str]:
    """What emphasis, signs and columns mean."""
    alone = any(cell.sets == 1 for cell in layout.measured.values())
    said = [_emphasis(layout)] if layout.ranks else []
    if alone and not layout.single:
        said.append("*: one set only; ± is over its networks, given this set.")
    said.append(_equal_sets(layout))
    if not layout.uniform:
        said.append(f"a{TIMES}b after a figure: a sets with b networks each.")
    if not layout.complete:
        said.append(f"{DASH}: no figure.")
    if layout.published and any(map(layout.has_published, layout.ipcs)):
        treatment = "not pooled with, tested against or ranked with what was measured here"
        said.append(sentences.published(layout.published, treatment))
    if any(map(layout.has_difference, layout.ipcs)):
        interval = " [95 % t interval over the measured sets, the printed value taken as exact]"
        said.append(
            f"Difference: measured less published, in points{'' if layout.single else interval}:"
            " what is measured here, with its data and settings, against the paper's;"
            " no test of a method."
        )
    return said


def _emphasis(layout: TableLayout) -> str:
    if layout.single:
        return (
            "Bold, underlined: the highest and the second highest mean."
            " One set of each method allows no test over sets, and no claim."
        )
    said = (
        "Bold: the highest mean for its budget, and every mean that a test over sets does not tell"
        " from it (each against the highest, paired by seed where the seeds are the same, else"
        f" Welch's; level {SIGNIFICANCE} after Holm's correction)."
        " Underlined: the same among the rest."
    )
    untested = any(layout.measured[place].sets == 1 for place in layout.ranks)
    return said + (
        " A method with one set cannot be tested and shares no mark." if untested else ""
    )


def _equal_sets(layout: TableLayout) -> str:
    """Rows in which several seeds gave the same images, so that the spread over sets is that over
    networks.
    """
    found = []
    for entry in layout.entries.values():
        sets: dict[str, set[str]] = defaultdict(set)
        for stored in entry.records:
            if stored.record.content:
                sets[stored.record.content].add(_which_set(stored))
        equal = sum(len(own) for own in sets.values() if len(own) > 1)
        if equal:
            found.append(f"{entry.label} ({counted(equal, 'set')})")
    return sentences.listing(
        "Seeds that gave the very same images, so that only networks differ", found
    )


def _changed_fields(labelled: sentences.Labelled[StoredRecord]) -> list[str]:
    """Each row's fields that are not its preset's; budget by budget if budgets differ."""
    said: dict[str, str] = {}
    for label, records in labelled:
        budgets: dict[str, set[int]] = defaultdict(set)
        for stored in records:
            changed = sorted(stored.record.changed.items())
            words = ", ".join(f"{name}={value}" for name, value in changed)
            budgets[words].add(stored.record.ipc or 0)
        parts = [
            f"{listed(budget_label(ipc or None) for ipc in sorted(ipcs))}: {words}"
            if len(budgets) > 1
            else words
            for words, ipcs in sorted(budgets.items(), key=lambda item: min(item[1]))
            if words
        ]
        if parts:
            said[label] = one_line("; ".join(parts))
    return [f"{label} ({words})" for label, words in said.items()]


def _foreign(records: Sequence[EvaluationRecord]) -> str:
    if not records:
        return ""
    sets: dict[str, set[str]] = defaultdict(set)
    for record in filter(unnamed, records):
        sets[one_line(title(record.method))].add(record.artifact_sha256)
    several = sorted(name for name, own in sets.items() if len(own) > 1)
    said = "Foreign: the set was made by other code, under conditions that are not known here."
    if not several:
        return said
    return (
        f"{said} {listed(several)}: the name of a layout, which several methods write, so each set"
        " has a row of its own, told by its checksum; sets of one method are those that were given"
        " one name (--name)."
    )


def _warnings(labelled: sentences.Labelled[StoredRecord]) -> list[str]:
    said = sentences.labels_by_text(labelled, lambda stored: map(one_line, stored.record.warnings))
    lines = [f"Warning ({listed(labels)}): {text}" for text, labels in said.items()]
    more = len(lines) - _MOST_WARNINGS
    left_out = [f"Warnings left out here: {more}; the records have them."] if more > 0 else []
    return lines[:_MOST_WARNINGS] + left_out


def _which_set(stored: StoredRecord) -> str:
    """What two records of one set share."""
    record = stored.record
    return canonical([record.ipc, record.seed, record.artifact_sha256])


def _sets_by_label(labelled: sentences.Labelled[StoredRecord]) -> list[str]:
    """Each label with its number of sets."""
    sets = sentences.texts_by_label(labelled, lambda stored: [_which_set(stored)])
    return [f"{label} ({counted(len(own), 'set')})" for label, own in sets.items()]
