"""Random: real images drawn at random, the least that any method must beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from jaxtyping import Int64
from torch import Tensor

from dcbench.distiller import register
from dcbench.families.selection import Selection, random_members
from dcbench.images import TrainSet
from dcbench.run import Run


@register("random", title="Random")
@final
@dataclass(frozen=True)
class RandomSubset(Selection):
    """Draws ``ipc`` different real images of each class, uniformly."""

    def choose(self, train: TrainSet, ipc: int, run: Run) -> Int64[Tensor, " chosen"]:
        return random_members(train, ipc, run)
