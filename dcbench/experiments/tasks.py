"""The tasks of a comparison: distil a set, and train some of the networks that evaluate a set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, final

from torch import Tensor

from dcbench.conformance.requirements import require_promised
from dcbench.distiller import Distiller, fields_of
from dcbench.evaluation.evaluate import NetworkResult, passes
from dcbench.evaluation.protocol import Protocol
from dcbench.execution.provenance import ran_on
from dcbench.execution.task import Channel, Shared, Task
from dcbench.images import SyntheticSet, TestSet, TrainSet
from dcbench.run import Resumption, Run, Watch, unwatched
from dcbench.system.errors import DivergedError, MismatchError
from dcbench.system.machine import Machine
from dcbench.system.progress import Progress
from dcbench.system.wording import in_words
from dcbench.training.teacher import Teacher, trained_teacher


@dataclass(frozen=True)
class NewSet:
    """A set just distilled, with its loss history and cost."""

    synthetic: SyntheticSet
    history: list[dict[str, float]]
    cost: Mapping[str, Any]  # the content of distillation.json
    warnings: tuple[str, ...] = ()  # for the records' field ``warnings``


@dataclass(frozen=True)
class Distil(Task):
    """The task that distils one set. It keeps a checkpoint in ``folder`` until the set is
    stored.
    """

    label: str
    machine: Machine
    distiller: Distiller
    ipc: int
    seed: int
    train: Shared[TrainSet]
    folder: Path
    shared: Path  # of work that several sets share
    context: Mapping[str, Any]  # what shared work depends on besides its own spec
    macs: float = 0.0
    resumption: Resumption = field(default_factory=Resumption)
    # the images it starts from, if these come from a file
    start: Tensor | None = field(default=None, compare=False)

    @cached_property
    def fields(self) -> dict[str, Any]:
        return fields_of(self.distiller)

    @property
    def spec(self) -> Mapping[str, Any]:
        named = {"method": self.distiller.name, **self.fields, "ipc": self.ipc, "seed": self.seed}
        return {**named, **self.context, **conditions(self.machine)}

    def execute(self, channel: Channel) -> None:
        run = Run(
            self.seed,
            self.machine,
            folder=self.folder,
            shared=self.shared,
            context=self.context,
            start=self.start,
            progress=self._announced(channel),
            stop=channel.stopped,
            resumption=self.resumption,
            watch=self.watch(channel),
        )
        channel.put(self.made(self.distill(channel.fetch(self.train), run), run))

    def watch(self, channel: Channel) -> Watch:
        """Return the function that sees the images during distillation: here one that does
        nothing.
        """
        return unwatched

    def distill(self, train: TrainSet, run: Run) -> SyntheticSet:
        """Return the distilled set.

        Raises:
            DivergedError: If the loss is not finite; the message shows the fields to change.
            MismatchError: If the set cannot be stored.
        """
        self.machine.forget_peak_memory()
        try:
            return require_promised(self.distiller.distill(train, self.ipc, run), train, self.ipc)
        except DivergedError as error:
            fields = ", ".join(f"{name}={value}" for name, value in self.fields.items())
            raise DivergedError(f"{self.label}: {error} with {fields}; try a smaller lr") from error
        except MismatchError as error:
            raise MismatchError(f"{self.label}: {error}") from error

    def made(self, synthetic: SyntheticSet, run: Run) -> NewSet:
        """Return ``synthetic`` with the history and cost that ``run`` recorded."""
        cost = {
            "distill_seconds": run.cost.seconds,
            "step_seconds": run.cost.step_seconds,
            "compile_seconds": run.compile_seconds,
            "peak_memory_bytes": self.machine.peak_memory_bytes(),
            "resumed_elsewhere": run.cost.resumed_elsewhere,
            "code": "/".join(sorted(run.cost.codes)),
            **self.machine.fingerprint(),
        }
        return NewSet(synthetic, run.history, cost, tuple(run.cost.warnings))

    def _announced(self, channel: Channel) -> Progress:
        """Return the channel's progress function, which first says how long the work may take."""
        waiting = [self.machine.estimate_seconds(self.macs)]

        def progress(name: str, done: int, total: int) -> None:
            seconds = waiting.pop() * (1 - done / max(total, 1)) if waiting else 0.0
            if seconds > 20:
                here = f"{self.machine.precision}, {self.machine.engine}"
                channel.say(
                    f"{self.label}: distilling takes about {in_words(seconds)} here ({here})"
                )
            channel.progress(f"{self.label}: {name}", done, total)

        return progress


@dataclass(frozen=True)
class Teaching:
    """What a teacher is trained on, and the folder where all evaluations find it."""

    train: Shared[TrainSet]
    shared: Path
    context: Mapping[str, Any]  # what the teacher depends on besides its settings
    resumption: Resumption

    def teacher(self, protocol: Protocol, seed: int, channel: Channel, machine: Machine) -> Teacher:
        """Return the protocol's teacher; train it first if it is not stored."""
        run = Run(
            seed,
            machine,
            shared=self.shared,
            context=self.context,
            progress=channel.progress,
            stop=channel.stopped,
            resumption=self.resumption,
        )
        return trained_teacher(protocol.teacher, channel.fetch(self.train), run)


@final
@dataclass(frozen=True)
class TrainNetworks(Task):
    """The task that trains some networks on one set; puts a row of networks.jsonl for each."""

    label: str
    machine: Machine
    artifact: str  # its checksum
    synthetic: Shared[SyntheticSet]
    test: Shared[TestSet]
    protocol: Protocol
    seed: int
    networks: tuple[tuple[int, ...], ...]  # groups of networks that are trained side by side
    teaching: Teaching | None = None

    @property
    def spec(self) -> Mapping[str, Any]:
        networks = list(chain(*self.networks))
        asked = {"artifact": self.artifact[:12], "seed": self.seed, "networks": networks}
        return {**asked, **self.protocol.to_json(), **conditions(self.machine)}

    def execute(self, channel: Channel) -> None:
        """Train and put one group of networks after another: a stop loses only the group in
        training.
        """
        self.machine.forget_peak_memory()
        # it is stopped between networks only: a network in training has no checkpoint
        run, teacher = Run(self.seed, self.machine), None
        if self.teaching is not None:
            teacher = self.teaching.teacher(self.protocol, self.seed, channel, self.machine)
        judged = (channel.fetch(self.synthetic), channel.fetch(self.test), self.protocol)
        missing = chain(*self.networks[channel.kept :])
        for results in passes(*judged, missing, run, teacher):
            channel.put([self._row(result) for result in results])

    def _row(self, result: NetworkResult) -> dict[str, Any]:
        ended = {"peak_memory_bytes": self.machine.peak_memory_bytes(), "artifact": self.artifact}
        return {**result.to_json(), **ran_on(self.machine), **ended}


def conditions(machine: Machine) -> dict[str, Any]:
    """Return what the bits of a task's results depend on, as far as it is known before the task
    runs.
    """
    return {
        "device": machine.device.type,
        "precision": machine.precision,
        "engine": machine.engine,
        "threads": machine.threads,
    }
