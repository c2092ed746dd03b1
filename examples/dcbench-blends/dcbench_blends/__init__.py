"""Blends: each synthetic image is the mean of a few random images of its class."""

from dataclasses import dataclass
from typing import Annotated, final

import torch
from annotated_types import Ge

from dcbench.distiller import Distiller, register
from dcbench.images import SyntheticSet, TrainSet
from dcbench.run import Run


@register("blends")
@final
@dataclass(frozen=True)
class Blends(Distiller):
    """The mean of ``members`` different images."""

    members: Annotated[int, Ge(1)] = 100

    presets = {"quick": {"members": 20}}

    def distill(self, train: TrainSet, ipc: int, run: Run) -> SyntheticSet:
        train.require(ipc)
        images = [
            train.values(
                train.draw(label, self.members, run.generator("members", label, index))
            ).mean(0)
            for label in range(train.spec.classes)
            for index in range(ipc)
        ]
        labels = torch.arange(train.spec.classes).repeat_interleave(ipc)
        return SyntheticSet(train.spec, torch.stack(images), labels, train.space)
