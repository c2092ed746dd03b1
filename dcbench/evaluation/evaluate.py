"""Evaluation: train many networks from scratch on a synthetic set, each with its own seed; the
accuracy is the last epoch's.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from dcbench.images import ImageSpec, SyntheticSet, TestSet
from dcbench.networks.base import initialise
from dcbench.networks.catalogue import build_network
from dcbench.networks.convnet import Normalisation
from dcbench.networks.costs import (
    network_macs,
    network_without_values,
    training_macs,
    widest_activation,
)
from dcbench.run import Resumption, Run
from dcbench.system.errors import DivergedError, MismatchError, OutOfRangeError, UnknownNameError
from dcbench.system.machine import Machine
from dcbench.system.progress import silent
from dcbench.training.augment import augmentation
from dcbench.training.ensemble import Ensemble
from dcbench.training.trainer import Schedule, Trainer

JudgedOn = Literal["test", "holdout"]
JUDGED_ON: tuple[JudgedOn, ...] = ("test", "holdout")


@dataclass(frozen=True)
class Protocol:
    """How a set is judged. Stored in every record; ``version`` is raised by hand when its numbers
    change.
    """

    name: str
    version: int
    schedule: Schedule
    network: str = "convnet"
    normalisation: Normalisation = "instance"
    augment: str = "dsa"
    # how many are trained unless asked otherwise; what one of them gives does not depend on it
    networks: int = 100
    epochs_without_augmentation: int | None = None  # where a protocol is shorter then
    # holdout: training images that were kept from distillation, to choose settings by
    judged_on: JudgedOn = "test"
    # of network and augmentation, what the user named, which no set's recipe replaces
    chosen: tuple[str, ...] = ()

    def with_options(
        self, network: str | None = None, epochs: int | None = None, augment: str | None = None
    ) -> Protocol:
        """This protocol with the user's changes; raises OutOfRangeError."""
        if epochs is not None and epochs < 1:
            raise OutOfRangeError(f"epochs must be at least 1, got {epochs}")
        named = {
            name
            for name, value in (("augment", augment), ("network", network))
            if value is not None
        }
        chosen = tuple(sorted({*self.chosen, *named}))
        changed = replace(
            self, network=network or self.network, augment=augment or self.augment, chosen=chosen
        )
        if changed.augment == "none" and epochs is None:
            epochs = self.epochs_without_augmentation
        return (
            changed
            if epochs is None
            else replace(changed, schedule=_stretched(self.schedule, epochs))
        )

    def with_recipe(self, recipe: Mapping[str, Any]) -> Protocol:
        """This protocol with what a set's own recipe asks for: ``lr``, ``batch``, ``augment``,
        ``network``, where the user chose none.
        """
        schedule = replace(
            self.schedule, **{key: recipe[key] for key in ("lr", "batch") if key in recipe}
        )
        unchosen = [
            key for key in ("augment", "network") if key in recipe and key not in self.chosen
        ]
        return replace(self, schedule=schedule, **{key: recipe[key] for key in unchosen})

    def to_json(self) -> dict[str, Any]:
        """What changes a network's accuracy, as plain values; the number of networks does not."""
        plain = asdict(self)
        plain |= plain.pop("schedule")
        for key in ("networks", "epochs_without_augmentation", "chosen"):
            plain.pop(key)
        if self.judged_on == "test":
            plain.pop("judged_on")  # as ever
        return plain


def _stretched(schedule: Schedule, epochs: int) -> Schedule:
    """``schedule`` over another number of epochs; a single decay stays at the same share of it."""
    if schedule.decay_after is None:
        return replace(schedule, epochs=epochs)
    return replace(
        schedule, epochs=epochs, decay_after=round(schedule.decay_after * epochs / schedule.epochs)
    )


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        # DataDAM's Table 2. Epochs and batch are not printed there: past 150 epochs the rate is
        # below 1e-5.
        Protocol("paper", 1, Schedule(epochs=300, decay=0.5, decay_every=15)),
        # DC, DM, DC-BENCH: `range(E + 1)` epochs, the rate divided once, with a fresh optimizer.
        Protocol(
            "lineage",
            1,
            Schedule(epochs=1001, decay=0.1, decay_after=501, fresh_momentum=True),
            epochs_without_augmentation=301,
        ),
        # What DataDAM's released code does: BatchNorm, batches of 64, the rate divided after epoch
        # 901 of 1,801.
        Protocol(
            "released",
            1,
            Schedule(epochs=1801, batch=64, decay=0.1, decay_after=901, fresh_momentum=True),
            normalisation="batch",
        ),
        # Minutes on two cores.
        Protocol("quick", 1, Schedule(epochs=300, decay=0.0), networks=5),
        # The whole data set, for reference: the same network and augmentation, fewer passes over
        # far more images.
        Protocol("whole", 1, Schedule(epochs=100, decay=0.0), networks=5),
        Protocol("whole-quick", 1, Schedule(epochs=10, decay=0.0), networks=2),
    )
}


def find_protocol(name: str) -> Protocol:
    """The protocol called ``name``; raises UnknownNameError."""
    if name not in PROTOCOLS:
        raise UnknownNameError("protocol", name, PROTOCOLS)
    return PROTOCOLS[name]


@dataclass(frozen=True)
class NetworkResult:
    """One network of an ensemble."""

    # its index, which with the run's seed decides its initial weights, its batches and their
    # augmentation
    network: int
    accuracy: float  # of the last epoch, on the test set, a fraction
    loss: float | None  # mean training loss of the last epoch; None where it was not finite
    seconds: float
    epoch_seconds: float  # median over epochs
    compile_seconds: float | None  # None where nothing was compiled

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def evaluation_macs(protocol: Protocol, spec: ImageSpec, images: int, tested: int) -> float:
    """Multiply-accumulates of training one network on ``images`` images and testing it."""
    per_image = network_macs(protocol.network, spec, protocol.normalisation)
    return training_macs(per_image, images, protocol.schedule.epochs, tested)


def evaluate(
    synthetic: SyntheticSet, test: TestSet, protocol: Protocol, networks: Iterable[int], run: Run
) -> Iterator[NetworkResult]:
    """The networks of ``passes``, one by one."""
    for results in passes(synthetic, test, protocol, networks, run):
        yield from results


def passes(
    synthetic: SyntheticSet, test: TestSet, protocol: Protocol, networks: Iterable[int], run: Run
) -> Iterator[list[NetworkResult]]:
    """Train the networks of the given indices; the results of those trained together as they end.
    MismatchError if set and test do not fit.

    Network 57 is the same, with the same engine, whether 0 to 56 were trained or not. The test
    images are taken into the set's space, not the other way round: a foreign set is never judged in
    a space it was not made for.
    """
    check_fit(synthetic, test)
    abreast = networks_abreast(synthetic, protocol, run.machine)
    jury = _Jury(synthetic, replace(test, space=synthetic.space), protocol, run)
    yield from jury.one_by_one(networks) if abreast == 1 else jury.side_by_side(networks, abreast)


def networks_abreast(synthetic: SyntheticSet, protocol: Protocol, machine: Machine) -> int:
    """How many networks are trained in one pass."""
    widest = widest_activation(
        network_without_values(protocol.network, synthetic.spec, protocol.normalisation),
        synthetic.spec.shape,
    )
    return machine.networks_abreast(widest, min(protocol.schedule.batch, len(synthetic)))


class _Jury:
    """What all networks of an ensemble are trained and tested on."""

    def __init__(
        self, synthetic: SyntheticSet, test: TestSet, protocol: Protocol, run: Run
    ) -> None:
        self.run, self.schedule = run, protocol.schedule
        self.trainer = Trainer(
            build_network(protocol.network, test.spec, protocol.normalisation), run.machine
        )
        self.images, self.labels = run.place(synthetic.images), run.place(synthetic.labels)
        self.test_images, self.test_labels = run.place(all_values(test)), test.labels
        self.augment = augmentation(protocol.augment, synthetic.space, test.spec.flips)

    def values(self, chosen: Tensor) -> Tensor:
        return self.images[chosen.to(self.images.device)]

    def part(self, index: int) -> Run:
        """The run of one network."""
        part = self.run.part(f"network {index}")
        return replace(part, progress=silent, resumption=Resumption(resume=False))

    def one_by_one(self, networks: Iterable[int]) -> Iterator[list[NetworkResult]]:
        for index in networks:
            part = self.part(index)
            clock = time.monotonic()
            initialise(self.trainer.network, part.generator("network"))
            try:
                loss: float | None = self.trainer.train(
                    self.values, self.labels, self.schedule, part, self.augment
                )
            except DivergedError:
                # its accuracy counts all the same: to leave it out would flatter the set
                loss = None
            costs = (time.monotonic() - clock, part.cost.step_seconds, part.compile_seconds)
            yield [self._result(index, loss, costs)]

    def side_by_side(self, networks: Iterable[int], abreast: int) -> Iterator[list[NetworkResult]]:
        """``abreast`` at a time, the same ones together whichever were asked for: their last bits depend on their neighbours.

        Those that were asked for share the time of all.
        """
        wanted = set(networks)
        for first in sorted({index - index % abreast for index in wanted}):
            own = [index for index in range(first, first + abreast) if index in wanted]
            parts = [self.part(index) for index in range(first, first + abreast)]
            clock = time.monotonic()
            ensemble = Ensemble(self.trainer.network, self.run.machine, abreast)
            losses = ensemble.train(self.values, self.labels, self.schedule, parts, self.augment)
            epoch = parts[0].cost.step_seconds
            costs = (
                (time.monotonic() - clock) / len(own),
                epoch and epoch / len(own),
                parts[0].compile_seconds,
            )
            results = []
            for index in own:
                ensemble.show(index - first)
                loss = losses[index - first]
                results.append(self._result(index, loss if math.isfinite(loss) else None, costs))
            yield results

    def _result(
        self, index: int, loss: float | None, costs: tuple[float, float | None, float | None]
    ) -> NetworkResult:
        """The accuracy of the network as it stands; ``costs``: seconds of its training, of an epoch
        of it, and of compiling it.
        """
        seconds, epoch_seconds, compile_seconds = costs
        clock = time.monotonic()
        self.trainer.network.eval()
        accuracy = accuracy_of(self.trainer, self.test_images, self.test_labels)
        seconds += time.monotonic() - clock
        return NetworkResult(index, accuracy, loss, seconds, epoch_seconds or 0.0, compile_seconds)


def require_network(protocol: Protocol, spec: ImageSpec) -> None:
    """Raises MismatchError if the protocol's network cannot see images of ``spec``."""
    network_without_values(protocol.network, spec, protocol.normalisation)


def check_fit(synthetic: SyntheticSet, test: TestSet) -> None:
    """Raises MismatchError if the set's images or classes are not those of the test set."""
    ours, theirs = (
        (*synthetic.images.shape[1:], synthetic.spec.classes),
        (*test.images.shape[1:], test.spec.classes),
    )
    if ours != theirs:
        raise MismatchError(
            f"the synthetic set has images of {ours[0]}×{ours[1]}×{ours[2]} in {ours[3]} classes, but {test.spec.dataset} has "
            f"{theirs[0]}×{theirs[1]}×{theirs[2]} in {theirs[3]}; evaluate it with --dataset {synthetic.spec.dataset}"
        )


def all_values(test: TestSet) -> Tensor:
    """All test images in the set's space, taken there once."""
    return torch.cat(
        [test.values(slice(start, start + 1000)) for start in range(0, len(test), 1000)]
    )


def accuracy_of(trainer: Trainer, images: Tensor, labels: Tensor) -> float:
    """The share of ``images`` whose largest logit is their label's."""
    predicted = trainer.predict(images)
    return float((predicted == labels).double().mean())
