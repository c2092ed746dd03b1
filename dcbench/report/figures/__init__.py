"""Figures from records: PDF and PNG in one style, each with the data that it shows in a CSV beside
it.
"""

from __future__ import annotations

from pathlib import Path

from dcbench.records import RecordsFound
from dcbench.report.figures.ablations import ablation_drawings
from dcbench.report.figures.embeddings import embedding_drawings
from dcbench.report.figures.evaluation_conditions import condition_drawings
from dcbench.report.figures.pictures import grid_drawings
from dcbench.report.figures.plotting import Drawing
from dcbench.report.figures.search_scatter import search_drawings
from dcbench.report.figures.storage import storage_drawings
from dcbench.report.figures.traces import trace_drawings

__all__ = ["Drawing", "draw_figures", "draw_plots", "write_figures"]


def draw_plots(found: RecordsFound, root: Path) -> list[Drawing]:
    """Accuracy against storage, what was varied, searches, traces and embeddings; pictures are
    looked for below ``root``.
    """
    return [
        *storage_drawings(found.records),
        *ablation_drawings(found.records),
        *condition_drawings(found.records),
        *search_drawings(found.searches),
        *trace_drawings(found.traces, root),
        *embedding_drawings(found.embeddings),
    ]


def draw_figures(found: RecordsFound, root: Path) -> list[Drawing]:
    """The plots, and the images of all methods side by side."""
    return [*draw_plots(found, root), *grid_drawings(found.records, root)]


def write_figures(found: RecordsFound, root: Path, folder: Path) -> list[Path]:
    """Write each figure to ``folder``: PDF, PNG, its data, its caption.

    Raises:
        StorageError: if a file cannot be written.
    """
    return [path for drawing in draw_figures(found, root) for path in drawing.save(folder)]
