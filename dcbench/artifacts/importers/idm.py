"""IDM: ``res_*.pt`` as DC's, each image a square of four smaller ones (written with ``--aug``).

Its ``number_sign_augment`` enlarges them bilinearly before networks see them, as is done here.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from dcbench.artifacts.importers import experiments
from dcbench.artifacts.importers.layout import FileLayout, ForeignSet, ImportOptions
from dcbench.artifacts.importers.reading import in_parts

if TYPE_CHECKING:
    from dcbench.images import ImageSpec


def read(path: Path, spec: ImageSpec, options: ImportOptions) -> ForeignSet:
    """The set of one experiment, each image taken apart into four; raises FileFormatError."""
    packed = experiments.read(path, spec, options)
    return replace(in_parts(packed, 2), doubts=packed.doubts)


LAYOUTS = (
    FileLayout(
        "idm",
        "IDM: as dc, four images in one; of a set made without its --aug say dc",
        "normalised",
        read,
        options=frozenset({"experiment"}),
    ),
)
