"""The declaration of a layout, and what it reads from a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from torch import Tensor

    from dcbench.images import ImageSpec

# Where the values of a foreign set live. pixels: in [0, 1], to be normalised; raw: in [0, 1], to be
# trained on as they are; zca: whitened after normalisation, as DataDAM's code does; zca-pixels:
# without, as MTT's does.
ValueSpace = Literal["pixels", "raw", "normalised", "zca", "zca-pixels"]
VALUE_SPACES: tuple[ValueSpace, ...] = ("pixels", "raw", "normalised", "zca", "zca-pixels")
SPACE_WORDS = ("auto", *VALUE_SPACES)  # auto: what the layout's sets usually are


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
    """What the user says about a foreign set, besides its space."""

    experiment: int | None = None  # which of the sets of a file with several; its last if None
    by_position: bool = False  # class folders are in the order of labels, whatever they are called
    resize: bool = False  # image files of other sizes are resized


Reader = Callable[[Path, "ImageSpec", ImportOptions], ForeignSet]


@dataclass(frozen=True)
class FileLayout:
    """A layout: the form in which a project publishes its sets."""

    name: str
    title: str
    space: ValueSpace  # where its values usually live
    read: Reader  # what is read is of the images that are wanted; raises FileFormatError
    options: frozenset[str] = frozenset()  # the fields of ImportOptions that it obeys
    # by the file's name and the number of channels, where the usual space is not always the same
    space_of: Callable[[Path, int], ValueSpace] | None = None
    factor: int = 1  # each image is a square of factor×factor smaller ones
    centred: bool = False  # its labels are rows less 1/classes
    doubt: str = ""  # of every set in this layout

    def usual_space(self, path: Path, channels: int) -> ValueSpace:
        """The space that sets of this layout usually live in, for the file ``path``."""
        return self.space if self.space_of is None else self.space_of(path, channels)


def reader(read: Callable[[Path], ForeignSet]) -> Reader:
    """A reader of files that hold one set, whatever is wanted."""
    return lambda path, _spec, _options: read(path)
