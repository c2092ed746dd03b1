"""Caption and notes of a table of searches: the conditions under which its figures hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

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
from dcbench.report.tables import sentences
from dcbench.studies.published import PublishedSearch, PublishedTable
from dcbench.system.wording import counted

_AXES: Mapping[str, Sequence[str]] = {  # of convnet720, in the order of its names
    "depth": ("d1", "d2", "d3", "d4"),
    "width": ("w32", "w64", "w128", "w256"),
    "activation": ("sigmoid", "relu", "leaky_relu"),
    "normalisation": ("none", "batch", "layer", "instance", "group"),
    "pooling": ("none", "max", "average"),
}


def search_caption(records: Sequence[SearchRecord]) -> str:
    """Data, architectures, protocol, ranking and truth of the searches of one table."""
    record = records[0]
    settings = {key: value for key, value in record.protocol.items() if key != "epochs"}
    words = protocol_words(settings, record.space, str(record.protocol.get("augment")))
    said = [
        f"Architecture search on {sentences.data(record.dataset, [record.dataset_note])} (revision"
        f" {one_line(record.dataset_revision[:12])}): {_architectures(record)},"
        f" {counted(record.seeds, 'network')} of each trained on the proxy for {_epochs(records)}"
        f" and ranked by mean accuracy on {record.validation_images} real training images that no"
        " built-in proxy has.",
        f"{sentences.protocol(record.protocol)}, ours, for the paper gives none: {words}.",
        _truth(record.truth),
        "Correlations of that ranking with the truth [95 % bootstrap interval over architectures].",
    ]
    return " ".join(said)


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
    proxies: dict[str, list[str]] = {}
    for record in records:
        epochs = canonical(record.protocol.get("epochs"))
        proxies.setdefault(_counted_epochs(epochs), []).append(title(record.proxy))
    if len(proxies) == 1:
        return next(iter(proxies))
    return listed(
        f"{epochs} ({', '.join(dict.fromkeys(names))})" for epochs, names in proxies.items()
    )


def _counted_epochs(epochs: object) -> str:
    return "1 epoch" if str(epochs) == "1" else f"{epochs} epochs"


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
    labelled: sentences.Labelled[StoredSearch],
    figures: Sequence[RankFigures],
    published: PublishedTable | None,
) -> list[str]:
    """The signs used, and what distinguishes single proxies."""
    records = [stored.record for _, searches in labelled for stored in searches]
    record = records[0]
    seen = sentences.selected(labelled, lambda stored: stored.record.validation_seen_by_proxy)
    written = [
        _other_than_printed(records, published),
        _top(record, figures),
        _excluded(record),
        sentences.by_text(
            "A network failed or diverged (what diverged is ranked all the same)",
            labelled,
            lambda stored: str(stored.record.failed or ""),
        ),
        sentences.listing(
            "Validation images were not kept from the making of the proxy"
            " (validation_seen_by_proxy)",
            [label for label, _ in seen],
        ),
        sentences.by_text(
            "Trained with what the set itself asks for",
            labelled,
            lambda stored: canonical(stored.record.recipe) if stored.record.recipe else "",
        ),
        sentences.by_text(
            "Steps of each network", labelled, lambda stored: str(stored.record.iterations)
        ),
        sentences.by_text(
            "Images in the space", labelled, lambda stored: stored.record.image_space
        ),
        sentences.by_text("Warning", labelled, lambda stored: "; ".join(stored.record.warnings)),
        "Best: the test accuracy by the truth of what the proxy ranks first, and how far it is"
        f" below the best of all. {DASH}: no figure.",
        _reference(records),
        sentences.published(published, "not pooled or ranked with what was measured")
        if published
        else "",
        sentences.origins(labelled, lambda own: listed(label for label, _ in own)),
    ]
    return [note for note in written if note]


def _other_than_printed(records: Sequence[SearchRecord], published: PublishedTable | None) -> str:
    """How the search differs from the paper's."""
    if published is None or published.search is None:
        return ""
    printed = published.search
    parts = [
        *_smaller(records, printed),
        *_made_otherwise(records),
        *_judged_otherwise(records[0], printed),
    ]
    said = sentences.listing("Other than the paper", parts, "; ")
    return f"{said} No claim goes beyond the intervals." if said else ""


def _smaller(records: Sequence[SearchRecord], printed: PublishedSearch) -> Iterator[str]:
    record = records[0]
    few = len(record.architectures)
    if few < printed.architectures:
        fewer = f"{few} architectures where the paper has {printed.architectures}"
        yield ", ".join([fewer, *_never_drawn(record)])
    if printed.networks is not None and record.seeds != printed.networks:
        yield f"{counted(record.seeds, 'network')} of each where the paper has {printed.networks}"
    if printed.validation is not None and record.validation_images != printed.validation:
        images = f"{record.validation_images} validation images"
        yield f"{images} where the paper has {printed.validation}"
    ipcs = sorted({each.proxy_ipc for each in records if each.proxy_ipc} - {printed.ipc})
    if ipcs:
        yield f"IPC {listed(map(str, ipcs))} where the paper has {printed.ipc}"
    epochs = {each.protocol.get("epochs") for each in records if each.proxy != REFERENCE}
    other = listed(map(_counted_epochs, epochs - {printed.epochs}))
    if printed.epochs is not None and other:
        yield f"{other} where DC-BENCH, which the paper follows, has {printed.epochs}"


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
            yield f"none of {axis} {listed(missing)}"


def _made_otherwise(records: Sequence[SearchRecord]) -> Iterator[str]:
    presets = sorted({record.proxy_preset or "" for record in records} - {"", "paper"})
    if presets:
        names = listed(map(one_line, presets))
        yield f"sets of preset {names} where the paper has its own settings"
    if records[0].dataset_note:
        data = f"{title(records[0].dataset)} as {one_line(records[0].dataset_note)}"
        yield f"{data} where the paper has the original"


def _judged_otherwise(record: SearchRecord, printed: PublishedSearch) -> Iterator[str]:
    protocol = record.truth.get("protocol")
    truths = [score.truth for score in record.architectures if score.truth is not None]
    if printed.best is not None and isinstance(protocol, Mapping) and truths:
        epochs = _counted_epochs(protocol.get("epochs"))
        yield (
            f"a truth after {epochs}, the best of it {percent(max(truths))} %, where the paper's"
            f" best has {percent(printed.best)} %"
        )
    if printed.top:
        share = f"the top {100 * record.top:g} % by truth"
        yield f"{share} where the paper takes the highest {printed.top}"


def _top(record: SearchRecord, figures: Sequence[RankFigures]) -> str:
    counts = sorted({found.top_architectures for found in figures})
    few = f"; too few for a correlation, which takes {FEWEST}" if counts[-1] < FEWEST else ""
    members = f"{'-'.join(map(str, counts))} architectures{few}"
    return f"The top {100 * record.top:g} % by truth: {members}."


def _excluded(record: SearchRecord) -> str:
    if not record.excluded:
        return ""
    said = "Impossible at this resolution and left out before the draw"
    return f"{said}: {len(record.excluded)} architectures; the records list them."


def _reference(records: Sequence[SearchRecord]) -> str:
    trained = records[0].truth.get("source") == "trained"
    if not trained or all(record.proxy != REFERENCE for record in records):
        return ""
    ranking = "the networks whose test accuracy is the truth, ranked by their validation accuracy"
    return f"{title(REFERENCE)}: {ranking}."
