"""Scatter plots of searches, as the paper's Figures 7 and 8: accuracy on the proxy against the
truth, a panel for each proxy.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from dcbench.records import StoredSearch
from dcbench.report.figures.plotting import COLUMN_INCHES, PAGE_INCHES, Drawing, tidy
from dcbench.report.formatting import DASH, bounds, decimals
from dcbench.report.selection.dataframes import frame
from dcbench.report.statistics.rankings import Estimate, top_members
from dcbench.report.tables.notes import search_caption, top_in_words
from dcbench.report.tables.searches import SearchGroup, search_groups

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PANELS_IN_ROW = 4
_COLUMNS = ("proxy", "architecture", "proxy_accuracy", "truth", "top")
# told apart without colour
_RING: dict[str, Any] = {"marker": "o", "s": 14, "facecolors": "none", "edgecolors": "0.45"}
_DIAMOND: dict[str, Any] = {"marker": "D", "s": 14, "facecolors": "0.1", "edgecolors": "0.1"}


def search_drawings(searches: Iterable[StoredSearch]) -> list[Drawing]:
    """Two figures for each comparable group: all architectures, and the top share alone."""
    drawn = []
    for group in search_groups(searches):
        points = _points(group)
        best = points[points["top"].astype(bool)]
        said = search_caption(group.records)
        share = f"the {top_in_words(group.first)}"
        everything = (
            f"All architectures, {share} as diamonds; crosses at the edge lie outside. {said}"
        )
        draw_all = partial(_draw, group, points, only_top=False)
        draw_top = partial(_draw, group, best, only_top=True)
        drawn += [
            Drawing(f"{group.name}-scatter", everything, points, draw_all),
            Drawing(f"{group.name}-scatter-top", f"Only {share}. {said}", best, draw_top),
        ]
    return drawn


def _points(group: SearchGroup) -> pd.DataFrame:
    """One row for each proxy and architecture that has both figures; ``top`` marks the best share.
    Fractions.
    """
    rows: list[tuple[object, ...]] = []
    for label, record in zip(group.labels, group.records, strict=True):
        ranked = sorted(record.ranked.items())
        top = set(top_members([record.top_figures[name] for name, _ in ranked], record.top))
        rows += [
            (label, name, accuracy, truth, place in top)
            for place, (name, (accuracy, truth)) in enumerate(ranked)
        ]
    return frame([dict(zip(_COLUMNS, row, strict=True)) for row in rows], _COLUMNS)


def _draw(group: SearchGroup, points: pd.DataFrame, only_top: bool) -> Figure:
    from matplotlib.figure import Figure

    columns = min(_PANELS_IN_ROW, len(group.labels))
    rows = -(-len(group.labels) // columns)
    width = COLUMN_INCHES if columns == 1 else PAGE_INCHES
    figure = Figure(figsize=(width, (min(2.4, width / columns) + 0.5) * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False, sharey=True).flat
    ends = _middle(100 * points["truth"])
    between = " " if columns < _PANELS_IN_ROW else "\n"  # narrow panels
    for panel, label, found in zip(panels, group.labels, group.figures, strict=False):
        estimate = found.spearman_top if only_top else found.spearman
        _scatter(panel, points[points["proxy"] == label], ends)
        panel.set_title(f"{label}\nSpearman{between}{_in_words(estimate)}")
    for panel in figure.axes[len(group.labels) :]:
        panel.set_axis_off()
    if not only_top:
        handles, _ = figure.axes[0].get_legend_handles_labels()
        names = ["the others", top_in_words(group.first)]
        figure.legend(handles[::-1], names[::-1], loc="outside upper center", ncols=2)
    figure.supxlabel("accuracy on validation images, trained on the proxy (%)", fontsize="medium")
    figure.supylabel("truth: test accuracy (%)", fontsize="medium")
    return figure


def _scatter(panel: Axes, points: pd.DataFrame, ends: tuple[float, float]) -> None:
    x, y, top = 100 * points["proxy_accuracy"], 100 * points["truth"], points["top"]
    for name, shown, style in (("others", ~top, _RING), ("top", top, _DIAMOND)):
        panel.scatter(x[shown], y[shown], linewidths=0.6, label=name, **style)
    (left, right), (low, high) = _middle(x), ends
    panel.set_xlim(left, right)
    panel.set_ylim(low, high)
    outside = ~(x.between(left, right) & y.between(low, high))
    if outside.any():
        edge: dict[str, Any] = {"linestyle": "none", "marker": "x", "markersize": 4, "color": "0.3"}
        places = x[outside].clip(left, right), y[outside].clip(low, high)
        panel.plot(*places, clip_on=False, **edge)
    tidy(panel)


def _middle(values: pd.Series) -> tuple[float, float]:
    """Limits of an axis that outliers do not stretch: those beyond three times the middle 80 % are
    left outside.
    """
    low, high = values.quantile([0.1, 0.9])
    reach = max(1.0, 2.0 * (high - low))
    inside = values[values.between(low - reach, high + reach)]
    margin = max(0.5, 0.06 * (inside.max() - inside.min()))
    return float(inside.min() - margin), float(inside.max() + margin)


def _in_words(estimate: Estimate) -> str:
    if estimate.value is None:
        return DASH
    return f"{decimals(estimate.value)} {bounds(estimate.ci95, decimals)}".strip()
