"""Scatter plots of searches, as the paper's Figures 7 and 8: accuracy on the proxy against the truth, a panel for each proxy."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dcbench.files import write_bytes
from dcbench.nas.correlation import Estimate, top_members
from dcbench.records import StoredSearch
from dcbench.report.frames import frame
from dcbench.report.searches import SearchBoard, search_boards
from dcbench.report.words import DASH, MINUS

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PANEL_INCHES = 2.6
_PANELS_IN_ROW = 4
_COLUMNS = ("proxy", "architecture", "proxy_accuracy", "truth", "top")


def search_figures(searches: Iterable[StoredSearch], folder: Path) -> list[Path]:
    """For each group of searches two plots, over all architectures and over the top share alone: PDF and PNG, their figures as CSV.

    Raises StorageError where the disk refuses.
    """
    written: list[Path] = []
    for board in search_boards(searches):
        points = scatter_points(board)
        for name, chosen in ((f"{board.name}-scatter", points), (f"{board.name}-scatter-top", points[points["top"]])):
            drawn = _draw(board, chosen, only_top=name.endswith("top"))
            for ending, content in (("pdf", _saved(drawn, "pdf")), ("png", _saved(drawn, "png")), ("csv", _csv(chosen))):
                written.append(folder / f"{name}.{ending}")
                write_bytes(written[-1], content)
    return written


def scatter_points(board: SearchBoard) -> pd.DataFrame:
    """One row per proxy and architecture that has both figures; ``top`` marks the best share by truth. Fractions."""
    rows = []
    for label, stored in zip(board.labels, board.searches, strict=True):
        ranked = stored.record.ranked
        names = sorted(ranked)
        top = {names[place] for place in top_members([ranked[name][1] for name in names], stored.record.top)}
        rows += [dict(zip(_COLUMNS, (label, name, *ranked[name], name in top), strict=True)) for name in names]
    return frame(rows, _COLUMNS)


def _draw(board: SearchBoard, points: pd.DataFrame, only_top: bool) -> Figure:
    from matplotlib.figure import Figure

    columns = min(_PANELS_IN_ROW, len(board.labels))
    rows = -(-len(board.labels) // columns)
    figure = Figure(figsize=(_PANEL_INCHES * columns + 0.4, (_PANEL_INCHES + 0.3) * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False, sharey=True).flat
    for place, (panel, label) in enumerate(zip(panels, board.labels, strict=False)):
        found = board.figures[place]
        estimate = found.spearman_top if only_top else found.spearman
        _scatter(panel, points[points["proxy"] == label])
        panel.set_title(f"{label}\nSpearman {_in_words(estimate)}", fontsize=8)
    for panel in figure.axes[len(board.labels) :]:
        panel.set_axis_off()
    handles, _ = figure.axes[0].get_legend_handles_labels()
    names = ["the others", f"top {100 * board.first.top:g} % by truth"]
    figure.legend(handles[::-1], names[::-1], loc="outside upper right", fontsize=7, frameon=False, ncols=2)
    figure.supxlabel("accuracy on validation images, trained on the proxy (%)", fontsize=8)
    figure.supylabel("truth: test accuracy (%)", fontsize=8)
    return figure


def _scatter(panel: Axes, points: pd.DataFrame) -> None:
    """Grey rings, and black diamonds for the top share: told apart without colour."""
    for name, chosen, style in (("others", ~points["top"], _RING), ("top", points["top"], _DIAMOND)):
        own = points[chosen]
        panel.scatter(100 * own["proxy_accuracy"], 100 * own["truth"], linewidths=0.6, label=name, **style)
    panel.tick_params(labelsize=7)
    panel.grid(linewidth=0.3, alpha=0.5)


_RING: dict[str, Any] = {"marker": "o", "s": 14, "facecolors": "none", "edgecolors": "0.45"}
_DIAMOND: dict[str, Any] = {"marker": "D", "s": 14, "facecolors": "0.1", "edgecolors": "0.1"}


def _in_words(estimate: Estimate) -> str:
    if estimate.value is None:
        return DASH
    interval = "" if estimate.ci95 is None else " [{:.2f}, {:.2f}]".format(*estimate.ci95)
    return f"{estimate.value:.2f}{interval}".replace("-", MINUS)


def _saved(figure: Figure, ending: str) -> bytes:
    stream = io.BytesIO()
    figure.savefig(stream, format=ending, dpi=200, metadata={"CreationDate": None} if ending == "pdf" else None)
    return stream.getvalue()


def _csv(points: pd.DataFrame) -> bytes:
    return str(points.to_csv(index=False, lineterminator="\n")).encode()
