"""Choosing among real images: the features to choose by, K-Center's rule, and the images that
learned sets start from.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Literal

import torch
from annotated_types import Ge, Gt
from jaxtyping import Float, Int64
from torch import Tensor

from dcbench.images import SyntheticSet, TrainSet
from dcbench.networks.base import weights_of
from dcbench.networks.catalogue import build_network
from dcbench.networks.costs import network_macs, training_macs, widest_activation
from dcbench.run import Run, versioned
from dcbench.system.fields import check_fields
from dcbench.training.trainer import Schedule, in_chunks, train_network

Initialisation = Literal["random", "k-center", "noise"]


@dataclass(frozen=True)
class FeatureNetwork:
    """The network, trained on the whole training set, whose last features selection methods measure
    distances in.
    """

    epochs: Annotated[int, Ge(1)] = 20
    lr: Annotated[float, Gt(0)] = 0.01
    # of the method that chooses by it; what learned sets start from is chosen by this one, raised
    # by hand
    version: Annotated[int, Ge(1)] = 1

    def __post_init__(self) -> None:
        check_fields(self, "feature network")

    def cost_macs(self, train: TrainSet) -> float:
        """Multiply-accumulates of training it and of one look at every image."""
        images = len(train)
        return training_macs(network_macs("convnet", train.spec), images, self.epochs, images)

    def shared_macs(self, train: TrainSet) -> dict[str, float]:
        """``cost_macs`` by what identifies this network."""
        return {str(self): self.cost_macs(train)}

    def features(self, train: TrainSet, run: Run) -> Float[Tensor, "n d"]:
        """The features of every training image, on the CPU. Trained once per dataset and seed
        (``run.once``).
        """
        network = build_network("convnet", train.spec)
        machine = run.machine.decide(self.cost_macs(train))
        train = train.held_on(machine)

        def build(part: Run) -> dict[str, Tensor]:
            schedule = Schedule(epochs=self.epochs, lr=self.lr, batch=256)
            train_network(network, train.values, train.labels, schedule, part)
            return weights_of(network)

        spec = versioned({"epochs": self.epochs, "lr": self.lr}, self.version)
        network.load_state_dict(replace(run, machine=machine).once("feature-network", spec, build))
        machine.place_network(network)
        network.eval()
        observe = machine.accelerate(lambda images: network.observe(images).features)
        return in_chunks(
            observe, train.values, len(train), machine, widest_activation(network, train.spec.shape)
        )


def farthest_first(features: Float[Tensor, "n d"], count: int) -> Int64[Tensor, " count"]:
    """K-Center's greedy rule: from the point nearest the mean, repeatedly the point farthest from
    all chosen ones.

    Sener & Savarese (ICLR 2018); per class and from the mean as in DC's baselines. Ties go to the
    lower index.
    """
    points = features.double()
    chosen = [int((points - points.mean(0)).square().sum(1).argmin())]
    nearest = (points - points[chosen[0]]).square().sum(1)
    while len(chosen) < count:
        # never again, not even where all that is left are its duplicates
        nearest[chosen[-1]] = -1.0
        chosen.append(int(nearest.argmax()))
        nearest = torch.minimum(nearest, (points - points[chosen[-1]]).square().sum(1))
    return torch.tensor(chosen)


def random_members(train: TrainSet, ipc: int, run: Run) -> Int64[Tensor, " n"]:
    """``ipc`` random images of each class, classes in order."""
    return torch.cat(
        [
            train.draw(label, ipc, run.generator("random", label))
            for label in range(train.spec.classes)
        ]
    )


def k_center_members(
    train: TrainSet, ipc: int, run: Run, by: FeatureNetwork
) -> Int64[Tensor, " n"]:
    """``ipc`` images of each class that cover it in the features of ``by``, classes in order."""
    features = by.features(train, run)
    return torch.cat(
        [members[farthest_first(features[members], ipc)] for members in train.by_class]
    )


def first_images(
    init: Initialisation, train: TrainSet, ipc: int, run: Run
) -> Float[Tensor, "n channels size size"]:
    """What a learned set starts from: real images, K-Center's choice of them, or Gaussian noise."""
    if init == "noise":
        return torch.randn(
            ipc * train.spec.classes, *train.spec.shape, generator=run.generator("noise")
        )
    members = (
        random_members(train, ipc, run)
        if init == "random"
        else k_center_members(train, ipc, run, FeatureNetwork())
    )
    return train.values(members).clone()


def chosen_set(train: TrainSet, members: Int64[Tensor, " n"]) -> SyntheticSet:
    """The real images of these indices as a set."""
    return SyntheticSet(
        train.spec, train.values(members).clone(), train.labels[members].clone(), train.space
    )
