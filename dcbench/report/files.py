"""The report of a folder of records: which tables it has, and the files of each format.

Figures and the page load matplotlib, so they are imported where they are drawn.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from dcbench.records import RecordsFound
from dcbench.report.selection.dataframes import as_csv, tidy_frame
from dcbench.report.tables.accuracies import Style, build_tables
from dcbench.report.tables.layout import Shown
from dcbench.report.tables.render import FORMATS, write_tables
from dcbench.report.tables.scores import score_tables
from dcbench.report.tables.searches import search_tables
from dcbench.report.tables.table import Table
from dcbench.studies.declarations import STUDIES
from dcbench.system.files import write_bytes
from dcbench.system.progress import unheard

PAGE = "html"  # the format that is one page of everything
REPORT_FORMATS = (*FORMATS, PAGE)


def all_tables(
    found: RecordsFound,
    style: Style,
    published: Shown = "own",
    say: Callable[[str], None] = unheard,
) -> list[Table]:
    """Return the tables of accuracies, of scores and of searches. ``say`` shows why there are
    several.
    """
    accuracies = build_tables(found.records, STUDIES["table3"], style, published)
    if len(accuracies) > 1:
        say(
            f"{len(accuracies)} tables: other data, protocols, networks or precisions are never "
            "ranked together"
        )
    return [*accuracies, *score_tables(found.records), *search_tables(found.searches)]


def usual_style(format_name: str) -> Style:
    """Return the style of a format's tables: compact for papers, full for programs."""
    return "full" if format_name in ("csv", PAGE) else "compact"


def write_files(
    found: RecordsFound, tables: list[Table], format_name: str, results: Path, folder: Path
) -> list[Path]:
    """Write the page, or ``tables`` and figures, of the records below ``results`` to ``folder``.

    Raises:
        StorageError: If a file cannot be written.
    """
    if format_name == PAGE:
        from dcbench.report.page import write_page

        return [write_page(found, results, folder)]
    from dcbench.report.figures import write_figures

    written = write_tables(tables, format_name, folder)
    written += write_figures(found, results, folder / "figures")
    if format_name == "csv":
        written.append(folder / "records.csv")
        write_bytes(written[-1], as_csv(tidy_frame(found.records)).encode())
    return written


def as_text(found: RecordsFound, tables: list[Table], format_name: str, results: Path) -> str:
    """Return the tables, or the page, as one text."""
    if format_name == PAGE:
        from dcbench.report.page import to_html

        return to_html(found, results)
    return "\n\n".join(FORMATS[format_name][1](table) for table in tables)
