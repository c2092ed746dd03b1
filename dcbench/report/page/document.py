"""The whole page: one file that needs no network; no script but the package's own can run in it."""

from __future__ import annotations

import base64
import hashlib
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from dcbench.records import RecordsFound
from dcbench.report.figures import draw_plots
from dcbench.report.figures.plotting import Drawing
from dcbench.report.formatting import title
from dcbench.report.grouping import grouped
from dcbench.report.page.boards import COLUMNS, Board, board
from dcbench.report.page.images import MOST_BYTES, PageImages, embedded, webp
from dcbench.report.page.strips import WIDTH
from dcbench.report.selection.comparable import comparable_groups, ordered_budgets
from dcbench.report.tables.layout import Shown, lay_out
from dcbench.report.tables.table import Table
from dcbench.studies.declarations import STUDIES
from dcbench.system.wording import counted

PAGE_NAME = "index.html"
_BESIDE = " file: 'self'"  # sources of pictures beside the page, of a file or served
_DOTS_PER_INCH, _QUALITY = 100, 45  # of figures
# the beginning of a figure's name: where it stands, and what it shows
_FOLDS = {
    "ablation": ("ablations", "Ablations", "one field of a method varied, all else the same"),
    "augmentations": ("conditions", "Augmentations", "the same sets judged with others"),
    "networks": ("cross-architecture", "Cross-architecture", "the same sets judged by others"),
    "storage": ("storage", "Storage", "accuracy against the bytes of the set"),
    "trace": ("traces", "Traces", "accuracy and images over the steps of a distillation"),
    "images-over-steps": ("traces", "", ""),
    "embedding": ("embeddings", "Embeddings", "where t-SNE puts real and synthetic images"),
    "search": ("searches", "Architecture search", "how well a small set ranks networks"),
    # of tables alone
    "scores": ("scores", "Scores", "each method beside random images and beside the whole data"),
    "published": ("published", "Published", "every printed value, with how it was judged"),
}


@dataclass(frozen=True)
class Plot:
    """A figure in the page."""

    name: str
    caption: str
    address: str
    width: int
    height: int


@dataclass(frozen=True)
class Fold:
    """A folded part of the page, with a line that says what it shows."""

    id: str
    name: str
    shows: str
    plots: Sequence[Plot]
    tables: Sequence[Table] = ()


def to_html(
    found: RecordsFound,
    root: Path,
    tables: Sequence[Table] = (),
    published: Shown = "own",
    beside: dict[str, bytes] | None = None,
) -> str:
    """The page; pictures and learning curves are looked for beside the records, below ``root``.

    Args:
        found: the records.
        root: the folder that they were found in.
        tables: those of scores and searches; those of accuracies stand there as leaderboards.
        published: which published values are shown.
        beside: takes the pictures for which the page has no room, content by path from the page.
    """
    images = PageImages(root, MOST_BYTES, beside)
    groups = comparable_groups(found.records, STUDIES["table3"].methods)
    groups.sort(key=lambda group: -len({entry.method for entry in group.entries}))  # stable
    boards = [board(lay_out(group, None, published), images) for group in groups]
    first = list({own.dataset: own for own in reversed(boards)}.values())[::-1]
    other = [own for own in boards if own not in first]
    folds = _folds(found, root, tables)
    # files of the package: the only text that is not escaped
    style, script = (Markup(_own(name)) for name in ("page.css", "page.js"))  # noqa: S704
    environment = Environment(
        autoescape=True, finalize=_visible, trim_blocks=True, undefined=StrictUndefined
    )
    page = environment.from_string(_own("page.html")).render(
        boards=boards,
        first=first,
        other=other,
        other_words=counted(len(other), "other leaderboard"),
        folds=folds,
        contents=_contents(boards, first, folds),
        columns=COLUMNS,
        width=WIDTH,
        counts=_counts(found),
        datasets=[(name, title(name)) for name in sorted({own.dataset for own in boards})],
        budgets=[
            ("none", "no budget") if ipc is None else (str(ipc), str(ipc))
            for ipc in ordered_budgets({ipc for group in groups for ipc in group.ipcs})
        ],
        problems=found.problems,
        problems_words=counted(len(found.problems), "file"),
        empty=not found.everything,
        policy=(
            f"default-src 'none'; style-src 'sha256-{_checksum(style)}';"
            f" script-src 'sha256-{_checksum(script)}';"
            f" img-src data:{_BESIDE if beside else ''}; base-uri 'none'; form-action 'none'"
        ),
        style=style,
        script=script,
    )
    return page.lstrip()  # of what stands before the document: macros


def _visible(value: Any) -> Any:
    """Control characters, and those that turn the direction of writing, become spaces."""
    if value is None or isinstance(value, Markup) or not isinstance(value, str):
        return value
    return "".join(
        " " if unicodedata.category(own)[0] == "C" and own != "\n" else own for own in value
    )


def _own(name: str) -> str:
    """A file of this package as it stands."""
    return files("dcbench.report.page").joinpath(name).read_text(encoding="utf-8")


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


def _contents(
    boards: Sequence[Board], first: Sequence[Board], folds: Sequence[Fold]
) -> list[tuple[str, str]]:
    shown = [(own.id, f"Leaderboard: {own.name}") for own in first]
    other = [("other-boards", "Other conditions")] if len(boards) > len(first) else []
    return [*shown, *other, *((fold.id, fold.name) for fold in folds)]


def _folds(found: RecordsFound, root: Path, tables: Sequence[Table]) -> list[Fold]:
    plots = grouped(draw_plots(found, root), lambda drawing: _place(drawing.name))
    beside = grouped(tables, lambda table: table.kind)
    return [
        Fold(place, name, shows, tuple(map(_plot, plots.get(place, ()))), beside.get(place, ()))
        for place, name, shows in _FOLDS.values()
        if name and (place in plots or place in beside)
    ]


def _place(name: str) -> str:
    """Where a figure stands, by the longest beginning of its name."""
    return _FOLDS[max((own for own in _FOLDS if name.startswith(own)), key=len)][0]


def _plot(drawing: Drawing) -> Plot:
    content, width, height = webp(drawing.png(_DOTS_PER_INCH), _QUALITY)
    return Plot(drawing.name, drawing.caption, embedded(content), width, height)
