"""Builds HTML and SVG. Whatever is not markup already is escaped, so that no name from a file
becomes a tag.
"""

from __future__ import annotations

import html
import unicodedata
from collections.abc import Iterable


class Markup(str):
    """Text that is HTML already: made by ``element`` and ``join`` alone, or from the package's own
    files.
    """

    __slots__ = ()


_VOID = frozenset({"img", "input", "meta", "link", "br"})


def text(value: object) -> Markup:
    """``value`` as HTML shows it; control characters, and those that turn the direction of writing,
    become spaces.
    """
    if isinstance(value, Markup):
        return value
    visible = "".join(
        " " if unicodedata.category(character)[0] == "C" else character for character in str(value)
    )
    return Markup(html.escape(visible, quote=True))


def join(*parts: object) -> Markup:
    """The parts one after the other; None is left out."""
    return Markup("".join(text(part) for part in parts if part is not None))


def element(kind: str, /, *children: object, **attributes: object) -> Markup:
    """One element. ``class_`` is class, ``aria_label`` is aria-label; an attribute that is None or
    False is left out.
    """
    written = [
        _attribute(key, value)
        for key, value in attributes.items()
        if value is not None and value is not False
    ]
    opened = f"<{' '.join([kind, *written])}>"
    return Markup(opened if kind in _VOID else f"{opened}{join(*children)}</{kind}>")


def notes_list(notes: Iterable[object]) -> Markup:
    """The notes below a table."""
    return element("ul", *(element("li", note) for note in notes), class_="notes")


def _attribute(key: str, value: object) -> str:
    name = key.rstrip("_").replace("_", "-")
    return name if value is True else f'{name}="{text(value)}"'
