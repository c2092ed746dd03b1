"""Selection by difficulty: the training images that networks find hardest or easiest."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal

import torch
import torch.nn.functional as F
from annotated_types import Ge, Gt
from jaxtyping import Float, Int64
from torch import Tensor

from dcbench.families.selection import Selection
from dcbench.images import TrainSet
from dcbench.networks.base import initialise
from dcbench.networks.catalogue import build_network
from dcbench.networks.costs import network_macs, training_macs, widest_activation
from dcbench.run import Run, versioned
from dcbench.training.trainer import Schedule, Trainer, in_chunks

End = Literal["hard", "easy"]
Score = Literal["el2n", "grand"]
Scores = Float[Tensor, " n"] | Int64[Tensor, " n"]


@dataclass(frozen=True)
class DifficultySelection(Selection):
    """Base of the methods that choose the hardest or the easiest images of each class."""

    end: End = "hard"

    protocols = {**Selection.protocols, "two-cores": "quick"}

    @abstractmethod
    def scores(self, train: TrainSet, run: Run) -> Scores:
        """How hard each training image is, on the CPU."""

    def choose(self, train: TrainSet, ipc: int, run: Run) -> Int64[Tensor, " chosen"]:
        return by_difficulty(self.scores(train, run), train, ipc, self.end, run)


@dataclass(frozen=True)
class YoungNetworks(DifficultySelection):
    """Base of EL2N and GraNd: mean scores of networks that are trained on the training set for a
    few epochs.

    Each network is trained once for a data set and seed (``run.once``), for both scores.
    """

    feature_networks: Annotated[int, Ge(1)] = 5
    feature_epochs: Annotated[int, Ge(1)] = 10
    feature_lr: Annotated[float, Gt(0)] = 0.01

    score: ClassVar[Score]
    presets = {
        "quick": {"feature_networks": 2, "feature_epochs": 2},
        "two-cores": {"feature_networks": 5, "feature_epochs": 10},
    }
    tried_with = {"feature_networks": 2}

    def shared_macs(self, train: TrainSet, ipc: int) -> Mapping[str, float]:
        how, each = (self.feature_epochs, self.feature_lr, self.version), self._macs_of_one(train)
        return {f"young network {index} {how}": each for index in range(self.feature_networks)}

    def scores(self, train: TrainSet, run: Run) -> Float[Tensor, " n"]:
        machine = run.machine.decide(self._macs_of_one(train))
        held, shared = train.held_on(machine), replace(run, machine=machine)
        spec = versioned({"epochs": self.feature_epochs, "lr": self.feature_lr}, self.version)

        def build(part: Run) -> dict[str, Tensor]:
            return _scores_of_one(held, Schedule(self.feature_epochs, self.feature_lr), part)

        each = [
            shared.once(f"young-network-{index}", spec, build)[self.score]
            for index in range(self.feature_networks)
        ]
        return torch.stack(each).mean(0)

    def _macs_of_one(self, train: TrainSet) -> float:
        images = len(train)
        per_image = network_macs("convnet", train.spec)
        return training_macs(per_image, images, self.feature_epochs, images)


def _scores_of_one(train: TrainSet, schedule: Schedule, run: Run) -> dict[str, Tensor]:
    network = build_network("convnet", train.spec)
    initialise(network, run.generator("network"))
    Trainer(network, run.machine).train(train.values, train.labels, schedule, run)
    network.eval()

    def seen(images: Tensor) -> Tensor:
        observed = network.observe(images)
        features = observed.features.float()
        return torch.cat([observed.logits.float(), features.square().sum(1, keepdim=True)], 1)

    widest, look = widest_activation(network, train.spec.shape), run.machine.accelerate(seen)
    rows = in_chunks(look, train.values, len(train), run.machine, widest)
    errors = error_norms(rows[:, :-1], train.labels)
    return {"el2n": errors, "grand": gradient_norms(errors, rows[:, -1])}


def error_norms(
    logits: Float[Tensor, "n classes"], labels: Int64[Tensor, " n"]
) -> Float[Tensor, " n"]:
    """EL2N of one network: ‖softmax(z) - y‖₂ of each image (Paul et al., NeurIPS 2021)."""
    wanted = F.one_hot(labels, logits.shape[1]).to(logits)
    norms: Tensor = (logits.softmax(1) - wanted).norm(dim=1)
    return norms


def gradient_norms(
    errors: Float[Tensor, " n"], squared_features: Float[Tensor, " n"]
) -> Float[Tensor, " n"]:
    """GraNd of one network, of the classifier alone: the norm of the gradient of each image's
    cross-entropy in the last layer's weights and biases.

    It is ‖softmax(z) - y‖ · √(‖h‖² + 1), where h are the last features.
    """
    return errors * (squared_features + 1).sqrt()


def by_difficulty(
    scores: Scores, train: TrainSet, ipc: int, end: End, run: Run
) -> Int64[Tensor, " chosen"]:
    """Return the ``ipc`` hardest (highest scores) or easiest images of each class, classes in
    order; equal scores in random order.
    """
    chosen = []
    for label, members in enumerate(train.by_class):
        order = torch.randperm(len(members), generator=run.generator("equals", label))
        shuffled = members[order.to(members.device)]
        ranks = scores[shuffled].argsort(descending=end == "hard", stable=True)
        chosen.append(shuffled[ranks[:ipc]])
    return torch.cat(chosen)
