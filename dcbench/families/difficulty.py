"""How hard each training image is: EL2N and GraNd scores of young networks, and how often one is
forgotten; and the hardest or easiest of each class.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from annotated_types import Ge, Gt
from jaxtyping import Float, Int64
from torch import Tensor

from dcbench.images import TrainSet
from dcbench.networks.base import initialise
from dcbench.networks.catalogue import build_network
from dcbench.networks.costs import network_macs, training_macs, widest_activation
from dcbench.run import Run, versioned
from dcbench.system.fields import check_fields
from dcbench.training.trainer import Schedule, Trainer, in_chunks

End = Literal["hard", "easy"]
Score = Literal["el2n", "grand"]


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


@dataclass(frozen=True)
class YoungNetworks:
    """Networks trained on the whole training set for few epochs, whose mean scores say how hard
    each image is.
    """

    count: Annotated[int, Ge(1)] = 5
    epochs: Annotated[int, Ge(1)] = 10
    lr: Annotated[float, Gt(0)] = 0.01
    version: Annotated[int, Ge(1)] = 1

    def __post_init__(self) -> None:
        check_fields(self, "young networks")

    def shared_macs(self, train: TrainSet) -> dict[str, float]:
        """Multiply-accumulates of each network by what identifies it."""
        images = len(train)
        each = training_macs(network_macs("convnet", train.spec), images, self.epochs, images)
        return {f"{replace(self, count=1)} {index}": each for index in range(self.count)}

    def scores(self, train: TrainSet, run: Run, score: Score) -> Float[Tensor, " n"]:
        """The mean score of every training image over the networks, on the CPU. Each network is
        trained once per data set and seed (``run.once``), for both scores.
        """
        machine = run.machine.decide(next(iter(self.shared_macs(train).values())))
        held, spec = train.held_on(machine), {"epochs": self.epochs, "lr": self.lr}

        def build(part: Run) -> dict[str, Tensor]:
            return _scores_of_one(held, self, part)

        each = [
            replace(run, machine=machine).once(
                f"young-network-{index}", versioned(spec, self.version), build
            )
            for index in range(self.count)
        ]
        return torch.stack([scores[score] for scores in each]).mean(0)


def _scores_of_one(train: TrainSet, how: YoungNetworks, run: Run) -> dict[str, Tensor]:
    network = build_network("convnet", train.spec)
    initialise(network, run.generator("network"))
    schedule = Schedule(epochs=how.epochs, lr=how.lr)
    Trainer(network, run.machine).train(train.values, train.labels, schedule, run)
    network.eval()

    def seen(images: Tensor) -> Tensor:
        observed = network.observe(images)
        features = observed.features.float()
        return torch.cat([observed.logits.float(), features.square().sum(1, keepdim=True)], 1)

    rows = in_chunks(
        run.machine.accelerate(seen),
        train.values,
        len(train),
        run.machine,
        widest_activation(network, train.spec.shape),
    )
    errors = error_norms(rows[:, :-1], train.labels)
    return {"el2n": errors, "grand": gradient_norms(errors, rows[:, -1])}


@dataclass(frozen=True)
class ForgettingNetwork:
    """A network trained on the whole training set, and how often it forgets each image meanwhile
    (Toneva et al., ICLR 2019).

    An image is forgotten where it is right after one epoch and wrong after the next. One that is
    never right counts as forgotten more often than any. (The paper looks at an image when its batch
    comes, ours at all of them after each epoch.)
    """

    epochs: Annotated[int, Ge(1)] = 30
    lr: Annotated[float, Gt(0)] = 0.01
    version: Annotated[int, Ge(1)] = 1

    def __post_init__(self) -> None:
        check_fields(self, "forgetting network")

    def cost_macs(self, train: TrainSet) -> float:
        """Multiply-accumulates of training it and of a look at every image after each epoch."""
        images = len(train)
        per_image = network_macs("convnet", train.spec)
        return training_macs(per_image, images, self.epochs, images * self.epochs)

    def shared_macs(self, train: TrainSet) -> Mapping[str, float]:
        """``cost_macs`` by what identifies this network."""
        return {str(self): self.cost_macs(train)}

    def events(self, train: TrainSet, run: Run) -> Int64[Tensor, " n"]:
        """How often each training image is forgotten; ``epochs`` for those never learned."""
        machine = run.machine.decide(self.cost_macs(train))
        held, spec = train.held_on(machine), {"epochs": self.epochs, "lr": self.lr}

        def build(part: Run) -> dict[str, Tensor]:
            network = build_network("convnet", train.spec)
            initialise(network, part.generator("network"))
            trainer = Trainer(network, machine)
            state = torch.zeros(
                3, len(train), dtype=torch.int64
            )  # right last, ever right, forgotten
            trainer.kept["forgetting"] = state
            schedule = Schedule(epochs=self.epochs, lr=self.lr)
            for _ in trainer.epochs(held.values, held.labels, schedule, part):
                network.eval()
                right = trainer.logits_of(held.values, len(held)).argmax(1) == train.labels
                network.train()
                state[2] += (state[0] == 1) & ~right
                state[0] = right.long()
                state[1] |= state[0]
            return {"events": torch.where(state[1] == 1, state[2], self.epochs)}

        shared = replace(run, machine=machine)
        events: Tensor = shared.once("forgetting", versioned(spec, self.version), build)["events"]
        return events


def by_difficulty(
    scores: Float[Tensor, " n"] | Int64[Tensor, " n"], train: TrainSet, ipc: int, end: End, run: Run
) -> Int64[Tensor, " chosen"]:
    """The ``ipc`` hardest (highest scores) or easiest images of each class, classes in order; equal
    scores in random order.
    """
    chosen = []
    for label, members in enumerate(train.by_class):
        order = torch.randperm(len(members), generator=run.generator("equals", label))
        shuffled = members[order.to(members.device)]
        ranks = scores[shuffled].argsort(descending=end == "hard", stable=True)
        chosen.append(shuffled[ranks[:ipc]])
    return torch.cat(chosen)
