"""k-means: the real images nearest to the centres of their class (Lloyd, 1982)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Literal, final

import torch
from annotated_types import Ge, Gt
from jaxtyping import Int64
from torch import Tensor

from dcbench.distiller import register
from dcbench.families.selection import (
    FeatureNetwork,
    Selection,
    class_by_class,
    nearest_to_centres,
    seed_of,
)
from dcbench.images import TrainSet
from dcbench.run import Run


@register("k-means", title="k-means", paper="lloyd1982least")
@final
@dataclass(frozen=True)
class KMeans(Selection):
    """Chooses the real images nearest to the ``ipc`` centres that k-means finds in each class.

    ``features`` says in which space: the last features of a network trained on the training set, or
    the pixels in the space of the set (whitened with ``--zca``).
    """

    features: Literal["network", "pixels"] = "network"
    feature_epochs: Annotated[int, Ge(1)] = 20
    feature_lr: Annotated[float, Gt(0)] = 0.01

    presets = {"quick": {"feature_epochs": 2}}

    def choose(self, train: TrainSet, ipc: int, run: Run) -> Int64[Tensor, " chosen"]:
        rule = partial(nearest_to_centres, seed=seed_of(run))
        if self.features == "network":
            return class_by_class(rule, self._features_by.features(train, run), train, ipc)
        members = [own[rule(train.values(own).flatten(1), ipc)] for own in train.by_class]
        return torch.cat(members)

    def shared_macs(self, train: TrainSet, ipc: int) -> Mapping[str, float]:
        return self._features_by.shared_macs(train) if self.features == "network" else {}

    @property
    def _features_by(self) -> FeatureNetwork:
        return FeatureNetwork(self.feature_epochs, self.feature_lr, self.version)
