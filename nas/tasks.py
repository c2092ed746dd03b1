"""The task of a search: train networks of one architecture on a proxy, and test them on real
images.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, final

import torch
from torch import Tensor

from dcbench.evaluation.evaluate import (
    Material,
    accuracy_of,
    all_values,
    failure,
    train_from_scratch,
)
from dcbench.evaluation.protocol import SearchProtocol
from dcbench.execution.provenance import ran_on
from dcbench.execution.task import Channel, Shared, Task
from dcbench.experiments.tasks import conditions
from dcbench.images import ImageSpec, TestSet
from dcbench.nas.proxies import Proxy
from dcbench.nas.space import SearchSpace
from dcbench.run import Resumption, Run
from dcbench.system.machine import Machine
from dcbench.training.augment import augmentation
from dcbench.training.trainer import Trainer

Scores = dict[str, Any]


@dataclass(frozen=True, eq=False)
class ProxyData:
    """One proxy's images, and the images that its networks are tested on."""

    space: SearchSpace
    spec: ImageSpec
    proxy: Proxy
    protocol: SearchProtocol  # with what the proxy's recipe asks for
    validation: TestSet
    test: TestSet | None  # test images; only for the truth

    def trainer(self, architecture: str, machine: Machine) -> Trainer:
        if machine.engine == "compiled":
            torch._dynamo.reset()  # drop the compiled code of earlier architectures
        return Trainer(self.space.build(architecture, self.spec), machine, self.proxy.epoch_images)

    def train_and_test(self, trainer: Trainer, run: Run) -> Scores:
        """Train a network from scratch and return its accuracies."""
        material = Material(
            self.proxy.placed(trainer.machine),
            self.proxy.labels,
            self.protocol.schedule,
            augmentation(self.protocol.augment, self.proxy.space, self.spec.flips),
        )
        loss, why = train_from_scratch(trainer, material, run)
        tested = None
        if self.test is not None:
            tested = accuracy_of(trainer, self._test_images, self.test.labels)
        accuracy = accuracy_of(trainer, self._validation_images, self.validation.labels)
        return {"accuracy": accuracy, "test_accuracy": tested, "loss": loss, "failure": why}

    @cached_property
    def _validation_images(self) -> Tensor:
        return all_values(replace(self.validation, space=self.proxy.space))

    @cached_property
    def _test_images(self) -> Tensor:
        assert self.test is not None  # noqa: S101 - asked only where there is a test
        return all_values(replace(self.test, space=self.proxy.space))


@final
@dataclass(frozen=True)
class ArchitectureTask(Task):
    """The task that trains an architecture with some seeds; puts a row of architectures.jsonl for
    each. The row of a failed network says why.
    """

    label: str
    machine: Machine
    bench: Shared[ProxyData]
    architecture: str
    seeds: tuple[int, ...]
    study_seed: int

    @property
    def spec(self) -> Mapping[str, Any]:
        return {
            "architecture": self.architecture,
            "seeds": list(self.seeds),
            "seed": self.study_seed,
            **conditions(self.machine),
        }

    def execute(self, channel: Channel) -> None:
        bench, trainer = channel.fetch(self.bench), None
        for seed in self.seeds[channel.kept :]:
            clock = time.monotonic()
            how = Resumption(resume=False)
            run = Run(self.study_seed, self.machine, stop=channel.stopped, resumption=how)
            try:
                trainer = trainer or bench.trainer(self.architecture, self.machine)
                scores = bench.train_and_test(trainer, run.part(f"{self.architecture} seed {seed}"))
            except (MemoryError, RuntimeError) as error:  # torch's own errors, of memory too
                trainer = None
                scores = dict.fromkeys(("accuracy", "test_accuracy", "loss"))
                scores["failure"] = failure(error)
            ended = {"seconds": time.monotonic() - clock, **ran_on(self.machine)}
            channel.put({"architecture": self.architecture, "seed": seed, **scores, **ended})
