"""DC, DSA, DM, IDM: ``{"data": [[images, labels], …]}``, a pair for each experiment.

The last experiment is used, as in DC-BENCH, unless the user chooses another. IDM, run with its
``--aug``, packs four smaller images into each and enlarges them bilinearly to train on them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from dcbench.artifacts.importers.layout import FileLayout, ForeignSet, ImportOptions
from dcbench.artifacts.importers.reading import keys_of, pair, read_tensors
from dcbench.system.errors import FileFormatError

if TYPE_CHECKING:
    from dcbench.images import ImageSpec


def read(path: Path, _spec: ImageSpec, options: ImportOptions) -> ForeignSet:
    """Read the set of one experiment. Raises FileFormatError."""
    import torch

    value = read_tensors(path)
    data = value.get("data") if isinstance(value, Mapping) else None
    if not isinstance(data, Sequence) or not data:
        named = isinstance(value, Mapping)
        got = f"one with {keys_of(value)}" if named else type(value).__name__
        raise FileFormatError(f"{path}: wanted a dict with a list called data, got {got}")
    pairs = [data] if isinstance(data[0], torch.Tensor) else data
    which, last = options.experiment, len(pairs) - 1
    if which is not None and not 0 <= which <= last:
        raise FileFormatError(
            f"{path} holds {len(pairs)} experiments, 0 to {last}; got --experiment {which}"
        )
    one = pair(pairs[last if which is None else which], path)
    doubt = (f"holds {len(pairs)} experiments, the last is read; --experiment 0 to {last} chooses",)
    return replace(one, doubts=doubt) if which is None and last else one


_CHOSEN = frozenset({"experiment"})
LAYOUTS = (
    FileLayout(
        "dc", "DC, DSA: a dict with a list of [images, labels]", "normalised", read, _CHOSEN
    ),
    FileLayout("dm", "DM: the same", "normalised", read, _CHOSEN),
    FileLayout(
        "idm",
        "IDM: the same, four images in one (without its --aug: as dc)",
        "normalised",
        read,
        _CHOSEN,
        factor=2,
    ),
)
