"""Forgetting: the images that a network forgets most often while it learns (Toneva et al., ICLR
2019).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, final

from annotated_types import Ge, Gt

from dcbench.distiller import register
from dcbench.families.difficulty import End, ForgettingNetwork, by_difficulty
from dcbench.families.selection import Selection, chosen_set
from dcbench.images import SyntheticSet, TrainSet
from dcbench.run import Run


@register("forgetting", title="Forgetting", paper="toneva2019empirical")
@final
@dataclass(frozen=True)
class Forgetting(Selection):
    """Chooses the real images that a network forgets most often while it learns.

    Of each class those that go most often from right to wrong between epochs of one training;
    ``end="easy"``: those that are never forgotten. The paper trains for 200 epochs; ours takes 30
    unless asked otherwise.
    """

    end: End = "hard"
    feature_epochs: Annotated[int, Ge(1)] = 30
    feature_lr: Annotated[float, Gt(0)] = 0.01

    presets = {
        "paper": {"feature_epochs": 200},
        "quick": {"feature_epochs": 5},
        "two-cores": {"feature_epochs": 30},
    }
    protocols = {**Selection.protocols, "two-cores": "quick"}

    def distill(self, train: TrainSet, ipc: int, run: Run) -> SyntheticSet:
        train.require(ipc)
        events = self._network.events(train, run)
        return chosen_set(train, by_difficulty(events, train, ipc, self.end, run))

    def cost_macs(self, train: TrainSet, ipc: int) -> float:
        return self._network.cost_macs(train)

    def shared_macs(self, train: TrainSet, ipc: int) -> Mapping[str, float]:
        return self._network.shared_macs(train)

    @property
    def _network(self) -> ForgettingNetwork:
        return ForgettingNetwork(self.feature_epochs, self.feature_lr, self.version)
