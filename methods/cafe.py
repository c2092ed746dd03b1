"""CAFE: align features layer by layer, and let synthetic class centres classify real images (Wang
et al., CVPR 2022).

Written from the paper. What its text leaves open follows the published settings: the weights of the
layers (0.1 before the last block), β with L_d summed over the real images, and the query images,
which are drawn anew for every measurement. Their code aligns the last features twice, as the last
block's output and flattened, so it weighs them 2; here a layer counts once. The paper's two loops
end by themselves only; here each also has a cap, so that a network whose accuracy has settled
cannot hold them for ever.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, final

import torch
import torch.nn.functional as F
from annotated_types import Ge, Gt, Le
from jaxtyping import Float, Int64
from torch import Tensor

from dcbench.distiller import Distiller, JudgedBy, register
from dcbench.families.selection import Initialisation, first_images, start_macs
from dcbench.images import SyntheticSet, TrainSet
from dcbench.networks.base import initialise
from dcbench.networks.catalogue import PerImageNormalisation, build_network
from dcbench.networks.costs import network_macs, widest_activation
from dcbench.run import Run
from dcbench.training.augment import DSAAugmentation
from dcbench.training.trainer import Schedule, Trainer

# one row per class, one tensor per layer; the last layer's are the class centres
Means = Sequence[Float[Tensor, "classes _"]]


def alignment_loss(real: Means, synthetic: Means, weights: Sequence[float]) -> Float[Tensor, ""]:
    """L_f = Σ_layers w_l Σ_classes ‖mean f_l(real) - mean f_l(synthetic)‖² (section 3.2)."""
    return torch.stack(
        [w * (r - s).square().sum() for w, r, s in zip(weights, real, synthetic, strict=True)]
    ).sum()


def discrimination_loss(
    features: Float[Tensor, "n d"], centres: Float[Tensor, "classes d"], labels: Int64[Tensor, " n"]
) -> Float[Tensor, ""]:
    """L_d = -Σ_i log softmax(⟨f_i, centres⟩)[y_i]: synthetic centres classify the last features of
    real images (section 3.3).
    """
    return F.cross_entropy(features @ centres.T, labels, reduction="sum")


def spread(accuracies: Sequence[float], window: int) -> float | None:
    """Largest minus smallest of the latest ``window`` accuracies; None until there are so many."""
    latest = accuracies[-window:]
    return max(latest) - min(latest) if len(latest) == window else None


@register("cafe", title="CAFE", paper="wang2022cafe")
@final
@dataclass(frozen=True)
class CAFE(Distiller):
    """Aligns features layer by layer and lets synthetic class centres classify real images.

    L = L_f + β L_d, on networks trained on the synthetic set. Both loops last as long as the
    accuracy on real images says.
    """

    iterations: Annotated[int, Ge(1)] = 2000  # networks drawn one after another
    lr: Annotated[float, Gt(0)] = 0.1  # initial learning rate of the images
    momentum: Annotated[float, Ge(0), Le(1)] = 0.5
    network_lr: Annotated[float, Gt(0)] = 0.01
    real_batch: Annotated[int, Ge(1)] = 256  # real images per class and step
    discrimination: Annotated[float, Ge(0)] = 0.01  # β
    early_weight: Annotated[float, Ge(0)] = 0.1  # w_l of the layers before the last block
    query: Annotated[int, Ge(1)] = 128  # real images per class that an accuracy is measured on
    window: Annotated[int, Ge(2)] = 10  # length of the window of accuracies
    # λ_1: the outer loop ends when accuracies differ by less
    settled: Annotated[float, Gt(0)] = 0.04
    moved: Annotated[float, Ge(0)] = 0.03  # λ_2: the inner loop ends when accuracies differ by more
    most_outer: Annotated[int, Ge(1)] = 50
    most_inner: Annotated[int, Ge(1)] = 50
    siamese: bool = False  # the paper's CAFE+DSA
    init: Initialisation = "noise"
    network: str = "convnet"
    normalisation: PerImageNormalisation = "instance"

    presets = {
        "quick": {
            "iterations": 50,
            "real_batch": 64,
            "query": 16,
            "window": 3,
            "most_outer": 10,
            "most_inner": 5,
        }
    }
    # 600 epochs (range(601)); with ``siamese`` the paper judges as DSA does: --protocol lineage
    own_zca = "off"
    protocols = {"own": JudgedBy("lineage", augment="none", epochs=601)}
    tried_with = {"query": 4, "most_outer": 2, "most_inner": 2}

    def distill(self, train: TrainSet, ipc: int, run: Run) -> SyntheticSet:
        train.require(ipc)
        images = run.place(first_images(self.init, train, ipc, run)).requires_grad_()
        labels = torch.arange(train.spec.classes).repeat_interleave(ipc)
        optimizer = torch.optim.SGD([images], lr=self.lr, momentum=self.momentum)
        aligned = AlignedNetwork(self, train, labels, run)
        for step in run.steps(self.iterations, {"images": images, "optimizer": optimizer}):
            optimizer.param_groups[0]["lr"] = self.image_lr(step)
            initialise(aligned.network, run.generator("network", step))
            loss, turns = aligned.update(images, optimizer, step)
            run.log(step, loss=loss, outer=float(turns))
        return SyntheticSet(train.spec, images.detach().cpu().contiguous(), labels, train.space)

    def image_lr(self, step: int) -> float:
        """Return the learning rate of the images at ``step``: of 2,000 steps, halved at 1,200,
        1,600 and 1,800.
        """
        halvings = sum(step >= share * self.iterations for share in (0.6, 0.8, 0.9))
        return self.lr * 0.5**halvings

    def cost_macs(self, train: TrainSet, ipc: int) -> float:
        """Estimate multiply-accumulates for loops that end as observed: the outer one after twice
        the window, the inner one an epoch late.
        """
        classes, turns = train.spec.classes, min(2 * self.window, self.most_outer)
        epochs = min(self.window + 1, self.most_inner)
        matching = classes * (min(self.real_batch, len(train)) + 4 * ipc + self.query)
        per_network = turns * (matching + epochs * classes * (3 * ipc + self.query))
        network = network_macs(self.network, train.spec, self.normalisation)
        choosing = sum(self.shared_macs(train, ipc).values())
        return choosing + self.iterations * per_network * network

    def shared_macs(self, train: TrainSet, ipc: int) -> Mapping[str, float]:
        return start_macs(self.init, train)


class AlignedNetwork:
    """The network of one distillation, whose features are aligned."""

    def __init__(self, method: CAFE, train: TrainSet, labels: Tensor, run: Run) -> None:
        self.method, self.labels, self.run = method, labels, run
        self.train = train.held_on(run.machine)
        self.dsa = DSAAugmentation(flips=train.spec.flips)
        network = build_network(method.network, train.spec, method.normalisation)
        self.network = network
        self.trainer = Trainer(network, run.machine)
        self.chunk = run.machine.chunk(widest_activation(network, train.spec.shape))

        def sums(images: Tensor) -> tuple[Tensor, ...]:
            """What each layer sees, summed over the images; then the last features of each
            image.
            """
            seen = network.observe(images)
            # Channels last, as they lie in memory: their order does not matter here, and to change
            # it costs as much as the network.
            layers = (layer.movedim(1, -1).flatten(1) for layer in (*seen.taps, seen.features))
            return (*(layer.float().sum(0) for layer in layers), seen.features.float())

        self._sums = run.machine.accelerate(sums)

    def update(self, images: Tensor, optimizer: torch.optim.SGD, step: int) -> tuple[float, int]:
        """The outer loop on one network: take a step on the images, then train the network, until
        its accuracy settles (section 3.4).
        """
        accuracies: list[float] = []
        while True:
            turn = len(accuracies)
            loss, images.grad = self.loss_and_gradient(images.detach(), step, turn)
            optimizer.step()
            accuracies.append(self._query_accuracy(step, turn))
            change = spread(accuracies, self.method.window)
            settled = change is not None and change < self.method.settled
            if settled or len(accuracies) == self.method.most_outer:
                return loss, len(accuracies)
            self._train_network(images.detach(), step, turn)

    def _train_network(self, images: Tensor, step: int, turn: int) -> None:
        """The inner loop: train for epochs on the synthetic images until the accuracy on real ones
        has changed.
        """
        schedule = Schedule(epochs=1, lr=self.method.network_lr, momentum=0.0, weight_decay=0.0)
        accuracies: list[float] = []

        def values(chosen: Tensor) -> Tensor:
            return images[chosen.to(images.device)]

        for epoch in range(self.method.most_inner):
            part = self.run.quiet_part(f"train {step} {turn} {epoch}")
            augment = self.dsa if self.method.siamese else None
            self.trainer.train(values, self.labels, schedule, part, augment)
            accuracies.append(self._query_accuracy(step, turn, epoch))
            change = spread(accuracies, self.method.window)
            if change is not None and change > self.method.moved:
                break

    def _query_accuracy(self, *names: int) -> float:
        classes = range(self.train.spec.classes)
        drawn = [
            self.train.draw(label, self.method.query, self.run.generator("query", *names, label))
            for label in classes
        ]
        query = torch.cat(drawn)
        predicted = self.trainer.predict(self.train.values(query))
        return float((predicted == self.train.labels[query]).double().mean())

    def loss_and_gradient(self, images: Tensor, step: int, turn: int) -> tuple[float, Tensor]:
        """Return L and its gradient in ``images`` (classes in order). Synthetic means come first,
        then one class at a time, to bound memory.
        """
        ipc = len(images) // self.train.spec.classes
        with torch.no_grad():
            # their names must not keep the images and features alive
            synthetic = self._class_means(
                [part for part, _ in self._augmented(images, ipc, step, turn)]
            )[0]
            real, features, labels = self._real(step, turn)
        leaves = [mean.requires_grad_() for mean in synthetic]
        weights = [self.method.early_weight] * (len(leaves) - 2) + [1.0, 1.0]
        loss = alignment_loss(real, leaves, weights)
        loss = loss + self.method.discrimination * discrimination_loss(features, leaves[-1], labels)
        pulls = torch.autograd.grad(loss, leaves)
        gradients: list[Tensor] = []
        for label, (augmented, leaf) in enumerate(self._augmented(images, ipc, step, turn)):
            *sums, _ = self._sums(self.run.place(augmented))
            gradients.extend(torch.autograd.grad(sums, leaf, [pull[label] / ipc for pull in pulls]))
        return float(loss.detach()), torch.cat(gradients)

    def _augmented(
        self, images: Tensor, ipc: int, step: int, turn: int
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Return each class's images, augmented if the method augments, and the leaf tensor that
        they depend on.
        """
        for label, part in enumerate(images.split(ipc)):
            leaf = part.clone().requires_grad_()
            yield self._augment(leaf, label, step, turn), leaf

    def _augment(self, images: Tensor, label: int, step: int, turn: int) -> Tensor:
        if not self.method.siamese:
            return images
        draw = self.dsa.draw(self.run.generator("dsa", step, turn, label))
        return self.dsa.apply(images, draw)

    def _real(self, step: int, turn: int) -> tuple[list[Tensor], Tensor, Tensor]:
        """Return class means per layer, last features and labels of a batch of real images."""
        batch = []
        for label in range(self.train.spec.classes):
            generator = self.run.generator("real", step, turn, label)
            indices = self.train.draw(label, self.method.real_batch, generator)
            images = self.run.place(self.train.values(indices))
            batch.append(self._augment(images, label, step, turn))
        means, features = self._class_means(batch)
        counts = torch.tensor([len(part) for part in batch])
        labels = torch.arange(len(batch)).repeat_interleave(counts)
        return means, features, labels.to(features.device)

    def _class_means(self, batch: Sequence[Tensor]) -> tuple[list[Tensor], Tensor]:
        """Return for each layer one row per class, and the last features of all images; computed in
        chunks, class by class.
        """
        rows: list[list[Tensor]] = []
        features: list[Tensor] = []
        for images in batch:
            parts = map(self.run.place, images.split(self.chunk))
            *sums, seen = zip(*map(self._sums, parts), strict=True)
            rows.append([torch.stack(of_chunks).sum(0) / len(images) for of_chunks in sums])
            features.extend(seen)
        return [torch.stack(layer) for layer in zip(*rows, strict=True)], torch.cat(features)
