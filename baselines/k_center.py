"""K-Center: cover each class with its chosen images (Sener & Savarese, ICLR 2018)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, final

from annotated_types import Ge, Gt

from dcbench.distiller import register
from dcbench.families.selection import (
    FeatureNetwork,
    Selection,
    chosen_set,
    class_by_class,
    farthest_first,
)
from dcbench.images import SyntheticSet, TrainSet
from dcbench.run import Run


@register("k-center", title="K-Center", paper="sener2018active")
@final
@dataclass(frozen=True)
class KCenter(Selection):
    """Chooses real images that cover their class: no image is far from a chosen one.

    min over chosen sets of max over images of the distance to the nearest chosen one, greedily, per
    class. Distances are between last features of a network trained on the training set.
    """

    feature_epochs: Annotated[int, Ge(1)] = 20
    feature_lr: Annotated[float, Gt(0)] = 0.01

    presets = {"quick": {"feature_epochs": 2}}

    def distill(self, train: TrainSet, ipc: int, run: Run) -> SyntheticSet:
        train.require(ipc)
        features = self._features_by.features(train, run)
        return chosen_set(train, class_by_class(farthest_first, features, train, ipc))

    def cost_macs(self, train: TrainSet, ipc: int) -> float:
        return self._features_by.cost_macs(train)

    def shared_macs(self, train: TrainSet, ipc: int) -> Mapping[str, float]:
        return self._features_by.shared_macs(train)

    @property
    def _features_by(self) -> FeatureNetwork:
        return FeatureNetwork(self.feature_epochs, self.feature_lr, self.version)
