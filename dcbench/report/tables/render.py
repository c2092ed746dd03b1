"""Tables as markdown, LaTeX and CSV."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from dcbench.report.selection.dataframes import as_csv
from dcbench.report.tables.escapes import latex, markdown
from dcbench.report.tables.table import Table, TableCell
from dcbench.system.errors import UnknownNameError
from dcbench.system.files import write_bytes

_MOST_SMALL = 7  # columns of a compact table in \\small; more need smaller type
_MARKDOWN_MARKS = {"": ("", ""), "bold": ("**", "**"), "underline": ("<ins>", "</ins>")}
_LATEX_MARKS = {"": ("", ""), "bold": (r"\textbf{", "}"), "underline": (r"\underline{", "}")}


def to_markdown(table: Table) -> str:
    """A caption, a pipe table and, unless it is compact, its notes; whatever a name holds, it stays
    in its cell.
    """
    head = [markdown(column.full_title) for column in table.columns]
    lines = [
        markdown(table.caption),
        "",
        _pipes(head),
        _pipes(["---", *["---:"] * (len(head) - 1)]),
    ]
    for heading, row in table.headed_rows():
        if heading:
            lines.append(_pipes([f"*{markdown(heading)}*", *[""] * (len(head) - 1)]))
        lines.append(_pipes([_markdown_cell(cell) for cell in row]))
    if table.notes and not table.compact:
        lines += ["", *_markdown_notes(table)]
    return "\n".join(lines) + "\n"


def to_latex(table: Table) -> str:
    """A fragment for ``\\input``: needs booktabs, and graphicx unless it is compact; whatever a
    name holds, it is set and not executed.
    """
    count = len(table.columns)
    body = [r"\toprule", *_latex_groups(table.column_groups)]
    body += [_ampersands(latex(column.title) for column in table.columns), r"\midrule"]
    for number, (heading, row) in enumerate(table.headed_rows()):
        if heading:
            body += [r"\addlinespace"] * bool(number)
            body.append(rf"\multicolumn{{{count}}}{{@{{}}l}}{{\textit{{{latex(heading)}}}}} \\")
        body.append(_ampersands(map(_latex_cell, row)))
    body.append(r"\bottomrule")
    if table.compact:
        size = r"\small" if count <= _MOST_SMALL else r"\footnotesize"
        columns = rf"{{@{{\extracolsep{{\fill}}}}l{'r' * (count - 1)}@{{}}}}"
        body = [
            r"\par\medskip",
            rf"{size}\setlength{{\tabcolsep}}{{3pt}}",
            rf"\begin{{tabular*}}{{\textwidth}}{columns}",
            *body,
            r"\end{tabular*}",
        ]
    else:
        body = [
            r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
            rf"\begin{{tabular}}{{l{'r' * (count - 1)}}}",
            *body,
            r"\end{tabular}}",
            *_latex_notes(table.notes),
        ]
    head = [r"\begin{table}[htbp]", r"\centering", rf"\caption{{{latex(table.caption)}}}"]
    lines = [*head, rf"\label{{tab:{table.name}}}", *body, r"\end{table}"]
    return "\n".join(lines) + "\n"


def notes_to_latex(table: Table) -> str:
    """The notes of a compact table as a paragraph for an appendix."""
    notes = " ".join(map(latex, table.notes))
    return rf"\paragraph{{Notes on Table~\ref{{tab:{table.name}}}.}} {notes}" + "\n"


def notes_to_markdown(table: Table) -> str:
    """The notes of a compact table as a list."""
    return "\n".join([*_markdown_notes(table), ""])


def _markdown_notes(table: Table) -> list[str]:
    return [f"- {markdown(note)}" for note in table.notes]


def to_csv(table: Table) -> str:
    """The figures of ``Table.to_frame``, accuracies as fractions."""
    return as_csv(table.to_frame())


FORMATS: Mapping[str, tuple[str, Callable[[Table], str]]] = {
    "markdown": (".md", to_markdown),
    "latex": (".tex", to_latex),
    "csv": (".csv", to_csv),
}


_NOTES = {"markdown": notes_to_markdown, "latex": notes_to_latex}


def write_tables(tables: Iterable[Table], fmt: str, folder: Path) -> list[Path]:
    """One file per table in ``folder``, and one for the notes of a compact table.

    Raises:
        UnknownNameError: for another format.
        StorageError: if a file cannot be written.
    """
    if fmt not in FORMATS:
        raise UnknownNameError("format", fmt, FORMATS)
    ending, render = FORMATS[fmt]
    contents: dict[Path, str] = {}
    for table in tables:
        contents[folder / f"{table.name}{ending}"] = render(table)
        if table.compact and table.notes and fmt in _NOTES:
            contents[folder / f"{table.name}-notes{ending}"] = _NOTES[fmt](table)
    for path, content in contents.items():
        write_bytes(path, content.encode())
    return list(contents)


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
    text = cell.text.rstrip("*†")
    signs = latex(cell.text[len(text) :])
    if signs and text[-1:].isdigit() and not detail:
        signs = rf"\rlap{{{signs}}}"  # beside the column, so that figures stand below figures
    return f"{before}{latex(text)}{after}{signs}{detail}"


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
