"""Random: real images drawn at random, the least that any method must beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from dcbench.distiller import register
from dcbench.families.selection import Selection, chosen_set, random_members
from dcbench.images import SyntheticSet, TrainSet
from dcbench.run import Run


@register("random", title="Random")
@final
@dataclass(frozen=True)
class RandomSubset(Selection):
    """Draws ``ipc`` different real images of each class, uniformly."""

    def distill(self, train: TrainSet, ipc: int, run: Run) -> SyntheticSet:
        train.require(ipc)
        return chosen_set(train, random_members(train, ipc, run))
