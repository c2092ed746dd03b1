"""The declaration of a layout, and the content that it reads from a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from torch import Tensor

    from dcbench.images import ImageSpec

# The space of a foreign set's values. pixels: in [0, 1], to be normalised; raw: in [0, 1], to be
# trained on as they are; zca: whitened after normalisation, as DataDAM's code does; zca-pixels:
# whitened without normalisation, as MTT's does.
ValueSpace = Literal["pixels", "raw", "normalised", "zca", "zca-pixels"]
VALUE_SPACES: tuple[ValueSpace, ...] = ("pixels", "raw", "normalised", "zca", "zca-pixels")
SPACE_WORDS = ("auto", *VALUE_SPACES)  # auto: the layout's usual space
CLASS_ORDERS = ("by-name", "by-position")  # how class folders get labels


@dataclass(frozen=True)
class ForeignSet:
    """The content of a foreign file, before it is checked and interpreted."""

    images: Tensor  # N×C×H×W, or N×H×W×C
    labels: Tensor  # N, or N×K
    recipe: Mapping[str, Any] = field(default_factory=dict)
    doubts: tuple[str, ...] = ()
    notes: Mapping[str, Any] = field(default_factory=dict)  # for the artifact's provenance


@dataclass(frozen=True)
class ImportOptions:
    """The user's options about a foreign set, besides its space."""

    experiment: int | None = None  # which set of a file with several; None: the last
    by_position: bool = False  # class folders are in the order of labels, whatever their names
    resize: bool = False  # resize image files of other sizes


Reader = Callable[[Path, "ImageSpec", ImportOptions], ForeignSet]


@dataclass(frozen=True)
class FileLayout:
    """A layout: the file format in which a project publishes its sets."""

    name: str
    title: str
    space: ValueSpace  # the space that its values usually are in
    read: Reader  # what is read is of the images that are wanted; raises FileFormatError
    options: frozenset[str] = frozenset()  # the fields of ImportOptions that it supports
    # the usual space by file name and number of channels, if that varies
    space_of: Callable[[Path, int], ValueSpace] | None = None
    factor: int = 1  # each image is a square of factor×factor smaller ones
    centred: bool = False  # its labels are rows minus 1/classes
    doubt: str = ""  # warnings about every set in this layout

    def usual_space(self, path: Path, channels: int) -> ValueSpace:
        """Return the space that sets of this layout usually are in, for the file ``path``."""
        return self.space if self.space_of is None else self.space_of(path, channels)


def reader(read: Callable[[Path], ForeignSet]) -> Reader:
    """Make a reader for files that hold exactly one set."""
    return lambda path, _spec, _options: read(path)
