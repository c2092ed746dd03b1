"""The whole page: one file that needs no network, and in which nothing but the package's own script
can run.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from dcbench.records import RecordsFound
from dcbench.report.figures import draw_plots
from dcbench.report.formatting import title
from dcbench.report.page.album import Album, embedded
from dcbench.report.page.leaderboards import COLUMNS, leaderboard
from dcbench.report.page.markup import Markup, element, join
from dcbench.report.page.tables import table_section
from dcbench.report.selection.comparable import boards, in_order
from dcbench.report.tables.layout import Layout, lay_out
from dcbench.report.tables.searches import search_tables
from dcbench.studies.declarations import STUDIES
from dcbench.system.files import write_bytes
from dcbench.system.wording import counted

PAGE_NAME = "index.html"
_ALL = "all"


def write_page(found: RecordsFound, root: Path, folder: Path) -> Path:
    """Write the page of all records below ``root`` to ``folder``; raises StorageError if the disk
    refuses.
    """
    path = folder / PAGE_NAME
    write_bytes(path, to_html(found, root).encode())
    return path


def to_html(found: RecordsFound, root: Path) -> str:
    """The page; pictures and learning curves are looked for beside the records, below ``root``."""
    layouts = [lay_out(board, None) for board in boards(found.records, STUDIES["table3"].methods)]
    album = Album(root)
    sections = [leaderboard(layout, album) for layout in layouts]
    body = element(
        "body",
        element("a", "Skip to the leaderboards", href="#boards", class_="skip"),
        element(
            "header", element("h1", "Dataset distillation, compared"), element("p", _counts(found))
        ),
        _filters(layouts) if layouts else None,
        element(
            "main",
            *_said(found, layouts),
            *sections,
            *_searches(found),
            _plots(found, root),
            id="boards",
        ),
        element("script", _own("page.js")),
    )
    return f"<!doctype html>\n{element('html', _head(), body, lang='en')}\n"


def _head() -> Markup:
    policy = "; ".join(
        (
            "default-src 'none'",
            f"style-src 'sha256-{_checksum(_own('page.css'))}'",
            f"script-src 'sha256-{_checksum(_own('page.js'))}'",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )
    return element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", "dcbench: dataset distillation, compared"),
        element("link", rel="icon", href="data:,"),
        element("style", _own("page.css")),
    )


def _own(name: str) -> Markup:
    """A file of this package as it stands."""
    return Markup(files("dcbench.report.page").joinpath(name).read_text(encoding="utf-8"))


def _checksum(content: str) -> str:
    return base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()


def _counts(found: RecordsFound) -> str:
    networks = sum(len(stored.record.networks) for stored in found.records)
    methods = len({(stored.record.method, stored.record.foreign) for stored in found.records})
    sets = counted(len(found.records), "evaluated set")
    trained = f"{counted(networks, 'network')} trained from scratch"
    said = f"{counted(methods, 'method')}, {sets}, {trained}"
    created = [
        *(stored.record.created for stored in found.records),
        *(search.record.created for search in found.searches),
    ]
    newest = max(created, default="")
    searches = (
        f"; {counted(len(found.searches), 'architecture search')}".replace("searchs", "searches")
        if found.searches
        else ""
    )
    return f"{said}{searches}." + (f" Newest record: {newest[:10]}." if newest else "")


def _filters(layouts: Sequence[Layout]) -> Markup:
    datasets = sorted({layout.board.dataset for layout in layouts})
    ipcs = in_order({ipc for layout in layouts for ipc in layout.ipcs})
    budgets = [("none", "no budget") if ipc is None else (str(ipc), str(ipc)) for ipc in ipcs]
    sorting = [(key, head) for key, (head, direction) in COLUMNS.items() if direction]
    return element(
        "form",
        _choice("dataset", "Dataset", [(_ALL, "All"), *((name, title(name)) for name in datasets)]),
        _choice("ipc", "Images per class", [(_ALL, "All"), *budgets]),
        element(
            "label",
            "Method",
            element("input", type="search", name="method", autocomplete="off", placeholder="any"),
        ),
        _choice("sort", "Sort by", [("", "IPC and rank"), *sorting]),
        element("output", role="status", aria_live="polite"),
        class_="filters",
        aria_label="What to show",
    )


def _choice(name: str, label: str, options: Sequence[tuple[str, str]]) -> Markup:
    return element(
        "label",
        label,
        element(
            "select",
            *(element("option", shown, value=value) for value, shown in options),
            name=name,
        ),
    )


def _said(found: RecordsFound, layouts: Sequence[Layout]) -> list[Markup]:
    """What must be known before the tables are read."""
    said = []
    if len(layouts) > 1:
        kept = f"{len(layouts)} leaderboards below: other data, protocols, networks or precisions are never ranked together."
        said.append(element("p", kept, class_="notice"))
    if found.problems:
        problems = element("ul", *(element("li", problem) for problem in found.problems))
        summary = element("summary", f"Passed over: {counted(len(found.problems), 'file')}")
        said.append(element("details", summary, problems, class_="notice warning", open=True))
    if not any((found.records, found.searches, found.traces, found.embeddings)):
        said.append(element("p", "No records.", class_="notice warning"))
    said.append(
        element("p", "No row fits what you chose.", class_="notice", id="nothing", hidden=True)
    )
    return said


def _searches(found: RecordsFound) -> list[Markup]:
    if not found.searches:
        return []
    sections = [table_section(table) for table in search_tables(found.searches)]
    return [
        element("section", element("h2", "Architecture search"), join(*sections), class_="searches")
    ]


def _plots(found: RecordsFound, root: Path) -> Markup | None:
    drawings = draw_plots(found, root)
    if not drawings:
        return None
    shown = [
        element(
            "figure",
            embedded(drawing.png(), drawing.caption),
            element("figcaption", drawing.caption),
        )
        for drawing in drawings
    ]
    return element(
        "section",
        element("h2", "Figures"),
        element("div", *shown, class_="plots"),
        class_="figures-of-all",
    )
