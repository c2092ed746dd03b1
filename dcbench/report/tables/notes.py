"""Captions and notes of all tables, in plain words.

A note says one fact and, where not all rows share it, of which rows: "Space of the images: zca
(KIP); normalised (DM, Random)."
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from dcbench.records import EvaluationRecord, SearchRecord, StoredRecord, StoredSearch
from dcbench.records.search import REFERENCE
from dcbench.report.formatting import (
    DASH,
    TIMES,
    accuracy_words,
    budget_label,
    canonical,
    data_title,
    listed,
    one_line,
    percent,
    protocol_name,
    protocol_words,
    title,
)
from dcbench.report.selection.method_variants import recipe_words, unnamed
from dcbench.report.statistics.accuracies import FEWEST_SETS, SIGNIFICANCE
from dcbench.report.statistics.rankings import FEWEST, RankFigures
from dcbench.report.tables.layout import TableLayout
from dcbench.studies.published import SOURCES, PublishedTable
from dcbench.system.wording import counted

_MOST_TEXTS = 5  # of one fact in a note
_AXES: Mapping[str, Sequence[str]] = {  # of convnet720, in the order of its names
    "depth": ("d1", "d2", "d3", "d4"),
    "width": ("w32", "w64", "w128", "w256"),
    "activation": ("sigmoid", "relu", "leaky_relu"),
    "normalisation": ("none", "batch", "layer", "instance", "group"),
    "pooling": ("none", "max", "average"),
}
_ORIGINS = {"measured": "the project", "yours": "you"}

Record = EvaluationRecord | SearchRecord
# a record with the label of its row and its budget
Labelled = Sequence[tuple[str, int | None, Record]]
Fact = Callable[[Any], str | bool]


def told(beginning: str, labelled: Labelled, fact: Fact) -> str:
    """One note: what ``fact`` says of the records, with the rows of which it says so; the budgets
    too, where a row's budgets differ. Rows are left out where all share the fact.
    """
    of_label: dict[str, dict[str | bool, set[int | None]]] = defaultdict(lambda: defaultdict(set))
    for label, ipc, record in labelled:
        said = fact(record)
        of_label[label][one_line(said) if isinstance(said, str) else said].add(ipc)
    found: dict[str | bool, list[str]] = defaultdict(list)
    for label, texts in of_label.items():
        for text, ipcs in texts.items():
            budgets = listed(budget_label(ipc) for ipc in sorted(ipcs, key=lambda ipc: ipc or 0))
            found[text].append(f"{label} at {budgets}" if len(texts) > 1 else label)
    shared = len(found) == 1
    parts = [
        ", ".join(labels)
        if text is True
        else f"{text}{'' if shared else ' (' + ', '.join(labels) + ')'}"
        for text, labels in found.items()
        if text
    ]
    if len(parts) > _MOST_TEXTS:
        parts = [*parts[:_MOST_TEXTS], f"{len(parts) - _MOST_TEXTS} more in the records"]
    return f"{beginning}: {'; '.join(parts)}." if parts else ""


def _protocol(settings: Mapping[str, Any]) -> str:
    version = one_line(str(settings.get("version", "without a name")))
    return f"Protocol {protocol_name(settings, 'without a name')}, version {version}"


# ---- accuracies


def short_caption(layout: TableLayout) -> str:
    """One sentence: data, accuracy, spread, marks and what the tests could see."""
    group = layout.group
    spread = _spread(layout)
    words = [group.protocol.get("precision", ""), group.augment != "none" and title(group.augment)]
    how = "".join(f", {one_line(str(word))}" for word in words if word)
    said = (
        f"{accuracy_words(group.protocol).capitalize()} (%) on {group.data} of networks"
        f" ({title(group.network)}) trained on each synthetic set by protocol"
        f" {group.judged_by}{how}: {spread}"
    )
    return "; ".join([said, *_marks(layout)]) + "."


def _spread(layout: TableLayout) -> str:
    cells = layout.measured.values()
    if all(cell.most_networks == 1 and cell.sets == 1 for cell in cells):
        return "the accuracy of the one network trained on the one set made"
    networks = _between(
        [count for cell in cells for count in (cell.fewest_networks, cell.most_networks)], "network"
    )
    if layout.single:
        return f"mean ± standard deviation over {networks} trained on the one set made"
    sets = _between([cell.sets for cell in cells if cell.sets > 1], "set")
    alone = "" if min(cell.sets for cell in cells) > 1 else "; * one set, ± over its networks"
    return f"mean ± standard deviation over {sets} of {networks}{alone}"


def _marks(layout: TableLayout) -> Iterator[str]:
    """What bold, underlined and † mean, in a few words each."""
    if not layout.standings:
        return
    yield "bold: highest mean, underlined: second"
    tested = [column for column in layout.standings.values() if column.tests]
    if not tested:
        yield f"no test: each method needs {FEWEST_SETS} sets"
        return
    seen = [end for column in tested for end in column.detectable or ()]
    power = ""
    if seen:
        low, high = percent(min(seen)), percent(max(seen))
        points = low if low == high else f"{low} to {high}"
        power = f", which finds differences of {points} points with 80 % power"
    ranked = sum(len(column.of) - 1 for column in layout.standings.values())
    some = sum(column.tests for column in tested) < ranked
    yield (
        "†: not told apart from the highest by a t-test over sets"
        f" (Holm, {100 * SIGNIFICANCE:.0f} %){power}"
    ) + (f"; no test of methods with fewer than {FEWEST_SETS} sets" if some else "")


def caption(layout: TableLayout) -> str:
    """Data, accuracy, numbers of sets and networks, protocol and its version."""
    group = layout.group
    interval = "" if layout.single else " [95 % t interval over sets]"
    return (
        f"{accuracy_words(group.protocol).capitalize()} (%) on {_data(layout)} of networks trained"
        f" on the synthetic set alone: {_spread(layout)}{interval}. {_conditions(layout)}"
    )


def _data(layout: TableLayout) -> str:
    group = layout.group
    return f"{group.data} (revision {one_line(group.revision[:12])})"


def _conditions(layout: TableLayout) -> str:
    group = layout.group
    presets = sorted({stored.record.preset or "" for stored in group.records} - {"", "paper"})
    words = protocol_words(group.protocol, group.network, group.augment)
    said = f"{_protocol(group.protocol)}: {words}; accuracy after the last epoch, never the best."
    if presets:
        names = listed(map(one_line, presets))
        said += f" Preset {names}: not the settings of the published methods."
    return said


def notes(layout: TableLayout, compact: bool = False) -> tuple[str, ...]:
    """What the signs mean, and what distinguishes single rows."""
    rows = [(entry.label, each) for entry in layout.entries.values() for each in entry.records]
    facts: list[tuple[str, Fact]] = [
        ("Fields changed from the preset", lambda record: _changed(record.changed)),
        ("Trained with settings that the set itself asks for", recipe_words),
        ("Space of the images", lambda record: str(record.space)),
        ("Part of the training data that the method never saw", lambda record: str(record.holdout)),
        ("Continued half-way on another machine or setting", _continued),
        ("Made by other code, under conditions not known here", lambda record: record.foreign),
        (
            "Sets without a method's name, each in a row of its own (give them one by --name)",
            unnamed,
        ),
    ]
    written = [
        *([f"Data: {_data(layout)}.", _conditions(layout)] if compact else _signs(layout)),
        *_printed(layout),
        *_told_of(rows, facts),
        _equal_sets(layout),
    ]
    return tuple(filter(None, written))


def _told_of(
    rows: Sequence[tuple[str, StoredRecord | StoredSearch]], facts: Sequence[tuple[str, Fact]]
) -> Iterator[str]:
    """A note for each fact; then who measured, and warnings."""
    labelled: list[tuple[str, int | None, Record]] = []
    for label, stored in rows:
        record = stored.record
        ipc = record.ipc if isinstance(record, EvaluationRecord) else record.proxy_ipc
        labelled.append((label, ipc, record))
    origins = {id(stored.record): stored.origin for _, stored in rows}
    measured = "measured" in origins.values()
    for beginning, fact in (
        *facts,
        ("Measured by", lambda record: measured and _ORIGINS[origins[id(record)]]),
        ("Warning", lambda record: "; ".join(record.warnings)),
    ):
        yield told(beginning, labelled, fact)


def _changed(changed: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={canonical(value)}" for name, value in sorted(changed.items()))


def _continued(record: EvaluationRecord) -> bool:
    return bool(record.distillation and record.distillation.resumed_elsewhere)


def _between(numbers: Sequence[int], noun: str) -> str:
    least, most = min(numbers), max(numbers)
    return counted(most, noun) if least == most else f"{least} to {counted(most, noun)}"


def _signs(layout: TableLayout) -> Iterator[str]:
    for mark in _marks(layout):
        yield f"{mark[0].upper()}{mark[1:]}."
    if any(
        standing.interval for column in layout.standings.values() for standing in column.of.values()
    ):
        yield (
            f"Rank: the place by mean; a{DASH}b: the middle 95 % of its places when every mean is"
            f" drawn from its t distribution over sets (from {FEWEST_SETS} sets on)."
        )
    if not layout.single and any(cell.sets == 1 for cell in layout.measured.values()):
        yield "*: one set only; ± is over its networks, given this set."
    if not layout.uniform:
        yield f"a{TIMES}b after a figure: a sets with b networks each."
    if any(map(layout.has_difference, layout.ipcs)):
        yield (
            "Difference: measured minus published, in points [95 % t interval over the measured"
            " sets; the printed value counts as exact]."
        )


def _printed(layout: TableLayout) -> Iterator[str]:
    """Who printed the published values, and how they were judged."""
    sources: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for row in layout.rows:
        if row.printed:
            sources[row.printed.source][row.printed.judged].append(title(row.method))
    for source, judged in sources.items():
        parts = [f"{listed(methods)} ({how})" for how, methods in judged.items()]
        yield f"Published by {SOURCES[source]}: {'; '.join(parts)}."
    if sources:
        yield (
            f"Published values are of the original {title(layout.group.dataset)}; they are neither"
            " pooled with, tested against nor ranked with what was measured here."
        )


def _equal_sets(layout: TableLayout) -> str:
    """Rows in which several seeds gave the same images: their spread is that over networks."""
    found = []
    for entry in layout.entries.values():
        sets = {
            (record.content, record.ipc, record.seed, record.artifact_sha256)
            for stored in entry.records
            if (record := stored.record).content
        }
        equal = sum(count for count in Counter(own[0] for own in sets).values() if count > 1)
        if equal:
            found.append(f"{entry.label} ({counted(equal, 'set')})")
    return (
        f"Seeds that gave the same images, so that only networks differ: {listed(found)}."
        if found
        else ""
    )


# ---- searches


def search_caption(records: Sequence[SearchRecord]) -> str:
    """Data, architectures, protocol, ranking and truth of the searches of one table."""
    record = records[0]
    settings = {key: value for key, value in record.protocol.items() if key != "epochs"}
    words = protocol_words(settings, record.space, str(record.protocol.get("augment")))
    data = data_title(record.dataset, record.dataset_revision, [record.dataset_note])
    return (
        f"Architecture search on {data} (revision"
        f" {one_line(record.dataset_revision[:12])}): {_architectures(record)},"
        f" {counted(record.seeds, 'network')} of each trained on the proxy for {_epochs(records)}"
        f" and ranked by mean accuracy on {record.validation_images} real training images that no"
        f" built-in proxy has. {_protocol(record.protocol)}, ours, for the paper gives none:"
        f" {words}. {_truth(record.truth)}"
        " Correlations of that ranking with the truth [95 % bootstrap interval over architectures]."
    )


def short_search_caption(records: Sequence[SearchRecord]) -> str:
    """The same in one sentence."""
    record = records[0]
    count, size = len(record.architectures), record.space_size
    which = f"all {count}" if count == size else f"{count} of the {size}"
    data = data_title(record.dataset, record.dataset_revision, [record.dataset_note])
    return (
        f"Architecture search on {data}: {which}"
        f" architectures of {record.space} ranked by {counted(record.seeds, 'network')} of each"
        " trained on the proxy; performance: test accuracy of what it ranks first; correlation:"
        " Spearman's with the truth; time: of training and validating all networks."
    )


def _architectures(record: SearchRecord) -> str:
    """Which architectures of the space were searched, and how they were drawn."""
    settings = ", ".join(
        f"{key.replace('_', ' ')} {value}" for key, value in record.space_fields.items()
    )
    space = f"architectures of {record.space}" + (f" ({settings})" if settings else "")
    count = len(record.architectures)
    if count == record.space_size:
        return f"all {count} {space}"
    named = f"those named {listed(map(one_line, record.match))}" if record.match else ""
    if record.sample:
        drawn = f"drawn with seed {record.search_seed}" + (f" among {named}" if named else "")
    else:
        drawn = f"all {named or 'those possible at this resolution'}"
    return f"{count} of the {record.space_size} {space}, {drawn}"


def _epochs(records: Sequence[SearchRecord]) -> str:
    """The epochs of all searches; if they differ, with the proxies that have them."""
    proxies: dict[str, list[str]] = defaultdict(list)
    for record in records:
        proxies[_counted_epochs(record.protocol.get("epochs"))].append(title(record.proxy))
    if len(proxies) == 1:
        return next(iter(proxies))
    return listed(
        f"{epochs} ({', '.join(dict.fromkeys(names))})" for epochs, names in proxies.items()
    )


def _counted_epochs(epochs: object) -> str:
    return "1 epoch" if str(epochs) == "1" else f"{canonical(epochs)} epochs"


def _truth(truth: Mapping[str, object]) -> str:
    if truth.get("source") == "table":
        column, file = (one_line(str(truth.get(key))) for key in ("column", "file"))
        return f"Truth: the test accuracies of column {column} in {file}."
    protocol, seeds = truth.get("protocol"), truth.get("seeds")
    epochs = protocol.get("epochs") if isinstance(protocol, Mapping) else None
    networks = counted(seeds if isinstance(seeds, int) else 0, "network")
    return (
        f"Truth: test accuracy of {networks} of each architecture trained here on"
        f" {truth.get('images')} real images for {_counted_epochs(epochs)} by the same protocol,"
        " the validation images left out."
        " A proxy's networks start from the weights that the truth's of their number started from."
    )


def search_notes(
    stored_rows: Sequence[tuple[str, StoredSearch]],
    figures: Sequence[RankFigures],
    published: PublishedTable | None,
) -> list[str]:
    """What the signs mean, and what distinguishes single proxies."""
    records = [stored.record for _, stored in stored_rows]
    record = records[0]
    facts: list[tuple[str, Fact]] = [
        (
            "Networks that failed or diverged (what diverged is ranked)",
            lambda r: str(r.failed or ""),
        ),
        (
            "Validation images were not kept from the making of the proxy "
            "(validation_seen_by_proxy)",
            lambda r: r.validation_seen_by_proxy,
        ),
        (
            "Trained with settings that the set itself asks for",
            lambda r: canonical(r.recipe) if r.recipe else "",
        ),
        ("Steps of each network", lambda r: f"{r.iterations:,}"),
        ("Space of the images", lambda r: str(r.image_space)),
    ]
    counts = "-".join(map(str, sorted({found.top_architectures for found in figures})))
    few = max(found.top_architectures for found in figures) < FEWEST
    written = [
        _unlike_printed(records, published),
        f"The {top_in_words(record)}: {counts} architectures"
        + (f"; too few for a correlation, which takes {FEWEST}." if few else "."),
        f"Impossible at this resolution and left out before the draw: {len(record.excluded)}"
        " architectures; the records list them."
        if record.excluded
        else "",
        *_told_of(stored_rows, facts),
        "Best: the test accuracy by the truth of what the proxy ranks first; regret: how far it is"
        " below the best of all.",
        f"{title(REFERENCE)}: the networks whose test accuracy is the truth, ranked by their"
        " validation accuracy."
        if record.truth.get("source") == "trained" and REFERENCE in {r.proxy for r in records}
        else "",
        f"Published values: {published.source}: {published.title}, on the original"
        f" {title(published.dataset)}; neither pooled nor ranked with what was measured."
        if published
        else "",
    ]
    return [note for note in written if note]


# by which accuracy of the truth the top share of a search is the best
BEST_BY = {"test": "truth", "validation": "validation accuracy"}


def top_in_words(record: SearchRecord) -> str:
    """The share of a search that has a correlation of its own."""
    return f"top {100 * record.top:g} % by {BEST_BY[record.top_by]}"


def _unlike_printed(records: Sequence[SearchRecord], published: PublishedTable | None) -> str:
    """How the search differs from the paper's: each point as it is here, then the paper's."""
    if published is None or published.search is None:
        return ""
    record, printed = records[0], published.search
    protocol = record.truth.get("protocol")
    truths = [score.truth for score in record.architectures if score.truth is not None]
    ipcs = listed(str(ipc) for ipc in sorted({r.proxy_ipc for r in records if r.proxy_ipc}))
    epochs = {_counted_epochs(r.protocol.get("epochs")) for r in records if r.proxy != REFERENCE}
    presets = sorted({r.proxy_preset or "" for r in records} - {"", "paper"})
    best, trained = None, "training on a proxy, as DC-BENCH"
    if isinstance(protocol, Mapping) and truths:
        best = f"{percent(max(truths))} % after {_counted_epochs(protocol.get('epochs'))}"
    points: list[tuple[str, str | None, object]] = [
        ("architectures", str(len(record.architectures)), printed.architectures),
        ("never drawn", ", ".join(_never_drawn(record)) or None, "nothing"),
        ("networks of each", str(record.seeds), printed.networks),
        ("validation images", str(record.validation_images), printed.validation),
        ("IPC", ipcs or None, printed.ipc),
        (trained, listed(sorted(epochs)) or None, printed.epochs and f"{printed.epochs} epochs"),
        ("presets of the sets", listed(map(one_line, presets)) or None, "its own settings"),
        ("data", one_line(record.dataset_note) or None, "the original"),
        ("best accuracy of the truth", best, printed.best and f"{percent(printed.best)} %"),
        (f"top {100 * record.top:g} % by", BEST_BY[record.top_by], printed.top or None),
    ]
    parts = [
        f"{name} {here} (paper: {paper})"
        for name, here, paper in points
        if here is not None and paper is not None and here != str(paper)
    ]
    remark = f" {printed.remark}" if printed.remark else ""
    return (
        f"Unlike the paper: {'; '.join(parts)}. No claim goes beyond the intervals.{remark}"
        if parts
        else remark.strip()
    )


def _never_drawn(record: SearchRecord) -> Iterator[str]:
    """The values of the grid that no architecture has."""
    names = [
        score.architecture.replace("leaky-relu", "leaky_relu").split("-")
        for score in record.architectures
    ]
    if record.space != "convnet720" or any(len(name) != len(_AXES) for name in names):
        return
    for (axis, values), met in zip(_AXES.items(), zip(*names, strict=True), strict=True):
        # depths and widths are shown as numbers
        missing = [value.lstrip("dw").replace("_", "-") for value in values if value not in met]
        if missing:
            yield f"{axis} {listed(missing)}"
