"""A point of a figure: the accuracy of some records that were made alike, with its interval."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dcbench.report.figures.drawing import legend_below, look, tidy
from dcbench.report.statistics.sets import summarise, summarise_sets

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FIGURES = ("mean", "ci95_low", "ci95_high", "interval_over", "sets", "networks")
INTERVALS = "bars: 95 % t intervals over sets, where there is one set over its networks (column interval_over of the data)"


def figures_of(sets: Mapping[Hashable, Sequence[float]]) -> dict[str, Any]:
    """Mean over sets and its interval over sets; of one set, the mean and interval over its
    networks. Fractions.
    """
    found = summarise_sets(list(sets.values()))
    interval = (
        found.shown_ci95_sets if found.sets > 1 else summarise(next(iter(sets.values()))).shown_ci95
    )
    low, high = interval or (None, None)
    over = "sets" if found.sets > 1 else "networks"
    counts = {"sets": found.sets, "networks": sum(map(len, sets.values()))}
    return {"mean": found.mean, "ci95_low": low, "ci95_high": high, "interval_over": over, **counts}


def draw_points(panel: Axes, points: pd.DataFrame, look: Mapping[str, Any], label: str) -> None:
    """One series: columns ``x`` and the figures, percent on the axis; joined where the look has a
    line.
    """
    ordered = points.sort_values("x", kind="stable")
    mean = 100 * ordered["mean"].astype(float)
    reach = [
        (mean - 100 * ordered["ci95_low"].astype(float)).fillna(0.0).clip(lower=0.0),
        (100 * ordered["ci95_high"].astype(float) - mean).fillna(0.0).clip(lower=0.0),
    ]
    panel.errorbar(
        ordered["x"].astype(float), mean, yerr=reach, capsize=2, elinewidth=0.7, label=label, **look
    )


def draw_series(
    figure: Figure, panel: Axes, data: pd.DataFrame, columns: int, joined: bool = True
) -> None:
    """Each series of the data in its own look, with a legend below that has so many columns."""
    series = list(dict.fromkeys(data["series"]))
    for number, name in enumerate(series):
        draw_points(
            panel,
            data[data["series"] == name],
            look(number, len(series)) | ({} if joined else {"linestyle": "none"}),
            name,
        )
    panel.set_ylabel("accuracy (%)")
    tidy(panel)
    legend_below(figure, *panel.get_legend_handles_labels(), columns)
