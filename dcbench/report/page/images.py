"""Embeds pictures in the page: each file once, and no more than a browser can handle."""

from __future__ import annotations

import base64
from pathlib import Path

from dcbench.report.page.markup import Markup, element
from dcbench.report.selection.sidecar_files import (
    PICTURE_NAME,
    find_sidecar_file,
    read_png,
    size_of,
)

MOST_BYTES = 64 * 2**20  # of all pictures together


class PageImages:
    """Embeds the picture of a set where it is first shown, and links to that place afterwards."""

    def __init__(self, root: Path, most_bytes: int = MOST_BYTES) -> None:
        self.root = root
        self.left = most_bytes
        self._places: dict[Path, str] = {}

    def show(self, record: Path, label: str) -> Markup | None:
        """The picture beside ``record``, a link to its place above, or why it is not shown; None if
        there is no picture.
        """
        path = find_sidecar_file(record, PICTURE_NAME, self.root)
        if path is None:
            return None
        if path in self._places:
            above = f"Its images are shown further up: {label}"
            link = element("a", above, href=f"#{self._places[path]}")
            return element("p", link, class_="quiet")
        picture = read_png(path)
        if isinstance(picture, str):
            return element("p", f"No picture: {picture}.", class_="warning")
        if len(picture) > self.left:
            place = path.relative_to(self.root) if path.is_relative_to(self.root) else path.name
            full = f"No picture: those above it fill the page already; it is in {place}."
            return element("p", full, class_="quiet")
        self.left -= len(picture)
        name = self._places[path] = f"images-{len(self._places)}"
        image = embedded(picture, f"Images of {label}, a class in each row")
        said = element("figcaption", "A class in each row")
        return element("figure", image, said, id=name, class_="images")


def embedded(png: bytes, alt: str) -> Markup:
    """A picture that is part of the page; ``alt`` says what it shows."""
    width, height = size_of(png)
    address = f"data:image/png;base64,{base64.b64encode(png).decode()}"
    return element("img", src=address, alt=alt, width=width, height=height, loading="lazy")
