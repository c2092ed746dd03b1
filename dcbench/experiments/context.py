"""What one cell of a comparison is, where it is worked on, and what becomes of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

import dcbench
from dcbench.datasets.loading import Loaded
from dcbench.distiller import Distiller, recorded_fields
from dcbench.execution import workers
from dcbench.execution.task import Task
from dcbench.execution.workers import Workers
from dcbench.experiments.presets import changed_fields
from dcbench.images import SyntheticSet, TrainSet
from dcbench.records import Distillation
from dcbench.run import Resumption, fingerprint
from dcbench.system.errors import OutOfRangeError
from dcbench.system.files import locked, remove_unfinished
from dcbench.system.layout import set_folder
from dcbench.system.machine import Machine
from dcbench.system.progress import Progress, never, silent, unheard
from dcbench.system.source import source_hash


@dataclass(frozen=True)
class Workspace:
    """Where and how cells are worked on: none of it changes a result, but for the machine's
    precision and engine.
    """

    out: Path
    machine: Machine
    progress: Progress = silent
    say: Callable[[str], None] = unheard
    stop: Callable[[], bool] = never
    resumption: Resumption = field(default_factory=Resumption)
    workers: Workers | None = None  # who carries out tasks; None: this process
    # how far the whole command is: in words, the pieces that have ended, all pieces
    overall: Progress = silent

    def __post_init__(self) -> None:
        source_hash()  # of the code as it is before the work, whatever is edited meanwhile

    def execute_tasks(self, tasks: Sequence[Task], keep: Callable[[Any], None]) -> None:
        """Carry out tasks and ``keep`` each result as it comes; raises what a task raised."""
        workers.execute_tasks(tasks, keep, self, self.workers)

    def stoppable_progress(self, text: str, done: int, total: int) -> None:
        """Progress of work that has no steps of ``Run``: raises KeyboardInterrupt where the user
        has asked to stop.
        """
        self.progress(text, done, total)
        if self.stop():
            raise KeyboardInterrupt

    @contextmanager
    def alone(self, folder: Path) -> Iterator[None]:
        """Hold ``folder`` for this process. While another one is at work there, it says so and can
        be stopped.
        """
        untold = [f"waiting for another process that is at work in {folder}"]

        def waiting() -> None:
            if untold:
                self.say(untold.pop())
            if self.stop():
                raise KeyboardInterrupt

        with locked(folder, waiting):
            remove_unfinished(folder)
            yield
            remove_unfinished(folder)  # of workers that died meanwhile


@dataclass(frozen=True)
class Cell:
    """One method with its fields on one dataset, budget and seed."""

    distiller: Distiller
    preset: str
    loaded: Loaded
    ipc: int
    seed: int
    # the images that it starts from, where its user has them in a file
    start: Tensor | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if self.ipc < 1:
            raise OutOfRangeError(f"ipc must be at least 1, got {self.ipc}")

    @property
    def label(self) -> str:
        """The cell in a few words, for people."""
        return set_label(
            self.distiller.name, self.ipc if self.distiller.budgeted else None, self.seed
        )

    @property
    def context(self) -> dict[str, Any]:
        """Which training images, in which space: what shared work depends on besides its own
        spec.
        """
        return shared_context(self.loaded.train)

    def identity(self, machine: Machine) -> dict[str, Any]:
        """What changes the images, besides budget and seed."""
        source = {"source": self.distiller.source} if self.distiller.source else {}
        return {
            "method": self.distiller.name,
            "method_version": self.distiller.version,
            "fields": recorded_fields(self.distiller),
            **self.context,
            "precision": machine.precision,
            **source,
        }

    def folder(self, workspace: Workspace) -> Path:
        """Where this cell's artifact and evaluations live."""
        return set_folder(
            workspace.out,
            self.loaded.spec.dataset,
            self.ipc if self.distiller.budgeted else None,
            self.distiller.name,
            f"{self.preset}-{fingerprint(self.identity(workspace.machine))}",
            self.seed,
        )

    def provenance(self, machine: Machine) -> dict[str, Any]:
        """What the artifact says of where it came from. Nothing of time or place, so that the same
        work gives the same bytes.
        """
        changed = changed_fields(self.distiller, self.preset, self.loaded.spec, self.ipc)
        return {
            **self.identity(machine),
            **({"changed": changed} if changed else {}),
            "paper": self.distiller.paper,
            "preset": self.preset,
            "dataset": self.loaded.spec.dataset,
            "ipc": self.ipc if self.distiller.budgeted else None,
            "seed": self.seed,
            "artifact_hash": fingerprint(self.identity(machine)),
            "dcbench": dcbench.__version__,
        }


@dataclass(frozen=True)
class StoredSet:
    """A finished set with its folder, its file (None for the reference, which has none) and what it
    cost, where that is known.
    """

    synthetic: SyntheticSet
    provenance: Mapping[str, Any]
    sha256: str
    folder: Path
    path: Path | None
    cost: Distillation | None

    @property
    def step(self) -> int | None:
        """Of its distillation, where the set is a snapshot."""
        step = self.provenance.get("step")
        return step if isinstance(step, int) else None

    @property
    def label(self) -> str:
        """The set in a few words, for people."""
        step = self.step
        return set_label(*(self.provenance.get(key) for key in ("method", "ipc", "seed"))) + (
            "" if step is None else f" step {step}"
        )


def shared_context(train: TrainSet) -> dict[str, Any]:
    """What work on ``train`` that several sets share depends on besides its own spec."""
    return {
        "revision": train.spec.revision,
        "space": train.space.fingerprint,
        "holdout": train.holdout,
    }


def set_label(method: Any, ipc: Any, seed: Any) -> str:
    """A set in a few words; what is not known of it is left out."""
    return f"{method or 'set'}{'' if ipc is None else f' IPC {ipc}'}{'' if seed is None else f' seed {seed}'}"
