"""Tables as markdown, LaTeX and CSV."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from dcbench.report.selection.dataframes import as_csv
from dcbench.report.tables.escapes import latex, markdown
from dcbench.report.tables.table import Table, TableCell
from dcbench.system.errors import UnknownNameError
from dcbench.system.files import write_bytes

_MARKDOWN_MARKS = {"": ("", ""), "bold": ("**", "**"), "underline": ("<ins>", "</ins>")}
_LATEX_MARKS = {"": ("", ""), "bold": (r"\textbf{", "}"), "underline": (r"\underline{", "}")}


def to_markdown(table: Table) -> str:
    """A caption, a pipe table and its notes; whatever a name holds, it stays in its cell."""
    head = [markdown(column.full_title) for column in table.columns]
    lines = [
        markdown(table.caption),
        "",
        _pipes(head),
        _pipes(["---", *["---:"] * (len(head) - 1)]),
    ]
    lines += [_pipes([_markdown_cell(cell) for cell in row]) for row in table.rows]
    lines += ["", *(f"- {markdown(note)}" for note in table.notes)] if table.notes else []
    return "\n".join(lines) + "\n"


def to_latex(table: Table) -> str:
    """A fragment for ``\\input``: needs booktabs and graphicx; whatever a name holds, it is set and
    not executed.
    """
    lines = [
        r"\begin{table}[htbp]",
        r"\centering",
        rf"\caption{{{latex(table.caption)}}}",
        rf"\label{{tab:{table.name}}}",
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        rf"\begin{{tabular}}{{l{'r' * (len(table.columns) - 1)}}}",
        r"\toprule",
        *_latex_groups(table.column_groups),
        _ampersands(latex(column.title) for column in table.columns),
        r"\midrule",
        *(_ampersands(map(_latex_cell, row)) for row in table.rows),
        r"\bottomrule",
        r"\end{tabular}}",
        *_latex_notes(table.notes),
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def to_csv(table: Table) -> str:
    """The figures of ``Table.to_frame``, accuracies as fractions."""
    return as_csv(table.to_frame())


FORMATS: Mapping[str, tuple[str, Callable[[Table], str]]] = {
    "markdown": (".md", to_markdown),
    "latex": (".tex", to_latex),
    "csv": (".csv", to_csv),
}


def write_tables(tables: Iterable[Table], fmt: str, folder: Path) -> list[Path]:
    """One file per table in ``folder``; raises UnknownNameError for another format, StorageError if
    the disk refuses.
    """
    if fmt not in FORMATS:
        raise UnknownNameError("format", fmt, FORMATS)
    ending, render = FORMATS[fmt]
    paths = []
    for table in tables:
        paths.append(folder / f"{table.name}{ending}")
        write_bytes(paths[-1], render(table).encode())
    return paths


def _pipes(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _markdown_cell(cell: TableCell) -> str:
    before, after = _MARKDOWN_MARKS[cell.emphasis]
    return f"{before}{markdown(cell.text)}{after} {markdown(cell.detail)}".rstrip()


def _ampersands(cells: Iterable[str]) -> str:
    return " & ".join(cells) + r" \\"


def _latex_cell(cell: TableCell) -> str:
    before, after = _LATEX_MARKS[cell.emphasis]
    detail = rf" {{\scriptsize {latex(cell.detail)}}}" if cell.detail else ""
    return f"{before}{latex(cell.text)}{after}{detail}"


def _latex_groups(groups: list[tuple[str, int]]) -> list[str]:
    """The line of shared headings and the line of rules below them, if there are any."""
    cells, rules, first = [], [], 1
    for group, width in groups:
        if group:
            cells.append(rf"\multicolumn{{{width}}}{{c}}{{{latex(group)}}}")
            rules.append(rf"\cmidrule(lr){{{first}-{first + width - 1}}}")
        else:
            cells += [""] * width
        first += width
    return [_ampersands(cells), " ".join(rules)] if groups else []


def _latex_notes(notes: Iterable[str]) -> list[str]:
    lines = [rf"{latex(note)}\par" for note in notes]
    start = [r"\par\smallskip", r"\begin{minipage}{\linewidth}\footnotesize"]
    return [*start, *lines, r"\end{minipage}"] if lines else []
