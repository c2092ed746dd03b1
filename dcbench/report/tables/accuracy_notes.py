"""What is said above and below a table of accuracies: the conditions under which its figures hold."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

from dcbench.records import EvaluationRecord
from dcbench.report.formatting import (
    DASH,
    TIMES,
    accuracy_words,
    canonical,
    listed,
    one_line,
    protocol_words,
    title,
)
from dcbench.report.selection.variants import recipe_words, unnamed
from dcbench.report.statistics.sets import SIGNIFICANCE
from dcbench.report.tables.layout import Layout, Line
from dcbench.system.wording import counted

_MOST_WARNINGS = 5


def caption(layout: Layout) -> str:
    """The data, the figures shown, the protocol in words and its version, how many sets and
    networks.
    """
    board = layout.board
    notes = sorted({stored.record.dataset_note for stored in board.records} - {""})
    data = ", ".join([title(board.dataset), *map(one_line, notes)])
    name, version = (
        one_line(str(board.protocol.get(key, "without a name"))) for key in ("name", "version")
    )
    revision = one_line(board.revision[:12])
    sentences = [
        f"{accuracy_words(board.protocol).capitalize()} (%) on {data} (revision {revision}) of networks trained on the synthetic set alone:"
        f" {_shown(layout)}.",
        f"Protocol {name}, version {version}: {protocol_words(board.protocol, board.network, board.augment)};"
        " accuracy after the last epoch, never the best.",
        _counts(layout),
        _presets(layout),
    ]
    return " ".join(sentence for sentence in sentences if sentence)


def notes(layout: Layout) -> tuple[str, ...]:
    """The signs used, and whatever sets single rows apart."""
    figures = (_marks, _single, _same, _sizes, _missing, _published, _differences)
    writers = (*figures, _changed, _foreign, _recipes, _spaces, _holdouts, _origins, _resumed)
    return tuple(
        note for note in (*(write(layout) for write in writers), *_warnings(layout)) if note
    )


def _shown(layout: Layout) -> str:
    if not layout.single:
        return "mean ± standard deviation over sets [95 % t interval over sets]"
    if max(most for _, most in layout.networks.values()) == 1:
        return "the accuracy of the one network trained on the one set made"
    return "mean ± standard deviation over the networks trained on the one set made"


def _counts(layout: Layout) -> str:
    sets = [figures.sets for figures in layout.measured.values()]
    networks = [count for counts in layout.networks.values() for count in counts]
    return (
        f"{_between(sets, 'set')} per method and budget, {_between(networks, 'network')} per set."
    )


def _between(numbers: Sequence[int], noun: str) -> str:
    least, most = min(numbers), max(numbers)
    return counted(most, noun) if least == most else f"{least} to {counted(most, noun)}"


def _presets(layout: Layout) -> str:
    presets = sorted(
        {stored.record.preset or "" for stored in layout.board.records} - {"", "paper"}
    )
    named = listed(map(one_line, presets))
    return f"Preset {named}: not the settings of the published methods." if presets else ""


def _marks(layout: Layout) -> str:
    if not layout.ranks:
        return ""
    if layout.single:
        return "Bold, underlined: the highest and the second highest mean. One set of each method allows no test over sets, and no claim."
    untested = any(layout.measured[place].sets == 1 for place in layout.ranks)
    return (
        "Bold: the highest mean for its budget, and every mean that a test over sets does not tell from it"
        " (each against the highest, paired by seed where the seeds are the same, else Welch's;"
        f" level {SIGNIFICANCE} after Holm's correction)."
        " Underlined: the same among the rest."
        + (" A method with one set cannot be tested and shares no mark." if untested else "")
    )


def _single(layout: Layout) -> str:
    some = any(figures.sets == 1 for figures in layout.measured.values())
    return (
        "*: one set only; ± is over its networks, given this set."
        if some and not layout.single
        else ""
    )


def _same(layout: Layout) -> str:
    """Seeds are a sample all the same, but who reads a spread over sets should know where it is
    that of the networks.
    """
    found: list[str] = []
    for label, records in _labelled(layout):
        alike: dict[str, set[str]] = defaultdict(set)
        for _, record in records:
            if record.content:
                alike[record.content].add(_made(record))
        several = sum(len(sets) for sets in alike.values() if len(sets) > 1)
        if several:
            found.append(f"{label} ({counted(several, 'set')})")
    return (
        f"Seeds that gave the very same images, so that only networks differ: {listed(found)}."
        if found
        else ""
    )


def _changed(layout: Layout) -> str:
    """Where a row's sets have fields other than their preset's, which ones, budget by budget if
    budgets differ in it.
    """
    said: dict[str, list[str]] = {}
    for label, records in _labelled(layout):
        by_fields: dict[str, set[int]] = defaultdict(set)
        for _, record in records:
            by_fields[
                ", ".join(f"{name}={value}" for name, value in sorted(record.changed.items()))
            ].add(record.ipc or 0)
        in_order = sorted(by_fields.items(), key=lambda item: min(item[1]))
        budgets = {
            words: listed(f"IPC {ipc}" if ipc else "no budget" for ipc in sorted(ipcs))
            for words, ipcs in in_order
            if words
        }
        if budgets:
            said[label] = [
                "; ".join(
                    f"{ipcs}: {words}" if len(by_fields) > 1 else words
                    for words, ipcs in budgets.items()
                )
            ]
    return _sentence("Made with fields other than the preset's", said)


def _sizes(layout: Layout) -> str:
    return "" if layout.uniform else f"a{TIMES}b after a figure: a sets with b networks each."


def _missing(layout: Layout) -> str:
    return "" if layout.complete else f"{DASH}: no figure."


def _published(layout: Layout) -> str:
    table = layout.published
    if table is None or not any(map(layout.has_published, layout.ipcs)):
        return ""
    return (
        f"Published: {table.source}: {table.title}, on the original {title(table.dataset)};"
        " not pooled with, tested against or ranked with what was measured here."
    )


def _differences(layout: Layout) -> str:
    if not any(map(layout.has_difference, layout.ipcs)):
        return ""
    return (
        "Difference: measured less published, in points"
        + (
            " [95 % t interval over the measured sets, the printed value taken as exact]"
            if not layout.single
            else ""
        )
        + ": what is measured here, with its data and settings, against the paper's; no test of a method."
    )


def _foreign(layout: Layout) -> str:
    found = [stored.record for stored in layout.board.records if stored.record.foreign]
    if not found:
        return ""
    by_layout: dict[str, set[str]] = defaultdict(set)
    for record in filter(unnamed, found):
        by_layout[record.method].add(record.artifact_sha256)
    several = sorted(one_line(title(method)) for method, sets in by_layout.items() if len(sets) > 1)
    said = "Foreign: the set was made by other code, under conditions that are not known here."
    if not several:
        return said
    return (
        f"{said} {listed(several)}: the name of a layout, which several methods write, so each set has a row of its own,"
        " told by its checksum; sets of one method are those that were given one name (--name)."
    )


def _recipes(layout: Layout) -> str:
    asked = _by_line(layout, recipe_words)
    return _sentence("Trained with what the set itself asks for, not by the protocol alone", asked)


def _spaces(layout: Layout) -> str:
    spaces = sorted({stored.record.space for stored in layout.board.records})
    return f"Trained and tested in the space of the set: {listed(map(one_line, spaces))}."


def _holdouts(layout: Layout) -> str:
    return _sentence(
        "Made with a part of the training data kept apart",
        _by_line(layout, lambda record: record.holdout),
    )


def _origins(layout: Layout) -> str:
    yours = _by_line(layout, _made, origin="yours")
    measured = _by_line(layout, _made, origin="measured")
    if not measured:
        return ""
    if not yours:
        return "Measured by the project."
    return f"Your own: {_sets(yours)}. Measured by the project: {_sets(measured)}."


def _resumed(layout: Layout) -> str:
    went_on = _by_line(
        layout,
        lambda record: (
            _made(record) if record.distillation and record.distillation.resumed_elsewhere else ""
        ),
    )
    return (
        f"Continued on another machine or setting half-way, or from shared work of one: {_sets(went_on)}."
        if went_on
        else ""
    )


def _warnings(layout: Layout) -> list[str]:
    said: dict[str, list[str]] = defaultdict(list)
    for label, records in _labelled(layout):
        for text in sorted({one_line(text) for _, record in records for text in record.warnings}):
            said[text].append(label)
    lines = [f"Warning ({listed(labels)}): {text}" for text, labels in said.items()]
    more = len(lines) - _MOST_WARNINGS
    return lines[:_MOST_WARNINGS] + (
        [f"Warnings left out here: {more}; the records have them."] if more > 0 else []
    )


def _labelled(layout: Layout) -> list[tuple[str, list[tuple[str, EvaluationRecord]]]]:
    def records(line: Line) -> list[tuple[str, EvaluationRecord]]:
        return (
            [(stored.origin, stored.record) for stored in line.entry.records]
            if line.entry is not None
            else []
        )

    return [(line.label, records(line)) for line in layout.lines]


def _by_line(
    layout: Layout, says: Callable[[EvaluationRecord], str], origin: str = ""
) -> Mapping[str, list[str]]:
    """What the records of each row say, where they say anything."""
    found = {
        label: [
            says(record)
            for own_origin, record in records
            if origin in ("", own_origin) and says(record)
        ]
        for label, records in _labelled(layout)
    }
    return {label: words for label, words in found.items() if words}


def _made(record: EvaluationRecord) -> str:
    """What is the same for two records of one set."""
    return canonical([record.ipc, record.seed, record.artifact_sha256])


def _sets(by_line: Mapping[str, list[str]]) -> str:
    return listed(
        f"{label} ({counted(len(set(words)), 'set')})" for label, words in by_line.items()
    )


def _sentence(beginning: str, by_line: Mapping[str, list[str]]) -> str:
    parts = [
        f"{label} ({one_line('; '.join(sorted(set(words))))})" for label, words in by_line.items()
    ]
    return f"{beginning}: {listed(parts)}." if parts else ""
