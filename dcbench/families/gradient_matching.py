"""Gradient matching: move synthetic images until they give the same gradients as real images.

The loop of DC (Zhao et al., ICLR 2021, Algorithm 1) and DSA (Zhao & Bilen, ICML 2021). A network is
drawn, and by turns the images take a step and the network is trained on them; then comes the next
network. Classes are matched one at a time, each with a backward pass of its own, so that the graph
of second order never holds more than one class's synthetic images. That graph is float32 and eager
in every precision and engine (it is built with ``create_graph``); the gradient of the real images,
nearly all of the work, is of first order and follows the machine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
import torch.nn.functional as F
from annotated_types import Ge, Gt, Le
from jaxtyping import Float
from torch import Tensor

from dcbench.distiller import Distiller, by_budget
from dcbench.families.selection import Initialisation, first_images, start_macs
from dcbench.images import SyntheticSet, TrainSet
from dcbench.networks.base import initialise
from dcbench.networks.catalogue import PerImageNormalisation, build_network
from dcbench.networks.costs import FIRST_ORDER, SECOND_ORDER, network_macs, widest_activation
from dcbench.run import Run, State
from dcbench.training.augment import Draw, DSAAugmentation
from dcbench.training.trainer import Schedule, Trainer

Gradient = Sequence[Tensor]  # one tensor per layer

# Outer steps per network and inner epochs between two of them, by IPC: the DC code's.
LOOPS: Mapping[int, tuple[int, int]] = {
    1: (1, 1),
    10: (10, 50),
    20: (20, 25),
    30: (30, 20),
    40: (40, 15),
    50: (50, 10),
}
# added to the cosine's denominator, as in the DC code: avoids division by zero
_EPSILON = 1e-6


def node_distance(
    real: Float[Tensor, "nodes ..."], synthetic: Float[Tensor, "nodes ..."]
) -> Float[Tensor, ""]:
    """d(A, B) = Σ_i (1 - A_i·B_i / ‖A_i‖‖B_i‖) over the output nodes i of one layer (DC, section
    3.3).
    """
    A, B = real.flatten(1), synthetic.flatten(1)
    cosine = (A * B).sum(1) / (A.norm(dim=1) * B.norm(dim=1) + _EPSILON)
    distance: Tensor = (1 - cosine).sum()
    return distance


def gradient_distance(real: Gradient, synthetic: Gradient) -> Float[Tensor, ""]:
    """D = Σ_layers d(∇ on real, ∇ on synthetic)."""
    return torch.stack([node_distance(A, B) for A, B in zip(real, synthetic, strict=True)]).sum()


@dataclass(frozen=True)
class GradientMatching(Distiller):
    """Base of DC and DSA: match the gradients of real and synthetic images along a training.

    Minimises the sum over classes of D(∇_θ ℓ(real), ∇_θ ℓ(synthetic)), where ℓ is the cross-entropy
    and θ are random networks that are trained on the synthetic images.
    """

    iterations: Annotated[int, Ge(1)] = 1000  # networks drawn one after another
    # steps on the images per network; none: by IPC, as published
    outer: Annotated[int | None, Ge(1)] = None
    # epochs of the network between two such steps; none: by IPC, as published
    inner: Annotated[int | None, Ge(1)] = None
    lr: Annotated[float, Gt(0)] = 0.1  # learning rate of the images
    momentum: Annotated[float, Ge(0), Le(1)] = 0.5
    network_lr: Annotated[float, Gt(0)] = 0.01
    real_batch: Annotated[int, Ge(1)] = 256  # real images per class and step
    init: Initialisation = "random"
    network: str = "convnet"
    normalisation: PerImageNormalisation = "instance"

    augments: ClassVar[bool] = False  # whether real and synthetic images are augmented alike
    tried_with = {"outer": 2, "inner": 1}

    def distill(self, train: TrainSet, ipc: int, run: Run) -> SyntheticSet:
        train.require(ipc)
        outer, inner = self.loops(ipc)
        images = run.place(first_images(self.init, train, ipc, run)).requires_grad_()
        labels = torch.arange(train.spec.classes).repeat_interleave(ipc)
        optimizer = torch.optim.SGD([images], lr=self.lr, momentum=self.momentum)
        matching = MatchedNetwork(self, train, run)
        state: State = {"images": images, "optimizer": optimizer, "network": matching.network}
        for step in run.steps(self.image_steps(ipc), state):
            if step % outer == 0:
                initialise(matching.network, run.generator("network", step // outer))
            loss, images.grad = matching.loss_and_gradient(images.detach(), step)
            optimizer.step()
            run.log(step, loss=loss)
            if (step + 1) % outer:
                matching.train_network(images.detach(), labels, inner, step)
        return SyntheticSet(train.spec, images.detach().cpu().contiguous(), labels, train.space)

    def loops(self, ipc: int) -> tuple[int, int]:
        """Return the numbers of outer steps per network and of inner epochs between two of them."""
        outer, inner = by_budget(LOOPS, ipc)
        return self.outer or outer, self.inner or inner

    def image_steps(self, ipc: int) -> int:
        return self.iterations * self.loops(ipc)[0]

    def cost_macs(self, train: TrainSet, ipc: int) -> float:
        outer, inner = self.loops(ipc)
        synthetic = ipc * train.spec.classes
        real = sum(min(self.real_batch, len(members)) for members in train.by_class)
        per_network = (
            outer * (FIRST_ORDER * real + SECOND_ORDER * synthetic)
            + (outer - 1) * inner * FIRST_ORDER * synthetic
        )
        network = network_macs(self.network, train.spec, self.normalisation)
        choosing = sum(self.shared_macs(train, ipc).values())
        return choosing + self.iterations * per_network * network

    def shared_macs(self, train: TrainSet, ipc: int) -> Mapping[str, float]:
        return start_macs(self.init, train)


class MatchedNetwork:
    """The network of one distillation, whose gradients are compared."""

    def __init__(self, method: GradientMatching, train: TrainSet, run: Run) -> None:
        self.method, self.run = method, run
        self.train = train.held_on(run.machine)
        self.dsa = DSAAugmentation(flips=train.spec.flips) if method.augments else None
        network = build_network(method.network, train.spec, method.normalisation)
        self.network = network
        self.trainer = Trainer(network, run.machine)
        # Weights with an output node to their first index; biases and the scales of a normalisation
        # have no direction per node.
        self.weights = [parameter for parameter in network.parameters() if parameter.ndim > 1]
        self.chunk = run.machine.chunk(widest_activation(network, train.spec.shape))
        self._first_order_loss = run.machine.accelerate(
            lambda images, labels: F.cross_entropy(network(images).float(), labels)
        )

    def loss_and_gradient(self, images: Tensor, step: int) -> tuple[float, Tensor]:
        """Return the matching loss over all classes, and its gradient in ``images`` (ordered by
        class).
        """
        total = 0.0
        gradients: list[Tensor] = []
        for label, part in enumerate(images.split(len(images) // self.train.spec.classes)):
            draw = self.dsa.draw(self.run.generator("dsa", step, label)) if self.dsa else None
            leaf = part.clone().requires_grad_()
            real = self._real(label, draw, step)
            distance = gradient_distance(real, self._synthetic(leaf, label, draw))
            gradients.extend(torch.autograd.grad(distance, leaf))
            total += float(distance.detach())
        return total, torch.cat(gradients)

    def _real(self, label: int, draw: Draw | None, step: int) -> Gradient:
        """Return the gradient of the mean loss of a batch of real images, summed over chunks."""
        generator = self.run.generator("real", step, label)
        indices = self.train.draw(label, self.method.real_batch, generator)
        images = self._augmented(self.run.place(self.train.values(indices)), draw)
        chunks = []
        for part in images.split(self.chunk):
            loss = self._first_order_loss(self.run.place(part), _constant(label, part))
            loss = loss * (len(part) / len(images))
            chunks.append(torch.autograd.grad(loss, self.weights))
        return [torch.stack(layer).sum(0) for layer in zip(*chunks, strict=True)]

    def _synthetic(self, images: Tensor, label: int, draw: Draw | None) -> Gradient:
        """Return the gradient of the mean loss of synthetic images, differentiable in them."""
        augmented = self._augmented(images, draw)
        loss = F.cross_entropy(self.network(self.run.place(augmented)), _constant(label, images))
        return torch.autograd.grad(loss, self.weights, create_graph=True)

    def _augmented(self, images: Tensor, draw: Draw | None) -> Tensor:
        return images if self.dsa is None or draw is None else self.dsa.apply(images, draw)

    def train_network(self, images: Tensor, labels: Tensor, epochs: int, step: int) -> None:
        """Train the network from its present weights on the synthetic images by plain SGD,
        augmented if the method augments.
        """
        schedule = Schedule(epochs, self.method.network_lr, momentum=0.0, weight_decay=0.0)
        part = self.run.quiet_part(f"train {step}")

        def values(chosen: Tensor) -> Tensor:
            return images[chosen.to(images.device)]

        self.trainer.train(values, labels, schedule, part, self.dsa)


def _constant(label: int, images: Tensor) -> Tensor:
    return torch.full((len(images),), label, device=images.device)
