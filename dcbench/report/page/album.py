"""The pictures of a page: each file once, and no more of them than a browser bears."""

from __future__ import annotations

import base64
from pathlib import Path

from dcbench.report.page.markup import Markup, element
from dcbench.report.selection.sidecar_files import PICTURE_NAME, find_beside, read_png, size_of

MOST_BYTES = 64 * 2**20  # of all pictures together


class Album:
    """Shows the picture of a set where it is first asked for, and from then on points there."""

    def __init__(self, root: Path, most_bytes: int = MOST_BYTES) -> None:
        self.root = root
        self.left = most_bytes
        self._places: dict[Path, str] = {}

    def show(self, record: Path, label: str) -> Markup | None:
        """The picture beside ``record``, a link to where it stands already, or why it is not shown;
        nothing where there is none.
        """
        path = find_beside(record, PICTURE_NAME, self.root)
        if path is None:
            return None
        if path in self._places:
            return element(
                "p",
                element(
                    "a", f"Its images are shown further up: {label}", href=f"#{self._places[path]}"
                ),
                class_="quiet",
            )
        picture = read_png(path)
        if isinstance(picture, str):
            return element("p", f"No picture: {picture}.", class_="warning")
        if len(picture) > self.left:
            return element(
                "p",
                f"No picture: those above it fill the page already; it is in {self._named(path)}.",
                class_="quiet",
            )
        self.left -= len(picture)
        self._places[path] = f"images-{len(self._places)}"
        image = embedded(picture, f"Images of {label}, a class in each row")
        return element(
            "figure",
            image,
            element("figcaption", "A class in each row"),
            id=self._places[path],
            class_="images",
        )

    def _named(self, path: Path) -> str:
        return str(path.relative_to(self.root)) if path.is_relative_to(self.root) else path.name


def embedded(png: bytes, alt: str) -> Markup:
    """A picture that is part of the page; ``alt`` says what it shows."""
    width, height = size_of(png)
    address = f"data:image/png;base64,{base64.b64encode(png).decode()}"
    return element("img", src=address, alt=alt, width=width, height=height, loading="lazy")
