"""IDC: several small images in each stored one, matched by gradients of networks that learn real
images (Kim et al., ICML 2022).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, final

import torch
import torch.nn.functional as F
from annotated_types import Ge, Gt, Le
from jaxtyping import Float
from torch import Tensor

from dcbench.distiller import Distiller, register
from dcbench.images import SyntheticSet, TrainSet, in_parts, stitched
from dcbench.networks.base import initialise
from dcbench.networks.catalogue import PerImageNormalisation, build_network
from dcbench.networks.costs import FIRST_ORDER, SECOND_ORDER, network_macs
from dcbench.run import Run, State
from dcbench.training.augment import colour, crop, cutout
from dcbench.training.mixing import Mix

NETWORK_BATCH = 64


@register("idc", title="IDC", paper="kim2022dataset")
@final
@dataclass(frozen=True)
class IDC(Distiller):
    """Learns images that hold several small ones each, by matching gradients.

    L = Σ_classes Σ_layers ‖∇ℓ(A(real)) - ∇ℓ(A(f(images)))‖² over the convolutions' weights of
    networks that are trained on real images meanwhile. f cuts each stored image into ``factor``²
    parts and enlarges them (multi-formation); A colours, crops and cuts out alike. Networks learn
    by SGD with momentum, coloured, cropped, half of the batches cut and mixed. After the authors'
    code for CIFAR-10, where errors are sums of squares and each class has a step of its own.
    """

    iterations: Annotated[int, Ge(1)] = 2000  # networks drawn one after another
    inner: Annotated[int, Ge(1)] = 100  # steps of the images per network
    factor: Annotated[int, Ge(1), Le(8)] = 2
    lr: Annotated[float, Gt(0)] = 0.005  # of pixels, at ten images per class; in proportion else
    momentum: Annotated[float, Ge(0), Le(1)] = 0.5
    real_batch: Annotated[int, Ge(1)] = 64  # per class and step
    synthetic_batch: Annotated[int, Ge(1)] = 128  # of parts of a class, at most
    network_lr: Annotated[float, Gt(0)] = 0.01
    network_images: Annotated[int, Ge(1)] = (
        2000  # real ones that a network learns between two steps
    )
    network: str = "convnet"
    normalisation: PerImageNormalisation = "instance"

    presets = {
        "quick": {"iterations": 2, "inner": 20, "network_images": 512},
        "two-cores": {"iterations": 10, "inner": 50, "network_images": 512},
    }
    own_zca = "off"
    protocols = {"two-cores": "quick", "own": "idc"}
    tried_with = {"inner": 2, "network_images": 8}

    def refuses(self, train: TrainSet, ipc: int) -> str:
        if train.spec.size % self.factor:
            return (
                f"images of {train.spec.size} pixels cannot hold {self.factor}×{self.factor} parts"
            )
        return ""

    def distill(self, train: TrainSet, ipc: int, run: Run) -> SyntheticSet:
        for images_of_a_class in (ipc, ipc * self.factor**2):
            train.require(images_of_a_class)
        pixels = run.place(first_pixels(train, ipc, self.factor, run)).requires_grad_()
        images = torch.optim.SGD([pixels], lr=self.lr * ipc / 10, momentum=self.momentum)
        matching = _Matching(self, train, run)
        state: State = {
            "images": pixels,
            "optimizer": images,
            "network": matching.network,
            "training": matching.optimizer,
        }
        for step in run.steps(self.image_steps(ipc), state):
            if step % self.inner == 0:
                matching.begin(step // self.inner)
                pixels.detach().clamp_(0, 1)
            total = 0.0
            for label in range(train.spec.classes):
                own = slice(label * ipc, (label + 1) * ipc)
                loss, gradient = matching.loss_and_gradient(pixels.detach()[own], label, step)
                pixels.grad = torch.zeros_like(pixels)
                pixels.grad[own] = gradient
                images.step()
                total += loss
            run.log(step, loss=total)
            matching.learn(step)
        labels = torch.arange(train.spec.classes).repeat_interleave(ipc)
        made = train.space.enter(pixels.detach().cpu()).contiguous()
        recipe = {"factor": self.factor} if self.factor > 1 else {}
        return SyntheticSet(train.spec, made, labels, train.space, recipe)

    def image_steps(self, ipc: int) -> int:
        return self.iterations * self.inner

    def cost_macs(self, train: TrainSet, ipc: int) -> float:
        classes = train.spec.classes
        parts = min(self.synthetic_batch, ipc * self.factor**2)
        matched = classes * (FIRST_ORDER * self.real_batch + SECOND_ORDER * parts)
        per_step = matched + FIRST_ORDER * self.network_images
        per_image = network_macs(self.network, train.spec, self.normalisation)
        return self.image_steps(ipc) * per_step * per_image


def first_pixels(
    train: TrainSet, ipc: int, factor: int, run: Run
) -> Float[Tensor, "n channels size size"]:
    """``factor``² random real images of a class in each image, made small by leaving out pixels."""
    images = []
    for label in range(train.spec.classes):
        members = train.draw(label, ipc * factor**2, run.generator("first", label))
        small = train.images[members].float()[:, :, ::factor, ::factor] / 255
        images.append(stitched(small, factor))
    return torch.cat(images)


def squared_distance(real: Sequence[Tensor], synthetic: Sequence[Tensor]) -> Float[Tensor, ""]:
    """Σ_layers ‖g - g'‖²."""
    return torch.stack([(a - b).square().sum() for a, b in zip(real, synthetic, strict=True)]).sum()


class _Matching:
    """One network after another, in which gradients are matched and which learns real images."""

    def __init__(self, method: IDC, train: TrainSet, run: Run) -> None:
        self.method, self.run = method, run
        self.train = train.held_on(run.machine)
        self.network = build_network(method.network, train.spec, method.normalisation)
        run.machine.place_network(self.network)
        self.weights = [each for each in self.network.parameters() if each.ndim == 4]
        self.optimizer = torch.optim.SGD(
            self.network.parameters(), lr=method.network_lr, momentum=0.9, weight_decay=5e-4
        )
        self.loss = run.machine.accelerate(
            lambda images, labels: F.cross_entropy(self.network(images).float(), labels)
        )

    def begin(self, number: int) -> None:
        """A new network."""
        initialise(self.network, self.run.generator("network", number))
        self.optimizer.state.clear()

    def loss_and_gradient(self, pixels: Tensor, label: int, step: int) -> tuple[float, Tensor]:
        """The distance of a class's gradients and its gradient in the class's stored pixels."""
        generator = self.run.generator("match", step, label)
        drawn = self.train.draw(label, self.method.real_batch, generator)
        leaf = pixels.clone().requires_grad_()
        parts = self.train.space.enter(in_parts(leaf, self.method.factor))
        if len(parts) > self.method.synthetic_batch:
            order = torch.randperm(len(parts), generator=generator)[: self.method.synthetic_batch]
            parts = parts[order.to(parts.device)]
        real = self.run.place(self.train.values(drawn))
        amounts = torch.rand(3, 1, 4, generator=generator)  # shared by all images
        real, parts = (self.run.place(augmented(images, amounts)) for images in (real, parts))
        wanted = torch.autograd.grad(self.loss(real, _constant(label, real)), self.weights)
        own = torch.autograd.grad(
            F.cross_entropy(self.network(parts), _constant(label, parts)),
            self.weights,
            create_graph=True,
        )
        distance = squared_distance(wanted, own)
        (gradient,) = torch.autograd.grad(distance, leaf)
        return float(distance.detach()), gradient

    def learn(self, step: int) -> None:
        """Train the network on ``network_images`` real images, each seen once."""
        generator = self.run.generator("learn", step)
        order = torch.randperm(len(self.train), generator=generator)[: self.method.network_images]
        for indices in order.split(NETWORK_BATCH):
            images = self.run.place(self.train.values(indices.to(self.train.images.device)))
            for operation in (colour, crop):
                images = operation(images, torch.rand(len(images), 4, generator=generator))
            labels = self.run.place(self.train.labels[indices])
            weights = F.one_hot(labels, self.train.spec.classes).float()
            images, weights = Mix("cutmix", share=0.5)(images, weights, generator)
            self.optimizer.zero_grad()
            self.loss(self.run.place(images), weights).backward()
            self.optimizer.step()


def augmented(images: Tensor, amounts: Float[Tensor, "3 rows 4"]) -> Tensor:
    """Coloured, cropped and cut out, in this order."""
    for operation, own in zip((colour, crop, cutout), amounts, strict=True):
        images = operation(images, own)
    return images


def _constant(label: int, images: Tensor) -> Tensor:
    return torch.full((len(images),), label, device=images.device)
