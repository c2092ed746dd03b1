"""Pictures of sets in the page: each once, small; those that find no room are files beside it."""

from __future__ import annotations

import base64
import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from dcbench.records.kinds import OfASet
from dcbench.report.figures.pictures import class_names
from dcbench.report.formatting import set_title
from dcbench.report.selection.sidecar_files import PICTURE_NAME, find_sidecar_file, read_png

MOST_BYTES = 5 * 2**17  # of all pictures of sets inside the page
_QUALITY = 10  # of WebP: what the images show is plain, and a page of sixty sets stays small


@dataclass(frozen=True)
class SetPicture:
    """A picture, or where it is shown already (``place``), or why it is not (``why``)."""

    label: str
    why: str = ""
    kind: str = "quiet"
    place: str = ""
    name: str = ""
    address: str = ""
    width: int = 0
    height: int = 0
    classes: tuple[str, ...] = ()


class PageImages:
    """Embeds the picture of a set where it is first shown, and refers to that place afterwards.

    When ``most_bytes`` are used up, further pictures go to ``beside`` (content by path from the
    page); without it the page says where they are.
    """

    def __init__(
        self, root: Path, most_bytes: int = MOST_BYTES, beside: dict[str, bytes] | None = None
    ) -> None:
        self.root, self.left, self.beside = root, most_bytes, beside
        self._places: dict[Path, str] = {}

    def show(self, record: Path, of: OfASet) -> SetPicture | None:
        """The picture beside ``record``; None if there is none."""
        path = find_sidecar_file(record, PICTURE_NAME, self.root)
        if path is None:
            return None
        if path in self._places:
            return SetPicture(set_title(of), place=self._places[path])
        picture = read_png(path)
        if isinstance(picture, str):
            return SetPicture(set_title(of), f"No picture: {picture}.", "warning")
        content, width, height = webp(picture, _QUALITY)
        address = embedded(content)
        if len(address) <= self.left:
            self.left -= len(address)
        elif self.beside is not None:
            address = f"pictures/{hashlib.sha256(content).hexdigest()[:12]}.webp"
            self.beside[address] = content
        else:
            place = path.relative_to(self.root) if path.is_relative_to(self.root) else path.name
            why = f"No picture: those above it fill the page already; it is in {place}."
            return SetPicture(set_title(of), why)
        name = self._places[path] = f"images-{len(self._places)}"
        classes = class_names(of)
        return SetPicture(
            set_title(of), name=name, address=address, width=width, height=height, classes=classes
        )


def webp(png: bytes, quality: int) -> tuple[bytes, int, int]:
    """A PNG as WebP, with its width and height."""
    image, stream = Image.open(io.BytesIO(png)).convert("RGB"), io.BytesIO()
    image.save(stream, "WEBP", quality=quality, method=6)
    return stream.getvalue(), *image.size


def embedded(content: bytes) -> str:
    """The address of a WebP picture that stands inside the page."""
    return f"data:image/webp;base64,{base64.b64encode(content).decode()}"
