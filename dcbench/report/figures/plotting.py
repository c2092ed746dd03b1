"""The style that all figures share, series with intervals, and figures with data and caption."""

from __future__ import annotations

import io
import textwrap
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dcbench.records import EvaluationRecord
from dcbench.report.selection.dataframes import as_csv
from dcbench.report.selection.method_variants import accuracies_by_set
from dcbench.report.statistics.accuracies import summarise_sets
from dcbench.report.tables.escapes import latex
from dcbench.system.files import write_bytes

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMN_INCHES, PAGE_INCHES = 3.5, 7.16  # one and two columns of a journal
_DPI = 220
# of a legend: a letter of its names; a sample with the space around it
_LETTER_INCHES, _SAMPLE_INCHES = 0.06, 0.5
_LINE_INCHES = 0.15  # and a line
MOST_IN_LEGEND = 10
_MARKERS = "oDs^vPX*<>"
_DASHES = ("-", "--", "-.", ":")
_STYLE: Mapping[str, Any] = {
    "font.family": ["DejaVu Sans"],
    "font.size": 8,
    "axes.labelsize": 8,
    "axes.titlesize": 8,
    "axes.titleweight": "normal",
    "axes.linewidth": 0.6,
    "axes.unicode_minus": True,
    "xtick.labelsize": 7,
    "xtick.major.width": 0.6,
    "xtick.major.size": 3,
    "ytick.labelsize": 7,
    "ytick.major.width": 0.6,
    "ytick.major.size": 3,
    "grid.linewidth": 0.4,
    "lines.linewidth": 1.0,
    "lines.markersize": 4,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "text.parse_math": False,
    "pdf.fonttype": 42,
}

# columns of a point's data: the accuracy of records that were made alike, and its interval
FIGURES = ("mean", "ci95_low", "ci95_high", "interval_over", "sets", "networks")
INTERVALS = (
    "bars: 95 % t intervals over sets, where there is one set over its networks"
    " (column interval_over of the data)"
)


@dataclass(frozen=True)
class Drawing:
    """A figure that is drawn on demand; ``draw`` shows nothing that is not in ``data``."""

    name: str  # fit for a file's name
    caption: str
    data: pd.DataFrame
    draw: Callable[[], Figure]

    def figure(self) -> Figure:
        """Draw the figure in the style of all figures."""
        with _styled():
            return self.draw()

    def png(self, dots: int = _DPI) -> bytes:
        """The figure as the bytes of a PNG file, with ``dots`` per inch."""
        return _saved(self.figure(), "png", dots)

    def save(self, folder: Path) -> list[Path]:
        """Write PDF, PNG, CSV and a LaTeX fragment with the caption.

        Raises:
            StorageError: if a file cannot be written.
        """
        with _styled():
            figure = self.draw()
            engine = figure.get_layout_engine()
            if engine is not None:  # laid out once for both
                engine.execute(figure)
                figure.set_layout_engine(None)
            contents = {
                "pdf": _saved(figure, "pdf"),
                "png": _saved(figure, "png"),
                "csv": as_csv(self.data).encode(),
                "tex": self.latex().encode(),
            }
        paths = []
        for ending, content in contents.items():
            paths.append(folder / f"{self.name}.{ending}")
            write_bytes(paths[-1], content)
        return paths

    def latex(self) -> str:
        """A fragment for ``\\input`` that needs graphicx; ``\\graphicspath`` names the folder."""
        lines = [
            r"\begin{figure}[htbp]",
            r"\centering",
            rf"\includegraphics[width=\linewidth]{{{self.name}}}",
            rf"\caption{{{latex(self.caption)}}}",
            rf"\label{{fig:{self.name}}}",
            r"\end{figure}",
        ]
        return "\n".join(lines) + "\n"


@contextmanager
def _styled() -> Iterator[None]:
    import matplotlib as mpl
    import seaborn as sns

    style: Any = {**sns.axes_style("ticks"), **sns.plotting_context("paper"), **_STYLE}
    with mpl.rc_context(style):
        yield


def panels(count: int, height: float, width: float = COLUMN_INCHES) -> tuple[Figure, list[Axes]]:
    """A figure with ``count`` panels side by side, each with its own axes; sizes in inches."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, list(figure.subplots(1, count, squeeze=False).flat)


def tidy(panel: Axes) -> None:
    """No frame at the top and the right; a faint grid for the eye."""
    import seaborn as sns

    sns.despine(ax=panel)
    panel.grid(axis="y", color="0.9")
    panel.set_axisbelow(True)


def legend_below(figure: Figure, handles: Sequence[Any], names: Sequence[str]) -> None:
    """Put a legend of at most ten names under the panels, in as many columns as fit; names that are
    wider than the figure are broken. The figure grows if the legend has more than two lines.
    """
    handles, names = list(handles)[:MOST_IN_LEGEND], list(names)[:MOST_IN_LEGEND]
    room = figure.get_figwidth()
    widest = max(map(len, names), default=0) * _LETTER_INCHES + _SAMPLE_INCHES
    columns = max(1, min(4, int(room / widest)))
    letters = int((room / columns - _SAMPLE_INCHES) / _LETTER_INCHES)
    broken = [textwrap.fill(name, letters) for name in names]
    lines = -(-sum(name.count("\n") + 1 for name in broken) // columns)
    figure.set_figheight(figure.get_figheight() + _LINE_INCHES * max(0, lines - 2))
    figure.legend(handles, broken, loc="outside lower center", ncols=columns)


def label_series(panel: Axes, data: pd.DataFrame, series: Sequence[str]) -> None:
    """Write each series' name right of its last point and joined to it; of those that end at the
    last point of all, right of the panel.
    """
    ends = defaultdict(list)
    for name in series:
        own = data[data["series"] == name].sort_values("x")
        if not own.empty:
            last = float(own["x"].iloc[-1]), 100 * float(own["mean"].iloc[-1])
            ends[last[0]].append((name, last))
    for x, named in ends.items():
        _label_ends(panel, sorted(named, key=lambda end: end[1][1]), outside=x == max(ends))


def _label_ends(
    panel: Axes, ends: Sequence[tuple[str, tuple[float, float]]], outside: bool
) -> None:
    """Name points above each other, given from the lowest on; names move apart until none lies on
    another.
    """
    figure: Any = panel.get_figure()
    gap = _LINE_INCHES * 0.8 / (panel.get_position().height * figure.get_figheight())
    low, high = panel.get_ylim()
    wanted = [(y - low) / (high - low) for _, (_, y) in ends]
    across: Any = (1.05, "axes fraction") if outside else (12, "offset points")
    placed: list[float] = []
    for place in wanted:
        placed.append(max(place, placed[-1] + gap) if placed else place)
    shift = sum(placed) / len(placed) - sum(wanted) / len(wanted)  # back to around their points
    for (name, point), place in zip(ends, placed, strict=True):
        panel.annotate(
            name,
            point,
            (across[0], place - shift),
            textcoords=(across[1], "axes fraction"),
            va="center",
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5},
            color="0.15",
            fontsize=7,
            arrowprops={"arrowstyle": "-", "color": "0.6", "linewidth": 0.5, "shrinkA": 1},
        )


def look(number: int, count: int) -> dict[str, Any]:
    """The colour, marker and dash of one of ``count`` series; the darkest colour first, so that
    grey distinguishes them too.
    """
    import seaborn as sns

    colours = sns.color_palette("viridis", max(3, count + 1))
    return {
        "color": colours[number],
        "marker": _MARKERS[number % len(_MARKERS)],
        "linestyle": _DASHES[number % len(_DASHES)],
    }


def accuracy_figures(records: Iterable[EvaluationRecord]) -> dict[str, Any]:
    """The values of the columns ``FIGURES`` for records of sets made alike; fractions."""
    return figures_of(accuracies_by_set(records))


def figures_of(sets: Mapping[Hashable, Sequence[float]]) -> dict[str, Any]:
    """The values of the columns ``FIGURES`` for the networks' accuracies of each set: the mean over
    sets with its interval; of a single set, the interval over its networks.
    """
    found = summarise_sets(list(sets.values()))
    low, high = found.shown_ci95 or (None, None)
    over = "sets" if found.sets > 1 else "networks"
    networks = sum(map(len, sets.values()))
    return dict(zip(FIGURES, (found.mean, low, high, over, found.sets, networks), strict=True))


def draw_points(
    panel: Axes, points: pd.DataFrame, look: Mapping[str, Any], label: str, joined: bool
) -> None:
    """Draw one series from the columns ``x`` and ``FIGURES``, in percent."""
    ordered = points.sort_values("x", kind="stable")
    mean = 100 * ordered["mean"].astype(float)
    low, high = (100 * ordered[end].astype(float) for end in ("ci95_low", "ci95_high"))
    reach = [side.fillna(0.0).clip(lower=0.0) for side in (mean - low, high - mean)]
    style = look if joined else {**look, "linestyle": "none"}
    x = ordered["x"].astype(float)
    panel.errorbar(x, mean, yerr=reach, capsize=2, elinewidth=0.7, label=label, **style)


def draw_series(data: pd.DataFrame, height: float, joined: bool = True) -> tuple[Figure, Axes]:
    """Draw the series of ``data`` in one panel. Joined ones have their names at their ends, others
    in a legend; what is more than ten in a legend is named in the panel too.
    """
    series = list(dict.fromkeys(data["series"]))
    direct = joined or len(series) > MOST_IN_LEGEND
    height = max(height, len(series) * _LINE_INCHES * 0.9 + 0.6) if direct else height
    figure, (panel,) = panels(1, height, PAGE_INCHES * 0.75 if direct else COLUMN_INCHES)
    looks = [look(number, len(series)) for number in range(len(series))]
    for name, style in zip(series, looks, strict=True):
        draw_points(panel, data[data["series"] == name], style, name, joined)
    panel.set_ylabel("accuracy (%)")
    tidy(panel)
    if direct:
        label_series(panel, data, series)
    else:
        legend_below(figure, *panel.get_legend_handles_labels())
    return figure, panel


def _saved(figure: Figure, ending: str, dots: int = _DPI) -> bytes:
    stream = io.BytesIO()
    metadata = {"CreationDate": None} if ending == "pdf" else {"Software": None}
    figure.savefig(stream, format=ending, dpi=dots, metadata=metadata)
    return stream.getvalue()
