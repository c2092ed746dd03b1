"""Traces: accuracy and images of a set over the steps of its distillation."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dcbench.records import StoredTrace, TraceRecord
from dcbench.report.figures.pictures import Picture, pictures_drawing
from dcbench.report.figures.plotting import FIGURES, INTERVALS, Drawing, draw_series, figures_of
from dcbench.report.formatting import (
    accuracy_words,
    canonical,
    data_title,
    file_name,
    protocol_clause,
    protocol_name,
    set_title,
    short_hash,
)
from dcbench.report.grouping import grouped
from dcbench.report.selection.comparable import compared_protocol
from dcbench.report.selection.dataframes import frame
from dcbench.report.selection.method_variants import set_key
from dcbench.report.selection.row_names import labels

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

_COLUMNS = ("series", "x", *FIGURES)
_MOST_PICTURES = 6


def trace_drawings(traces: Iterable[StoredTrace], root: Path) -> list[Drawing]:
    """For each comparable group the accuracy over steps; for each trace whose pictures are below
    ``root``, the images over steps.
    """
    drawn = []
    for key, members in sorted(grouped(traces, lambda stored: _shared(stored.record)).items()):
        drawn.append(_accuracy_drawing(key, [stored.record for stored in members]))
        images = [_images_drawing(stored, root) for stored in members]
        drawn += [drawing for drawing in images if drawing is not None]
    return drawn


def trace_data(records: Sequence[TraceRecord]) -> pd.DataFrame:
    """One row for each method and step, over the sets that have it. If several traces judge a set
    at one step, the one with the most networks counts.
    """
    cells: dict[tuple[str, int], dict[Hashable, tuple[float, ...]]] = defaultdict(dict)
    for record, label in zip(records, labels(records), strict=True):
        for point in record.points:
            own = cells[label, point.step]
            own[set_key(record)] = max(own.get(set_key(record), ()), point.accuracies, key=len)
    rows = [
        {"series": label, "x": step, **figures_of(sets)}
        for (label, step), sets in sorted(cells.items())
    ]
    return frame(rows, _COLUMNS)


def _shared(record: TraceRecord) -> str:
    data = [record.dataset, record.dataset_revision, record.ipc]
    protocol = compared_protocol(record.protocol)
    return canonical([*data, protocol, record.network, record.augment])


def _accuracy_drawing(key: str, records: Sequence[TraceRecord]) -> Drawing:
    data, record = trace_data(records), records[0]
    budget, ipc = (f", IPC {record.ipc}", f"ipc{record.ipc}") if record.ipc else ("", "")
    caption = (
        f"{accuracy_words(record.protocol).capitalize()} of the set over the steps of its"
        f" distillation, on {data_title(record.dataset, record.dataset_revision)}{budget},"
        f" {protocol_clause(record.protocol, record.network, record.augment)}; {INTERVALS}."
    )
    name = file_name("trace", record.dataset, ipc, protocol_name(record.protocol), short_hash(key))
    return Drawing(name, caption, data, lambda: _draw(data))


def _draw(data: pd.DataFrame) -> Figure:
    figure, panel = draw_series(data, 2.4)
    panel.set_xlabel("steps of the distillation")
    return figure


def _images_drawing(stored: StoredTrace, root: Path) -> Drawing | None:
    record = stored.record
    chosen = [record.points[place] for place in _spread(len(record.points))]
    shown = [
        Picture(f"step {point.step:,}", stored.path.parent / point.image, record)
        for point in chosen
    ]
    key = short_hash(canonical([*map(str, record.identity)]))
    name = file_name("images-over-steps", record.dataset, record.method, key)
    caption = f"The images of {set_title(record)} over the steps of its distillation."
    return pictures_drawing(name, caption, shown, root)


def _spread(count: int) -> list[int]:
    """At most six places, the first and the last among them."""
    shown = min(count, _MOST_PICTURES)
    return [round(number * (count - 1) / max(1, shown - 1)) for number in range(shown)]
