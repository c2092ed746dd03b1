"""Tables as markdown, LaTeX and CSV."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import groupby
from pathlib import Path

from dcbench.report.tables.accuracies import Cell, Table
from dcbench.report.tables.escapes import latex, markdown
from dcbench.system.errors import UnknownNameError
from dcbench.system.files import write_bytes


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
    groups = [
        (group, len(list(members)))
        for group, members in groupby(column.group for column in table.columns)
    ]
    lines = [
        r"\begin{table}[htbp]",
        r"\centering",
        rf"\caption{{{latex(table.caption)}}}",
        rf"\label{{tab:{table.name}}}",
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        rf"\begin{{tabular}}{{l{'r' * (len(table.columns) - 1)}}}",
        r"\toprule",
        *_latex_groups(groups),
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
    return str(table.to_frame().to_csv(index=False, lineterminator="\n"))


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


def _markdown_cell(cell: Cell) -> str:
    text = markdown(cell.text)
    emphasised = {"bold": f"**{text}**", "underline": f"<ins>{text}</ins>"}.get(cell.emphasis, text)
    return f"{emphasised} {markdown(cell.detail)}".rstrip()


def _ampersands(cells: Iterable[str]) -> str:
    return " & ".join(cells) + r" \\"


def _latex_cell(cell: Cell) -> str:
    text = latex(cell.text)
    emphasised = {"bold": rf"\textbf{{{text}}}", "underline": rf"\underline{{{text}}}"}.get(
        cell.emphasis, text
    )
    return emphasised + (rf" {{\scriptsize {latex(cell.detail)}}}" if cell.detail else "")


def _latex_groups(groups: list[tuple[str, int]]) -> list[str]:
    """The line of shared heads and the rules below them; nothing where no column has a group."""
    if not any(group for group, _ in groups):
        return []
    rules, first = [], 1
    for group, width in groups:
        if group:
            rules.append(rf"\cmidrule(lr){{{first}-{first + width - 1}}}")
        first += width
    cells = (
        rf"\multicolumn{{{width}}}{{c}}{{{latex(group)}}}" if group else " & ".join([""] * width)
        for group, width in groups
    )
    return [_ampersands(cells), " ".join(rules)]


def _latex_notes(notes: Iterable[str]) -> list[str]:
    lines = [rf"{latex(note)}\par" for note in notes]
    return (
        [r"\par\smallskip", r"\begin{minipage}{\linewidth}\footnotesize", *lines, r"\end{minipage}"]
        if lines
        else []
    )
