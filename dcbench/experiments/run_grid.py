"""A comparison: distil and judge every cell of a grid."""

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

MOST_NETWORKS = 100_000  # that a record holds


@dataclass(frozen=True)
class Judging:
    """How every set of a grid is judged; None is what the protocol says."""

    protocol: str | None = None  # its name; the preset's if None
    network: str | None = None
    networks: int | None = None
    epochs: int | None = None
    augment: str | None = None
    labels: LabelSource | None = None
    on: JudgedOn = "test"
    trace: tuple[int, ...] = ()  # steps of the distillation at which the set is judged too, rising

    def protocol_of(self, grid: Grid, cell: Cell) -> Protocol:
        """The protocol of one cell."""
        return self.applied_to(grid.protocol_of(cell.distiller, self.protocol))

    def check(self, prefix: str = "--") -> None:
        """Raises UnknownNameError or OutOfRangeError if they are wrong by their words, each called
        by its name behind ``prefix``.
        """
        within(f"{prefix}networks", self.networks, 1, MOST_NETWORKS)
        within(f"{prefix}epochs", self.epochs, 1)
        check_network(self.network)
        if self.augment is not None:
            augmentation_and_mix(self.augment)
        if self.labels is not None and self.labels not in LABEL_SOURCES:
            raise UnknownNameError(f"value of {prefix}labels", self.labels, LABEL_SOURCES)

    def applied_to(self, protocol: Protocol) -> Protocol:
        """``protocol`` with what these options change."""
        changed = protocol.with_options(self.network, self.epochs, self.augment, self.labels)
        return replace(changed, judged_on=self.on)


@dataclass(frozen=True)
class EvaluatedSet:
    """A set's record, where that is, and where the set is (the reference is nowhere); its trace and
    where that is, if it has one.
    """

    record: EvaluationRecord
    path: Path
    synthetic: Path | None
    trace: tuple[TraceRecord, Path] | None = None


def run_grid(
    grid: Grid, judging: Judging, places: Places, workspace: Workspace
) -> tuple[list[EvaluatedSet], int]:
    """The judged sets in the grid's order, and how many cells were skipped.

    A cell that cannot be done is skipped and its reason said, unless it is the only one.
    """
    # folder and method of each cell, and not its data: one data set after the other fits in memory
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
        del (
            cell,
            outcome,
        )  # and with the last of a data set, the data set, before the next is loaded
    _publish_last(wanted, done, workspace)
    found = [done[folder] for folder, _ in wanted if folder in done]
    return found, len(wanted) - len(found)


def _count(progress: CommandProgress, grid: Grid, judging: Judging, cells: Sequence[Cell]) -> None:
    """Take in about how long each of the cells will take."""
    workspace = progress.workspace
    for cell in cells:
        protocol = judging.protocol_of(grid, cell)
        networks = judging.networks or protocol.networks
        judged = judging_seconds(cell, protocol, networks, workspace.machine)
        progress.add(cell.folder(workspace), making_seconds(cell, workspace), judged)


def run_cell(
    cell: Cell, protocol: Protocol, judging: Judging, workspace: Workspace
) -> EvaluatedSet:
    """Distil one set and judge it."""
    require_network(protocol, cell.loaded.spec)  # hours before the set is there
    networks, trace = judging.networks or protocol.networks, None
    if judging.trace:
        trace = Trace(cell, judging.trace, protocol, workspace).make_record(networks)
        # a trace forgets what is to be forgotten; its set and networks are not made twice
        workspace = replace(workspace, resumption=replace(workspace.resumption, resume=True))
    distilled = distil(cell, workspace)
    asked = (distilled, cell.loaded.test_set(protocol.judged_on), protocol, cell.seed, networks)
    record = evaluate_set(SetEvaluation(*asked, workspace, cell.loaded.train))
    return EvaluatedSet(record, record_path(distilled, record), distilled.path, trace)


def evaluate_all(
    set_evaluations: Sequence[SetEvaluation], workspace: Workspace
) -> list[EvaluatedSet]:
    """Judge sets that are there already; raises the first error, when all that can be is judged."""
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
    """The set that each method ends with is the last of the grid, whichever was made last."""
    last = {method: done[folder].synthetic for folder, method in wanted if folder in done}
    for name, synthetic in last.items():
        if synthetic is not None:
            publish(synthetic, latest_artifact(workspace.out, name), workspace.say)
