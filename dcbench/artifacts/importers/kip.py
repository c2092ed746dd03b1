"""KIP: ``.npz`` with ``images`` N×H×W×C and ``labels`` centred one-hot; the class is the largest
entry.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from dcbench.artifacts.importers.layout import FileLayout, ForeignSet, ImportOptions
from dcbench.artifacts.importers.reading import channels_first, read_arrays

if TYPE_CHECKING:
    from dcbench.images import ImageSpec

_OWN_SPACE = (
    "KIP's code centres each image, scales it to a norm of one, and then whitens; no space here does that, "
    "so a set that it whitened scores less than was published"
)


def read(path: Path, _spec: ImageSpec, _options: ImportOptions) -> ForeignSet:
    """The set of an ``.npz``; raises FileFormatError."""
    stored = read_arrays(path)
    return replace(stored, images=channels_first(stored, path))


LAYOUTS = (
    FileLayout(
        "kip",
        "KIP: .npz with images N×H×W×C and centred labels",
        "zca",
        read,
        centred=True,
        doubt=_OWN_SPACE,
    ),
)
