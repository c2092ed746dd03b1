"""Train networks on images that are on the device, and compute their predictions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from annotated_types import Ge, Gt
from jaxtyping import Float, Int64
from torch import Tensor

from dcbench.networks.base import Network, initialise
from dcbench.networks.costs import widest_activation
from dcbench.run import Run, Stateful
from dcbench.system.fields import check_fields
from dcbench.system.machine import Machine
from dcbench.training.augment import Augmentation
from dcbench.training.supervision import PLAIN, Labels, Supervision

ValuesOf = Callable[[Int64[Tensor, " k"]], Float[Tensor, "k channels size size"]]


@dataclass(frozen=True)
class Schedule:
    """How a network is trained: optimizer, learning rate and its decay, batch size, epochs.

    The rate is multiplied by ``decay`` every ``decay_every`` epochs, or once after epoch
    ``decay_after``, or at each of the shares ``decay_at`` of all epochs; if none is given and
    ``decay`` is 0, it follows a cosine to zero. ``fresh_momentum``: the single decay makes a new
    optimizer, as DC's code does. ``cosine_over``: the cosine reaches zero after this many times the
    epochs (2 in RDED's code, which thus stops half-way).
    """

    # fields added later: left out of hashes and records while they have their defaults
    later: ClassVar[frozenset[str]] = frozenset({"optimizer", "decay_at", "cosine_over"})

    epochs: Annotated[int, Ge(1)]
    lr: Annotated[float, Gt(0)] = 0.01
    batch: Annotated[int, Ge(1)] = 256
    momentum: float = 0.9
    weight_decay: float = 5e-4
    decay: float = 1.0
    decay_every: int | None = None
    decay_after: int | None = None
    fresh_momentum: bool = False
    optimizer: Literal["sgd", "adamw"] = "sgd"
    decay_at: tuple[float, ...] = ()
    cosine_over: Annotated[float, Ge(1)] = 1.0

    def __post_init__(self) -> None:
        check_fields(self, "schedule")

    def rate(self, epoch: int) -> float:
        """Return the learning rate of ``epoch``, counted from 0."""
        if self.decay_every is not None:
            return self.lr * self.decay ** (epoch // self.decay_every)
        if self.decay_after is not None:
            return self.lr * (self.decay if epoch > self.decay_after else 1.0)
        if self.decay_at:
            return self.lr * self.decay ** sum(
                epoch >= int(at * self.epochs) for at in self.decay_at
            )
        if self.decay == 0:
            part = epoch / self.epochs / self.cosine_over
            turn = torch.tensor(torch.pi * part, dtype=torch.float64)
            return self.lr * 0.5 * (1 + float(torch.cos(turn)))
        return self.lr


class Trainer:
    """Trains one network object, any number of times, with one compiled loss.

    ``epoch_images`` sets the length of an epoch in images (None: all images); the next epoch
    continues the pass where the last one ended. ``supervision`` gives targets and loss. Tensors in
    ``kept`` are saved and restored with the network, for callers that count something over epochs.
    """

    def __init__(
        self,
        network: Network,
        machine: Machine,
        epoch_images: int | None = None,
        supervision: Supervision = PLAIN,
    ) -> None:
        self.network, self.machine, self.epoch_images = network, machine, epoch_images
        self.supervision = supervision
        self.kept: dict[str, Tensor] = {}
        machine.place_network(network)
        self._logits: Callable[..., Tensor] | None = None
        self._loss = machine.accelerate(
            lambda images, target: supervision.loss(network(images).float(), target)
        )

    def train(
        self,
        values: ValuesOf,
        labels: Labels,
        schedule: Schedule,
        run: Run,
        augment: Augmentation | None = None,
    ) -> float:
        """Train the network from its present weights. Returns the mean loss of the last epoch."""
        loss = torch.zeros(())
        for last in self.epochs(values, labels, schedule, run, augment):
            loss = last
        return float(loss)

    def epochs(
        self,
        values: ValuesOf,
        labels: Labels,
        schedule: Schedule,
        run: Run,
        augment: Augmentation | None = None,
    ) -> Iterator[Float[Tensor, ""]]:
        """Train the network from its present weights; yield the mean loss of each epoch, on the
        device.

        The order of the images and their augmentation come from ``run.generator``, a generator for
        each epoch. Resumes between epochs.
        """
        self.network.train()
        labels = run.place(labels)
        optimizer = optimizer_for(self.network.parameters(), schedule)
        state: dict[str, Tensor | Stateful] = {"network": self.network, "optimizer": optimizer}
        for epoch in run.steps(schedule.epochs, state | self.kept, "train"):
            decayed(optimizer, schedule, epoch)
            loss = self._epoch(values, labels, schedule.batch, optimizer, (run, augment, epoch))
            # reading the loss waits for the device
            if epoch % 100 == 99 or epoch == schedule.epochs - 1:
                run.log(epoch, loss=float(loss))
            yield loss

    def logits(self, images: Float[Tensor, "n channels size size"]) -> Float[Tensor, "n classes"]:
        """Return the network's logits for each image, on the CPU."""
        return self.logits_of(images.__getitem__, len(images))

    @torch.no_grad()
    def logits_of(
        self, values: Callable[[slice], Tensor], count: int
    ) -> Float[Tensor, "count classes"]:
        """Return the logits for ``count`` images that ``values`` returns in pieces."""
        if self._logits is None:
            self._logits = self.machine.accelerate(self.network)
        widest = widest_activation(self.network, values(slice(0, 1)).shape[1:])
        return in_chunks(self._logits, values, count, self.machine, widest)

    def predict(self, images: Float[Tensor, "n channels size size"]) -> Int64[Tensor, " n"]:
        """Return the class with the largest logit for each image, on the CPU."""
        return self.logits(images).argmax(1)

    def _epoch(
        self,
        values: ValuesOf,
        labels: Tensor,
        batch: int,
        optimizer: torch.optim.Optimizer,
        drawing: tuple[Run, Augmentation | None, int],
    ) -> Tensor:
        run, augment, epoch = drawing
        generator = run.generator("epoch", epoch)
        order = self._order(len(labels), run, epoch, generator)
        total = torch.zeros((), device=labels.device)
        for indices, images in batches(order, batch, values, augment, generator):
            optimizer.zero_grad()
            own = labels[indices.to(labels.device)]
            loss = self._loss(*self.supervision(self.machine.place(images), own, generator))
            loss.backward()
            optimizer.step()
            total += loss.detach() * len(indices)
        return total / len(order)

    def _order(
        self, count: int, run: Run, epoch: int, generator: torch.Generator
    ) -> Int64[Tensor, " k"]:
        """Return the indices of one epoch's images, in order."""
        if self.epoch_images is None:
            return torch.randperm(count, generator=generator)
        first, last = epoch * self.epoch_images, (epoch + 1) * self.epoch_images
        passes = range(first // count, (last - 1) // count + 1)
        row = torch.cat(
            [torch.randperm(count, generator=run.generator("pass", number)) for number in passes]
        )
        return row[first - passes.start * count :][: self.epoch_images]


def optimizer_for(weights: Iterable[Tensor], schedule: Schedule) -> torch.optim.Optimizer:
    """Make the schedule's optimizer."""
    lr, weight_decay = schedule.lr, schedule.weight_decay
    if schedule.optimizer == "adamw":
        return torch.optim.AdamW(weights, lr, weight_decay=weight_decay, fused=True)
    return torch.optim.SGD(
        weights, lr, momentum=schedule.momentum, weight_decay=weight_decay, fused=True
    )


def decayed(optimizer: torch.optim.Optimizer, schedule: Schedule, epoch: int) -> None:
    """Set the learning rate of ``epoch``; drop the optimizer's momentum where the schedule
    says so.
    """
    if (
        schedule.fresh_momentum
        and schedule.decay_after is not None
        and epoch == schedule.decay_after + 1
    ):
        optimizer.state.clear()
    for group in optimizer.param_groups:
        group["lr"] = schedule.rate(epoch)


def batches(
    order: Int64[Tensor, " n"],
    size: int,
    values: ValuesOf,
    augment: Augmentation | None,
    generator: torch.Generator,
) -> Iterator[tuple[Int64[Tensor, " k"], Float[Tensor, "k channels height width"]]]:
    """Yield ``size`` images at a time, in ``order``: their indices, and images and targets to train
    on.
    """
    for indices in order.split(size):
        images = values(indices)
        yield indices, images if augment is None else augment(images, generator)


def train_network(
    network: Network, values: ValuesOf, labels: Labels, schedule: Schedule, run: Run
) -> float:
    """Initialise ``network`` in place from ``run`` and train it. Returns the last epoch's mean
    loss.
    """
    initialise(network, run.generator("network"))
    return Trainer(network, run.machine).train(values, labels, schedule, run)


@torch.no_grad()
def in_chunks(
    function: Callable[[Tensor], Tensor],
    values: Callable[[slice], Tensor],
    count: int,
    machine: Machine,
    widest: int,
) -> Float[Tensor, "count _"]:
    """Apply ``function`` to ``count`` images, as many at a time as suits the machine, without a
    graph.

    ``widest`` is the number of values of the largest activation of one image, as
    ``widest_activation`` has it. Returns the rows on the CPU.
    """
    chunk = min(machine.chunk(widest), count)
    rows = []
    for start in range(0, count, chunk):
        part = values(slice(start, min(start + chunk, count)))
        rows.append(function(machine.place(filled_up(part, chunk)))[: len(part)].float().cpu())
    return torch.cat(rows)


def filled_up(
    images: Float[Tensor, "k channels height width"], count: int
) -> Float[Tensor, "count channels height width"]:
    """Pad ``images`` to a full chunk with copies of the first, so that nothing is compiled anew."""
    missing = count - len(images)
    return torch.cat([images, images[:1].expand(missing, -1, -1, -1)]) if missing else images
