"""The search spaces by name."""

from __future__ import annotations

from dcbench.nas.convnet720 import ConvNet720
from dcbench.nas.nasbench201 import NASBench201
from dcbench.nas.space import SearchSpace
from dcbench.system.errors import require_known

SPACES: dict[str, SearchSpace] = {space.name: space for space in (ConvNet720(), NASBench201())}


def find_space(name: str) -> SearchSpace:
    """Return the space called ``name``. Raises UnknownNameError."""
    require_known("search space", name, SPACES)
    return SPACES[name]
