"""Scatter plots of searches, as the paper's Figures 7 and 8: accuracy on the proxy against the
truth, a panel for each proxy.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from dcbench.records import StoredSearch
from dcbench.report.figures.drawing import COLUMN_INCHES, PAGE_INCHES, Drawing, tidy
from dcbench.report.formatting import DASH, MINUS
from dcbench.report.selection.frames import frame
from dcbench.report.statistics.rankings import Estimate, top_members
from dcbench.report.tables.search_notes import search_caption
from dcbench.report.tables.searches import SearchBoard, search_boards

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PANELS_IN_ROW = 4
_COLUMNS = ("proxy", "architecture", "proxy_accuracy", "truth", "top")


def search_drawings(searches: Iterable[StoredSearch]) -> list[Drawing]:
    """For each group that may be compared two plots, over all architectures and over the top share
    alone.
    """
    drawn = []
    for board in search_boards(searches):
        points = scatter_points(board)
        best = points[points["top"].astype(bool)]
        said = search_caption(board.first, [stored.record for stored in board.searches])
        share = f"the top {100 * board.first.top:g} % by truth"
        everything = f"All architectures, {share} as diamonds. {said}"
        drawn.append(
            Drawing(
                f"{board.name}-scatter",
                everything,
                points,
                partial(_draw, board, points, only_top=False),
            )
        )
        drawn.append(
            Drawing(
                f"{board.name}-scatter-top",
                f"Only {share}. {said}",
                best,
                partial(_draw, board, best, only_top=True),
            )
        )
    return drawn


def scatter_points(board: SearchBoard) -> pd.DataFrame:
    """One row per proxy and architecture that has both figures; ``top`` marks the best share by
    truth. Fractions.
    """
    rows = []
    for label, stored in zip(board.labels, board.searches, strict=True):
        ranked = stored.record.ranked
        names = sorted(ranked)
        top = {
            names[place]
            for place in top_members([ranked[name][1] for name in names], stored.record.top)
        }
        rows += [
            dict(zip(_COLUMNS, (label, name, *ranked[name], name in top), strict=True))
            for name in names
        ]
    return frame(rows, _COLUMNS)


def _draw(board: SearchBoard, points: pd.DataFrame, only_top: bool) -> Figure:
    from matplotlib.figure import Figure

    columns = min(_PANELS_IN_ROW, len(board.labels))
    rows = -(-len(board.labels) // columns)
    width = COLUMN_INCHES if columns == 1 else PAGE_INCHES
    figure = Figure(figsize=(width, (min(2.4, width / columns) + 0.5) * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False, sharey=True).flat
    for place, (panel, label) in enumerate(zip(panels, board.labels, strict=False)):
        found = board.figures[place]
        estimate = found.spearman_top if only_top else found.spearman
        _scatter(panel, points[points["proxy"] == label])
        panel.set_title(f"{label}\nSpearman {_in_words(estimate)}")
    for panel in figure.axes[len(board.labels) :]:
        panel.set_axis_off()
    handles, _ = figure.axes[0].get_legend_handles_labels()
    names = ["the others", f"top {100 * board.first.top:g} % by truth"]
    figure.legend(handles[::-1], names[::-1], loc="outside upper center", ncols=2)
    figure.supxlabel("accuracy on validation images, trained on the proxy (%)", fontsize="medium")
    figure.supylabel("truth: test accuracy (%)", fontsize="medium")
    return figure


def _scatter(panel: Axes, points: pd.DataFrame) -> None:
    """Grey rings, and black diamonds for the top share: told apart without colour."""
    for name, chosen, style in (
        ("others", ~points["top"], _RING),
        ("top", points["top"], _DIAMOND),
    ):
        own = points[chosen]
        panel.scatter(
            100 * own["proxy_accuracy"], 100 * own["truth"], linewidths=0.6, label=name, **style
        )
    tidy(panel)


_RING: dict[str, Any] = {"marker": "o", "s": 14, "facecolors": "none", "edgecolors": "0.45"}
_DIAMOND: dict[str, Any] = {"marker": "D", "s": 14, "facecolors": "0.1", "edgecolors": "0.1"}


def _in_words(estimate: Estimate) -> str:
    if estimate.value is None:
        return DASH
    interval = "" if estimate.ci95 is None else " [{:.2f}, {:.2f}]".format(*estimate.ci95)
    return f"{estimate.value:.2f}{interval}".replace("-", MINUS)
