"""The one style of all figures, and how a figure is kept with its data and its caption."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
_MARKERS = "oDs^vPX*<>"
_DASHES = ("-", "--", "-.", ":")
_STYLE: Mapping[str, Any] = {
    **{
        "font.size": 8,
        "axes.labelsize": 8,
        "axes.titlesize": 8,
        "xtick.labelsize": 7,
        "ytick.labelsize": 7,
        "legend.fontsize": 7,
    },
    **{
        "axes.linewidth": 0.6,
        "grid.linewidth": 0.4,
        "lines.linewidth": 1.0,
        "lines.markersize": 4,
        "legend.frameon": False,
    },
    **{
        "xtick.major.width": 0.6,
        "ytick.major.width": 0.6,
        "xtick.major.size": 3,
        "ytick.major.size": 3,
        "pdf.fonttype": 42,
    },
    **{
        "axes.titleweight": "normal",
        "font.family": ["DejaVu Sans"],
        "axes.unicode_minus": True,
        "text.parse_math": False,
    },
}


@dataclass(frozen=True)
class Drawing:
    """A figure not drawn yet: ``draw`` puts nothing in it that is not in ``data``."""

    name: str  # fit for a file's name
    caption: str
    data: pd.DataFrame
    draw: Callable[[], Figure]

    def figure(self) -> Figure:
        """The figure, in the one style."""
        with _styled():
            return self.draw()

    def png(self) -> bytes:
        """The figure as the bytes of a PNG file."""
        return _saved(self.figure(), "png")

    def save(self, folder: Path) -> list[Path]:
        """Write PDF, PNG, CSV and a LaTeX fragment with the caption; raises StorageError where the
        disk refuses.
        """
        with _styled():
            figure = self.draw()
            figure.draw_without_rendering()
            figure.set_layout_engine(None)  # laid out once for both
            contents = {
                "pdf": _saved(figure, "pdf"),
                "png": _saved(figure, "png"),
                "csv": str(self.data.to_csv(index=False, lineterminator="\n")).encode(),
                "tex": self.latex().encode(),
            }
        paths = []
        for ending, content in contents.items():
            paths.append(folder / f"{self.name}.{ending}")
            write_bytes(paths[-1], content)
        return paths

    def latex(self) -> str:
        """A fragment for ``\\input``, where ``\\graphicspath`` names the folder: needs graphicx."""
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
    """A figure with ``count`` panels side by side, of the height in inches; each has an axis of its
    own.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, list(figure.subplots(1, count, squeeze=False).flat)


def tidy(panel: Axes) -> None:
    """No frame at the top and the right; a faint grid for the eye."""
    import seaborn as sns

    sns.despine(ax=panel)
    panel.grid(axis="y", color="0.9")
    panel.set_axisbelow(True)


def legend_below(
    figure: Figure, handles: Sequence[Any], names: Sequence[str], columns: int
) -> None:
    """A legend under the panels, in as many columns as fit, ``columns`` at the most; names that are
    wider than the figure are broken.

    The figure grows by what the legend takes beyond two lines.
    """
    room = figure.get_figwidth()
    widest = max(map(len, names), default=0) * _LETTER_INCHES + _SAMPLE_INCHES
    columns = max(1, min(columns, int(room / widest)))
    letters = int((room / columns - _SAMPLE_INCHES) / _LETTER_INCHES)
    broken = [textwrap.fill(name, letters) for name in names]
    lines = -(-sum(name.count("\n") + 1 for name in broken) // columns)
    figure.set_figheight(figure.get_figheight() + _LINE_INCHES * max(0, lines - 2))
    figure.legend(handles, broken, loc="outside lower center", ncols=columns)


def look(number: int, count: int) -> dict[str, Any]:
    """Of a series: a colour, darkest first, so that grey tells them apart too; a marker and a dash
    of its own.
    """
    import seaborn as sns

    colours = sns.color_palette("viridis", max(3, count + 1))
    return {
        "color": colours[number],
        "marker": _MARKERS[number % len(_MARKERS)],
        "linestyle": _DASHES[number % len(_DASHES)],
    }


def _saved(figure: Figure, ending: str) -> bytes:
    stream = io.BytesIO()
    figure.savefig(
        stream,
        format=ending,
        dpi=_DPI,
        metadata={"CreationDate": None} if ending == "pdf" else {"Software": None},
    )
    return stream.getvalue()
