"""``dcbench report``: tables, figures and the page, from records."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dcbench.cli.completion import word
from dcbench.cli.options import (
    EXECUTOR_OPTIONS,
    FILTERS,
    MACHINE,
    filters,
    results_folder,
    speaking,
    unneeded,
)
from dcbench.cli.words import REPORT_FORMATS
from dcbench.system.wording import counted

if TYPE_CHECKING:
    from dcbench.records import RecordsFound


@click.command("report")
@results_folder("Folder of records, read with all folders below.")
@click.option(
    "--format",
    "fmt",
    default="latex",
    show_default=True,
    **word("format"),
    help=f"Format: {', '.join(REPORT_FORMATS)}.",
)
@click.option(
    "--style",
    **word("style"),
    help="compact: each method's main row, for a paper (default of latex and markdown);"
    " full: every row, intervals, notes.",
)
@click.option(
    "--published",
    **word("value of --published"),
    default="own",
    show_default=True,
    help="Values of papers: none; own: what the setting follows; all: also a table of all.",
)
@filters(*FILTERS)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Folder for files; without it the tables go to standard output.",
)
@click.option(
    "--data-root",
    default="",
    show_default=False,
    help="Folder of the data sets, for the commands that notes give.",
)
@speaking
@unneeded("seed", *MACHINE, *EXECUTOR_OPTIONS)
def command(results: Path, fmt: str, out: Path | None, as_json: bool, **options: Any) -> None:
    """Show every record below RESULTS, measured beside published: a table per data set and
    protocol, or one page of all (html).
    """
    from dcbench.cli.console import Console
    from dcbench.report import summary_rows
    from dcbench.report.files import Report

    console = Console(as_json)
    found = _found(results, {name: options.pop(name) for name in FILTERS}, console)
    report = Report(found, results, fmt, **options)
    tables = report.tables
    boards = sum(table.kind == "accuracies" for table in tables)
    if boards > 1:
        console.say(
            f"{boards} tables: other data, protocols, networks or precisions are never "
            "ranked together"
        )
    written = [] if out is None else report.write(out)
    for path in written:
        if path.parent == out and not path.stem.endswith("-notes"):
            console.say(f"written: {path}")
    drawn = {path.parent / path.stem for path in written if path.parent != out}
    if drawn:  # in a folder called figures, or pictures
        place = min(drawn).parent
        console.say(f"written: {counted(len(drawn), place.name.removesuffix('s'))} in {place}")
    if not tables and out is None and fmt != "html":
        records = counted(len(found.everything), "record")
        console.say(f"no tables of {records}; --out FOLDER draws figures")
    elif out is None and not as_json:
        click.echo(report.text())
        if sys.stdout.isatty() and any(table.compact and table.notes for table in tables):
            console.say(
                "these are compact tables: --style full shows all settings, intervals and notes"
            )
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


def _found(results: Path, chosen: dict[str, list[Any] | None], console: Any) -> RecordsFound:
    """Return the records below ``results`` that pass the filters; show messages about files that
    were skipped.
    """
    from dcbench.records import find_records
    from dcbench.report.selection.filters import Filters
    from dcbench.system.errors import DataError

    found = find_records(results)
    for warning in found.warnings:
        console.say(warning)
    if not found.everything:
        raise DataError(
            f"no records below {results}; make some with `dcbench run`, or name another folder "
            "with --results"
        )
    return Filters.of(chosen)(found)
