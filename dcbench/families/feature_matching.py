"""Feature matching: optimise synthetic images until random networks compute the same features for
them as for real ones.

Each step draws a fresh network, a batch of real images for each class and one siamese augmentation
for each class, and takes one step of SGD on the images. A method defines the features
(``describe``) and the distance between two class means (``discrepancy``).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import Annotated, Any, ClassVar

import torch
from annotated_types import Ge, Gt, Le
from jaxtyping import Float
from torch import Tensor

from dcbench.distiller import Distiller
from dcbench.families.selection import Initialisation, first_images, start_macs
from dcbench.images import SyntheticSet, TrainSet
from dcbench.networks.base import Network, initialise
from dcbench.networks.catalogue import build_network
from dcbench.networks.convnet import Normalisation
from dcbench.networks.costs import FIRST_ORDER, network_macs, widest_activation
from dcbench.run import Run, State
from dcbench.system.errors import DeviceError
from dcbench.system.wording import counted
from dcbench.training.augment import Draw, DSAAugmentation
from dcbench.training.trainer import filled_up

Descriptions = tuple[Float[Tensor, "n _"], ...]  # one row per image and description
Means = Sequence[Float[Tensor, "classes _"]]  # one row per class and description

GROUP_IMAGES = 4096  # most real images, of all classes, in one pass
# most values of these images, which larger images reach sooner
GROUP_VALUES = GROUP_IMAGES * 3 * 32 * 32


LOGGED = ("loss", "relative_step")  # of each step; read from the device at once


def relative_change(before: Tensor, after: Tensor) -> Float[Tensor, ""]:
    """‖after - before‖ / ‖before‖, in float64: what a step does where a network does not see the
    images' scale.

    Without momentum it is lr · ‖gradient‖ / ‖images‖.
    """
    old = before.double()
    change: Tensor = (after.double() - old).norm() / old.norm().clamp_min(1e-12)
    return change


@dataclass(frozen=True)
class FeatureMatching(Distiller):
    """Base of the methods that match class means of features of real and synthetic images.

    Minimises, over the images, the sum over classes of a distance between mean descriptions.
    """

    iterations: Annotated[int, Ge(1)] = 8000
    # learning rate of the images; none: 1 up to IPC 50 and 10 above (Table 2)
    lr: Annotated[float | None, Gt(0), Le(10)] = None
    momentum: Annotated[float, Ge(0), Le(1)] = 0.5
    real_batch: Annotated[int, Ge(1)] = 256  # real images per class and step
    init: Initialisation = "random"
    network: str = "convnet"
    normalisation: Normalisation = "instance"
    scale: Annotated[float, Gt(0)] = 1.0  # factor before the loss

    # False: ``describe`` uses the images themselves, and no network is drawn
    observes: ClassVar[bool] = True

    @abstractmethod
    def describe(
        self, images: Float[Tensor, "n channels size size"], network: Network
    ) -> Descriptions:
        """Compute the features of images, a row for each: these are compared between real and
        synthetic images.
        """

    @abstractmethod
    def discrepancy(self, real: Means, synthetic: Means) -> Float[Tensor, ""]:
        """Return the distance between class means, summed over the given classes.

        It may be called with a few classes at a time.
        """

    def distill(self, train: TrainSet, ipc: int, run: Run) -> SyntheticSet:
        train.require(ipc)
        images = run.place(first_images(self.init, train, ipc, run)).requires_grad_()
        optimizer = torch.optim.SGD([images], lr=self.image_lr(ipc), momentum=self.momentum)
        matching = MatchingStep(self, train, ipc, run)
        state: State = {"images": images, "optimizer": optimizer, "matching": matching}
        for step in run.steps(self.iterations, state):
            optimizer.zero_grad()
            loss, before = matching.accumulate_gradient(images, step), images.detach().clone()
            optimizer.step()
            figures = torch.stack([loss.double(), relative_change(before, images.detach())])
            run.log(step, **dict(zip(LOGGED, figures.tolist(), strict=True)))
        labels = torch.arange(train.spec.classes).repeat_interleave(ipc)
        return SyntheticSet(train.spec, images.detach().cpu().contiguous(), labels, train.space)

    def image_lr(self, ipc: int) -> float:
        """Return the learning rate of the images: Table 2's rule unless ``lr`` is given."""
        return self.lr if self.lr is not None else (1.0 if ipc <= 50 else 10.0)

    def cost_macs(self, train: TrainSet, ipc: int) -> float:
        choosing = sum(self.shared_macs(train, ipc).values())
        if not self.observes:
            return choosing
        network = network_macs(self.network, train.spec, self.normalisation)
        real = sum(min(self.real_batch, len(members)) for members in train.by_class)
        per_step = real + FIRST_ORDER * ipc * train.spec.classes
        return choosing + self.iterations * per_step * network

    def shared_macs(self, train: TrainSet, ipc: int) -> Mapping[str, float]:
        return start_macs(self.init, train)


class MatchingStep:
    """The state of one distillation's steps: network, compiled description, batches."""

    def __init__(self, method: FeatureMatching, train: TrainSet, ipc: int, run: Run) -> None:
        self.method, self.ipc, self.run = method, ipc, run
        self.halvings = 0  # how often pieces were halved because memory ran out
        self.train = train.held_on(run.machine)
        self.dsa = DSAAugmentation(flips=train.spec.flips)
        self.network = build_network(method.network, train.spec, method.normalisation)
        self.network.requires_grad_(False)
        run.machine.place_network(self.network)

        def describe(images: Tensor) -> Descriptions:
            return method.describe(images, self.network)

        self.describe = run.machine.accelerate(describe) if method.observes else describe

    @property
    def chunk(self) -> int:
        """Return how many images are described at a time."""
        return max(1, self._roomy_chunk >> self.halvings)

    @cached_property
    def _roomy_chunk(self) -> int:
        return self.run.machine.chunk(widest_activation(self.network, self.train.spec.shape))

    @property
    def groups(self) -> list[range]:
        """Split the classes into groups whose synthetic images fit a chunk.

        With BatchNorm there is one group: a batch is exactly what the method defines.
        """
        classes = self.train.spec.classes
        if self.network.mixes_images:
            return [range(classes)]
        images = min(GROUP_IMAGES, GROUP_VALUES // self.train.images[0].numel()) >> self.halvings
        most = max(1, min(classes, self.chunk // self.ipc, images // self.method.real_batch))
        # equal groups: one shape to compile
        size = next(size for size in range(most, 0, -1) if classes % size == 0)
        return [range(start, start + size) for start in range(0, classes, size)]

    def accumulate_gradient(self, images: Tensor, step: int) -> Float[Tensor, ""]:
        """Add the loss's gradient to ``images.grad``; return the loss without a graph.

        If memory runs out, the step is repeated with the same random draws and smaller pieces. The
        pieces stay small, and the run warns. Raises DeviceError if the pieces cannot be made
        smaller.
        """
        before = None if images.grad is None else images.grad.clone()
        cut = self.halvings
        while True:
            try:
                loss = self._accumulate(images, step)
                break
            except RuntimeError as error:
                if not self.run.machine.ran_out_of_memory(error):
                    raise
                self._handle_less(step, " ".join(str(error).split())[:120])
            images.grad = before if before is None else before.clone()
            # after the failed attempt's traceback, which holds its tensors, is gone
            self.run.machine.free()
        if self.halvings > cut:
            at_a_time = (
                f"{self.chunk} images and {len(self.groups[0])} of {self.train.spec.classes} "
                "classes at a time"
            )
            self.run.warn(
                f"out of memory in step {step + 1}: went on with {at_a_time}, the same sum rounded "
                "in another order"
            )
        return loss

    def _handle_less(self, step: int, reason: str) -> None:
        """Halve the pieces; raise DeviceError if they cannot be made smaller."""
        if self.network.mixes_images:
            raise DeviceError(
                f"out of memory in step {step + 1} ({reason}): with BatchNorm a batch is what the "
                "method says and is not cut; "
                "choose a smaller --ipc, real_batch or a device with more memory"
            )
        if self.chunk == 1 and len(self.groups) == self.train.spec.classes:
            raise DeviceError(
                f"out of memory in step {step + 1} with one real image at a time and "
                f"{counted(self.ipc, 'synthetic one')} of a class "
                f"({reason}); choose a smaller --ipc or a device with more memory"
            )
        self.halvings += 1

    def state_dict(self) -> dict[str, Any]:
        """Return the sizes of the pieces, so that a resumed run uses the same."""
        return {"halvings": self.halvings}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """The inverse of ``state_dict``."""
        self.halvings = int(state_dict["halvings"])

    def _accumulate(self, images: Tensor, step: int) -> Tensor:
        if self.method.observes:
            initialise(self.network, self.run.generator("network", step))
        losses = (self._accumulate_group(images, group, step) for group in self.groups)
        return reduce(torch.add, losses)

    def _accumulate_group(self, images: Tensor, group: range, step: int) -> Tensor:
        """Add the gradient of some classes to ``images.grad``; return their loss, without a graph.

        Their real images and features are freed before the next classes.
        """
        draws = [self.dsa.draw(self.run.generator("dsa", step, label)) for label in group]
        sizes, batch = self._real_batch(group, step, draws)
        with torch.no_grad():
            real = class_means(self._describe_in_chunks(batch), sizes)
        chosen = images[group.start * self.ipc : group.stop * self.ipc].split(self.ipc)
        augmented = torch.cat(
            [self.dsa.apply(part, draw) for part, draw in zip(chosen, draws, strict=True)]
        )
        synthetic = class_means(self.describe(self.run.place(augmented)), [self.ipc] * len(group))
        loss = self.method.scale * self.method.discrepancy(real, synthetic)
        loss.backward()
        return loss.detach()

    def _real_batch(self, group: range, step: int, draws: list[Draw]) -> tuple[list[int], Tensor]:
        parts = []
        for label, draw in zip(group, draws, strict=True):
            generator = self.run.generator("real", step, label)
            indices = self.train.draw(label, self.method.real_batch, generator)
            parts.append(self.dsa.apply(self.run.place(self.train.values(indices)), draw))
        return [len(part) for part in parts], torch.cat(parts)

    def _describe_in_chunks(self, images: Tensor) -> Descriptions:
        """Describe images without a graph. The last chunk is padded by repetition, so that one
        shape is compiled.
        """
        if self.network.mixes_images or not self.method.observes:
            return self.describe(self.run.place(images))
        rows = [
            self.describe(self.run.place(filled_up(part, self.chunk)))
            for part in images.split(self.chunk)
        ]
        return tuple(torch.cat(column)[: len(images)] for column in zip(*rows, strict=True))


def class_means(descriptions: Descriptions, sizes: list[int]) -> list[Tensor]:
    """Mean rows of each class; ``sizes`` says how many consecutive rows each class has."""
    return [
        torch.stack([part.mean(0) for part in rows.float().split(sizes)]) for rows in descriptions
    ]
