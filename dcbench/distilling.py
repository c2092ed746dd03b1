"""Make a cell's synthetic set: read it if it is finished, go on with it if it was interrupted, make it otherwise."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dcbench.artifact import Artifact, read_artifact, write_artifact
from dcbench.errors import DivergedError, FileFormatError, MismatchError
from dcbench.experiment import Cell, Distilled, Workshop, file_name, in_words
from dcbench.files import write_bytes, write_json
from dcbench.images import SyntheticSet
from dcbench.machine import Machine
from dcbench.pictures import as_png, grid
from dcbench.records import Distillation, read_distillation
from dcbench.run import Progress, Run

ARTIFACT = "synthetic.pt"
COST = "distillation.json"
PICTURE = "images.png"


def distil(cell: Cell, workshop: Workshop) -> Distilled:
    """The cell's synthetic set. Raises MismatchError if the method cannot run there, DivergedError if its loss is not finite."""
    folder = cell.folder(workshop)
    reason = cell.distiller.refuses(cell.loaded.train, cell.ipc)
    if reason:
        raise MismatchError(f"{cell.distiller.name} cannot run on {cell.loaded.spec.dataset} at IPC {cell.ipc}: {reason}")
    if not cell.distiller.budgeted:
        synthetic = cell.distiller.distill(cell.loaded.train, cell.ipc, Run(cell.seed, workshop.machine))
        return Distilled(synthetic, cell.provenance(workshop.machine), content_hash(synthetic), folder, None, None)
    with workshop.alone(folder):
        if not workshop.resume:
            _forget(folder)
        artifact = _finished(cell, workshop, folder)
        if artifact is None:
            _make(cell, workshop, folder)
            artifact = read_artifact(folder / ARTIFACT)
        cost = _cost(folder, workshop)
    publish(folder / ARTIFACT, workshop.out / f"{file_name(cell.distiller.name)}.pt")
    return Distilled(artifact.synthetic, artifact.provenance, artifact.sha256, folder, folder / ARTIFACT, cost)


def reopen(path: Path, workshop: Workshop) -> Distilled:
    """An artifact from a file, to be evaluated where its own evaluations are, or else in a folder named by its content."""
    artifact = read_artifact(path)
    home = _home(path, artifact, workshop)
    return Distilled(artifact.synthetic, artifact.provenance, artifact.sha256, home, path, _cost(home, workshop))


def _home(path: Path, artifact: Artifact, workshop: Workshop) -> Path:
    if path.name == ARTIFACT and (path.parent / COST).exists():
        return path.parent
    dataset = file_name(artifact.synthetic.spec.dataset)
    origin = {key: file_name(str(artifact.provenance.get(key))) for key in ("artifact_hash", "seed")}
    for out in (workshop.out, path.parent):  # OUT/<method>.pt is a copy of a set that has its folder below the same OUT
        for twin in sorted((out / dataset).glob(f"*/*/*-{origin['artifact_hash']}/seed{origin['seed']}/{ARTIFACT}")):
            if twin.read_bytes() == path.read_bytes():
                return twin.parent
    return workshop.out / dataset / "evaluated" / artifact.sha256[:12]


def content_hash(synthetic: SyntheticSet) -> str:
    """What identifies a set that has no file."""
    digest = hashlib.sha256(synthetic.images.contiguous().numpy().tobytes())
    digest.update(synthetic.labels.contiguous().numpy().tobytes())
    return digest.hexdigest()


def publish(path: Path, copy: Path) -> None:
    """Copy an artifact to where the user expects the latest of its method."""
    content = path.read_bytes()
    if not (copy.is_file() and copy.read_bytes() == content):
        write_bytes(copy, content)


def _forget(folder: Path) -> None:
    for name in (ARTIFACT, COST, PICTURE, "history.csv", "checkpoint.pt"):
        (folder / name).unlink(missing_ok=True)


def _finished(cell: Cell, workshop: Workshop, folder: Path) -> Artifact | None:
    path = folder / ARTIFACT
    if not path.exists():
        return None
    try:
        artifact = read_artifact(path)
    except FileFormatError as error:
        workshop.say(f"{error}; it is made again")
        return None
    wanted = cell.provenance(workshop.machine)
    if any(artifact.provenance.get(key) != wanted[key] for key in ("artifact_hash", "ipc", "seed")):
        workshop.say(f"{path} holds another set than its folder says; it is made again")
        return None
    (folder / "checkpoint.pt").unlink(missing_ok=True)  # left by a process that was killed when all was done
    return artifact


def _cost(folder: Path, workshop: Workshop) -> Distillation | None:
    """What making the set took, as far as that is known: it is no reason to make a good set again."""
    path = folder / COST
    if not path.exists():
        return None
    try:
        return read_distillation(path)
    except FileFormatError as error:
        workshop.say(f"{error}; what the set took to make is not known any more")
        return None


def _make(cell: Cell, workshop: Workshop, folder: Path) -> None:
    macs = cell.distiller.cost_macs(cell.loaded.train, cell.ipc)
    machine = workshop.machine.decide(macs)
    context = {"revision": cell.loaded.spec.revision, "space": cell.loaded.train.space.fingerprint, "holdout": cell.loaded.train.holdout}
    run = Run(
        cell.seed,
        machine,
        folder=folder,
        shared=workshop.out / cell.loaded.spec.dataset / "shared",
        context=context,
        progress=_announced(cell.label, machine, macs, workshop),
        stop=workshop.stop,
        resume=workshop.resume,
        elsewhere=workshop.elsewhere,
        checkpoint_seconds=workshop.checkpoint_seconds,
    )
    try:
        synthetic = cell.distiller.distill(cell.loaded.train, cell.ipc, run)
    except DivergedError as error:
        raise DivergedError(f"{cell.label}: {error} with {_listed(asdict(cell.distiller))}; try a smaller lr") from error  # type: ignore[call-overload]
    run.write_history()
    write_json(folder / COST, _cost_json(run, machine))
    write_bytes(folder / PICTURE, as_png(grid(synthetic)))
    happened = {"warnings": list(run.cost.warnings)} if run.cost.warnings else {}
    write_artifact(folder / ARTIFACT, synthetic, {**cell.provenance(workshop.machine), **happened})  # the last: where it is, all is
    run.finish()


def _announced(label: str, machine: Machine, macs: float, workshop: Workshop) -> Progress:
    """Progress that says, when the work begins, how long it may take."""
    waiting = [machine.estimate_seconds(macs)]

    def progress(name: str, done: int, total: int) -> None:
        seconds = waiting.pop() * (1 - done / max(total, 1)) if waiting else 0.0
        if seconds > 20:
            workshop.say(f"{label}: distilling takes about {in_words(seconds)} here ({machine.precision}, {machine.engine})")
        workshop.progress(f"{label}: {name}", done, total)

    return progress


def _listed(fields: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in fields.items())


def _cost_json(run: Run, machine: Machine) -> dict[str, Any]:
    return {
        "distill_seconds": run.cost.seconds,
        "step_seconds": run.cost.step_seconds,
        "compile_seconds": run.cost.compile_seconds,
        "peak_memory_bytes": machine.peak_memory_bytes(),
        "resumed_elsewhere": run.cost.resumed_elsewhere,
        **machine.fingerprint(),
    }
