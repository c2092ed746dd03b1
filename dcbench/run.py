"""Run: what the harness gives to a piece of work, such as one distillation: seeded randomness, a
machine, progress, and checkpoints to resume from.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from dcbench.system.errors import DivergedError, FileFormatError, MismatchError
from dcbench.system.files import locked, read_tensors, write_bytes, write_tensors
from dcbench.system.layout import CHECKPOINT, HISTORY, SHARED_RESULT
from dcbench.system.machine import Machine
from dcbench.system.progress import Progress, never, silent
from dcbench.system.source import source_hash

CHECKPOINT_VERSION = 1
UNKNOWN = "unknown"  # instead of a hash of the code, which older checkpoints do not store
CHECKPOINT_SECONDS = 30.0  # seconds between two checkpoints by default
# the largest share of a run's time that saving checkpoints may take
CHECKPOINT_SHARE = 0.015


@runtime_checkable
class Stateful(Protocol):
    """An object that a checkpoint can hold besides tensors: an optimizer, a module."""

    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state_dict: dict[str, Any]) -> Any: ...


State = Mapping[str, Tensor | Stateful]  # what changes from step to step, by name
# the work in words, how many steps are done, the state after them
Watch = Callable[[str, int, State], None]


def unwatched(name: str, done: int, state: State) -> None:
    """A watch function that does nothing."""


@dataclass
class Cost:
    """The time that a piece of work took, and its warnings; checkpoints store it and it keeps
    growing.
    """

    seconds: float = 0.0
    steps: list[float] = field(default_factory=list)  # seconds of each step, the latest 1,000
    # resumed from, or used shared work of, another device, engine or version (the user allowed it)
    resumed_elsewhere: bool = False
    warnings: list[str] = field(default_factory=list)  # for the records' field ``warnings``
    # the shared work that is counted in ``seconds``
    counted: list[str] = field(default_factory=list)
    # hashes of the code versions that did the work
    codes: set[str] = field(default_factory=lambda: {source_hash()})

    @property
    def step_seconds(self) -> float | None:
        """Median seconds of a step; the first three steps are left out where there are more."""
        steady = self.steps[3:] or self.steps
        return statistics.median(steady) if steady else None

    @property
    def first_steps_more_seconds(self) -> float | None:
        """How many seconds longer the first three steps took than later ones; None without
        steps.
        """
        steady = self.step_seconds
        return None if steady is None else max(0.0, sum(step - steady for step in self.steps[:3]))


@dataclass(frozen=True)
class Resumption:
    """Whether interrupted work continues, and how often checkpoints are saved."""

    resume: bool = True  # False: start again
    # when the command began, by the clock of the disk, where ``resume`` is False: older shared work
    # and checkpoints are not used
    since: float = 0.0
    other_machine: bool = False  # whether to continue from a checkpoint of another machine
    # seconds between checkpoints, more if writing one takes long; 0: after each step
    checkpoint_seconds: float = field(default_factory=lambda: CHECKPOINT_SECONDS)

    def takes(self, checkpoint: Path) -> bool:
        """Return whether to continue from an existing checkpoint.

        Always if ``resume``; else only if it is younger than ``since``: a worker of this command,
        which died, wrote it.
        """
        return self.resume or 0 < self.since <= checkpoint.stat().st_mtime


@dataclass(frozen=True)
class Run:
    """The seed, machine and folder of one piece of work, such as a distillation.

    ``folder`` holds its checkpoint and history; with None nothing is kept. ``shared`` is the folder
    of work that several runs use (``once``). ``context`` names what shared work depends on besides
    its own spec: the dataset's revision and space, and the holdout.
    """

    seed: int
    machine: Machine
    folder: Path | None = None
    shared: Path | None = None
    context: Mapping[str, Any] = field(default_factory=dict)
    # images in the training set's space that a learned set starts from, where its ``init`` is a
    # file
    start: Tensor | None = None
    progress: Progress = silent
    # called at every step; if true, save and raise KeyboardInterrupt
    stop: Callable[[], bool] = lambda: False
    resumption: Resumption = field(default_factory=Resumption)
    # called with the state before the first step and after each step; a step's call comes before
    # any checkpoint that counts the step
    watch: Watch = unwatched
    cost: Cost = field(default_factory=Cost)
    history: list[dict[str, float]] = field(default_factory=list)
    # the loops that ``steps`` has begun for this object
    loops: list[str] = field(default_factory=list, init=False)

    def generator(self, *names: str | int) -> torch.Generator:
        """Make a random generator that depends on the seed and ``names`` alone.

        Its state never has to be saved: after an interruption the same names give the same
        generator.
        """
        digest = hashlib.sha256(json.dumps([self.seed, *names]).encode()).digest()
        return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)

    def place(self, value: Tensor) -> Tensor:
        """Move a tensor to the run's device."""
        return self.machine.place(value)

    @property
    def compile_seconds(self) -> float | None:
        """Seconds spent compiling, as far as the first steps show; None if nothing was compiled or
        timed.
        """
        return self.cost.first_steps_more_seconds if self.machine.engine == "compiled" else None

    def log(self, step: int, **values: float) -> None:
        """Add a row for ``step`` to the history; raises DivergedError if a value is not finite."""
        for name, value in values.items():
            if not math.isfinite(value):
                raise DivergedError(f"{name} became {value} at step {step + 1}")
        self.history.append({"step": float(step + 1), **values})

    def warn(self, message: str) -> None:
        """Record a warning, once, for the artifact and its records."""
        if message not in self.cost.warnings:
            self.cost.warnings.append(message)

    def steps(self, total: int, state: State, name: str = "distill") -> Iterator[int]:
        """Iterate over the steps of the work: count, show progress, save checkpoints, and resume.

        Starts at the step where an earlier run was interrupted, after restoring ``state`` in place.
        A run with a folder can have one such loop, because its checkpoint holds one loop's state;
        put an earlier loop into ``once``.

        Args:
            total: Number of steps.
            state: What changes from step to step, by name: tensors, and objects with ``state_dict``
                and ``load_state_dict``.
            name: What the progress calls the loop.

        Raises:
            MismatchError: At a second loop, or if the checkpoint is from another kind of machine.
            KeyboardInterrupt: When asked to stop, after saving.
        """
        if self.loops and self.folder is not None:
            raise MismatchError(
                f"a second loop of run.steps ({name!r} after {self.loops[0]!r}) would lose its "
                "place with its run's one checkpoint; "
                "put the first into run.once(name, spec, build), where it has a run of its own"
            )
        self.loops.append(name)
        done = self._restore(name, total, state)
        saved_at = clock = time.monotonic()
        pause = usual = self.resumption.checkpoint_seconds
        self.progress(name, done, total)
        self.watch(name, done, state)
        for step in range(done, total):
            yield step
            self.machine.synchronise()
            self.watch(name, step + 1, state)
            clock = self._count_step(clock)
            self.progress(name, step + 1, total)
            stopping = self.stop()
            if stopping or clock - saved_at >= pause:
                self._save(name, step + 1, total, state)
                saved_at = time.monotonic()
                if usual:
                    pause = max(usual, (saved_at - clock) / CHECKPOINT_SHARE)
            if stopping:
                raise KeyboardInterrupt

    def _count_step(self, since: float) -> float:
        now = time.monotonic()
        self.cost.seconds += now - since
        self.cost.steps.append(now - since)
        if len(self.cost.steps) > 1000:
            del self.cost.steps[3]  # the first three tell what compiling took
        return now

    def finish(self) -> None:
        """End shared work (``once``) whose result is stored: write its history, delete its
        checkpoint. The checkpoint of a set is deleted when the set is stored.
        """
        if self.folder is not None:
            write_history(self.folder, self.history)
            self._checkpoint.unlink(missing_ok=True)

    def once(
        self, name: str, spec: Mapping[str, Any], build: Callable[[Run], dict[str, Any]]
    ) -> dict[str, Any]:
        """Do work that several runs share, once, and return its stored result to every later
        caller.

        A result is identified by name, spec, seed, precision and context. The time it took counts
        in the cost of every caller; work that was done on another kind of machine is noted there.
        Results older than ``resumption.since`` are made again.

        Args:
            name: What the work is, such as ``experts``.
            spec: Everything that changes its result.
            build: Does the work; gets a run of its own that resumes like any other, and returns a
                dict of tensors and plain values.
        """
        whole = {
            "name": name,
            "spec": dict(spec),
            "seed": self.seed,
            "precision": self.machine.precision,
            **self.context,
        }
        what = f"{name}-{fingerprint(whole)}"
        if self.shared is None:
            part = self.part(name)
            return self._count(
                what,
                {**build(part), "seconds": part.cost.seconds, "codes": sorted(part.cost.codes)},
            )
        folder = self.shared / what
        result = folder / SHARED_RESULT
        with locked(folder, self._waiting):
            if result.exists() and result.stat().st_mtime >= self.resumption.since:
                try:
                    return self._count(what, read_tensors(result))
                except FileFormatError:
                    result.unlink()  # damaged: its content can be made again
            part = replace(self.part(name), folder=folder)
            built = build(part)
            how = {
                "seconds": part.cost.seconds,
                "machine": self.machine.fingerprint(),
                "codes": sorted(part.cost.codes),
            }
            write_tensors(result, {**built, **how})
            part.finish()
        return self._count(what, read_tensors(result))

    def _count(self, what: str, made: dict[str, Any]) -> dict[str, Any]:
        """Return ``made`` without the time, machine and code version of the work; count them in
        this run's cost.
        """
        # older ones say none of these
        seconds, here = made.pop("seconds", 0.0), self.machine.fingerprint()
        self.cost.codes.update(made.pop("codes", [UNKNOWN]))
        self.cost.resumed_elsewhere |= made.pop("machine", here) != here
        if what not in self.cost.counted:
            self.cost.counted.append(what)
            self.cost.seconds += seconds
        return made

    def part(self, name: str) -> Run:
        """Make a run for a part of this work, with its own randomness, cost and history, but
        without a folder.
        """
        seed = self.generator("part", name).initial_seed()
        return replace(self, seed=seed, folder=None, watch=unwatched, cost=Cost(), history=[])

    def quiet_part(self, name: str) -> Run:
        """Make a run for a part that is short: it reports nothing and is never asked to stop."""
        return replace(self.part(name), progress=silent, stop=never)

    def _waiting(self) -> None:
        if self.stop():
            raise KeyboardInterrupt

    @property
    def _checkpoint(self) -> Path:
        assert self.folder is not None  # noqa: S101 - asked only where there is a folder
        return self.folder / CHECKPOINT

    def _save(self, name: str, done: int, total: int, state: State) -> None:
        """Write ``checkpoint.pt``: the state as CPU tensors, the steps done, cost and history, and
        the machine. No random state: generators follow from seed, names and step.
        """
        if self.folder is None:
            return
        plain = {
            key: value.detach().cpu() if isinstance(value, Tensor) else value.state_dict()
            for key, value in state.items()
        }
        cost = asdict(self.cost) | {"codes": sorted(self.cost.codes)}
        head = {
            "format_version": CHECKPOINT_VERSION,
            "name": name,
            "seed": self.seed,
            "total": total,
            "done": done,
            "machine": self.machine.fingerprint(),
        }
        write_tensors(
            self._checkpoint,
            {**head, "state": plain, "cost": cost, "history": [dict(row) for row in self.history]},
        )

    def _restore(self, name: str, total: int, state: State) -> int:
        saved = self._read_checkpoint(name, total, set(state))
        if saved is None:
            return 0
        for key, value in state.items():
            if isinstance(value, Tensor):
                with torch.no_grad():
                    value.copy_(saved["state"][key])
            else:
                value.load_state_dict(saved["state"][key])
        self.cost.seconds, self.cost.steps[:] = saved["cost"]["seconds"], saved["cost"]["steps"]
        self.cost.resumed_elsewhere |= saved["cost"]["resumed_elsewhere"]
        self.cost.warnings[:] = saved["cost"].get("warnings", [])  # older checkpoints lack it
        self.cost.counted[:] = saved["cost"].get("counted", self.cost.counted)
        self.cost.codes.update(saved["cost"].get("codes", [UNKNOWN]))
        self.history[:] = saved["history"]
        return int(saved["done"])

    def _read_checkpoint(self, name: str, total: int, parts: set[str]) -> dict[str, Any] | None:
        if self.folder is None or not self._checkpoint.exists():
            return None
        if not self.resumption.takes(self._checkpoint):
            return None
        try:
            saved = read_tensors(self._checkpoint)
        except FileFormatError:
            return None  # damaged: the work starts again, which only costs time
        wanted = {
            "format_version": CHECKPOINT_VERSION,
            "name": name,
            "seed": self.seed,
            "total": total,
        }
        if (
            any(saved.get(key) != value for key, value in wanted.items())
            or set(saved["state"]) != parts
        ):
            return None  # from other work, or from a version that stored other things
        before, now = saved["machine"], self.machine.fingerprint()
        changed = [
            f"{key} {before.get(key)!r} is now {now[key]!r}"
            for key in now
            if before.get(key) != now[key]
        ]
        if changed and not self.resumption.other_machine:
            raise MismatchError(
                f"{self._checkpoint} was made under other conditions ({'; '.join(changed)}), so "
                "going on would not give the same bits; delete that file to start again, or go on "
                "all the same: dcbench run --resume-elsewhere (or reproduce)"
            )
        self.cost.resumed_elsewhere |= bool(changed)
        return saved


def fingerprint(value: Mapping[str, Any]) -> str:
    """Hash plain values to 12 hex digits; the order of keys does not matter."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, allow_nan=False).encode()).hexdigest()[
        :12
    ]


def versioned(spec: Mapping[str, Any], version: int) -> dict[str, Any]:
    """Add the method's version to the spec of shared work.

    Version 1 is left out, so that results stored before there were versions are found.
    """
    return {**spec, "version": version} if version > 1 else dict(spec)


def write_history(folder: Path, rows: list[dict[str, float]]) -> None:
    """Write the logged rows as ``history.csv``; writes nothing if there are none."""
    if rows:
        write_bytes(folder / HISTORY, _as_csv(rows).encode())


def _as_csv(rows: list[dict[str, float]]) -> str:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(
        {key: repr(value) if key != "step" else int(value) for key, value in row.items()}
        for row in rows
    )
    return text.getvalue()
