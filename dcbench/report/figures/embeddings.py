"""Embeddings, as the paper's Figure 9: where t-SNE puts a set's images among real ones."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from dcbench.records import EmbeddingRecord, StoredEmbedding
from dcbench.report.figures.drawing import COLUMN_INCHES, PAGE_INCHES, Drawing, panels
from dcbench.report.formatting import canonical, named, one_line, percent, title
from dcbench.report.selection.frames import frame
from dcbench.report.selection.variants import labels, numbered

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLUMNS = ("series", "x", "y", "class", "synthetic")
_IN_ROW = 3


def embedding_drawings(embeddings: Iterable[StoredEmbedding]) -> list[Drawing]:
    """For each data set, budget and network a panel for each set."""
    groups: dict[str, list[EmbeddingRecord]] = defaultdict(list)
    for record in (stored.record for stored in embeddings):
        network = [record.network, record.network_seed, record.protocol]
        groups[
            canonical(
                [record.dataset, record.dataset_revision, record.ipc, network, record.settings]
            )
        ].append(record)
    drawn = []
    for key, members in sorted(groups.items()):
        drawn += [
            _drawing(key, members[place : place + _IN_ROW])
            for place in range(0, len(members), _IN_ROW)
        ]
    return drawn


def embedding_data(records: Sequence[EmbeddingRecord]) -> pd.DataFrame:
    """One row for each image."""
    rows = [
        {
            "series": label,
            "x": point.x,
            "y": point.y,
            "class": record.class_names[point.label],
            "synthetic": point.synthetic,
        }
        for record, label in zip(records, _labels(records), strict=True)
        for point in record.points
    ]
    return frame(rows, _COLUMNS)


def _labels(records: Sequence[EmbeddingRecord]) -> list[str]:
    """Sets that were made alike are told apart by their seeds, or else by numbers."""
    found = labels(records)
    return numbered(
        [
            f"{label}, seed {record.seed}" if found.count(label) > 1 else label
            for label, record in zip(found, records, strict=True)
        ]
    )


def _drawing(key: str, records: Sequence[EmbeddingRecord]) -> Drawing:
    data, record = embedding_data(records), records[0]
    divergences = ", ".join(
        f"{label} {own.kl_divergence:.2f}"
        for label, own in zip(_labels(records), records, strict=True)
    )
    settings = ", ".join(
        f"{one_line(name).replace('_', ' ')} {canonical(value)}"
        for name, value in sorted(record.settings.items())
    )
    budget = "" if record.ipc is None else f" at IPC {record.ipc}"
    caption = (
        f"t-SNE of real images (dots) and synthetic ones (rings with a cross) of {title(record.dataset)}{budget}, by their last features in"
        f" a {title(record.network)} trained on the real data (test accuracy {percent(record.network_accuracy)} %); {settings}."
        f" KL divergence: {divergences}. Places of different panels cannot be compared."
    )
    checksum = hashlib.sha256(
        canonical([key, *(list(map(str, own.identity)) for own in records)]).encode()
    ).hexdigest()[:8]
    name = named(
        "embedding",
        record.dataset,
        f"ipc{record.ipc}" if record.ipc else "",
        record.network,
        checksum,
    )
    return Drawing(name, caption, data, lambda: _draw(data))


def _draw(data: pd.DataFrame) -> Figure:
    series, classes = list(dict.fromkeys(data["series"])), sorted(set(data["class"]))
    figure, axes = panels(len(series), 2.7, COLUMN_INCHES if len(series) == 1 else PAGE_INCHES)
    for panel, name in zip(axes, series, strict=True):
        _scatter(panel, data[data["series"] == name], classes)
        panel.set_title(name)
        panel.set_xticks([])
        panel.set_yticks([])
    handles, names = axes[0].get_legend_handles_labels()
    if len(names) <= 12:
        figure.legend(handles, names, loc="outside lower center", ncols=6, markerscale=3)
    return figure


def _scatter(panel: Axes, points: pd.DataFrame, classes: Sequence[str]) -> None:
    """Colours tell classes apart, shapes what is synthetic; axes of different panels have scales of
    their own.
    """
    import seaborn as sns

    colours = sns.color_palette("husl", len(classes))
    for colour, name in zip(colours, classes, strict=True):
        own = points[points["class"] == name]
        real, made = own[~own["synthetic"].astype(bool)], own[own["synthetic"].astype(bool)]
        panel.scatter(
            real["x"],
            real["y"],
            s=3,
            color=colour,
            alpha=0.5,
            linewidths=0,
            label=one_line(name),
            rasterized=True,
        )
        panel.scatter(
            made["x"],
            made["y"],
            s=34,
            facecolors=[colour],
            edgecolors="black",
            linewidths=0.9,
            zorder=3,
        )
        panel.scatter(
            made["x"], made["y"], s=14, color="black", marker="x", linewidths=0.7, zorder=4
        )
