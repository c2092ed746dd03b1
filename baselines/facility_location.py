"""Facility location: images that are near to all others of their class (the greedy rule of CRAIG,
Mirzasoleiman et al., ICML 2020).
"""

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
    most_representative,
)
from dcbench.images import SyntheticSet, TrainSet
from dcbench.run import Run


@register("facility-location", title="Facility location", paper="mirzasoleiman2020coresets")
@final
@dataclass(frozen=True)
class FacilityLocation(Selection):
    """Chooses real images that are near to all others of their class.

    max over chosen sets S of Σ_i max_{j in S} s(i, j), greedily, per class. The similarity s is the
    largest distance in the class minus the distance, in last features of a network trained on the
    training set. CRAIG itself measures it between gradients and gives the chosen images weights;
    ours have none.
    """

    feature_epochs: Annotated[int, Ge(1)] = 20
    feature_lr: Annotated[float, Gt(0)] = 0.01

    presets = {"quick": {"feature_epochs": 2}, "two-cores": {"feature_epochs": 20}}
    protocols = {**Selection.protocols, "two-cores": "quick"}

    def distill(self, train: TrainSet, ipc: int, run: Run) -> SyntheticSet:
        train.require(ipc)
        features = self._features_by.features(train, run)
        return chosen_set(train, class_by_class(most_representative, features, train, ipc))

    def cost_macs(self, train: TrainSet, ipc: int) -> float:
        return self._features_by.cost_macs(train)

    def shared_macs(self, train: TrainSet, ipc: int) -> Mapping[str, float]:
        return self._features_by.shared_macs(train)

    @property
    def _features_by(self) -> FeatureNetwork:
        return FeatureNetwork(self.feature_epochs, self.feature_lr, self.version)
