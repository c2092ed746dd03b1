"""FRePo: ``.npz`` with ``image`` N×H×W×C and ``label``, learned and centred as KIP's."""

from __future__ import annotations

from pathlib import Path

from dcbench.artifacts.importers import kip
from dcbench.artifacts.importers.layout import FileLayout, ValueSpace

_OWN_SPACE = (
    "FRePo's code regularises its whitening in its own way, and that of 128×128 images in blocks; no space here does that, "
    "so a set that it whitened scores less than was published"
)


def usual_space(_path: Path, channels: int) -> ValueSpace:
    """Grey images are normalised and not whitened."""
    return "normalised" if channels == 1 else "zca"


LAYOUTS = (
    FileLayout(
        "frepo",
        "FRePo: .npz with image N×H×W×C and centred label",
        "zca",
        kip.read,
        space_of=usual_space,
        centred=True,
        doubt=_OWN_SPACE,
    ),
)
