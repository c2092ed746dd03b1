"""Embeddings, as the paper's Figure 9: where t-SNE puts a set's images among real ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from dcbench.records import EmbeddingRecord, StoredEmbedding
from dcbench.report.figures.plotting import (
    COLUMN_INCHES,
    MOST_IN_LEGEND,
    PAGE_INCHES,
    Drawing,
    panels,
)
from dcbench.report.formatting import (
    canonical,
    data_title,
    file_name,
    one_line,
    percent,
    plain,
    short_hash,
    title,
)
from dcbench.report.grouping import grouped
from dcbench.report.selection.dataframes import frame
from dcbench.report.selection.row_names import distinct as numbered
from dcbench.report.selection.row_names import labels

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_DOT: dict[str, Any] = {"s": 3, "alpha": 0.5, "linewidths": 0, "rasterized": True}
_RING: dict[str, Any] = {"s": 34, "edgecolors": "black", "linewidths": 0.9, "zorder": 3}
_COLUMNS = ("series", "x", "y", "class", "synthetic")
_IN_ROW = 3


def embedding_drawings(embeddings: Iterable[StoredEmbedding]) -> list[Drawing]:
    """For each data set, budget and network a panel for each set, at most three in a figure."""
    groups = grouped((stored.record for stored in embeddings), _shared)
    return [
        _drawing(key, members[place : place + _IN_ROW])
        for key, members in sorted(groups.items())
        for place in range(0, len(members), _IN_ROW)
    ]


def _shared(record: EmbeddingRecord) -> str:
    network = [record.network, record.network_seed, record.protocol]
    data = [record.dataset, record.dataset_revision, record.ipc]
    return canonical([*data, network, record.settings])


def _labels(records: Sequence[EmbeddingRecord]) -> list[str]:
    """Sets that were made alike are distinguished by their seeds, or else by numbers."""
    found = labels(records)
    with_seeds = [
        f"{label}, seed {record.seed}" if found.count(label) > 1 else label
        for label, record in zip(found, records, strict=True)
    ]
    return numbered(with_seeds)


def _drawing(key: str, records: Sequence[EmbeddingRecord]) -> Drawing:
    record, labelled = records[0], list(zip(_labels(records), records, strict=True))
    rows = [
        (label, point.x, point.y, own.class_names[point.label], point.synthetic)
        for label, own in labelled
        for point in own.points
    ]
    data = frame([dict(zip(_COLUMNS, row, strict=True)) for row in rows], _COLUMNS)
    divergences = ", ".join(f"{label} {own.kl_divergence:.2f}" for label, own in labelled)
    settings = ", ".join(
        f"{one_line(name).replace('_', ' ')} {plain(value)}"
        for name, value in sorted(record.settings.items())
    )
    budget, ipc = (f" at IPC {record.ipc}", f"ipc{record.ipc}") if record.ipc else ("", "")
    caption = (
        "t-SNE of real images (dots) and synthetic ones (rings with a cross) of"
        f" {data_title(record.dataset, record.dataset_revision)}{budget}, by their last features"
        f" in a {title(record.network)} trained on the real data"
        f" (test accuracy {percent(record.network_accuracy)} %); {settings}."
        f" KL divergence: {divergences}. Places of different panels cannot be compared."
    )
    identities = [list(map(str, own.identity)) for own in records]
    checksum = short_hash(canonical([key, *identities]))
    name = file_name("embedding", record.dataset, ipc, record.network, checksum)
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
    if len(names) <= MOST_IN_LEGEND:  # classes by colour; of more, colours cannot be told apart
        figure.legend(handles, names, loc="outside lower center", ncols=5, markerscale=3)
    shapes = [
        axes[0].scatter([], [], **{**style, "facecolors": "0.5", "alpha": 1.0})
        for style in (_DOT | {"s": 10}, _RING)
    ]
    said = ["real image", "synthetic image"]
    figure.legend(shapes, said, loc="outside upper center", ncols=2, markerscale=1)
    return figure


def _scatter(panel: Axes, points: pd.DataFrame, classes: Sequence[str]) -> None:
    """Colours distinguish classes, shapes distinguish synthetic images from real ones."""
    import seaborn as sns

    cross: dict[str, Any] = {
        "s": 14,
        "color": "black",
        "marker": "x",
        "linewidths": 0.7,
        "zorder": 4,
    }
    for colour, name in zip(sns.color_palette("husl", len(classes)), classes, strict=True):
        own = points[points["class"] == name]
        synthetic = own["synthetic"].astype(bool)
        real, made = own[~synthetic], own[synthetic]
        panel.scatter(real["x"], real["y"], color=colour, label=one_line(name), **_DOT)
        panel.scatter(made["x"], made["y"], facecolors=[colour], **_RING)
        panel.scatter(made["x"], made["y"], **cross)
