"""Tables as HTML."""

from __future__ import annotations

from dcbench.report.page.markup import Markup, element, join, notes_list
from dcbench.report.tables.table import Table, TableCell

_EMPHASIS = {"bold": "strong", "underline": "u"}


def table_section(table: Table) -> Markup:
    """The table with its caption above and its notes below; if it is too wide, it scrolls."""
    groups = [
        element("th", group, colspan=width, scope="colgroup")
        for group, width in table.column_groups
    ]
    titles = element("tr", *(element("th", column.title, scope="col") for column in table.columns))
    head = element("thead", element("tr", *groups) if groups else None, titles)
    rows = [
        element("tr", element("th", first.text, scope="row"), *map(_cell, cells))
        for first, *cells in table.rows
    ]
    drawn = element("table", head, element("tbody", *rows), class_="plain")
    return element(
        "section",
        element("p", table.caption),
        element("div", drawn, class_="scrolls", tabindex="0", role="region", aria_label=table.name),
        notes_list(table.notes) if table.notes else None,
        class_="table",
    )


def _cell(cell: TableCell) -> Markup:
    emphasised = element(_EMPHASIS[cell.emphasis], cell.text) if cell.emphasis else cell.text
    return element("td", join(emphasised, element("small", cell.detail) if cell.detail else None))
