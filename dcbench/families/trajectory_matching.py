"""Training trajectories of networks on real images, recorded once and shared (the experts of
Cazenavette et al., CVPR 2022).

Distillations of one seed and data share those that are as long; another number of them shares the
ones that both have.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from dcbench.images import TrainSet
from dcbench.networks.base import Network, initialise
from dcbench.networks.catalogue import build_network
from dcbench.networks.convnet import Normalisation
from dcbench.run import Run, versioned
from dcbench.training.augment import DSAAugmentation
from dcbench.training.trainer import Schedule, Trainer

# of trajectories that stay in memory; more are read from disk when they are drawn
KEPT_BYTES = 1 << 30


@runtime_checkable
class Starts(Protocol):
    """What a budget's setting says of the experts."""

    @property
    def max_start_epoch(self) -> int: ...


@runtime_checkable
class Recorded(Protocol):
    """What a method says of the trajectories it wants."""

    @property
    def version(self) -> int: ...
    @property
    def experts(self) -> int: ...
    @property
    def expert_epochs(self) -> int: ...
    @property
    def expert_lr(self) -> float: ...
    @property
    def expert_images(self) -> int | None: ...
    @property
    def network(self) -> str: ...
    @property
    def normalisation(self) -> Normalisation: ...
    def setting(self, ipc: int) -> Starts: ...
    def snapshots(self, ipc: int) -> int: ...
    def expert_macs(self, train: TrainSet, ipc: int) -> float: ...


def recorded_by(method: Recorded, ipc: int) -> dict[str, Any]:
    """What of ``method`` an expert's trajectory depends on."""
    spec = {
        "epochs": method.snapshots(ipc) - 1,
        "lr": method.expert_lr,
        "images": method.expert_images,
        "network": method.network,
        "normalisation": method.normalisation,
    }
    return versioned(spec, method.version)


class Experts:
    """The experts' trajectories, each recorded once and shared."""

    def __init__(self, method: Recorded, train: TrainSet, ipc: int, run: Run) -> None:
        # of one, which knows no others
        machine = run.machine.decide(method.expert_macs(train, ipc))
        self.method, self.run = method, replace(run, machine=machine)
        self.train = train.held_on(machine)
        self.recorded_by = recorded_by(method, ipc)
        self.max_start, self.epochs = method.setting(ipc).max_start_epoch, method.snapshots(ipc) - 1
        network = build_network(method.network, train.spec, method.normalisation)
        self.trainer = Trainer(network, machine)
        weights = sum(parameter.numel() for parameter in self.trainer.network.parameters())
        # of all trajectories, in bytes
        self.size = method.experts * method.snapshots(ipc) * 4 * weights
        self.kept: dict[int, Tensor] = {}
        for index in range(method.experts):
            recorded = self._record(index)
            if run.shared is None or self.size <= KEPT_BYTES:
                self.kept[index] = recorded["weights"]

    def draw(self, step: int) -> tuple[Float[Tensor, " p"], Float[Tensor, " p"]]:
        """θ*_t and θ*_{t+M} of a random expert and epoch t ≤ T+."""
        generator = self.run.generator("expert", step)
        index = int(torch.randint(self.method.experts, (1,), generator=generator))
        t = int(torch.randint(self.max_start + 1, (1,), generator=generator))
        weights = self.kept[index] if index in self.kept else self._record(index)["weights"]
        return self.run.place(weights[t]), self.run.place(weights[t + self.method.expert_epochs])

    def _record(self, index: int) -> dict[str, Any]:
        """An expert's ``weights`` after 0, 1, … epochs, a row each."""
        name = f"mtt-expert-{index}"
        return self.run.once(name, self.recorded_by, lambda part: self._train(index, part))

    def _train(self, index: int, part: Run) -> dict[str, Any]:
        network, train = self.trainer.network, self.train
        initialise(network, part.generator("network"))
        weights = flat_weights(network).repeat(self.epochs + 1, 1)
        schedule = Schedule(epochs=1, lr=self.method.expert_lr, momentum=0.0, weight_decay=0.0)
        which = f"expert {index + 1} of {self.method.experts}"
        size = f"{self.size / 1e6:.0f} MB"
        name = f"{which}, {size} of weights in all"
        for epoch in part.steps(self.epochs, {"network": network, "weights": weights}, name):
            order = torch.randperm(len(train), generator=part.generator("images", epoch))
            drawn = order[: self.method.expert_images]
            quiet = part.quiet_part(f"epoch {epoch}")
            values = partial(_chosen_values, train, drawn)
            dsa = DSAAugmentation(train.spec.flips)
            self.trainer.train(values, train.labels[drawn], schedule, quiet, dsa)
            weights[epoch + 1] = flat_weights(network)
        return {"weights": weights}


def _chosen_values(train: TrainSet, drawn: Tensor, chosen: Tensor) -> Tensor:
    return train.values(drawn[chosen])


def flat_weights(network: Network) -> Float[Tensor, " p"]:
    """All parameters in a row, on the CPU."""
    return torch.cat([parameter.detach().flatten() for parameter in network.parameters()]).cpu()


def trajectory_distance(
    arrived: Float[Tensor, " p"], start: Float[Tensor, " p"], target: Float[Tensor, " p"]
) -> Float[Tensor, ""]:
    """‖θ̂_{t+N} - θ*_{t+M}‖² / ‖θ*_t - θ*_{t+M}‖²."""
    return (arrived - target).square().sum() / (start - target).square().sum()
