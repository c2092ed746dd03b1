"""``dcbench report``: tables, figures and the page, from records."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from dcbench.cli.options import EXECUTOR_OPTIONS, MACHINE, speaking, unneeded
from dcbench.cli.words import REPORT_FORMATS, known

if TYPE_CHECKING:
    from dcbench.records import RecordsFound
    from dcbench.report import Table


@click.command("report")
@click.option(
    "--results",
    type=click.Path(path_type=Path),
    default="results",
    show_default=True,
    help="Read with all folders below.",
)
@click.option(
    "--format",
    "fmt",
    default="latex",
    show_default=True,
    callback=known("format"),
    help=f"{', '.join(REPORT_FORMATS)}.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="A folder for files; without it the tables go to standard output.",
)
@speaking
@unneeded("preset", "protocol", "data-root", "seed", *MACHINE, *EXECUTOR_OPTIONS)
def command(results: Path, fmt: str, out: Path | None, as_json: bool) -> None:
    """Show every record below RESULTS, measured beside published: a table per data set and
    protocol, or one page of all (html).
    """
    from dcbench.cli.console import Console
    from dcbench.records import find_records
    from dcbench.report import build_tables, summary_rows
    from dcbench.report.tables.searches import search_tables
    from dcbench.studies.declarations import STUDIES
    from dcbench.system.errors import DataError

    found = find_records(results)
    console = Console(as_json)
    for problem in found.problems:
        console.say(f"passed over: {problem}")
    if not any((found.records, found.searches, found.traces, found.embeddings)):
        raise DataError(
            f"no records below {results}; make some with `dcbench run`, or name another folder with --results"
        )
    accuracies = build_tables(found.records, STUDIES["table3"])
    if len(accuracies) > 1:
        console.say(
            f"{len(accuracies)} tables: other data, protocols, networks or precisions are never ranked together"
        )
    tables = [*accuracies, *search_tables(found.searches)]
    written = [] if out is None else _write(found, tables, fmt, results, out)
    for path in written:
        console.say(f"written: {path}")
    if out is None and not as_json:
        click.echo(_shown(found, tables, fmt, results))
    described = [
        {"name": table.name, "caption": table.caption, "rows": len(table.rows)} for table in tables
    ]
    console.result(
        {
            "tables": described,
            "summary": summary_rows(found.records, told_apart=True),
            "files": [str(path) for path in written],
            "problems": list(found.problems),
        }
    )


def _write(
    found: RecordsFound, tables: list[Table], fmt: str, results: Path, out: Path
) -> list[Path]:
    """The files of a format."""
    from dcbench.report import tidy_frame, write_tables
    from dcbench.report.figures import write_figures
    from dcbench.report.selection.dataframes import as_csv
    from dcbench.system.files import write_bytes

    if fmt == "html":
        from dcbench.report.page import write_page

        return [write_page(found, results, out)]
    written = [*write_tables(tables, fmt, out), *write_figures(found, results, out / "figures")]
    if fmt == "csv":
        written.append(out / "records.csv")
        write_bytes(
            written[-1],
            as_csv(tidy_frame(found.records)).encode(),
        )
    return written


def _shown(found: RecordsFound, tables: list[Table], fmt: str, results: Path) -> str:
    """What goes to standard output where there is no folder for files."""
    from dcbench.report import FORMATS

    if fmt == "html":
        from dcbench.report.page import to_html

        return to_html(found, results)
    return "\n\n".join(FORMATS[fmt][1](table) for table in tables)
