"""Evaluation: train networks from scratch on a synthetic set and measure their test accuracy.

Each network has its own seed; its accuracy is taken after the last epoch.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from dcbench.datasets.catalogue import DATASETS, option_for
from dcbench.datasets.class_folders import labels_of, listed
from dcbench.evaluation.measures import accuracy, calibration_error, class_accuracies
from dcbench.evaluation.protocol import Protocol
from dcbench.images import ImageSpec, SyntheticSet, TestSet
from dcbench.networks.base import initialise
from dcbench.networks.catalogue import build_network
from dcbench.networks.costs import (
    network_macs,
    network_without_values,
    training_macs,
    widest_activation,
)
from dcbench.run import Resumption, Run
from dcbench.system.errors import DivergedError, MismatchError
from dcbench.system.machine import Machine
from dcbench.system.progress import silent
from dcbench.training.augment import Augmentation, augmentation
from dcbench.training.ensemble import Ensemble
from dcbench.training.mixing import Mix, augmentation_and_mix
from dcbench.training.supervision import Labels, Supervision, loss_for
from dcbench.training.teacher import Teacher
from dcbench.training.trainer import Schedule, Trainer, ValuesOf


@dataclass(frozen=True)
class NetworkResult:
    """The scores of one network of an ensemble."""

    # its index, which with the run's seed decides its initial weights, its batches and their
    # augmentation
    network: int
    accuracy: float  # after the last epoch, on the test set, a fraction
    loss: float | None  # mean training loss of the last epoch; None where it was not finite
    seconds: float
    epoch_seconds: float  # median over epochs
    compile_seconds: float | None  # None where nothing was compiled
    class_accuracies: list[float | None]  # on the test images of each class
    calibration_error: float | None  # None where a logit was not finite
    # accuracy of the network's teacher on the same images, if it had one
    teacher_accuracy: float | None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def evaluation_macs(protocol: Protocol, spec: ImageSpec, images: int, tested: int) -> float:
    """Return the multiply-accumulates of training one network on ``images`` images and
    testing it.
    """
    per_image = network_macs(protocol.network, spec, protocol.normalisation)
    return training_macs(per_image, images, protocol.schedule.epochs, tested)


def evaluate(
    synthetic: SyntheticSet,
    test: TestSet,
    protocol: Protocol,
    networks: Iterable[int],
    run: Run,
    teacher: Teacher | None = None,
) -> Iterator[NetworkResult]:
    """Train networks on a synthetic set and yield the result of each."""
    for results in passes(synthetic, test, protocol, networks, run, teacher):
        yield from results


def passes(
    synthetic: SyntheticSet,
    test: TestSet,
    protocol: Protocol,
    networks: Iterable[int],
    run: Run,
    teacher: Teacher | None = None,
) -> Iterator[list[NetworkResult]]:
    """Train the networks with the given indices; yield the results of each group trained together.

    ``teacher`` labels the images if the protocol says so. Network 57 is the same, with the same
    engine, whether 0 to 56 were trained or not. The test images are transformed into the set's
    space, not the other way round: a set is always evaluated in the space that it was made for.

    Raises:
        MismatchError: If set, test images, labels and teacher do not fit.
    """
    check_fit(synthetic, test)
    synthetic = synthetic.in_training
    abreast = networks_abreast(synthetic, protocol, run.machine)
    test = replace(test, space=synthetic.space)
    jury = _Evaluator(
        synthetic, test, protocol, run, supervision(synthetic, protocol, run, teacher)
    )
    yield from jury.one_by_one(networks) if abreast == 1 else jury.side_by_side(networks, abreast)


def networks_abreast(synthetic: SyntheticSet, protocol: Protocol, machine: Machine) -> int:
    """Return how many networks are trained in one pass."""
    widest = widest_activation(
        network_without_values(protocol.network, synthetic.spec, protocol.normalisation),
        synthetic.spec.shape,
    )
    return machine.networks_abreast(widest, min(protocol.schedule.batch, len(synthetic)))


@dataclass(frozen=True)
class Material:
    """What a network is trained on: images, labels, schedule, augmentation."""

    values: ValuesOf
    labels: Labels
    schedule: Schedule
    augment: Augmentation | None


def train_from_scratch(trainer: Trainer, material: Material, run: Run) -> tuple[float | None, str]:
    """Initialise and train a network; returns the mean loss of the last epoch.

    Where the loss is not finite it is None, and the second value says why. Such a network is judged
    all the same: to leave it out would flatter the set.
    """
    initialise(trainer.network, run.generator("network"))
    how = (material.schedule, run, material.augment)
    try:
        return trainer.train(material.values, material.labels, *how), ""
    except DivergedError as error:
        return None, failure(error)
    finally:
        trainer.network.eval()


def failure(error: BaseException) -> str:
    """Return in one line of at most 500 characters why a network's training failed."""
    text = " ".join(str(error).split()) or "out of memory"
    return f"{type(error).__name__}: {text}"[:500]


def supervision(
    synthetic: SyntheticSet, protocol: Protocol, run: Run, teacher: Teacher | None = None
) -> Supervision:
    """Return the loss and the targets of training by ``protocol``.

    Raises:
        MismatchError: If the loss, the labels and the teacher do not fit.
    """
    taught = protocol.labels == "teacher"
    if taught and teacher is None:
        raise MismatchError(
            f"protocol {protocol.name} has a teacher's labels, and there is no teacher"
        )
    if taught and teacher is not None:
        teacher.require(synthetic.spec)
    _, mix = augmentation_and_mix(protocol.augment)
    return Supervision(
        loss_for(protocol.loss, labels_for(synthetic, protocol), taught),
        synthetic.spec.classes,
        None if mix is None else Mix(mix, share=protocol.mix_share),
        teacher.answers(run) if taught and teacher is not None else None,
    )


def labels_for(synthetic: SyntheticSet, protocol: Protocol) -> Labels:
    """Return the set's labels as the protocol uses them."""
    return synthetic.hard_labels if protocol.labels == "hard" else synthetic.labels


class _Evaluator:
    """What all networks of an ensemble share: set, test images, protocol, network object."""

    def __init__(
        self,
        synthetic: SyntheticSet,
        test: TestSet,
        protocol: Protocol,
        run: Run,
        supervised: Supervision,
    ) -> None:
        self.run, self.schedule, self.supervised = run, protocol.schedule, supervised
        self.trainer = Trainer(
            build_network(protocol.network, test.spec, protocol.normalisation),
            run.machine,
            supervision=supervised,
        )
        self.images = run.place(synthetic.images)
        self.labels = run.place(labels_for(synthetic, protocol))
        self.test_images, self.test_labels = run.place(all_values(test)), test.labels
        alone, _ = augmentation_and_mix(protocol.augment)
        self.augment = augmentation(alone, synthetic.space, test.spec.flips)

    def values(self, chosen: Tensor) -> Tensor:
        return self.images[chosen.to(self.images.device)]

    def part(self, index: int) -> Run:
        """Return the run of one network."""
        part = self.run.part(f"network {index}")
        return replace(part, progress=silent, resumption=Resumption(resume=False))

    def one_by_one(self, networks: Iterable[int]) -> Iterator[list[NetworkResult]]:
        for index in networks:
            part = self.part(index)
            clock = time.monotonic()
            material = Material(self.values, self.labels, self.schedule, self.augment)
            loss, _ = train_from_scratch(self.trainer, material, part)
            costs = (time.monotonic() - clock, part.cost.step_seconds, part.compile_seconds)
            yield [self._result(index, loss, costs)]

    def side_by_side(self, networks: Iterable[int], abreast: int) -> Iterator[list[NetworkResult]]:
        """Train networks in fixed groups of ``abreast``, also when fewer were asked for: the last
        bits of a network depend on its neighbours.

        The networks that were asked for share the group's time.
        """
        wanted = set(networks)
        for first in sorted({index - index % abreast for index in wanted}):
            own = [index for index in range(first, first + abreast) if index in wanted]
            parts = [self.part(index) for index in range(first, first + abreast)]
            clock = time.monotonic()
            ensemble = Ensemble(self.trainer.network, self.run.machine, abreast, self.supervised)
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
        """Test the network as it is; ``costs`` are the seconds of its training, of an epoch, and of
        compiling.
        """
        seconds, epoch_seconds, compile_seconds = costs
        clock = time.monotonic()
        self.trainer.network.eval()
        logits = self.trainer.logits(self.test_images)
        seconds += time.monotonic() - clock
        return NetworkResult(
            index,
            accuracy(logits, self.test_labels),
            loss,
            seconds,
            epoch_seconds or 0.0,
            compile_seconds,
            class_accuracies(logits, self.test_labels),
            calibration_error(logits, self.test_labels),
            self.teacher_accuracy,
        )

    @cached_property
    def teacher_accuracy(self) -> float | None:
        """The teacher's accuracy on the test images."""
        answer = self.supervised.teacher
        if answer is None:
            return None
        said = [answer(part).cpu() for part in self.test_images.split(self.schedule.batch)]
        return accuracy(torch.cat(said), self.test_labels)


def require_network(protocol: Protocol, spec: ImageSpec) -> None:
    """Raise MismatchError if the protocol's network cannot take images of ``spec``."""
    network_without_values(protocol.network, spec, protocol.normalisation)


def check_fit(synthetic: SyntheticSet, test: TestSet) -> None:
    """Raise MismatchError if the set's images or classes are not those of the test set."""
    ours = (*synthetic.images.shape[1:], synthetic.spec.classes)
    theirs = (*test.images.shape[1:], test.spec.classes)
    if ours != theirs:
        raise MismatchError(
            f"the synthetic set has images of {ours[0]}×{ours[1]}×{ours[2]} in {ours[3]} classes, "
            f"but {test.spec.dataset} has {theirs[0]}×{theirs[1]}×{theirs[2]} in {theirs[3]}; "
            f"evaluate it with --dataset {option_for(synthetic.spec.dataset)}"
        )
    names, wanted = synthetic.spec.class_names, test.spec.class_names
    aliases = DATASETS[test.spec.dataset].aliases if test.spec.dataset in DATASETS else {}
    if labels_of(names, wanted, aliases, numbered=False) not in (None, list(range(len(wanted)))):
        raise MismatchError(
            f"the synthetic set has the classes of {test.spec.dataset} in another order: "
            f"{listed(names)}; wanted {listed(wanted)}: make it again from this copy of the data"
        )


def all_values(test: TestSet) -> Tensor:
    """Return all test images in the set's space."""
    return torch.cat(
        [test.values(slice(start, start + 1000)) for start in range(0, len(test), 1000)]
    )


def accuracy_of(trainer: Trainer, images: Tensor, labels: Tensor) -> float:
    """Return the share of ``images`` that the network classifies correctly."""
    return accuracy(trainer.logits(images), labels)
