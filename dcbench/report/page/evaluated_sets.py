"""One evaluated set on the page: its networks, images, learning curve, provenance and warnings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from dcbench.records import Distillation, EvaluationRecord, StoredRecord
from dcbench.report.formatting import bounds, canonical, mean_and_std
from dcbench.report.page.curves import curve
from dcbench.report.page.images import PageImages
from dcbench.report.page.markup import Markup, element, join
from dcbench.report.page.strip_plots import Scale, axis, strip
from dcbench.report.selection.sidecar_files import HISTORY_NAME, find_sidecar_file, read_history
from dcbench.report.statistics.accuracies import summarise
from dcbench.system.wording import counted, in_words

_ORIGINS = {"measured": "measured by the project", "yours": "your own"}


def set_article(stored: StoredRecord, scale: Scale, images: PageImages) -> Markup:
    """All that is known of the set behind one record."""
    record = stored.record
    figures = summarise(record.accuracies)
    interval = figures.shown_ci95
    given = f" {bounds(interval)} given this set" if interval else ""
    networks = counted(figures.networks, "network")
    measured = f"{mean_and_std(figures.mean, figures.std)} %{given}, {networks}"
    warnings = [
        element("p", element("strong", "Warning: "), warning, class_="warning")
        for warning in record.warnings
    ]
    drawing = strip([record.accuracies], figures.mean, interval, scale)
    shown = join(images.show(stored.path, record.label), _curve(stored, images.root))
    provenance = element("dl", *_provenance(stored, images.root))
    return element(
        "article",
        element("h4", _heading(record)),
        element("p", measured),
        *warnings,
        element("div", axis(scale), drawing, class_="strip-box"),
        element("div", shown, class_="drawings") if shown else None,
        element("details", element("summary", "Provenance"), provenance, class_="provenance"),
        class_="set",
    )


def _heading(record: EvaluationRecord) -> str:
    if record.ipc is None and not record.foreign:
        return f"The data itself, networks of seed {record.evaluation_seed}"
    if record.seed is None:
        return f"Set {record.artifact_sha256[:8]}"
    if record.evaluation_seed == record.seed:
        return f"Seed {record.seed}"
    return f"Seed {record.seed}, networks of seed {record.evaluation_seed}"


def _curve(stored: StoredRecord, root: Path) -> Markup | None:
    path = find_sidecar_file(stored.path, HISTORY_NAME, root)
    if path is None:
        return None
    points = read_history(path)
    if isinstance(points, str):
        return element("p", f"No learning curve: {points}.", class_="warning")
    drawn = curve(points, f"Learning curve of {stored.record.label}")
    return drawn and element(
        "figure", drawn, element("figcaption", "Loss of the distillation by step")
    )


def _provenance(stored: StoredRecord, root: Path) -> Iterator[Markup]:
    place = stored.path.relative_to(root) if stored.path.is_relative_to(root) else stored.path.name
    record = stored.record
    version = "unknown (made by other code)" if record.foreign else record.method_version
    note = f" ({record.dataset_note})" if record.dataset_note else ""
    versions = record.versions
    facts: dict[str, object] = {
        "method": f"{record.method}, version {version}",
        "paper": record.paper,
        "preset": record.preset,
        "fields": _pairs(record.fields),
        "asked for by the set": _pairs(record.recipe),
        "images": f"{record.budget_images} in space {record.space}",
        "kept apart": record.holdout,
        "data": f"{record.dataset}, revision {record.dataset_revision}{note}",
        "artifact": record.artifact_hash,
        "checksum": record.artifact_sha256,
        **(_distillation(record.distillation) if record.distillation else {}),
        "evaluated": f"{in_words(record.evaluate_seconds)}, {record.engine}, {record.precision},"
        f" {record.device_name}",
        "protocol": record.protocol_hash,
        "versions": f"dcbench {versions.dcbench}, torch {versions.torch}, Python {versions.python}",
        "code": record.code,
        "created": record.created,
        "origin": _ORIGINS[stored.origin],
        "record": place,
    }
    for name, fact in facts.items():
        if fact not in ("", None):
            yield join(element("dt", name), element("dd", fact))


def _distillation(made: Distillation) -> dict[str, object]:
    work = f"{in_words(made.distill_seconds)}, {made.engine}, {made.precision}"
    resumed = "on another machine or setting than it, or work that it shares, began with"
    return {
        "distilled": f"{work}, {made.device_name}, torch {made.torch}",
        "distilled by code": made.code,
        "resumed": resumed if made.resumed_elsewhere else "",
    }


def _pairs(values: Mapping[str, object]) -> str:
    return ", ".join(f"{key}={canonical(value)}" for key, value in values.items())
