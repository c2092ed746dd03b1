"""Any table as HTML."""

from __future__ import annotations

from itertools import groupby

from dcbench.report.page.markup import Markup, element, join
from dcbench.report.tables.accuracies import Cell, Table

_EMPHASIS = {"bold": "strong", "underline": "u"}


def table_section(table: Table) -> Markup:
    """The table with its caption above and its notes below, scrolling sideways where it is too
    wide.
    """
    groups = [
        (group, len(list(members)))
        for group, members in groupby(column.group for column in table.columns)
    ]
    above = element(
        "tr", *(element("th", group, colspan=width, scope="colgroup") for group, width in groups)
    )
    heads = element("tr", *(element("th", column.title, scope="col") for column in table.columns))
    grouped = any(group for group, _ in groups)
    body = element(
        "tbody", *(element("tr", _first(row[0]), *map(_cell, row[1:])) for row in table.rows)
    )
    drawn = element(
        "table", element("thead", above if grouped else None, heads), body, class_="plain"
    )
    return element(
        "section",
        element("p", table.caption),
        element("div", drawn, class_="scrolls", tabindex="0", role="region", aria_label=table.name),
        element("ul", *(element("li", note) for note in table.notes), class_="notes")
        if table.notes
        else None,
        class_="table",
    )


def _first(cell: Cell) -> Markup:
    return element("th", cell.text, scope="row")


def _cell(cell: Cell) -> Markup:
    emphasised = element(_EMPHASIS[cell.emphasis], cell.text) if cell.emphasis else cell.text
    return element("td", join(emphasised, element("small", cell.detail) if cell.detail else None))
