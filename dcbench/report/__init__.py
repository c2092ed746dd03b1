"""Reports: statistics and tables from records. Never imports torch; loads SciPy and pandas, so
import it where it is needed.
"""

from dcbench.report.selection.comparable import summary_rows
from dcbench.report.selection.dataframes import tidy_frame
from dcbench.report.tables.accuracies import build_tables
from dcbench.report.tables.render import FORMATS, to_csv, to_latex, to_markdown, write_tables
from dcbench.report.tables.table import Column, Table, TableCell

__all__ = [
    "FORMATS",
    "Column",
    "Table",
    "TableCell",
    "build_tables",
    "summary_rows",
    "tidy_frame",
    "to_csv",
    "to_latex",
    "to_markdown",
    "write_tables",
]
