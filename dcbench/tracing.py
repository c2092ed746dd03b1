"""A trace: distil a set, keep it as it is at some steps, and judge and picture each of these."""

from __future__ import annotations

import math
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import dcbench
from dcbench.artifact import Artifact, read_artifact, write_artifact
from dcbench.errors import FileFormatError, MismatchError
from dcbench.evaluator import Protocol, evaluate, evaluation_macs
from dcbench.experiment import Cell, Workshop, in_words
from dcbench.files import append_line, read_json, read_lines, write_bytes, write_json
from dcbench.images import SyntheticSet
from dcbench.machine import Machine
from dcbench.pictures import as_png, grid
from dcbench.records import RECORD_NAME, NetworkScore, TracePoint, TraceRecord, Versions, write_record
from dcbench.run import Run, Stateful, fingerprint
from dcbench.scoring import source_hash

LINES = "networks.jsonl"
COST = "distillation.json"
_ROW = {"step", "artifact", "network", "accuracy", "loss", "seconds", "check"}  # at the least


@dataclass(frozen=True)
class Trace:
    """One cell, the steps at which it is looked at, and how it is judged there."""

    cell: Cell
    steps: tuple[int, ...]
    protocol: Protocol
    workshop: Workshop

    def __post_init__(self) -> None:
        iterations = getattr(self.cell.distiller, "iterations", 0)
        if not self.steps or list(self.steps) != sorted(set(self.steps)) or self.steps[0] < 0 or self.steps[-1] > iterations:
            raise MismatchError(f"the steps of a trace must rise from 0 to the method's {iterations} iterations, got {self.steps}")

    @cached_property
    def asked(self) -> dict[str, Any]:
        """What changes a network's accuracy."""
        return {**self.protocol.to_json(), "precision": self.workshop.machine.precision}

    @cached_property
    def folder(self) -> Path:
        """Where the trace lives, beside what else is known of the set."""
        return self.cell.folder(self.workshop) / "trace" / fingerprint({"steps": list(self.steps), "protocol": self.asked})

    def file(self, step: int, ending: str) -> Path:
        """A snapshot, or its picture."""
        return self.folder / f"step-{step:06d}.{ending}"

    def carry_out(self, networks: int) -> tuple[TraceRecord, Path]:
        """Do what is missing, write the record and return it with its path. Goes on after an interruption where it was."""
        with self.workshop.alone(self.folder):
            if not self.workshop.resume:
                for path in (*self.folder.glob("step-*"), self.folder / LINES, self.folder / "checkpoint.pt"):
                    path.unlink(missing_ok=True)
            sets = self._finished() or self._distil()
            rows = self._judge(sets, networks)
            record = self._record(sets, rows, networks)
            write_record(self.folder / RECORD_NAME, record)
        return record, self.folder / RECORD_NAME

    def _finished(self) -> dict[int, Artifact]:
        """The snapshots if all of them are whole, else none."""
        try:
            return {step: read_artifact(self.file(step, "pt")) for step in self.steps} if (self.folder / COST).exists() else {}
        except FileFormatError:
            return {}

    def _distil(self) -> dict[int, Artifact]:
        cell, workshop = self.cell, self.workshop
        if any(not self.file(step, "pt").exists() for step in self.steps[:1]):
            (self.folder / "checkpoint.pt").unlink(missing_ok=True)  # what it is past of was lost
        macs = cell.distiller.cost_macs(cell.loaded.train, cell.ipc)
        machine = workshop.machine.decide(macs)
        train = cell.loaded.train
        run = Run(
            cell.seed,
            machine,
            folder=self.folder,
            shared=workshop.out / cell.loaded.spec.dataset / "shared",
            context={"revision": cell.loaded.spec.revision, "space": train.space.fingerprint, "holdout": train.holdout},
            progress=lambda name, done, total: workshop.progress(f"{cell.label}: {name}", done, total),
            stop=workshop.stop,
            resume=workshop.resume,
            elsewhere=workshop.elsewhere,
            checkpoint_seconds=workshop.checkpoint_seconds,
            watch=self._keep,
        )
        cell.distiller.distill(train, cell.ipc, run)
        write_json(self.folder / COST, {"seconds": run.cost.seconds, "warnings": list(run.cost.warnings), **machine.fingerprint()})
        run.finish()
        found = self._finished()
        if not found:  # a snapshot from before a checkpoint was lost: the set is made again, from its beginning
            for path in (self.folder / COST, *self.folder.glob("step-*")):
                path.unlink(missing_ok=True)
            return self._distil()
        return found

    def _keep(self, name: str, done: int, state: Mapping[str, Tensor | Stateful]) -> None:
        """Keep the set as it is after ``done`` steps, if these are asked for."""
        if name != "distill" or done not in self.steps:
            return
        images, spec = state.get("images"), self.cell.loaded.spec
        if not isinstance(images, Tensor) or len(images) != self.cell.ipc * spec.classes:
            raise MismatchError(f"{self.cell.distiller.name} cannot be traced: it does not hold its images while it distils")
        labels = torch.arange(spec.classes).repeat_interleave(self.cell.ipc)
        kept = SyntheticSet(spec, images.detach().cpu().contiguous(), labels, self.cell.loaded.train.space)
        write_bytes(self.file(done, "png"), as_png(grid(kept)))
        write_artifact(self.file(done, "pt"), kept, {**self.cell.provenance(self.workshop.machine), "step": done})

    def _judge(self, sets: Mapping[int, Artifact], networks: int) -> dict[tuple[int, int], dict[str, Any]]:
        """A row for each step and network: those that are there, and then those that were missing."""
        lines = self.folder / LINES
        current = {(step, artifact.sha256) for step, artifact in sets.items()}
        rows = {
            (row["step"], row["network"]): row for row in filter(_sound, read_lines(lines)) if (row["step"], row["artifact"]) in current
        }
        missing = {step: [index for index in range(networks) if (step, index) not in rows] for step in self.steps}
        total = networks * len(self.steps)
        bar = f"{self.cell.label}: networks of the trace"
        for step, row in self._train(sets, missing):
            kept = {**row, "step": step, "artifact": sets[step].sha256}
            append_line(lines, {**kept, "check": fingerprint(kept)})
            rows[step, row["network"]] = kept
            self.workshop.progress(bar, len(rows), total)
            if self.workshop.stop():
                raise KeyboardInterrupt
        return rows

    def _train(self, sets: Mapping[int, Artifact], missing: Mapping[int, Sequence[int]]) -> Iterator[tuple[int, dict[str, Any]]]:
        test, seed = self.cell.loaded.test, self.cell.seed
        per_network = evaluation_macs(next(iter(sets.values())).synthetic, test, self.protocol)
        macs = per_network * sum(map(len, missing.values()))
        machine = self.workshop.machine.decide(macs)
        if macs and machine.estimate_seconds(macs) > 20:
            self.workshop.say(f"{self.cell.label}: judging the trace takes about {in_words(machine.estimate_seconds(macs))} here")
        for step, indices in missing.items():
            if indices:
                for result in evaluate(sets[step].synthetic, test, self.protocol, indices, Run(seed, machine)):
                    yield step, {**result.to_json(), "engine": machine.engine}

    def _record(self, sets: Mapping[int, Artifact], rows: Mapping[tuple[int, int], Mapping[str, Any]], networks: int) -> TraceRecord:
        last, cost = sets[self.steps[-1]], read_json(self.folder / COST)
        scores = {key: NetworkScore(key[1], row["accuracy"], row["loss"], row["seconds"]) for key, row in rows.items()}
        points = [
            TracePoint(step, self.file(step, "png").name, tuple(scores[step, index] for index in range(networks))) for step in self.steps
        ]
        return TraceRecord(
            **set_fields(last, self.cell),
            network=self.protocol.network,
            augment=self.protocol.augment,
            protocol=self.asked,
            protocol_hash=fingerprint(self.asked),
            evaluation_seed=self.cell.seed,
            points=tuple(points),
            seconds=cost.get("seconds", 0.0) + sum(row["seconds"] for row in rows.values()),
            **circumstances(replace(self.workshop.machine, engine=next(iter(rows.values()))["engine"])),
            warnings=(*cost.get("warnings", ()), *_diverged(rows)),
        )


def _diverged(rows: Mapping[tuple[int, int], Mapping[str, Any]]) -> tuple[str, ...]:
    diverged = sum(row["loss"] is None for row in rows.values())
    return (f"{diverged} of {len(rows)} networks diverged, and their accuracy counts all the same",) if diverged else ()


def _sound(line: Mapping[str, Any]) -> bool:
    """Whether a line is whole: if not, its network is trained again."""
    row = {key: value for key, value in line.items() if key != "check"}
    finite = all(math.isfinite(value) for value in row.values() if isinstance(value, float))
    return set(line) >= _ROW and finite and line["check"] == fingerprint(row)


def set_fields(artifact: Artifact, cell: Cell) -> dict[str, Any]:
    """What a record says of the set that it is about."""
    names = ("method", "paper", "method_version", "fields", "preset", "ipc", "seed", "holdout", "artifact_hash")
    return {
        **{name: artifact.provenance[name] for name in names},
        "dataset": cell.loaded.spec.dataset,
        "dataset_revision": cell.loaded.spec.revision,
        "dataset_note": cell.loaded.note,
        "budget_images": len(artifact.synthetic),
        "space": artifact.synthetic.space.kind,
        "artifact_sha256": artifact.sha256,
    }


def circumstances(machine: Machine) -> dict[str, Any]:
    """What a record says of the machine, the code and the time."""
    return {
        "engine": machine.engine,
        "precision": machine.precision,
        "threads": machine.threads,
        "device": machine.device.type,
        "device_name": machine.device_name,
        "versions": Versions(dcbench.__version__, str(torch.__version__), platform.python_version()),
        "code": source_hash(),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
