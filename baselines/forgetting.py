"""Forgetting: the images that a network forgets most often while it learns (Toneva et al., ICLR
2019).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, final

import torch
from annotated_types import Ge, Gt
from jaxtyping import Int64
from torch import Tensor

from dcbench.distiller import register
from dcbench.families.difficulty import DifficultySelection
from dcbench.images import TrainSet
from dcbench.networks.base import initialise
from dcbench.networks.catalogue import build_network
from dcbench.networks.costs import network_macs, training_macs
from dcbench.run import Run, versioned
from dcbench.training.trainer import Schedule, Trainer


@register("forgetting", title="Forgetting", paper="toneva2019empirical")
@final
@dataclass(frozen=True)
class Forgetting(DifficultySelection):
    """Chooses the real images that a network forgets most often while it learns.

    Of each class those that go most often from right to wrong between epochs of one training; one
    that is never right counts as forgotten more often than any. ``end="easy"``: those that are
    forgotten least. The paper looks at an image when its batch comes, ours at all of them after
    each epoch; it trains for 200 epochs, ours for 30 unless asked otherwise.
    """

    feature_epochs: Annotated[int, Ge(1)] = 30
    feature_lr: Annotated[float, Gt(0)] = 0.01

    presets = {
        "paper": {"feature_epochs": 200},
        "quick": {"feature_epochs": 5},
        "two-cores": {"feature_epochs": 30},
    }

    def scores(self, train: TrainSet, run: Run) -> Int64[Tensor, " n"]:
        """How often each training image is forgotten; the number of epochs if never learned."""
        machine = run.machine.decide(self.cost_macs(train, 1))
        held, epochs = train.held_on(machine), self.feature_epochs

        def build(part: Run) -> dict[str, Tensor]:
            network = build_network("convnet", train.spec)
            initialise(network, part.generator("network"))
            trainer = Trainer(network, machine)
            state = torch.zeros(3, len(train), dtype=torch.int64)
            before, learned, forgotten = state  # right last, ever right, forgotten: views of it
            trainer.kept["forgetting"] = state
            schedule = Schedule(epochs, self.feature_lr)
            for _ in trainer.epochs(held.values, held.labels, schedule, part):
                network.eval()
                right = trainer.logits_of(held.values, len(held)).argmax(1) == train.labels
                network.train()
                forgotten += (before == 1) & ~right
                before.copy_(right)
                learned |= before
            return {"events": torch.where(learned == 1, forgotten, epochs)}

        shared = replace(run, machine=machine)
        spec = versioned({"epochs": epochs, "lr": self.feature_lr}, self.version)
        events: Tensor = shared.once("forgetting", spec, build)["events"]
        return events

    def shared_macs(self, train: TrainSet, ipc: int) -> Mapping[str, float]:
        images, epochs = len(train), self.feature_epochs
        per_image = network_macs("convnet", train.spec)
        macs = training_macs(per_image, images, epochs, images * epochs)
        return {f"forgetting {(epochs, self.feature_lr, self.version)}": macs}
