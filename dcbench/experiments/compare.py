"""A comparison: distil and judge every cell of a grid."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dcbench.datasets.places import Places
from dcbench.evaluation.evaluate import require_network
from dcbench.evaluation.protocol import JudgedOn, LabelSource, Protocol
from dcbench.execution.workers import each, result
from dcbench.experiments.context import Cell, Workspace
from dcbench.experiments.distil import distil, publish
from dcbench.experiments.evaluate import SetEvaluation, record_path, score
from dcbench.experiments.grid import Grid
from dcbench.experiments.trace import Trace
from dcbench.records import EvaluationRecord, TraceRecord
from dcbench.system.errors import in_one_line
from dcbench.system.layout import latest_artifact


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


def compare(
    grid: Grid, judging: Judging, places: Places, workspace: Workspace
) -> tuple[list[EvaluatedSet], int]:
    """The judged sets in the grid's order, and how many cells were skipped.

    A cell that cannot be done is skipped and its reason said, unless it is the only one.
    """
    # folder and method of each cell, and not its data: one data set after the other fits in memory
    wanted: list[tuple[Path, str]] = []

    def cells() -> Iterator[Cell]:
        for cell in grid.cells(places, workspace):
            wanted.append((cell.folder(workspace), cell.distiller.name))
            yield cell

    def distil_and_judge(cell: Cell) -> EvaluatedSet:
        protocol = judging.applied_to(grid.protocol_of(cell.distiller, judging.protocol))
        return compare_cell(cell, protocol, judging, workspace)

    done: dict[Path, EvaluatedSet] = {}
    for cell, outcome in each(distil_and_judge, cells(), workspace.workers):
        if isinstance(outcome, Exception) and grid.several:
            workspace.say(f"{cell.label} skipped: {in_one_line(outcome)}")
        else:
            done[cell.folder(workspace)] = result(outcome)
    _publish_last(wanted, done, workspace)
    found = [done[folder] for folder, _ in wanted if folder in done]
    return found, len(wanted) - len(found)


def compare_cell(
    cell: Cell, protocol: Protocol, judging: Judging, workspace: Workspace
) -> EvaluatedSet:
    """Distil one set and judge it."""
    require_network(protocol, cell.loaded.spec)  # hours before the set is there
    networks, trace = judging.networks or protocol.networks, None
    if judging.trace:
        trace = Trace(cell, judging.trace, protocol, workspace).carry_out(networks)
        # a trace forgets what is to be forgotten; its set and networks are not made twice
        workspace = replace(workspace, resumption=replace(workspace.resumption, resume=True))
    distilled = distil(cell, workspace)
    asked = (distilled, cell.loaded.judge(protocol.judged_on), protocol, cell.seed, networks)
    record = score(SetEvaluation(*asked, workspace, cell.loaded.train))
    return EvaluatedSet(record, record_path(distilled, record), distilled.path, trace)


def evaluate_all(
    set_evaluations: Sequence[SetEvaluation], workspace: Workspace
) -> list[EvaluatedSet]:
    """Judge sets that are there already; raises the first error, when all that can be is judged."""
    ended = each(score, set_evaluations, workspace.workers)
    records = {id(set_evaluation): outcome for set_evaluation, outcome in ended}
    return [
        EvaluatedSet(
            record := result(records[id(each_one)]),
            record_path(each_one.distilled, record),
            each_one.distilled.path,
        )
        for each_one in set_evaluations
    ]


def _publish_last(
    wanted: Sequence[tuple[Path, str]], done: Mapping[Path, EvaluatedSet], workspace: Workspace
) -> None:
    """The set that each method ends with is the last of the grid, whichever was made last."""
    last = {method: done[folder].synthetic for folder, method in wanted if folder in done}
    for name, synthetic in last.items():
        if synthetic is not None:
            publish(synthetic, latest_artifact(workspace.out, name), workspace.say)
