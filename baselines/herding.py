"""Herding: chosen images whose mean follows their class's mean (Welling, ICML 2009; as a coreset,
Rebuffi et al., CVPR 2017).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, final

from annotated_types import Ge, Gt

from dcbench.distiller import register
from dcbench.families.selection import FeatureNetwork, Selection, chosen_set, class_by_class, herd
from dcbench.images import SyntheticSet, TrainSet
from dcbench.run import Run


@register("herding", title="Herding", paper="welling2009herding")
@final
@dataclass(frozen=True)
class Herding(Selection):
    """Chooses real images whose mean features follow the mean of their class.

    Each choice minimises ‖mean of the class - mean of the chosen‖ in last features of a network
    trained on the training set.
    """

    feature_epochs: Annotated[int, Ge(1)] = 20
    feature_lr: Annotated[float, Gt(0)] = 0.01

    presets = {"quick": {"feature_epochs": 2}}

    def distill(self, train: TrainSet, ipc: int, run: Run) -> SyntheticSet:
        train.require(ipc)
        features = self._features_by.features(train, run)
        return chosen_set(train, class_by_class(herd, features, train, ipc))

    def cost_macs(self, train: TrainSet, ipc: int) -> float:
        return self._features_by.cost_macs(train)

    def shared_macs(self, train: TrainSet, ipc: int) -> Mapping[str, float]:
        return self._features_by.shared_macs(train)

    @property
    def _features_by(self) -> FeatureNetwork:
        return FeatureNetwork(self.feature_epochs, self.feature_lr, self.version)
