"""GraNd: the images whose loss has the largest gradient in young networks (Paul et al., NeurIPS
2021).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, final

from annotated_types import Ge, Gt

from dcbench.distiller import register
from dcbench.families.difficulty import End, YoungNetworks, by_difficulty
from dcbench.families.selection import Selection, chosen_set
from dcbench.images import SyntheticSet, TrainSet
from dcbench.run import Run


@register("grand", title="GraNd", paper="paul2021deep")
@final
@dataclass(frozen=True)
class GraNd(Selection):
    """Chooses the real images whose loss has the largest gradient in young networks.

    Of each class those of the largest E‖∇ℓ‖₂ over networks of few epochs; ``end="easy"``: of the
    smallest. The gradient is that in the classifier's weights and biases. The paper takes all
    weights, and networks that were not trained at all.
    """

    end: End = "hard"
    feature_networks: Annotated[int, Ge(1)] = 5
    feature_epochs: Annotated[int, Ge(1)] = 10
    feature_lr: Annotated[float, Gt(0)] = 0.01

    presets = {
        "quick": {"feature_networks": 2, "feature_epochs": 2},
        "two-cores": {"feature_networks": 5, "feature_epochs": 10},
    }
    protocols = {**Selection.protocols, "two-cores": "quick"}
    tried_with = {"feature_networks": 2}

    def distill(self, train: TrainSet, ipc: int, run: Run) -> SyntheticSet:
        train.require(ipc)
        scores = self._networks.scores(train, run, "grand")
        return chosen_set(train, by_difficulty(scores, train, ipc, self.end, run))

    def cost_macs(self, train: TrainSet, ipc: int) -> float:
        return sum(self.shared_macs(train, ipc).values())

    def shared_macs(self, train: TrainSet, ipc: int) -> Mapping[str, float]:
        return self._networks.shared_macs(train)

    @property
    def _networks(self) -> YoungNetworks:
        return YoungNetworks(
            self.feature_networks, self.feature_epochs, self.feature_lr, self.version
        )
