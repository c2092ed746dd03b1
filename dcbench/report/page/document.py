"""The whole page: one file that needs no network; no script but the package's own can run in it."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from dcbench.records import RecordsFound
from dcbench.report.figures import draw_plots
from dcbench.report.formatting import title
from dcbench.report.page.images import PageImages, embedded
from dcbench.report.page.leaderboards import COLUMNS, leaderboard
from dcbench.report.page.markup import Markup, element, join
from dcbench.report.page.tables import table_section
from dcbench.report.selection.comparable import comparable_groups, ordered_budgets
from dcbench.report.tables.layout import TableLayout, lay_out
from dcbench.report.tables.searches import search_tables
from dcbench.studies.declarations import STUDIES
from dcbench.system.files import write_bytes
from dcbench.system.wording import counted

PAGE_NAME = "index.html"
_ALL = "all"


def write_page(found: RecordsFound, root: Path, folder: Path) -> Path:
    """Write the page of all records below ``root`` to ``folder``.

    Raises:
        StorageError: if the file cannot be written.
    """
    path = folder / PAGE_NAME
    write_bytes(path, to_html(found, root).encode())
    return path


def to_html(found: RecordsFound, root: Path) -> str:
    """The page; pictures and learning curves are looked for beside the records, below ``root``."""
    groups = comparable_groups(found.records, STUDIES["table3"].methods)
    layouts = [lay_out(group, None) for group in groups]
    images = PageImages(root)
    title_line = element("h1", "Dataset distillation, compared")
    sections = [
        *_notices(found, layouts),
        *(leaderboard(layout, images) for layout in layouts),
        _searches(found),
        _plots(found, root),
    ]
    body = element(
        "body",
        element("a", "Skip to the leaderboards", href="#boards", class_="skip"),
        element("header", title_line, element("p", _counts(found))),
        _filters(layouts) if layouts else None,
        element("main", *sections, id="boards"),
        element("script", _own("page.js")),
    )
    return f"<!doctype html>\n{element('html', _head(), body, lang='en')}\n"


def _head() -> Markup:
    style, script = _own("page.css"), _own("page.js")
    policy = (
        f"default-src 'none'; style-src 'sha256-{_checksum(style)}';"
        f" script-src 'sha256-{_checksum(script)}'; img-src data:; base-uri 'none';"
        " form-action 'none'"
    )
    return element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", "dcbench: dataset distillation, compared"),
        element("link", rel="icon", href="data:,"),
        element("style", style),
    )


def _own(name: str) -> Markup:
    """A file of this package as it stands."""
    return Markup(files("dcbench.report.page").joinpath(name).read_text(encoding="utf-8"))


def _checksum(content: str) -> str:
    return base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()


def _counts(found: RecordsFound) -> str:
    """How much was measured, and when the newest record was made."""
    networks = sum(len(stored.record.networks) for stored in found.records)
    methods = len({(stored.record.method, stored.record.foreign) for stored in found.records})
    said = (
        f"{counted(methods, 'method')}, {counted(len(found.records), 'evaluated set')},"
        f" {counted(networks, 'network')} trained from scratch"
    )
    if found.searches:
        count = len(found.searches)
        said += f"; {count} architecture {'search' if count == 1 else 'searches'}"
    created = [stored.record.created for stored in found.records]
    created += [stored.record.created for stored in found.searches]
    return f"{said}." + (f" Newest record: {max(created)[:10]}." if created else "")


def _filters(layouts: Sequence[TableLayout]) -> Markup:
    datasets = sorted({layout.group.dataset for layout in layouts})
    ipcs = ordered_budgets({ipc for layout in layouts for ipc in layout.ipcs})
    budgets = [("none", "no budget") if ipc is None else (str(ipc), str(ipc)) for ipc in ipcs]
    sorting = [(key, head) for key, (head, direction) in COLUMNS.items() if direction]
    search = element("input", type="search", name="method", autocomplete="off", placeholder="any")
    return element(
        "form",
        _choice("dataset", "Dataset", [(_ALL, "All"), *((name, title(name)) for name in datasets)]),
        _choice("ipc", "Images per class", [(_ALL, "All"), *budgets]),
        element("label", "Method", search),
        _choice("sort", "Sort by", [("", "IPC and rank"), *sorting]),
        element("output", role="status", aria_live="polite"),
        class_="filters",
        aria_label="What to show",
    )


def _choice(name: str, label: str, options: Sequence[tuple[str, str]]) -> Markup:
    choices = [element("option", shown, value=value) for value, shown in options]
    return element("label", label, element("select", *choices, name=name))


def _notices(found: RecordsFound, layouts: Sequence[TableLayout]) -> list[Markup]:
    """What readers must know before they read the tables."""
    said = []
    if len(layouts) > 1:
        kept = (
            f"{len(layouts)} leaderboards below: other data, protocols, networks or precisions are"
            " never ranked together."
        )
        said.append(element("p", kept, class_="notice"))
    if found.problems:
        problems = element("ul", *(element("li", problem) for problem in found.problems))
        summary = element("summary", f"Passed over: {counted(len(found.problems), 'file')}")
        said.append(element("details", summary, problems, class_="notice warning", open=True))
    if not any((found.records, found.searches, found.traces, found.embeddings)):
        said.append(element("p", "No records.", class_="notice warning"))
    none_fits = "No row fits what you chose."
    return [*said, element("p", none_fits, class_="notice", id="nothing", hidden=True)]


def _searches(found: RecordsFound) -> Markup | None:
    if not found.searches:
        return None
    sections = join(*map(table_section, search_tables(found.searches)))
    return element("section", element("h2", "Architecture search"), sections, class_="searches")


def _plots(found: RecordsFound, root: Path) -> Markup | None:
    shown = [
        element(
            "figure",
            embedded(drawing.png(), drawing.caption),
            element("figcaption", drawing.caption),
        )
        for drawing in draw_plots(found, root)
    ]
    if not shown:
        return None
    plots = element("div", *shown, class_="plots")
    return element("section", element("h2", "Figures"), plots, class_="figures-of-all")
