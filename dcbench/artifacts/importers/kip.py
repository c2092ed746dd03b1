"""KIP and FRePo: ``.npz`` with images N×H×W×C and labels that are centred one-hot or learned.

KIP's arrays are called ``images`` and ``labels``, FRePo's ``image`` and ``label``.
"""

from __future__ import annotations

from pathlib import Path

from dcbench.artifacts.importers.layout import FileLayout, ValueSpace, reader
from dcbench.artifacts.importers.reading import read_arrays

_LESS = "no space here does that, so a set that it whitened scores less than was published"
_KIP = f"KIP's code centres each image, scales it to a norm of one, and then whitens; {_LESS}"
_FREPO = (
    "FRePo's code regularises its whitening in its own way, and whitens 128×128 images in blocks; "
    f"{_LESS}"
)


def frepo_space(_path: Path, channels: int) -> ValueSpace:
    """Return FRePo's space: it does not whiten grey images."""
    return "normalised" if channels == 1 else "zca"


LAYOUTS = (
    FileLayout(
        "kip",
        "KIP: .npz with images N×H×W×C and centred labels",
        "zca",
        reader(read_arrays),
        centred=True,
        doubt=_KIP,
    ),
    FileLayout(
        "frepo",
        "FRePo: .npz with image N×H×W×C and centred label",
        "zca",
        reader(read_arrays),
        space_of=frepo_space,
        centred=True,
        doubt=_FREPO,
    ),
)
