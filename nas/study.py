"""The study: train every architecture drawn on a proxy, measure it on real validation images, and set it beside the truth.

One line per architecture and seed is written as it ends, so that a study that was killed goes on where it was. Trained are
networks that differ in nothing but what the search space says and their seed; the validation images are kept from every built-in proxy.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dcbench.augment import augmentation
from dcbench.datasets.loading import Loaded
from dcbench.errors import DataError, DivergedError, OutOfRangeError
from dcbench.evaluator import accuracy_of, all_values
from dcbench.experiment import Workshop, file_name, in_words
from dcbench.files import append_line, read_lines
from dcbench.images import ImageSpec, TestSet
from dcbench.machine import Machine
from dcbench.nas.protocol import SearchProtocol
from dcbench.nas.proxies import Proxy
from dcbench.nas.space import SearchSpace
from dcbench.networks.base import initialise
from dcbench.run import Run, fingerprint, silent
from dcbench.training import Trainer, Values

VERSION = 1  # of the study itself: raised by hand when the same spec gives other accuracies
ROWS_NAME = "architectures.jsonl"
Row = Mapping[str, Any]
Rows = dict[tuple[str, int], Row]


@dataclass(frozen=True)
class Drawn:
    """The architectures of a study in the order that they were drawn, and those that are impossible at this resolution."""

    architectures: tuple[str, ...]
    excluded: tuple[str, ...]
    macs: Mapping[str, float]  # of one image


def draw(space: SearchSpace, spec: ImageSpec, sample: int | None, seed: int) -> Drawn:
    """``sample`` architectures, all if it is None: the first of one seeded order, so that a larger sample holds a smaller one.

    Trained in this order, the time left is told from a fair part of them. Raises DataError where so many are not possible at this
    resolution.
    """
    identifiers = space.identifiers()
    excluded = tuple(name for name in identifiers if space.refuses(name, spec))
    possible = [name for name in identifiers if name not in set(excluded)]
    if sample is not None and sample > len(possible):
        raise DataError(
            f"a sample of {sample} architectures was asked, but only {len(possible)} of {space.name} are possible at "
            f"{spec.size}×{spec.size}; choose a smaller --sample"
        )
    order = np.random.RandomState(seed).permutation(len(possible))[:sample]
    chosen = tuple(possible[place] for place in order)
    return Drawn(chosen, excluded, {name: space.macs(name, spec) for name in chosen})


@dataclass(frozen=True, eq=False)
class Study:
    """What is asked of every proxy alike. ``loaded`` has the validation part as its holdout."""

    space: SearchSpace
    loaded: Loaded
    protocol: SearchProtocol
    drawn: Drawn
    sample: int | None
    seeds: int
    seed: int

    def __post_init__(self) -> None:
        if self.seeds < 1:
            raise OutOfRangeError(f"seeds must be at least 1, got {self.seeds}")

    @property
    def validation(self) -> TestSet:
        """The real training images that architectures are ranked on."""
        if self.loaded.holdout is None:
            raise OutOfRangeError("a search ranks by validation images, so their number must be at least 1")
        return self.loaded.holdout

    @property
    def pairs(self) -> list[tuple[str, int]]:
        """Every architecture with every seed, the seeds of one architecture together."""
        return [(architecture, seed) for architecture in self.drawn.architectures for seed in range(self.seeds)]

    def asked(self, proxy: Proxy, machine: Machine) -> dict[str, Any]:
        """The protocol as it is for ``proxy``, without what the proxy's own recipe asks for."""
        protocol = self.protocol.on_the_whole() if proxy.whole else self.protocol
        return protocol.to_json(machine.precision)

    def judged(self, proxy: Proxy) -> SearchProtocol:
        """The protocol with what the proxy's own recipe asks for."""
        protocol = self.protocol.on_the_whole() if proxy.whole else self.protocol
        return protocol.with_recipe(proxy.recipe)

    def identity(self, proxy: Proxy, machine: Machine) -> dict[str, Any]:
        """What changes the accuracy of an architecture; which others were drawn is not in it."""
        return {
            "version": VERSION,
            "space": self.space.name,
            "space_fields": dict(self.space.fields),
            "proxy": proxy.content,
            "protocol": self.asked(proxy, machine),
            "revision": self.loaded.spec.revision,
            "validation": self.loaded.train.holdout,
            "seed": self.seed,
        }

    def folder(self, proxy: Proxy, workshop: Workshop) -> Path:
        """Where what is trained on ``proxy`` is kept."""
        name = f"{file_name(proxy.name)}-{fingerprint(self.identity(proxy, workshop.machine))}"
        return workshop.out / self.loaded.spec.dataset / "search" / self.space.name / name

    def macs(self, architecture: str, proxy: Proxy) -> float:
        """Multiply-accumulates of one network: training (forward and backward), validation, and the test where there is one."""
        trained = 3.0 * proxy.images_per_epoch * self.judged(proxy).schedule.epochs
        return self.drawn.macs[architecture] * (trained + len(self.validation) + (len(self.loaded.test) if proxy.whole else 0))


def finished(study: Study, proxy: Proxy, workshop: Workshop) -> Rows:
    """What of the study was trained before. A network that could not be trained to the end is not: it is tried again."""
    wanted = set(study.pairs)
    lines = map(_sound, read_lines(study.folder(proxy, workshop) / ROWS_NAME))
    rows = {(row["architecture"], row["seed"]): row for row in lines if row is not None and row["accuracy"] is not None}
    return {pair: row for pair, row in rows.items() if pair in wanted}


def _sound(line: Row) -> Row | None:
    """The row of a line, or None if it is not whole: its network is then trained again."""
    row = {key: value for key, value in line.items() if key != "check"}
    return row if line.get("check") == fingerprint(row) else None


def estimate_seconds(study: Study, proxy: Proxy, workshop: Workshop) -> float:
    """About how long what is missing takes here, from the operations counted: good to a factor of three or so."""
    done = finished(study, proxy, workshop)
    total = 0.0
    for architecture, _ in (pair for pair in study.pairs if pair not in done):
        macs = study.macs(architecture, proxy)
        total += workshop.machine.decide(macs * study.seeds).estimate_seconds(macs)
    return total


def announce(study: Study, proxies: Sequence[Proxy], workshop: Workshop) -> float:
    """Say what the study will take on each proxy, before it starts; returns the seconds."""
    seconds = [estimate_seconds(study, proxy, workshop) for proxy in proxies]
    parts = ", ".join(f"{proxy.label} {in_words(each)}" for proxy, each in zip(proxies, seconds, strict=True))
    count, left_out = len(study.drawn.architectures), len(study.drawn.excluded)
    networks = "1 network" if study.seeds == 1 else f"{study.seeds} networks"
    workshop.say(f"{study.space.name}: {count} architectures, {networks} of each, about {in_words(sum(seconds))} here ({parts})")
    if left_out:
        size = study.loaded.spec.size
        workshop.say(f"{left_out} architectures are impossible at {size}×{size} and left out: the record lists them")
    return sum(seconds)


def train_on(study: Study, proxy: Proxy, workshop: Workshop) -> Rows:
    """Train what is missing of the study on ``proxy``; raises DataError where every architecture failed."""
    folder = study.folder(proxy, workshop)
    with workshop.alone(folder):
        if not workshop.resume:
            (folder / ROWS_NAME).unlink(missing_ok=True)
        rows = finished(study, proxy, workshop)
        total = len(study.pairs)
        bar = f"{study.space.name} on {proxy.label}: networks"
        workshop.progress(bar, len(rows), total)
        for row in _Bench(study, proxy, workshop).train(rows):
            append_line(folder / ROWS_NAME, {**row, "check": fingerprint(row)})
            rows[row["architecture"], row["seed"]] = row
            workshop.progress(bar, len(rows), total)
            if workshop.stop():
                raise KeyboardInterrupt
    if all(row["accuracy"] is None for row in rows.values()):
        first = next(iter(rows.values()))
        raise DataError(f"every architecture failed on {proxy.label}, first {first['architecture']}: {first['failure']}")
    return rows


@dataclass(frozen=True, eq=False)
class _Bench:
    """One proxy's images and the images that its networks are judged on."""

    study: Study
    proxy: Proxy
    workshop: Workshop

    def train(self, done: Mapping[tuple[str, int], Row]) -> Iterator[dict[str, Any]]:
        """A row for each pair that is not in ``done``, the seeds of one architecture on one compiled network."""
        for architecture in self.study.drawn.architectures:
            missing = [seed for seed in range(self.study.seeds) if (architecture, seed) not in done]
            # By operations counted, as for any job; that compiling each architecture pays at this threshold is still to be measured.
            machine = self.workshop.machine.decide(self.study.macs(architecture, self.proxy) * self.study.seeds)
            yield from self._seeds(architecture, missing, machine)

    def _seeds(self, architecture: str, seeds: Sequence[int], machine: Machine) -> Iterator[dict[str, Any]]:
        trainer: Trainer | None = None
        for seed in seeds:
            clock = time.monotonic()
            try:
                trainer = trainer or self._trainer(architecture, machine)
                scores = self._score(trainer, architecture, seed)
            except (MemoryError, RuntimeError) as error:  # torch's own errors, out of memory among them
                trainer = None
                scores = {"accuracy": None, "test_accuracy": None, "loss": None, "failure": _one_line(error)}
            if scores["failure"]:
                self.workshop.say(f"{architecture}, seed {seed}, on {self.proxy.label}: {scores['failure']}")
            ended = {"seconds": time.monotonic() - clock, "engine": machine.engine, "threads": machine.threads}
            where = {"device": machine.device.type, "device_name": machine.device_name}
            yield {"architecture": architecture, "seed": seed, **scores, **ended, **where}

    def _trainer(self, architecture: str, machine: Machine) -> Trainer:
        if machine.engine == "compiled":
            torch._dynamo.reset()  # the code of earlier architectures is of no more use
        network = self.study.space.build(architecture, self.study.loaded.spec)
        return Trainer(network, machine, self.proxy.epoch_images)

    def _score(self, trainer: Trainer, architecture: str, seed: int) -> dict[str, Any]:
        protocol = self.study.judged(self.proxy)
        run = Run(self.study.seed, trainer.machine, progress=silent, stop=self.workshop.stop, resume=False)
        part = run.part(f"{architecture} seed {seed}")
        augment = augmentation(protocol.augment, self.proxy.space, self.study.loaded.spec.flips)
        initialise(trainer.network, part.generator("network"))
        loss, failure = None, ""
        try:
            loss = trainer.train(self._values, self.proxy.labels, protocol.schedule, part, augment)
        except DivergedError as error:
            failure = _one_line(error)  # its accuracy counts all the same: a search would have seen it
        trainer.network.eval()
        tested = accuracy_of(trainer, self._test_images, self.study.loaded.test.labels) if self.proxy.whole else None
        accuracy = accuracy_of(trainer, self._validation_images, self.study.validation.labels)
        return {"accuracy": accuracy, "test_accuracy": tested, "loss": loss, "failure": failure}

    @cached_property
    def _values(self) -> Values:
        return self.proxy.placed(self.workshop.machine)

    @cached_property
    def _validation_images(self) -> Tensor:
        return all_values(replace(self.study.validation, space=self.proxy.space))

    @cached_property
    def _test_images(self) -> Tensor:
        return all_values(replace(self.study.loaded.test, space=self.proxy.space))


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split()) or "out of memory"
    return f"{type(error).__name__}: {text}"[:500]
