"""Progress of a whole command with several pieces: which set or proxy it is at, and about how long
the rest takes.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Hashable
from dataclasses import dataclass, replace

from dcbench.evaluation.evaluate import evaluation_macs
from dcbench.evaluation.protocol import Protocol
from dcbench.experiments.context import Cell, Workspace
from dcbench.system.errors import DcbenchError
from dcbench.system.layout import ARTIFACT
from dcbench.system.machine import Machine
from dcbench.system.wording import counted, in_words

# before this share of the work is done, the estimate is used instead of the measured pace
LEAST_SHARE = 0.02
LEAST_SECONDS = 20.0  # shorter work is not announced


@dataclass
class Phase:
    """One phase of a piece (making or judging), and the share of it that this command has done."""

    seconds: float  # estimated, on one worker
    share: float = 0.0
    first: int | None = None  # how much was done before this command

    def count(self, done: int, total: int) -> None:
        """Record that ``done`` of ``total`` is done."""
        self.first = done if self.first is None else self.first
        self.share = max(0, done - self.first) / max(1, total - self.first)

    def end(self) -> None:
        """Record that the phase is over. A phase that never reported was done before, and counts as
        no work.
        """
        self.seconds, self.share = (0.0 if self.first is None else self.seconds), 1.0


class CommandProgress:
    """Counts the pieces of a command, weighted by their work, and reports to its workspace."""

    def __init__(self, noun: str, workspace: Workspace) -> None:
        self.noun, self.workspace, self.ended = noun, workspace, 0
        self._pieces: dict[Hashable, tuple[Phase, Phase]] = {}
        self._begun = self._told = time.monotonic()
        self._lock = threading.Lock()

    def add(self, piece: Hashable, making: float, judging: float) -> None:
        """Add a piece, with estimated seconds to make and to judge it."""
        self._pieces[piece] = (Phase(making), Phase(judging))

    @property
    def _workers(self) -> int:
        return self.workspace.workers.count if self.workspace.workers else 1

    def _seconds(self) -> list[float]:
        return [phase.seconds for piece in self._pieces.values() for phase in piece]

    def _worth_telling(self) -> bool:
        """Return whether there is more than the one phase that a task itself reports."""
        seconds = self._seconds()
        return len(self._pieces) > 1 or (min(seconds) > 0 and sum(seconds) > LEAST_SECONDS)

    def announce(self) -> None:
        """Say what all pieces will take; called before the first begins."""
        self._begun = time.monotonic()
        seconds = sum(self._seconds())
        count, machine = len(self._pieces), self.workspace.machine
        if seconds > LEAST_SECONDS and self._worth_telling():
            by = f", {counted(self._workers, 'worker')}" if self._workers > 1 else ""
            self.workspace.say(
                f"{counted(count, self.noun)}: about {in_words(seconds / self._workers)} here "
                f"({machine.precision}, {counted(machine.threads, 'thread')}{by})"
            )

    def workspace_of(self, piece: Hashable) -> Workspace:
        """Return the workspace for one piece; its progress also counts for the whole command."""
        making, judging = self._pieces[piece]

        def progress(text: str, done: int, total: int) -> None:
            self.workspace.progress(text, done, total)
            with self._lock:
                if text.endswith(": networks"):
                    making.end()
                    judging.count(done, total)
                else:
                    making.count(done, total)
                self._tell()

        return replace(self.workspace, progress=progress)

    def end(self, piece: Hashable) -> None:
        """Record that a piece is done or has failed."""
        with self._lock:
            self.ended += 1
            for phase in self._pieces[piece]:
                phase.end()
            self._told = -math.inf  # report at once
            self._tell()

    def _tell(self) -> None:
        now = time.monotonic()
        if now - self._told >= 1 and self._worth_telling():
            self._told = now
            self.workspace.overall(self.words(now), self.ended, len(self._pieces))

    def words(self, now: float) -> str:
        """Return the progress in words, such as: set 4 of 18, about 11 min left."""
        phases = [phase for piece in self._pieces.values() for phase in piece]
        total = sum(phase.seconds for phase in phases)
        done = sum(phase.seconds * phase.share for phase in phases)
        pace = done / max(now - self._begun, 1e-9) if done > LEAST_SHARE * total else self._workers
        where = f"{self.noun} {min(self.ended + 1, len(self._pieces))} of {len(self._pieces)}"
        return where + (f", about {in_words((total - done) / pace)} left" if done < total else "")


def making_seconds(cell: Cell, workspace: Workspace) -> float:
    """Estimate how long a cell's set takes to make: 0 if it is finished or cannot be made."""
    if workspace.resumption.resume and (cell.folder(workspace) / ARTIFACT).exists():
        return 0.0
    if cell.distiller.refuses(cell.loaded.train, cell.ipc):
        return 0.0
    return seconds_of(cell.distiller.cost_macs(cell.loaded.train, cell.ipc), workspace.machine)


def judging_seconds(cell: Cell, protocol: Protocol, networks: int, machine: Machine) -> float:
    """Estimate how long ``networks`` networks take to train on a cell's set and to test."""
    spec, train = cell.loaded.spec, cell.loaded.train
    images = cell.ipc * spec.classes if cell.distiller.budgeted else len(train)
    try:
        one = evaluation_macs(protocol, spec, images, len(cell.loaded.test_set(protocol.judged_on)))
    # a network that cannot be trained on this data: the error comes when its turn comes
    except DcbenchError:
        return 0.0
    return seconds_of(networks * one, machine)


def seconds_of(macs: float, machine: Machine) -> float:
    """Estimate how long ``macs`` multiply-accumulates take, with the engine that suits them."""
    return machine.decide(macs).estimate_seconds(macs)
