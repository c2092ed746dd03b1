"""A trace: distil a set, keep snapshots of it after some steps, and evaluate and picture each
snapshot. The last state is stored as the cell's set.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor

from dcbench.artifacts.artifact import read_artifact, write_artifact
from dcbench.artifacts.pictures import as_png, grid
from dcbench.distiller import Distiller
from dcbench.evaluation.protocol import Protocol
from dcbench.execution.provenance import circumstances
from dcbench.execution.task import Channel
from dcbench.experiments.context import Cell, StoredSet, Workspace
from dcbench.experiments.distil import adopt, check_possible, forget, prepare, reopen
from dcbench.experiments.evaluate import (
    SetEvaluation,
    about,
    diverged,
    network_scores,
    train_missing,
)
from dcbench.experiments.rows import Row
from dcbench.experiments.tasks import Distil, NewSet
from dcbench.images import SyntheticSet
from dcbench.records import TracePoint, TraceRecord, write_record
from dcbench.run import State, Watch, fingerprint, write_history
from dcbench.system.errors import FileFormatError, MismatchError, OutOfRangeError
from dcbench.system.files import read_json, write_bytes, write_json
from dcbench.system.layout import (
    ARTIFACT,
    CHECKPOINT,
    DISTILLATION,
    NETWORK_ROWS,
    RECORD,
    snapshot,
    trace_folder,
)

Snapshots = Mapping[int, StoredSet]  # the stored set by step


def require_steps(distiller: Distiller, ipc: int, last: int) -> None:
    """Raise OutOfRangeError if the method takes fewer than ``last`` steps on its images, or
    none.
    """
    takes = distiller.image_steps(ipc)
    if takes == 0:
        raise OutOfRangeError(f"{distiller.name} cannot be traced: it takes no steps on its images")
    if last > takes:
        raise OutOfRangeError(
            f"{distiller.name} takes {takes} steps at IPC {ipc}; a trace may look at 0 to {takes}, "
            f"got {last}"
        )


@dataclass(frozen=True)
class Snapshot:
    """A set after some steps of its distillation."""

    step: int
    synthetic: SyntheticSet


@final
@dataclass(frozen=True, kw_only=True)
class WatchedDistil(Distil):
    """The task that distils one set and puts snapshots of it. A snapshot is stored before a
    checkpoint counts its step.
    """

    watched: tuple[int, ...]  # the steps after which a snapshot is taken

    def watch(self, channel: Channel) -> Watch:
        train = channel.fetch(self.train)

        def look(name: str, done: int, state: State) -> None:
            images = self._require_images(name, state, train.spec.classes)
            if done in self.watched:
                labels = torch.arange(train.spec.classes).repeat_interleave(self.ipc)
                values = images.detach().cpu().contiguous()
                seen = SyntheticSet(train.spec, values, labels, train.space)
                # the run checks this itself, and saves a checkpoint before it stops
                with suppress(KeyboardInterrupt):
                    channel.put(Snapshot(done, seen))

        return look

    def _require_images(self, name: str, state: State, classes: int) -> Tensor:
        """Return the images that are distilled.

        Raises:
            MismatchError: Before the first step, if there are no images, or if the method learns
                more than images.
        """
        images = state.get("images")
        if name != "distill" or not isinstance(images, Tensor) or len(images) != self.ipc * classes:
            raise _untraceable(self.distiller, "it does not hold its images while it distils")
        learned = [
            key
            for key, value in state.items()
            if isinstance(value, Tensor) and value.requires_grad and key != "images"
        ]
        if learned:
            raise _untraceable(self.distiller, f"besides its images it learns {', '.join(learned)}")
        return images


def _untraceable(distiller: Distiller, why: str) -> MismatchError:
    return MismatchError(f"{distiller.name} cannot be traced: {why}")


@dataclass(frozen=True)
class Trace:
    """The trace of one cell: the steps after which it is evaluated, and the protocol."""

    cell: Cell
    steps: tuple[int, ...]
    protocol: Protocol
    workspace: Workspace

    def __post_init__(self) -> None:
        if not self.steps or list(self.steps) != sorted(set(self.steps)) or self.steps[0] < 0:
            raise MismatchError(
                f"the steps of a trace must rise, from 0 or later, got {self.steps}"
            )
        require_steps(self.cell.distiller, self.cell.ipc, self.steps[-1])

    @cached_property
    def asked(self) -> dict[str, Any]:
        """The protocol as plain values: what changes a network's accuracy."""
        return {**self.protocol.to_json(), "precision": self.workspace.machine.precision}

    @cached_property
    def folder(self) -> Path:
        """The trace's folder, beside the set's evaluations."""
        name = fingerprint({"steps": list(self.steps), "protocol": self.asked})
        return trace_folder(self.cell.folder(self.workspace), name)

    def file(self, step: int, ending: str) -> Path:
        """Return the path of a snapshot or its picture."""
        return snapshot(self.folder, step, ending)

    def make_record(self, networks: int) -> tuple[TraceRecord, Path]:
        """Distil and evaluate what is missing and write the record.

        Returns:
            The record, of the first ``networks`` alone, and its path.
        """
        check_possible(self.cell)
        with self.workspace.alone(self.folder):
            if not self.workspace.resumption.resume:
                self._forget()
                forget(self.cell, self.workspace)
            sets = self._finished() or self._borrowed() or self._distil()
            rows = {step: self._judged(distilled, networks) for step, distilled in sets.items()}
            record = self._record(sets, rows)
            write_record(self.folder / RECORD, record)
        wanted = [
            replace(point, networks=tuple(one for one in point.networks if one.network < networks))
            for point in record.points
        ]
        return replace(record, points=tuple(wanted)), self.folder / RECORD

    def _judged(self, distilled: StoredSet, networks: int) -> list[Row]:
        loaded = self.cell.loaded
        set_evaluation = SetEvaluation(
            distilled,
            loaded.test_set(self.protocol.judged_on),
            self.protocol,
            self.cell.seed,
            networks,
            self.workspace,
            loaded.train,
        )
        with self.workspace.alone(set_evaluation.folder):
            if not self.workspace.resumption.resume:
                (set_evaluation.folder / NETWORK_ROWS).unlink(missing_ok=True)
            return train_missing(set_evaluation)

    def _forget(self) -> None:
        snapshots = self.folder.glob("step-*.*")
        for path in (self.folder / DISTILLATION, self.folder / CHECKPOINT, *snapshots):
            path.unlink(missing_ok=True)

    def _finished(self) -> Snapshots:
        """Return the snapshots if all are stored and intact, else none."""
        try:
            if (self.folder / DISTILLATION).exists():
                return {step: self._set(step) for step in self.steps}
            return {}
        except FileFormatError:
            return {}

    def _set(self, step: int) -> StoredSet:
        """Return a snapshot as a stored set.

        For the last step it is the finished set itself, if that is stored: it is then evaluated
        once for both.
        """
        snapshot, own = self._snapshot(self.file(step, "pt")), self.cell.folder(self.workspace)
        if step != self.cell.distiller.image_steps(self.cell.ipc) or not (own / ARTIFACT).exists():
            return snapshot
        try:
            finished = reopen(own / ARTIFACT, self.workspace)
        except FileFormatError:  # it is made again when it is wanted
            return snapshot
        if finished.synthetic.content_hash == snapshot.synthetic.content_hash:
            return finished
        return snapshot

    @staticmethod
    def _snapshot(path: Path) -> StoredSet:
        return StoredSet.of(read_artifact(path), path.with_suffix(""), path, None)

    def _borrowed(self) -> Snapshots:
        """Copy the snapshots from other traces of this set, if they have all of them: a protocol
        does not change the set.
        """
        if not self.workspace.resumption.resume:
            return {}
        places = [path for step in self.steps if (path := self._elsewhere(step)) is not None]
        if len(places) < len(self.steps):
            return {}
        for step, path in zip(self.steps, places, strict=True):
            for ending in ("png", "pt"):
                write_bytes(self.file(step, ending), path.with_suffix(f".{ending}").read_bytes())
        write_bytes(self.folder / DISTILLATION, (places[-1].parent / DISTILLATION).read_bytes())
        return self._finished()

    def _elsewhere(self, step: int) -> Path | None:
        for folder in sorted(self.folder.parent.iterdir()):
            path = folder / self.file(step, "pt").name
            if path.with_suffix(".png").exists() and (folder / DISTILLATION).exists():
                try:
                    self._snapshot(path)
                except FileFormatError:
                    continue
                return path
        return None

    def _distil(self) -> Snapshots:
        if not self.file(self.steps[0], "pt").exists():
            # it is past a snapshot that was lost
            (self.folder / CHECKPOINT).unlink(missing_ok=True)
        from_the_start = not (self.folder / CHECKPOINT).exists()
        usual = vars(prepare(self.cell, self.workspace)) | {"folder": self.folder.absolute()}
        made: list[SyntheticSet] = []

        def keep(result: Snapshot | NewSet) -> None:
            if isinstance(result, Snapshot):
                self._keep(result)
            else:
                self._adopt(result)
                made.append(result.synthetic)

        self.workspace.execute_tasks([WatchedDistil(**usual, watched=self.steps)], keep)
        found = self._finished()
        # a snapshot from before the checkpoint was lost: make the set again from its beginning
        if not found:
            if from_the_start:
                raise _untraceable(self.cell.distiller, "it does not count its steps by run.steps")
            self._forget()
            return self._distil()
        self._require_alike(made[-1], found)
        return found

    def _keep(self, snapshot: Snapshot) -> None:
        write_bytes(self.file(snapshot.step, "png"), as_png(grid(snapshot.synthetic)))
        origin = {**self.cell.provenance(self.workspace.machine), "step": snapshot.step}
        write_artifact(self.file(snapshot.step, "pt"), snapshot.synthetic, origin)

    def _adopt(self, made: NewSet) -> None:
        adopt(self.cell, self.workspace, made)
        write_history(self.folder, made.history)
        cost = {**made.cost, "warnings": list(made.warnings)}
        write_json(self.folder / DISTILLATION, cost)  # written last: if it exists, everything does
        (self.folder / CHECKPOINT).unlink(missing_ok=True)

    def _require_alike(self, made: SyntheticSet, found: Snapshots) -> None:
        """Raise MismatchError unless the last snapshot is the finished set: a method may change its
        images after the last step.
        """
        last = found[self.steps[-1]].synthetic
        finished = self.steps[-1] == self.cell.distiller.image_steps(self.cell.ipc)
        if (
            dict(made.recipe)
            or not torch.equal(made.labels, last.labels)
            or (finished and made.content_hash != last.content_hash)
        ):
            self._forget()
            raise _untraceable(
                self.cell.distiller,
                "its finished set differs from the images that it takes its steps on; the set "
                "itself is kept",
            )

    def _cost(self) -> dict[str, Any]:
        """Return what making the set took, as far as that is known."""
        try:
            return read_json(self.folder / DISTILLATION)
        except FileFormatError as error:
            self.workspace.say(f"{error}; the cost of making the set is no longer known")
            return {}

    def _record(self, sets: Snapshots, rows: Mapping[int, Sequence[Row]]) -> TraceRecord:
        every = list(chain.from_iterable(rows.values()))
        cost = self._cost()
        warnings = list(cost.get("warnings", ()))
        if cost.get("resumed_elsewhere"):
            warnings.append("its distillation resumed from a checkpoint of another machine")
        known = about(sets[self.steps[-1]], self.cell.loaded.test)
        origin = self.cell.provenance(self.workspace.machine)
        # of the set, not of a snapshot
        known |= {"artifact_hash": origin["artifact_hash"], "changed": origin.get("changed", {})}
        return TraceRecord(
            **known,
            network=self.protocol.network,
            augment=self.protocol.augment,
            protocol=self.asked,
            protocol_hash=fingerprint(self.asked),
            evaluation_seed=self.cell.seed,
            points=tuple(
                TracePoint(step, self.file(step, "png").name, network_scores(own))
                for step, own in rows.items()
            ),
            seconds=cost.get("distill_seconds", 0.0) + sum(row["seconds"] for row in every),
            **circumstances(every, self.asked["precision"]),
            warnings=(*warnings, *diverged(every)),
        )
