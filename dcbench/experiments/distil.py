"""Distil a cell's set: read it if it is finished, resume it if it was interrupted, else make it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from dcbench.artifacts.artifact import Artifact, read_artifact, write_artifact
from dcbench.artifacts.pictures import as_png, grid
from dcbench.conformance.requirements import require_promised
from dcbench.execution.task import Shared
from dcbench.experiments.context import Cell, StoredSet, Workspace
from dcbench.experiments.tasks import Distil, NewSet
from dcbench.records import Distillation, read_distillation
from dcbench.run import Run, write_history
from dcbench.system.errors import FileFormatError, MismatchError
from dcbench.system.files import write_bytes, write_json
from dcbench.system.layout import (
    ARTIFACT,
    CHECKPOINT,
    DISTILLATION,
    HISTORY,
    PICTURE,
    artifacts_with_hash,
    foreign_set_folder,
    latest_artifact,
    shared_folder,
)


def distil(cell: Cell, workspace: Workspace) -> StoredSet:
    """Return the cell's synthetic set; distil it first if it is not finished.

    Raises:
        MismatchError: If the method cannot run on this data or budget.
        DivergedError: If the method's loss is not finite.
    """
    folder = cell.folder(workspace)
    check_possible(cell)
    if not cell.distiller.budgeted:
        train = cell.loaded.train
        made = cell.distiller.distill(train, cell.ipc, Run(cell.seed, workspace.machine))
        synthetic = require_promised(made, train, ipc=None)
        origin = cell.provenance(workspace.machine)
        return StoredSet(synthetic, origin, synthetic.content_hash, folder, None, None)
    with workspace.alone(folder):
        if not workspace.resumption.resume:
            _forget(folder)
        artifact = _finished(cell, workspace, folder)
        if artifact is None:
            task = prepare(cell, workspace)
            workspace.execute_tasks([task], lambda made: _keep(cell, workspace, made))
            artifact = read_artifact(folder / ARTIFACT)
        cost = _cost(folder, workspace)
        latest = latest_artifact(workspace.out, cell.distiller.name)
        publish(folder / ARTIFACT, latest, workspace.say)
    return StoredSet.of(artifact, folder, folder / ARTIFACT, cost)


def adopt(cell: Cell, workspace: Workspace, made: NewSet) -> None:
    """Store a set that a trace made as the cell's own set, unless the cell already has one."""
    folder = cell.folder(workspace)
    with workspace.alone(folder):
        artifact = _finished(cell, workspace, folder)
        if artifact is None:
            _keep(cell, workspace, made)
        elif artifact.synthetic.content_hash != made.synthetic.content_hash:
            workspace.say(
                f"{cell.label}: {folder / ARTIFACT} already exists and is kept, although its bits "
                "differ (made on another machine or engine)"
            )


def forget(cell: Cell, workspace: Workspace) -> None:
    """Remove the cell's set and its checkpoint."""
    folder = cell.folder(workspace)
    with workspace.alone(folder):
        _forget(folder)


def check_possible(cell: Cell) -> None:
    """Check that the method can run on the cell's data and budget.

    Raises:
        MismatchError: If not, with the method's reason.
    """
    reason = cell.distiller.refuses(cell.loaded.train, cell.ipc)
    if reason:
        raise MismatchError(
            f"{cell.distiller.name} cannot run on {cell.loaded.spec.dataset} at IPC {cell.ipc}: "
            f"{reason}"
        )


def reopen(path: Path, workspace: Workspace) -> StoredSet:
    """Read an artifact's file as a stored set.

    Its evaluations go to the set's own folder if the file is a copy of a set of this harness, else
    to a folder named by its content.
    """
    artifact = read_artifact(path)
    home = _home(path, artifact, workspace)
    return StoredSet.of(artifact, home, path, _cost(home, workspace))


def _home(path: Path, artifact: Artifact, workspace: Workspace) -> Path:
    if path.name == ARTIFACT and (path.parent / DISTILLATION).exists():
        return path.parent
    dataset, origin = artifact.synthetic.spec.dataset, artifact.provenance
    named = (dataset, str(origin.get("artifact_hash")), str(origin.get("seed")))
    # OUT/<method>.pt is a copy of a set whose folder is below the same OUT
    for out in (workspace.out, path.parent):
        for twin in artifacts_with_hash(out, *named):
            if twin.read_bytes() == path.read_bytes():
                return twin.parent
    return foreign_set_folder(workspace.out, dataset, artifact.sha256)


def publish(path: Path, copy: Path, say: Callable[[str], None]) -> None:
    """Copy an artifact to OUT/<method>.pt, where the user finds the latest set of a method.

    An imported set stays there, with a message: it may be the only copy. If another process is
    making the artifact anew, that process copies it.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return
    if copy.is_file() and copy.read_bytes() == content:
        return
    if _imported(copy):
        say(f"{copy} holds an imported set and is kept; the set made here is {path}")
    else:
        write_bytes(copy, content)


def _imported(path: Path) -> bool:
    try:
        return path.is_file() and "layout" in read_artifact(path).provenance
    except FileFormatError:
        return False


def _forget(folder: Path) -> None:
    for name in (ARTIFACT, DISTILLATION, PICTURE, HISTORY, CHECKPOINT):
        (folder / name).unlink(missing_ok=True)


def _finished(cell: Cell, workspace: Workspace, folder: Path) -> Artifact | None:
    path = folder / ARTIFACT
    if not path.exists():
        return None
    try:
        artifact = read_artifact(path)
    except FileFormatError as error:
        workspace.say(f"{error}; it is made again")
        return None
    wanted = cell.provenance(workspace.machine)
    if any(artifact.provenance.get(key) != wanted[key] for key in ("artifact_hash", "ipc", "seed")):
        workspace.say(f"{path} does not hold the set that its folder's name says; it is made again")
        return None
    # left by a process that was killed just before it removed it
    (folder / CHECKPOINT).unlink(missing_ok=True)
    return artifact


def _cost(folder: Path, workspace: Workspace) -> Distillation | None:
    """Return what making the set took. Damaged costs are dropped: the set itself is good."""
    path = folder / DISTILLATION
    if not path.exists():
        return None
    try:
        return read_distillation(path)
    except FileFormatError as error:
        workspace.say(f"{error}; the cost of making the set is no longer known")
        return None


def prepare(cell: Cell, workspace: Workspace) -> Distil:
    """Return the task that makes the cell's set, with its engine decided."""
    train = cell.loaded.train
    macs = cell.distiller.cost_macs(train, cell.ipc)
    return Distil(
        label=cell.label,
        machine=workspace.machine.decide(macs),
        distiller=cell.distiller,
        ipc=cell.ipc,
        seed=cell.seed,
        train=Shared.of(train),
        # the worker's current folder may be another
        folder=cell.folder(workspace).absolute(),
        shared=shared_folder(workspace.out.absolute(), cell.loaded.spec.dataset),
        context=cell.context,
        macs=macs,
        resumption=workspace.resumption,
        start=cell.start,
    )


def _keep(cell: Cell, workspace: Workspace, made: NewSet) -> None:
    folder = cell.folder(workspace)
    write_history(folder, made.history)
    write_json(folder / DISTILLATION, made.cost)
    write_bytes(folder / PICTURE, as_png(grid(made.synthetic)))
    warnings = [*made.warnings, *filter(None, [made.synthetic.strange_values])]
    origin = {**cell.provenance(workspace.machine), **({"warnings": warnings} if warnings else {})}
    # written last: if it exists, everything does
    write_artifact(folder / ARTIFACT, made.synthetic, origin)
    (folder / CHECKPOINT).unlink(missing_ok=True)
