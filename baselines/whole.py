"""Whole: all the training data, the reference that no budget binds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import torch

from dcbench.distiller import Distiller, register
from dcbench.families.selection import chosen_set
from dcbench.images import SyntheticSet, TrainSet
from dcbench.run import Run


@register("whole", title="Whole")
@final
@dataclass(frozen=True)
class Whole(Distiller):
    """Takes every image of the training set, as a reference; ``ipc`` means nothing to it.

    It is judged by a protocol of its own, with fewer passes.
    """

    budgeted: ClassVar[bool] = False
    own_zca = "off"
    protocols = {"quick": "whole-quick"} | dict.fromkeys(
        ("paper", "lineage", "released", "own"), "whole"
    )

    def distill(self, train: TrainSet, ipc: int, run: Run) -> SyntheticSet:
        return chosen_set(train, torch.arange(len(train)))
