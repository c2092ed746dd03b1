"""Train several networks of one architecture side by side: their weights are rows of stacked
tensors (torch.func.vmap).

On a GPU, a batch of ten small images leaves most of the device idle; side by side, the networks
share each kernel launch. On a CPU this was measured to be slower than one network after another, so
there only tests use it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import functional_call, vmap

from dcbench.networks.base import Network, initialise
from dcbench.run import Run
from dcbench.system.machine import Machine
from dcbench.training.augment import Augmentation
from dcbench.training.supervision import PLAIN, Labels, Supervision
from dcbench.training.trainer import Schedule, ValuesOf, batches, decayed, optimizer_for


@final
class Ensemble:
    """``count`` networks of the architecture of ``network``, trained side by side.

    ``network`` itself holds the weights that ``show`` put there last.
    """

    def __init__(
        self, network: Network, machine: Machine, count: int, supervision: Supervision = PLAIN
    ) -> None:
        self.network, self.machine, self.count = network, machine, count
        self.supervision = supervision
        machine.place_network(network)
        self.weights = {
            name: torch.stack([value.detach()] * count).requires_grad_()
            for name, value in network.named_parameters()
        }
        self.buffers = {
            name: torch.stack([value] * count) for name, value in network.named_buffers()
        }

        def loss(
            weights: dict[str, Tensor], buffers: dict[str, Tensor], images: Tensor, target: Tensor
        ) -> Tensor:
            logits = functional_call(network, (weights, buffers), (images,)).float()
            return supervision.loss(logits, target)

        self._losses = machine.accelerate(vmap(loss))

    def train(
        self,
        values: ValuesOf,
        labels: Labels,
        schedule: Schedule,
        runs: Sequence[Run],
        augment: Augmentation | None = None,
    ) -> list[float]:
        """Initialise and train all networks, each as a ``Trainer`` would with its own one of
        ``runs``.

        The result equals training them one after another, except for rounding. The first run shows
        progress and is asked whether to stop.

        Returns:
            The mean losses of the last epoch.
        """
        self._initialise(runs)
        self.network.train()
        labels = runs[0].place(labels)
        optimizer = optimizer_for(self.weights.values(), schedule)
        losses = torch.zeros(self.count)
        for epoch in runs[0].steps(schedule.epochs, {}, "train"):
            decayed(optimizer, schedule, epoch)
            losses = self._epoch(values, labels, schedule.batch, optimizer, (runs, augment, epoch))
        return losses.tolist()

    def show(self, row: int) -> Network:
        """Copy the weights and buffers of network number ``row`` into ``network`` and return it."""
        with torch.no_grad():
            for name, value in (*self.network.named_parameters(), *self.network.named_buffers()):
                value.copy_((self.weights | self.buffers)[name][row])
        return self.network

    @torch.no_grad()
    def _initialise(self, runs: Sequence[Run]) -> None:
        for row, run in enumerate(runs):
            initialise(self.network, run.generator("network"))
            for name, value in (*self.network.named_parameters(), *self.network.named_buffers()):
                (self.weights | self.buffers)[name][row].copy_(value)

    def _epoch(
        self,
        values: ValuesOf,
        labels: Tensor,
        batch: int,
        optimizer: torch.optim.Optimizer,
        drawing: tuple[Sequence[Run], Augmentation | None, int],
    ) -> Float[Tensor, " networks"]:
        runs, augment, epoch = drawing
        total = torch.zeros(self.count, device=labels.device)
        generators = [run.generator("epoch", epoch) for run in runs]
        orders = [torch.randperm(len(labels), generator=generator) for generator in generators]
        each = [
            batches(order, batch, values, augment, generator)
            for order, generator in zip(orders, generators, strict=True)
        ]
        for drawn in zip(*each, strict=True):
            # to the device in one piece
            chosen = labels[torch.stack([indices for indices, _ in drawn]).to(labels.device)]
            asked = [
                self.supervision(self.machine.place(images), own, generator)
                for (_, images), own, generator in zip(drawn, chosen, generators, strict=True)
            ]
            images, targets = (torch.stack(parts) for parts in zip(*asked, strict=True))
            optimizer.zero_grad()
            losses = self._losses(self.weights, self.buffers, images, targets)
            losses.sum().backward()
            optimizer.step()
            total += losses.detach() * chosen.shape[1]
        return total / len(labels)
