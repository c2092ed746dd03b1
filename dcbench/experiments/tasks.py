"""The tasks of a comparison: a distillation, and a chunk of the networks that judge a set."""

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
    """A finished set, with the history and the cost of its making."""

    synthetic: SyntheticSet
    history: list[dict[str, float]]
    cost: Mapping[str, Any]  # what distillation.json holds
    warnings: tuple[str, ...] = ()  # what happened that the records should say


@dataclass(frozen=True)
class Distil(Task):
    """Makes one set. Leaves a checkpoint in ``folder``, wherever it is carried out, until the set
    is kept.
    """

    label: str
    machine: Machine
    distiller: Distiller
    ipc: int
    seed: int
    train: Shared[TrainSet]
    folder: Path
    shared: Path  # of what several sets use
    context: Mapping[str, Any]  # what that depends on besides its own spec
    macs: float = 0.0
    resumption: Resumption = field(default_factory=Resumption)
    start: Tensor | None = field(default=None, compare=False)  # of a set that starts from a file

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
        """What looks at the set while it is made."""
        return unwatched

    def distill(self, train: TrainSet, run: Run) -> SyntheticSet:
        """The set; raises DivergedError with the method's fields, so that one sees what to change,
        MismatchError if it is none to keep.
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
        """``synthetic`` with what ``run`` knows of its making."""
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
        """The channel's progress, which first says how long the work may take."""
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
    """What a teacher is trained on, and where it is kept for all who need it."""

    train: Shared[TrainSet]
    shared: Path
    context: Mapping[str, Any]  # what it depends on besides its settings
    resumption: Resumption

    def teacher(self, protocol: Protocol, seed: int, channel: Channel, machine: Machine) -> Teacher:
        """The protocol's teacher, trained if it is not there yet."""
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
    """Trains the networks of some indices on one set; rows of networks.jsonl as they end."""

    label: str
    machine: Machine
    artifact: str  # its checksum
    synthetic: Shared[SyntheticSet]
    test: Shared[TestSet]
    protocol: Protocol
    seed: int
    networks: tuple[tuple[int, ...], ...]  # those that are trained together side by side
    teaching: Teaching | None = None

    @property
    def spec(self) -> Mapping[str, Any]:
        networks = list(chain(*self.networks))
        asked = {"artifact": self.artifact[:12], "seed": self.seed, "networks": networks}
        return {**asked, **self.protocol.to_json(), **conditions(self.machine)}

    def execute(self, channel: Channel) -> None:
        """Put the rows of the networks that were trained together, so that whoever stops loses none
        of them.
        """
        self.machine.forget_peak_memory()
        # nobody stops it within a network, which keeps nothing of itself
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
    """What the bits of a task's results depend on, as far as it is known before it is submitted."""
    return {
        "device": machine.device.type,
        "precision": machine.precision,
        "engine": machine.engine,
        "threads": machine.threads,
    }
