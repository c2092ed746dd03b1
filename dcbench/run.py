"""Run: everything that a piece of work gets from the harness, its randomness, its machine, its
progress and its memory of itself.
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
from dcbench.system.progress import Progress, silent
from dcbench.system.source import source_hash

CHECKPOINT_VERSION = 1
UNKNOWN = "unknown"  # code of older checkpoints and shared work, which do not say it
# of a run's time, at the most, goes into checkpoints, however large the images are
CHECKPOINT_SHARE = 0.015


@runtime_checkable
class Stateful(Protocol):
    """Whatever can be put into a checkpoint besides tensors: optimizers, modules."""

    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state_dict: dict[str, Any]) -> Any: ...


# what is being done, how many steps are done, its state then
Watch = Callable[[str, int, Mapping[str, Tensor | Stateful]], None]


def unwatched(name: str, done: int, state: Mapping[str, Tensor | Stateful]) -> None:
    """A watch that sees nothing."""


@dataclass
class Cost:
    """What a piece of work took. Grows as the work goes on and survives its interruptions."""

    seconds: float = 0.0
    steps: list[float] = field(default_factory=list)  # seconds of each step, the latest 1,000
    # went on, as its user allowed, or took shared work, from another device, engine or version
    resumed_elsewhere: bool = False
    warnings: list[str] = field(default_factory=list)  # what happened that the record should say
    counted: list[str] = field(default_factory=list)  # the shared work that is among the seconds
    # hashes of the code that did any of it
    codes: set[str] = field(default_factory=lambda: {source_hash()})

    @property
    def step_seconds(self) -> float | None:
        """The median step, the first few left out where there are enough."""
        steady = self.steps[3:] or self.steps
        return statistics.median(steady) if steady else None

    @property
    def first_steps_more_seconds(self) -> float | None:
        """How much longer the first steps took than steady ones; None without steps."""
        steady = self.step_seconds
        return None if steady is None else max(0.0, sum(step - steady for step in self.steps[:3]))


CHECKPOINT_SECONDS = 30.0  # between two checkpoints, if nothing else is said


@dataclass(frozen=True)
class Resumption:
    """How interrupted work continues, and how often it is saved on the way."""

    resume: bool = True  # False: start again
    # shared work that is older, by the clock of the disk, is done again
    since: float = 0.0
    other_machine: bool = False  # whether to continue from a checkpoint of another machine
    # between two checkpoints, or more where writing one takes long; 0: after each step
    checkpoint_seconds: float = field(default_factory=lambda: CHECKPOINT_SECONDS)


@dataclass(frozen=True)
class Run:
    """One piece of work's seed, machine and folder.

    ``folder`` holds its checkpoint and history; None keeps nothing. ``shared`` holds what several pieces of work use (``once``).
    ``context`` is what that shared work depends on besides its own spec (the dataset's revision and space, the holdout).
    """

    seed: int
    machine: Machine
    folder: Path | None = None
    shared: Path | None = None
    context: Mapping[str, Any] = field(default_factory=dict)
    # images in the training set's space that a learned set starts from, where its ``init`` is a file
    start: Tensor | None = None
    progress: Progress = silent
    # asked at every step; true: save and raise KeyboardInterrupt
    stop: Callable[[], bool] = lambda: False
    resumption: Resumption = field(default_factory=Resumption)
    # shown the state before the first step and after each, always before a checkpoint says that it
    # is done
    watch: Watch = unwatched
    cost: Cost = field(default_factory=Cost)
    history: list[dict[str, float]] = field(default_factory=list)
    # of this very object, that ``steps`` has begun
    loops: list[str] = field(default_factory=list, init=False)

    def generator(self, *names: str | int) -> torch.Generator:
        """A fresh generator that depends on the seed and ``names`` alone, so that no state of it
        need ever be saved.
        """
        digest = hashlib.sha256(json.dumps([self.seed, *names]).encode()).digest()
        return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)

    def place(self, value: Tensor) -> Tensor:
        """``value`` on the run's device."""
        return self.machine.place(value)

    @property
    def compile_seconds(self) -> float | None:
        """What compiling cost, as far as steps show it; None where nothing was compiled or no step
        was timed.
        """
        return self.cost.first_steps_more_seconds if self.machine.engine == "compiled" else None

    def log(self, step: int, **values: float) -> None:
        """Keep a step's figures for the history; raises DivergedError if one is not finite."""
        for name, value in values.items():
            if not math.isfinite(value):
                raise DivergedError(f"{name} became {value} at step {step + 1}")
        self.history.append({"step": float(step + 1), **values})

    def warn(self, message: str) -> None:
        """Keep a line that the artifact and its records will say, once."""
        if message not in self.cost.warnings:
            self.cost.warnings.append(message)

    def steps(
        self, total: int, state: Mapping[str, Tensor | Stateful], name: str = "distill"
    ) -> Iterator[int]:
        """Count from where an earlier run was interrupted up to ``total``, restoring and saving
        ``state`` in place.

        ``name`` is what the progress says of it. One loop per run that has a folder, for its checkpoint holds one loop's state: what goes
        before it belongs into ``once``. Raises MismatchError at a second loop, or if the checkpoint was made on another kind of machine;
        KeyboardInterrupt when asked to stop.
        """
        if self.loops and self.folder is not None:
            raise MismatchError(
                f"a second loop of run.steps ({name!r} after {self.loops[0]!r}) would lose its place with its run's one checkpoint; "
                "put the first into run.once(name, spec, build), where it has a run of its own"
            )
        self.loops.append(name)
        done = self._restore(name, total, state)
        saved = clock = time.monotonic()
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
            if stopping or clock - saved >= pause:
                self._save(name, step + 1, total, state)
                saved = time.monotonic()
                pause = usual and max(usual, (saved - clock) / CHECKPOINT_SHARE)
            if stopping:
                raise KeyboardInterrupt

    def _count_step(self, since: float) -> float:
        now = time.monotonic()
        self.cost.seconds += now - since
        self.cost.steps.append(now - since)
        if len(self.cost.steps) > 1000:
            del self.cost.steps[3]  # the first three say what compiling cost
        return now

    def finish(self) -> None:
        """Write the history; drop the checkpoint, for the result that the caller has stored takes
        its place.
        """
        if self.folder is not None:
            write_history(self.folder, self.history)
            self._checkpoint.unlink(missing_ok=True)

    def once(
        self, name: str, spec: Mapping[str, Any], build: Callable[[Run], dict[str, Any]]
    ) -> dict[str, Any]:
        """``build(run)``, done once per name, spec, seed and context, and kept for every later caller.

        ``build`` gets a run of its own that resumes like any other; it returns a dict of tensors and plain values. What was done
        before ``since`` is done anew, by the first who asks for it. What it took counts for every caller's own work, once; that it was
        done on another kind of machine is said in the caller's cost.
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
                    result.unlink()  # damaged: what it held can be made again
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
        """``made`` without the seconds it took, and the machine and the code that it was made by."""
        # older ones say none of these
        seconds, here = made.pop("seconds", 0.0), self.machine.fingerprint()
        self.cost.codes.update(made.pop("codes", [UNKNOWN]))
        self.cost.resumed_elsewhere |= made.pop("machine", here) != here
        if what not in self.cost.counted:
            self.cost.counted.append(what)
            self.cost.seconds += seconds
        return made

    def part(self, name: str) -> Run:
        """A run for a part of this work, with randomness, cost and history of its own and no
        folder.
        """
        seed = self.generator("part", name).initial_seed()
        return replace(self, seed=seed, folder=None, watch=unwatched, cost=Cost(), history=[])

    def _waiting(self) -> None:
        if self.stop():
            raise KeyboardInterrupt

    @property
    def _checkpoint(self) -> Path:
        assert self.folder is not None  # noqa: S101 - asked only where there is a folder
        return self.folder / CHECKPOINT

    def _save(
        self, name: str, done: int, total: int, state: Mapping[str, Tensor | Stateful]
    ) -> None:
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

    def _restore(self, name: str, total: int, state: Mapping[str, Tensor | Stateful]) -> int:
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
        self.cost.warnings[:] = saved["cost"].get("warnings", [])  # older checkpoints have none
        self.cost.counted[:] = saved["cost"].get("counted", self.cost.counted)
        self.cost.codes.update(saved["cost"].get("codes", [UNKNOWN]))
        self.history[:] = saved["history"]
        return int(saved["done"])

    def _read_checkpoint(self, name: str, total: int, parts: set[str]) -> dict[str, Any] | None:
        if self.folder is None or not self.resumption.resume or not self._checkpoint.exists():
            return None
        try:
            saved = read_tensors(self._checkpoint)
        except FileFormatError:
            return None  # damaged: the work starts again, which costs time and no truth
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
            return None  # of other work, or of a version that kept other things
        before, now = saved["machine"], self.machine.fingerprint()
        changed = [
            f"{key} {before.get(key)!r} is now {now[key]!r}"
            for key in now
            if before.get(key) != now[key]
        ]
        if changed and not self.resumption.other_machine:
            raise MismatchError(
                f"{self._checkpoint} was made elsewhere ({'; '.join(changed)}), so going on would not give the same bits; "
                "go on all the same with --resume-elsewhere, or start again with --no-resume"
            )
        self.cost.resumed_elsewhere |= bool(changed)
        return saved


def fingerprint(value: Mapping[str, Any]) -> str:
    """A short hash of plain values, the same for the same values in any order of keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, allow_nan=False).encode()).hexdigest()[
        :12
    ]


def versioned(spec: Mapping[str, Any], version: int) -> dict[str, Any]:
    """What identifies shared work, with the version of the method; the first stays unsaid, so that
    what was done before is found.
    """
    return {**spec, "version": version} if version > 1 else dict(spec)


def write_history(folder: Path, rows: list[dict[str, float]]) -> None:
    """Write figures that were logged as a table; nothing if there are none."""
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
