"""How far a command with several pieces is: which set or proxy, and about how long the rest
takes.
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

LEAST_SHARE = 0.02  # of the work: before so much is done, the estimate tells more than the pace
LEAST_SECONDS = 20.0  # work that takes less is not announced


@dataclass
class Phase:
    """A part of a piece, and what share of it this command has done."""

    seconds: float  # about, on one worker
    share: float = 0.0
    first: int | None = None  # how much had been done before

    def count(self, done: int, total: int) -> None:
        """Take in that ``done`` of ``total`` is done."""
        self.first = done if self.first is None else self.first
        self.share = max(0, done - self.first) / max(1, total - self.first)

    def end(self) -> None:
        """Take in that it is over; work that never reported was done before, and no work now."""
        self.seconds, self.share = (0.0 if self.first is None else self.seconds), 1.0


class CommandProgress:
    """Counts the pieces of a command by the work that each is, and tells its workspace."""

    def __init__(self, noun: str, workspace: Workspace) -> None:
        self.noun, self.workspace, self.ended = noun, workspace, 0
        self._pieces: dict[Hashable, tuple[Phase, Phase]] = {}
        self._begun = self._told = time.monotonic()
        self._lock = threading.Lock()

    def add(self, piece: Hashable, making: float, judging: float) -> None:
        """One more piece, and about how many seconds it takes to make and to judge."""
        self._pieces[piece] = (Phase(making), Phase(judging))

    @property
    def _workers(self) -> int:
        return self.workspace.workers.count if self.workspace.workers else 1

    def announce(self) -> None:
        """Say what all pieces will take, before the first begins."""
        self._begun = time.monotonic()
        seconds = sum(phase.seconds for piece in self._pieces.values() for phase in piece)
        count, machine = len(self._pieces), self.workspace.machine
        if count > 1 and seconds > LEAST_SECONDS:
            by = f", {counted(self._workers, 'worker')}" if self._workers > 1 else ""
            self.workspace.say(
                f"{counted(count, self.noun)}: about {in_words(seconds / self._workers)} here "
                f"({machine.precision}, {counted(machine.threads, 'thread')}{by})"
            )

    def workspace_of(self, piece: Hashable) -> Workspace:
        """The workspace for one piece, whose progress counts for the whole."""
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
        """Take in that a piece is done, or cannot be done."""
        with self._lock:
            self.ended += 1
            for phase in self._pieces[piece]:
                phase.end()
            self._told = -math.inf  # at once
            self._tell()

    def _tell(self) -> None:
        now = time.monotonic()
        if len(self._pieces) > 1 and now - self._told >= 1:
            self._told = now
            self.workspace.overall(self.words(now), self.ended, len(self._pieces))

    def words(self, now: float) -> str:
        """Such as: set 4 of 18, about 11 min left."""
        phases = [phase for piece in self._pieces.values() for phase in piece]
        total = sum(phase.seconds for phase in phases)
        done = sum(phase.seconds * phase.share for phase in phases)
        pace = done / max(now - self._begun, 1e-9) if done > LEAST_SHARE * total else self._workers
        where = f"{self.noun} {min(self.ended + 1, len(self._pieces))} of {len(self._pieces)}"
        return where + (f", about {in_words((total - done) / pace)} left" if done < total else "")


def making_seconds(cell: Cell, workspace: Workspace) -> float:
    """About how long it takes to make a cell's set; nothing where it is there, or cannot be
    made.
    """
    if workspace.resumption.resume and (cell.folder(workspace) / ARTIFACT).exists():
        return 0.0
    if cell.distiller.refuses(cell.loaded.train, cell.ipc):
        return 0.0
    return seconds_of(cell.distiller.cost_macs(cell.loaded.train, cell.ipc), workspace.machine)


def judging_seconds(cell: Cell, protocol: Protocol, networks: int, machine: Machine) -> float:
    """About how long it takes to train so many networks on a cell's set and to test them."""
    spec, train = cell.loaded.spec, cell.loaded.train
    images = cell.ipc * spec.classes if cell.distiller.budgeted else len(train)
    try:
        one = evaluation_macs(protocol, spec, images, len(cell.loaded.test_set(protocol.judged_on)))
    except DcbenchError:  # of a network that cannot be trained there, which is said in its turn
        return 0.0
    return seconds_of(networks * one, machine)


def seconds_of(macs: float, machine: Machine) -> float:
    """About how long so many multiply-accumulates take, with the engine that suits them."""
    return machine.decide(macs).estimate_seconds(macs)
