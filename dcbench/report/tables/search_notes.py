"""What is said above and below a table of searches: the conditions under which its figures hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from dcbench.records import SearchRecord, StoredSearch
from dcbench.records.search import REFERENCE
from dcbench.report.formatting import (
    DASH,
    canonical,
    listed,
    one_line,
    percent,
    protocol_words,
    title,
)
from dcbench.report.statistics.rankings import FEWEST, RankFigures
from dcbench.studies.published import PublishedTable
from dcbench.system.wording import counted

PRINTED_IPC = 50
_AXES: Mapping[str, Sequence[str]] = {  # of convnet720, in the order of its names
    "depth": ("d1", "d2", "d3", "d4"),
    "width": ("w32", "w64", "w128", "w256"),
    "activation": ("sigmoid", "relu", "leaky relu"),
    "normalisation": ("none", "batch", "layer", "instance", "group"),
    "pooling": ("none", "max", "average"),
}


@dataclass(frozen=True)
class Printed:
    """How the paper searched a space, as far as its supplement says (section 2.3)."""

    architectures: int
    networks: int | None = None  # of each architecture
    validation: int | None = None
    epochs: int | None = None  # of DC-BENCH, whose settings the paper says that it follows
    # what the whole data's best scores, where no epochs of the truth are printed
    best: float | None = None
    top: str = ""  # by what its top share is chosen, where that is not the truth


PRINTED = {
    "convnet720": Printed(720, best=0.892, top="validation accuracy"),
    "nasbench201": Printed(100, networks=5, validation=10_000, epochs=50),
}
Labelled = Sequence[tuple[str, StoredSearch]]


def search_caption(record: SearchRecord, records: Sequence[SearchRecord]) -> str:
    """Data, architectures, protocol, ranking and truth; ``record`` is any of the table's
    ``records``.
    """
    data = ", ".join(filter(None, [title(record.dataset), one_line(record.dataset_note)]))
    protocol = dict(record.protocol)
    name, version = (
        one_line(str(protocol.get(key, "without a name"))) for key in ("name", "version")
    )
    words = protocol_words(
        {key: value for key, value in protocol.items() if key != "epochs"},
        record.space,
        str(protocol.get("augment")),
    )
    sentences = [
        f"Architecture search on {data} (revision {one_line(record.dataset_revision[:12])}): {_drawn(record)},"
        f" {counted(record.seeds, 'network')} of each trained on the proxy for {_epochs(records)} and ranked by mean accuracy on"
        f" {record.validation_images} real training images that no built-in proxy has.",
        f"Protocol {name}, version {version}, ours, for the paper gives none: {words}.",
        _truth(record.truth),
        "Correlations of that ranking with the truth [95 % bootstrap interval over architectures].",
    ]
    return " ".join(sentences)


def _drawn(record: SearchRecord) -> str:
    settings = ", ".join(
        f"{key.replace('_', ' ')} {value}" for key, value in record.space_fields.items()
    )
    space, count = (
        f"architectures of {record.space}{f' ({settings})' if settings else ''}",
        len(record.architectures),
    )
    if count == record.space_size:
        return f"all {count} {space}"
    named = f"those named {listed(map(one_line, record.match))}" if record.match else ""
    if record.sample:
        drawn = f"drawn with seed {record.search_seed}{named and f' among {named}'}"
    else:
        drawn = f"all {named or 'those possible at this resolution'}"
    return f"{count} of the {record.space_size} {space}, {drawn}"


def _epochs(records: Sequence[SearchRecord]) -> str:
    """Epochs of all, and of those that have their own."""
    by_epochs: dict[str, list[str]] = {}
    for record in records:
        by_epochs.setdefault(canonical(record.protocol.get("epochs")), []).append(
            title(record.proxy)
        )
    if len(by_epochs) == 1:
        return _counted_epochs(next(iter(by_epochs)))
    return listed(
        f"{_counted_epochs(epochs)} ({', '.join(dict.fromkeys(names))})"
        for epochs, names in by_epochs.items()
    )


def _counted_epochs(epochs: object) -> str:
    return "1 epoch" if str(epochs) == "1" else f"{epochs} epochs"


def _truth(truth: Mapping[str, object]) -> str:
    if truth.get("source") == "table":
        return f"Truth: the test accuracies of column {one_line(str(truth.get('column')))} in {one_line(str(truth.get('file')))}."
    protocol = truth.get("protocol")
    epochs = protocol.get("epochs") if isinstance(protocol, Mapping) else None
    return (
        f"Truth: test accuracy of {counted(_whole(truth.get('seeds')), 'network')} of each architecture trained here on"
        f" {truth.get('images')} real images for {_counted_epochs(epochs)} by the same protocol, the validation images left out."
        " A proxy's networks start from the weights that the truth's of their number started from."
    )


def _whole(value: object) -> int:
    return value if isinstance(value, int) else 0


def search_notes(
    labelled: Labelled, figures: Sequence[RankFigures], published: PublishedTable | None
) -> list[str]:
    """The signs used, and what sets single proxies apart."""
    record = labelled[0][1].record
    notes = [
        _other_than_printed(labelled, published),
        _top(record, figures),
        _excluded(record),
        _by_proxy(
            "A network failed or diverged (what diverged is ranked all the same)", labelled, _failed
        ),
        _by_proxy(
            "Validation images were not kept from the making of the proxy (validation_seen_by_proxy)",
            labelled,
            lambda record: "yes" if record.validation_seen_by_proxy else "",
        ),
        _by_proxy(
            "Trained with what the set itself asks for",
            labelled,
            lambda record: canonical(record.recipe) if record.recipe else "",
        ),
        _by_proxy("Steps of each network", labelled, lambda record: str(record.iterations)),
        _by_proxy("Images in the space", labelled, lambda record: record.image_space),
        _by_proxy("Warning", labelled, lambda record: "; ".join(record.warnings)),
        f"Best: the test accuracy by the truth of what the proxy ranks first, and how far it is below the best of all. {DASH}: no figure.",
        _reference(labelled),
        _published(published),
        _origins(labelled),
    ]
    return [note for note in notes if note]


def _other_than_printed(labelled: Labelled, published: PublishedTable | None) -> str:
    """In what the search is another than the paper's."""
    printed = PRINTED.get(labelled[0][1].record.space)
    if published is None or printed is None:
        return ""
    records = [stored.record for _, stored in labelled]
    parts = [
        *_smaller(records, printed),
        *_made_otherwise(records),
        *_judged_otherwise(records[0], printed),
    ]
    return (
        f"Other than the paper: {'; '.join(parts)}. No claim goes beyond the intervals."
        if parts
        else ""
    )


def _smaller(records: Sequence[SearchRecord], printed: Printed) -> Iterator[str]:
    record = records[0]
    few = len(record.architectures)
    if few < printed.architectures:
        yield ", ".join(
            [
                f"{few} architectures where the paper has {printed.architectures}",
                *_never_drawn(record),
            ]
        )
    if printed.networks is not None and record.seeds != printed.networks:
        yield f"{counted(record.seeds, 'network')} of each where the paper has {printed.networks}"
    if printed.validation is not None and record.validation_images != printed.validation:
        yield f"{record.validation_images} validation images where the paper has {printed.validation}"
    ipcs = sorted(
        {each.proxy_ipc for each in records if each.proxy_ipc is not None} - {PRINTED_IPC}
    )
    if ipcs:
        yield f"IPC {listed(map(str, ipcs))} where the paper has {PRINTED_IPC}"
    epochs = {each.protocol.get("epochs") for each in records if each.proxy != REFERENCE} - {
        printed.epochs
    }
    if printed.epochs is not None and epochs:
        yield f"{listed(map(_counted_epochs, epochs))} where DC-BENCH, which the paper follows, has {printed.epochs}"


def _never_drawn(record: SearchRecord) -> Iterator[str]:
    """The values of the grid that no architecture has."""
    names = [
        score.architecture.replace("leaky-relu", "leaky relu").split("-")
        for score in record.architectures
    ]
    if record.space != "convnet720" or any(len(name) != len(_AXES) for name in names):
        return
    for (axis, values), met in zip(_AXES.items(), zip(*names, strict=True), strict=True):
        missing = [
            value.lstrip("dw") if axis in ("depth", "width") else value
            for value in values
            if value not in met
        ]
        if missing:
            yield f"none of {axis} {listed(missing)}".replace("leaky relu", "leaky-relu")


def _made_otherwise(records: Sequence[SearchRecord]) -> Iterator[str]:
    presets = sorted({record.proxy_preset or "" for record in records} - {"", "paper"})
    if presets:
        yield f"sets of preset {listed(map(one_line, presets))} where the paper has its own settings"
    if records[0].dataset_note:
        yield f"{title(records[0].dataset)} as {one_line(records[0].dataset_note)} where the paper has the original"


def _judged_otherwise(record: SearchRecord, printed: Printed) -> Iterator[str]:
    protocol, truths = (
        record.truth.get("protocol"),
        [score.truth for score in record.architectures if score.truth is not None],
    )
    if printed.best is not None and isinstance(protocol, Mapping) and truths:
        epochs = _counted_epochs(protocol.get("epochs"))
        yield f"a truth after {epochs}, the best of it {percent(max(truths))} %, where the paper's best has {percent(printed.best)} %"
    if printed.top:
        yield f"the top {100 * record.top:g} % by truth where the paper takes the highest {printed.top}"


def _top(record: SearchRecord, figures: Sequence[RankFigures]) -> str:
    counts = sorted({found.top_architectures for found in figures})
    none = f"; too few for a correlation, which takes {FEWEST}" if counts[-1] < FEWEST else ""
    return f"The top {100 * record.top:g} % by truth: {'-'.join(map(str, counts))} architectures{none}."


def _excluded(record: SearchRecord) -> str:
    count = len(record.excluded)
    return (
        f"Impossible at this resolution and left out before the draw: {count} architectures; the records list them."
        if count
        else ""
    )


def _failed(record: SearchRecord) -> str:
    return str(record.failed) if record.failed else ""


def _by_proxy(beginning: str, labelled: Labelled, says: Callable[[SearchRecord], str]) -> str:
    said: dict[str, list[str]] = {}
    for label, stored in labelled:
        said.setdefault(one_line(says(stored.record)), []).append(label)
    parts = [
        f"{listed(labels)} ({text})" if text != "yes" else listed(labels)
        for text, labels in said.items()
        if text
    ]
    return f"{beginning}: {'; '.join(parts)}." if parts else ""


def _reference(labelled: Labelled) -> str:
    trained = labelled[0][1].record.truth.get("source") == "trained"
    some = any(stored.record.proxy == REFERENCE for _, stored in labelled)
    return (
        f"{title(REFERENCE)}: the networks whose test accuracy is the truth, ranked by their validation accuracy."
        if trained and some
        else ""
    )


def _published(table: PublishedTable | None) -> str:
    if table is None:
        return ""
    return f"Published: {table.source}: {table.title}, on the original {title(table.dataset)}; not pooled or ranked with what was measured."


def _origins(labelled: Labelled) -> str:
    mine = [label for label, stored in labelled if stored.origin == "yours"]
    ours = [label for label, stored in labelled if stored.origin == "measured"]
    if not ours:
        return ""
    return (
        f"Your own: {listed(mine)}. Measured by the project: {listed(ours)}."
        if mine
        else "Measured by the project."
    )
