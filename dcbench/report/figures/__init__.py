"""Figures from records: PDF and PNG in one style, each with the data that it shows in a CSV beside
it.
"""

from dcbench.report.figures.collection import draw_figures, draw_plots, write_figures
from dcbench.report.figures.plotting import Drawing

__all__ = ["Drawing", "draw_figures", "draw_plots", "write_figures"]
