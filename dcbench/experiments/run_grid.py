"""Distil and evaluate every cell of a grid: what ``dcbench run`` does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from dcbench.datasets.places import Places
from dcbench.evaluation.evaluate import require_network
from dcbench.evaluation.protocol import LABEL_SOURCES, JudgedOn, LabelSource, Protocol
from dcbench.execution.workers import each, result
from dcbench.experiments.context import Cell, Workspace
from dcbench.experiments.distil import distil, publish
from dcbench.experiments.evaluate import SetEvaluation, evaluate_set, missing_seconds, record_path
from dcbench.experiments.grid import Grid, check_network
from dcbench.experiments.trace import Trace
from dcbench.experiments.whole_command import CommandProgress, judging_seconds, making_seconds
from dcbench.records import EvaluationRecord, TraceRecord
from dcbench.system.errors import UnknownNameError, in_one_line
from dcbench.system.fields import within
from dcbench.system.layout import latest_artifact
from dcbench.training.mixing import augmentation_and_mix

MOST_NETWORKS = 100_000  # in one record


@dataclass(frozen=True)
class Judging:
    """How every set of a grid is evaluated. A field that is None keeps the protocol's value."""

    protocol: str | None = None  # a protocol's name; None: the preset's protocol
    network: str | None = None
    networks: int | None = None
    epochs: int | None = None
    augment: str | None = None
    labels: LabelSource | None = None
    on: JudgedOn = "test"
    # also evaluate the set after these steps of its distillation, in rising order
    trace: tuple[int, ...] = ()

    def protocol_of(self, grid: Grid, cell: Cell) -> Protocol:
        """Return the protocol that evaluates one cell."""
        return self.applied_to(grid.protocol_of(cell.distiller, self.protocol))

    def check(self, prefix: str = "--") -> None:
        """Check names and ranges, without looking at any data. Messages name an option as
        ``prefix`` and its name.

        Raises:
            UnknownNameError, OutOfRangeError: If an option is wrong.
        """
        within(f"{prefix}networks", self.networks, 1, MOST_NETWORKS)
        within(f"{prefix}epochs", self.epochs, 1)
        check_network(self.network)
        if self.augment is not None:
            augmentation_and_mix(self.augment)
        if self.labels is not None and self.labels not in LABEL_SOURCES:
            raise UnknownNameError(f"value of {prefix}labels", self.labels, LABEL_SOURCES)

    def applied_to(self, protocol: Protocol) -> Protocol:
        """Return ``protocol`` with the changes that these options make."""
        changed = protocol.with_options(self.network, self.epochs, self.augment, self.labels)
        return replace(changed, judged_on=self.on)


@dataclass(frozen=True)
class EvaluatedSet:
    """The record of an evaluated set and the paths of both. ``synthetic`` is None for the reference
    ``whole``, which has no file. ``trace`` is a trace's record and path.
    """

    record: EvaluationRecord
    path: Path
    synthetic: Path | None
    trace: tuple[TraceRecord, Path] | None = None


def run_grid(
    grid: Grid, judging: Judging, places: Places, workspace: Workspace
) -> tuple[list[EvaluatedSet], int]:
    """Distil and evaluate each cell.

    A cell that fails is skipped with a message, unless it is the only one.

    Returns:
        The evaluated sets in the grid's order, and the number of skipped cells.
    """
    # folder and method of each cell, without its data: only one data set at a time fits in memory
    wanted: list[tuple[Path, str]] = []
    progress = CommandProgress("set", workspace)

    def cells() -> Iterator[Cell]:
        for cell in grid.cells(places, workspace, partial(_count, progress, grid, judging)):
            if not wanted:
                progress.announce()
            wanted.append((cell.folder(workspace), cell.distiller.name))
            yield cell

    def distil_and_judge(cell: Cell) -> EvaluatedSet:
        own = progress.workspace_of(cell.folder(workspace))
        return run_cell(cell, judging.protocol_of(grid, cell), judging, own)

    done: dict[Path, EvaluatedSet] = {}
    for cell, outcome in each(distil_and_judge, cells(), workspace.workers):
        progress.end(cell.folder(workspace))
        if isinstance(outcome, Exception) and grid.several:
            workspace.say(f"{cell.label} skipped: {in_one_line(outcome)}")
        else:
            done[cell.folder(workspace)] = result(outcome)
        del cell, outcome  # frees the data set after its last cell, before the next one is loaded
    _publish_last(wanted, done, workspace)
    found = [done[folder] for folder, _ in wanted if folder in done]
    return found, len(wanted) - len(found)


def _count(progress: CommandProgress, grid: Grid, judging: Judging, cells: Sequence[Cell]) -> None:
    """Add the cells' estimated times to the progress."""
    workspace = progress.workspace
    for cell in cells:
        protocol = judging.protocol_of(grid, cell)
        networks = judging.networks or protocol.networks
        judged = judging_seconds(cell, protocol, networks, workspace.machine)
        progress.add(cell.folder(workspace), making_seconds(cell, workspace), judged)


def run_cell(
    cell: Cell, protocol: Protocol, judging: Judging, workspace: Workspace
) -> EvaluatedSet:
    """Distil and evaluate one set."""
    require_network(protocol, cell.loaded.spec)  # before hours of distillation, not after
    networks, trace = judging.networks or protocol.networks, None
    if judging.trace:
        trace = Trace(cell, judging.trace, protocol, workspace).make_record(networks)
        # the trace has just made this set: with --no-resume it would be deleted and made again
        workspace = replace(workspace, resumption=replace(workspace.resumption, resume=True))
    distilled = distil(cell, workspace)
    asked = (distilled, cell.loaded.test_set(protocol.judged_on), protocol, cell.seed, networks)
    judged_with = cell.loaded.train, cell.loaded.folder
    record = evaluate_set(SetEvaluation(*asked, workspace, *judged_with))
    return EvaluatedSet(record, record_path(distilled, record), distilled.path, trace)


def evaluate_all(
    set_evaluations: Sequence[SetEvaluation], workspace: Workspace
) -> list[EvaluatedSet]:
    """Evaluate finished sets. The first error is raised when all others are evaluated."""
    progress = CommandProgress("evaluation", workspace)
    for number, one in enumerate(set_evaluations):
        progress.add(number, 0.0, missing_seconds(one))
    progress.announce()
    records: dict[int, EvaluationRecord | Exception] = {}
    for number, outcome in each(
        lambda number: evaluate_set(
            replace(set_evaluations[number], workspace=progress.workspace_of(number))
        ),
        range(len(set_evaluations)),
        workspace.workers,
    ):
        progress.end(number)
        records[number] = outcome
    return [
        EvaluatedSet(
            record := result(records[number]),
            record_path(one.distilled, record),
            one.distilled.path,
        )
        for number, one in enumerate(set_evaluations)
    ]


def _publish_last(
    wanted: Sequence[tuple[Path, str]], done: Mapping[Path, EvaluatedSet], workspace: Workspace
) -> None:
    """Copy each method's last set of the grid to OUT/<method>.pt, whichever set ended last."""
    last = {method: done[folder].synthetic for folder, method in wanted if folder in done}
    for name, synthetic in last.items():
        if synthetic is not None:
            publish(synthetic, latest_artifact(workspace.out, name), workspace.say)
