"""``dcbench report``: tables from records."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("report")
@click.option("--results", type=click.Path(path_type=Path), default="results", show_default=True, help="Read with all folders below.")
@click.option("--format", "fmt", default="latex", show_default=True, help="latex, markdown, csv.")
@click.option("--out", type=click.Path(path_type=Path), help="A folder for files; without it the tables go to standard output.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
@click.option("--debug", is_flag=True, help="Show where an error came from.")
def command(results: Path, fmt: str, out: Path | None, as_json: bool, debug: bool) -> None:
    """Tabulate every record below RESULTS, measured beside published, one table per data set and protocol."""
    from dcbench.cli.console import Console
    from dcbench.errors import DataError, UnknownNameError
    from dcbench.files import write_bytes
    from dcbench.records import find_records
    from dcbench.report import FORMATS, build_tables, summary_rows, tidy_frame, write_tables
    from dcbench.report.search_figures import search_figures
    from dcbench.report.searches import search_tables
    from dcbench.studies import STUDIES

    if fmt not in FORMATS:
        raise UnknownNameError("format", fmt, FORMATS)
    found = find_records(results)
    console = Console(as_json)
    for problem in found.problems:
        console.say(f"passed over: {problem}")
    if not (found.records or found.searches):
        raise DataError(f"no records below {results}; make some with `dcbench run`, or name another folder with --results")
    tables = [*build_tables(found.records, STUDIES["table3"]), *search_tables(found.searches)]
    written: list[Path] = []
    if out is not None:
        written = [*write_tables(tables, fmt, out), *search_figures(found.searches, out / "figures")]
        if fmt == "csv":
            written.append(out / "records.csv")
            write_bytes(written[-1], tidy_frame(found.records).to_csv(index=False).encode())
        for path in written:
            console.say(f"written: {path}")
    elif not as_json:
        click.echo("\n\n".join(FORMATS[fmt][1](table) for table in tables))
    described = [{"name": table.name, "caption": table.caption, "rows": len(table.rows)} for table in tables]
    console.result(
        {
            "tables": described,
            "summary": summary_rows(found.records),
            "files": [str(path) for path in written],
            "problems": list(found.problems),
        }
    )
