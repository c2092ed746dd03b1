"""Traces: what a set was worth, and how it looked, over the steps of its distillation."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dcbench.records import StoredTrace, TraceRecord
from dcbench.report.figures.cases import FIGURES, INTERVALS, draw_series, figures_of
from dcbench.report.figures.drawing import Drawing, panels
from dcbench.report.figures.pictures import Shown, pictures_drawing
from dcbench.report.formatting import (
    accuracy_words,
    canonical,
    named,
    one_line,
    protocol_words,
    title,
)
from dcbench.report.selection.comparable import compared_protocol
from dcbench.report.selection.frames import frame
from dcbench.report.selection.variants import labels, one_set

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

_COLUMNS = ("series", "x", *FIGURES)
_MOST_PICTURES = 6


def trace_drawings(traces: Iterable[StoredTrace], root: Path) -> list[Drawing]:
    """For each group that may be compared the accuracy over steps; for each trace whose pictures
    are there, the images over steps.
    """
    groups: dict[str, list[StoredTrace]] = defaultdict(list)
    for stored in traces:
        groups[_shared(stored.record)].append(stored)
    drawn = []
    for key, members in sorted(groups.items()):
        drawn.append(_accuracy_drawing(key, [stored.record for stored in members]))
        drawn += [
            drawing for stored in members if (drawing := _images_drawing(stored, root)) is not None
        ]
    return drawn


def trace_data(records: Sequence[TraceRecord]) -> pd.DataFrame:
    """One row for each method and step, over the sets that have it; of a set that several traces
    judge there, the most networks.
    """
    cells: dict[tuple[str, int], dict[Hashable, tuple[float, ...]]] = defaultdict(dict)
    for record, label in zip(records, labels(records), strict=True):
        for point in record.points:
            own = cells[label, point.step]
            own[one_set(record)] = max(own.get(one_set(record), ()), point.accuracies, key=len)
    return frame(
        [
            {"series": label, "x": step, **figures_of(sets)}
            for (label, step), sets in sorted(cells.items())
        ],
        _COLUMNS,
    )


def _shared(record: TraceRecord) -> str:
    protocol = compared_protocol(record.protocol)
    return canonical(
        [
            record.dataset,
            record.dataset_revision,
            record.ipc,
            protocol,
            record.network,
            record.augment,
        ]
    )


def _accuracy_drawing(key: str, records: Sequence[TraceRecord]) -> Drawing:
    data, record = trace_data(records), records[0]
    budget = "" if record.ipc is None else f", IPC {record.ipc}"
    conditions = protocol_words(record.protocol, record.network, record.augment)
    caption = (
        f"{accuracy_words(record.protocol).capitalize()} of the set over the steps of its distillation, on"
        f" {title(record.dataset)}{budget}, by protocol"
        f" {one_line(str(record.protocol.get('name', '')))} ({conditions}); {INTERVALS}."
    )
    checksum = hashlib.sha256(key.encode()).hexdigest()[:8]
    name = named(
        "trace",
        record.dataset,
        f"ipc{record.ipc}" if record.ipc else "",
        str(record.protocol.get("name", "")),
        checksum,
    )
    return Drawing(name, caption, data, lambda: _draw(data))


def _draw(data: pd.DataFrame) -> Figure:
    figure, (panel,) = panels(1, 2.4)
    draw_series(figure, panel, data, 2)
    panel.set_xlabel("steps of the distillation")
    return figure


def _images_drawing(stored: StoredTrace, root: Path) -> Drawing | None:
    record = stored.record
    chosen = _spread(len(record.points))
    shown = [
        Shown(f"step {record.points[place].step}", stored.path.parent / record.points[place].image)
        for place in chosen
    ]
    checksum = hashlib.sha256(canonical([*map(str, record.identity)]).encode()).hexdigest()[:8]
    name = named("images-over-steps", record.dataset, record.method, checksum)
    return pictures_drawing(
        name, f"The images of {record.label} over the steps of its distillation.", shown, root
    )


def _spread(count: int) -> list[int]:
    """At most six places, the first and the last among them."""
    if count <= _MOST_PICTURES:
        return list(range(count))
    return sorted(
        {round(place * (count - 1) / (_MOST_PICTURES - 1)) for place in range(_MOST_PICTURES)}
    )
