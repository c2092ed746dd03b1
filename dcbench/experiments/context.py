"""Cell, workspace and stored set: what is distilled, where and how, and the result."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

import dcbench
from dcbench.artifacts.artifact import Artifact
from dcbench.datasets.loading import Loaded
from dcbench.distiller import Distiller, recorded_fields
from dcbench.execution import workers
from dcbench.execution.task import Task
from dcbench.execution.workers import Workers
from dcbench.experiments.presets import changed_fields
from dcbench.images import SyntheticSet, TrainSet
from dcbench.records import Distillation
from dcbench.run import Resumption, fingerprint
from dcbench.studies.declared_methods import declared_methods
from dcbench.system.fields import within
from dcbench.system.files import locked, remove_unfinished
from dcbench.system.layout import set_folder
from dcbench.system.machine import Machine
from dcbench.system.progress import Progress, never, silent, unheard
from dcbench.system.source import source_hash


@dataclass(frozen=True)
class Workspace:
    """Where and how a command works: output folder, machine, progress, workers.

    Of these only the machine can change a result: its device, threads, precision and engine.
    """

    out: Path
    machine: Machine
    progress: Progress = silent
    say: Callable[[str], None] = unheard
    stop: Callable[[], bool] = never
    resumption: Resumption = field(default_factory=Resumption)
    workers: Workers | None = None  # they execute the tasks; None: this process does
    # progress of the whole command: a text, how many pieces have ended, how many there are
    overall: Progress = silent

    def __post_init__(self) -> None:
        source_hash()  # hash the code now, before somebody edits it during the work

    def execute_tasks(self, tasks: Sequence[Task], keep: Callable[[Any], None]) -> None:
        """Execute tasks and ``keep`` each result as it comes. Raises the first error of a task."""
        workers.execute_tasks(tasks, keep, self, self.workers)

    def stoppable_progress(self, text: str, done: int, total: int) -> None:
        """Report progress of work outside ``Run.steps``.

        Raises:
            KeyboardInterrupt: If the user has asked to stop.
        """
        self.progress(text, done, total)
        if self.stop():
            raise KeyboardInterrupt

    @contextmanager
    def alone(self, folder: Path) -> Iterator[None]:
        """Lock ``folder`` for this process.

        If another process works there, say so and wait; the wait can be interrupted.
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
            remove_unfinished(folder)  # left by workers that died


@dataclass(frozen=True)
class Cell:
    """One method with its fields on one data set, budget and seed: one set to distil and
    evaluate.
    """

    distiller: Distiller
    preset: str
    loaded: Loaded
    ipc: int
    seed: int
    # the images that distillation starts from, if the user gave a file of them
    start: Tensor | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        within("ipc", self.ipc, 1)

    @property
    def label(self) -> str:
        """A short description of the cell, for messages."""
        return set_label(self.distiller.name, self.budget, self.seed)

    @property
    def budget(self) -> int | None:
        """Images per class; None for a reference that uses all the data."""
        return self.ipc if self.distiller.budgeted else None

    @property
    def context(self) -> dict[str, Any]:
        """The training images and their space: what shared work depends on besides its own spec."""
        return shared_context(self.loaded.train)

    def identity(self, machine: Machine) -> dict[str, Any]:
        """Everything that changes the set's images, except budget and seed. The artifact hash
        covers it.
        """
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
        """Return the folder of this cell's set and its evaluations."""
        return set_folder(
            workspace.out,
            self.loaded.spec.dataset,
            self.budget,
            self.distiller.name,
            f"{self.preset}-{fingerprint(self.identity(workspace.machine))}",
            self.seed,
        )

    def provenance(self, machine: Machine) -> dict[str, Any]:
        """Return the provenance that the artifact stores: method, fields, data, seed, code version.

        It holds no time and no place, so that the same work gives the same bytes.
        """
        changed = changed_fields(self.distiller, self.preset, self.loaded.spec, self.ipc)
        # those of the project's own methods stand in their files
        title = "" if self.distiller.name in declared_methods() else self.distiller.title
        return {
            **self.identity(machine),
            **({"changed": changed} if changed else {}),
            "paper": self.distiller.paper,
            **({"title": title[:200]} if title not in ("", self.distiller.name) else {}),
            "preset": self.preset,
            "dataset": self.loaded.spec.dataset,
            "ipc": self.budget,
            "seed": self.seed,
            "artifact_hash": fingerprint(self.identity(machine)),
            "dcbench": dcbench.__version__,
        }


@dataclass(frozen=True)
class StoredSet:
    """A finished set with its folder, file and cost.

    ``path`` is None for the reference ``whole``, which has no file. ``cost`` is None if unknown.
    """

    synthetic: SyntheticSet
    provenance: Mapping[str, Any]
    sha256: str
    folder: Path
    path: Path | None
    cost: Distillation | None

    @classmethod
    def of(
        cls, artifact: Artifact, folder: Path, path: Path | None, cost: Distillation | None
    ) -> StoredSet:
        """Return the set of an artifact, with what the artifact does not say of it."""
        return cls(artifact.synthetic, artifact.provenance, artifact.sha256, folder, path, cost)

    @property
    def step(self) -> int | None:
        """The distillation step of a snapshot; None for a finished set."""
        step = self.provenance.get("step")
        return step if isinstance(step, int) else None

    @property
    def label(self) -> str:
        """A short description of the set, for messages."""
        label = set_label(*(self.provenance.get(key) for key in ("method", "ipc", "seed")))
        return label if self.step is None else f"{label} step {self.step}"

    @property
    def place(self) -> str:
        """The set's file, or its label if it has none, for messages."""
        return str(self.path or self.label)


def shared_context(train: TrainSet) -> dict[str, Any]:
    """What work on ``train`` that several sets share depends on, besides its own spec."""
    return {
        "revision": train.spec.revision,
        "space": train.space.fingerprint,
        "holdout": train.holdout,
    }


def set_label(method: Any, ipc: Any, seed: Any) -> str:
    """Describe a set in a few words; unknown parts are left out."""
    numbers = {"IPC": ipc, "seed": seed}
    known = [f"{name} {number}" for name, number in numbers.items() if number is not None]
    return " ".join([method or "set", *known])
