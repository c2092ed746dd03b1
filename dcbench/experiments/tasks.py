"""The units of work of a comparison: a distillation, and a chunk of the networks that judge a set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, final

from torch import Tensor

from dcbench.conformance.requirements import require_promised
from dcbench.distiller import Distiller, fields_of
from dcbench.evaluation.evaluate import NetworkResult, passes
from dcbench.evaluation.protocol import Protocol
from dcbench.execution.interface import Handle, Site, Unit
from dcbench.execution.provenance import ran_on
from dcbench.images import SyntheticSet, TestSet, TrainSet
from dcbench.run import Resumption, Run
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


@final
@dataclass(frozen=True)
class Distil(Unit):
    """Makes one set. Leaves a checkpoint in ``folder``, wherever it is carried out, until the set
    is kept.
    """

    label: str
    machine: Machine
    distiller: Distiller
    ipc: int
    seed: int
    train: Handle[TrainSet]
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

    def run(self, site: Site) -> Run:
        """What the method gets from the harness; says how long the work may take when it begins."""
        return Run(
            self.seed,
            self.machine,
            folder=self.folder,
            shared=self.shared,
            context=self.context,
            start=self.start,
            progress=self._announced(site),
            stop=site.stop,
            resumption=self.resumption,
        )

    def results(self, site: Site) -> Iterator[NewSet]:
        run = self.run(site)
        yield self.made(self.distill(run), run)

    def distill(self, run: Run) -> SyntheticSet:
        """The set; raises DivergedError with the method's fields, so that one sees what to change,
        MismatchError if it is none to keep.
        """
        self.machine.forget_peak_memory()
        try:
            train = self.train.get()
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

    def _announced(self, site: Site) -> Progress:
        waiting = [self.machine.estimate_seconds(self.macs)]

        def progress(name: str, done: int, total: int) -> None:
            seconds = waiting.pop() * (1 - done / max(total, 1)) if waiting else 0.0
            if seconds > 20:
                here = f"{self.machine.precision}, {self.machine.engine}"
                site.say(f"{self.label}: distilling takes about {in_words(seconds)} here ({here})")
            site.progress(f"{self.label}: {name}", done, total)

        return progress


@dataclass(frozen=True)
class Teaching:
    """What a teacher is trained on, and where it is kept for all who need it."""

    train: Handle[TrainSet]
    shared: Path
    context: Mapping[str, Any]  # what it depends on besides its settings
    resumption: Resumption

    def teacher(self, protocol: Protocol, seed: int, site: Site, machine: Machine) -> Teacher:
        """The protocol's teacher, trained if it is not there yet."""
        run = Run(
            seed,
            machine,
            shared=self.shared,
            context=self.context,
            progress=site.progress,
            stop=site.stop,
            resumption=self.resumption,
        )
        return trained_teacher(protocol.teacher, self.train.get(), run)


@final
@dataclass(frozen=True)
class Networks(Unit):
    """Trains the networks of some indices on one set; a row of networks.jsonl as each ends."""

    label: str
    machine: Machine
    artifact: str  # its checksum
    synthetic: Handle[SyntheticSet]
    test: Handle[TestSet]
    protocol: Protocol
    seed: int
    networks: tuple[int, ...]
    teaching: Teaching | None = None

    @property
    def spec(self) -> Mapping[str, Any]:
        asked = {"artifact": self.artifact[:12], "seed": self.seed, "networks": list(self.networks)}
        return {**asked, **self.protocol.to_json(), **conditions(self.machine)}

    def results(self, site: Site) -> Iterator[list[dict[str, Any]]]:
        """The rows of the networks that were trained together, so that whoever stops loses none of
        them.
        """
        self.machine.forget_peak_memory()
        # nobody stops it within a network, which keeps nothing of itself
        run, teacher = Run(self.seed, self.machine), None
        if self.teaching is not None:
            teacher = self.teaching.teacher(self.protocol, self.seed, site, self.machine)
        judged = (self.synthetic.get(), self.test.get(), self.protocol)
        for results in passes(*judged, self.networks, run, teacher):
            yield [self._row(result) for result in results]

    def _row(self, result: NetworkResult) -> dict[str, Any]:
        ended = {"peak_memory_bytes": self.machine.peak_memory_bytes(), "artifact": self.artifact}
        return {**result.to_json(), **ran_on(self.machine), **ended}


def conditions(machine: Machine) -> dict[str, Any]:
    """What the bits of a unit's results depend on, as far as it is known before the unit is
    anywhere.
    """
    return {
        "device": machine.device.type,
        "precision": machine.precision,
        "engine": machine.engine,
        "threads": machine.threads,
    }
