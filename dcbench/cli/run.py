"""``dcbench run``: distil, evaluate, store, tabulate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dcbench.cli.options import CommaList, Common, common, labels, protocol, resuming, within
from dcbench.cli.words import check_methods, known
from dcbench.system.errors import OutOfRangeError, in_one_line

if TYPE_CHECKING:
    from dcbench.cli.console import Console
    from dcbench.cli.results import EvaluatedSet
    from dcbench.datasets.places import Places
    from dcbench.evaluation.protocol import JudgedOn, LabelSource, Protocol
    from dcbench.execution.interface import Steps
    from dcbench.experiments.context import Cell, Workspace
    from dcbench.experiments.grid import Grid

MOST_NETWORKS = 100_000  # that a record holds


@dataclass(frozen=True)
class EvaluationOptions:
    """The options of the evaluation."""

    network: str | None
    networks: int | None
    epochs: int | None
    augment: str | None
    labels: LabelSource | None = None
    on: JudgedOn = "test"
    trace: tuple[int, ...] = ()  # steps of the distillation at which the set is judged too, rising

    def check(self) -> None:
        """Raises UnknownNameError or OutOfRangeError if they are wrong by their words."""
        from dcbench.evaluation.protocol import LABEL_SOURCES
        from dcbench.experiments.grid import check_network
        from dcbench.system.errors import UnknownNameError
        from dcbench.training.mixing import augmentation_and_mix

        within("--networks", self.networks, 1, MOST_NETWORKS)
        within("--epochs", self.epochs, 1)
        check_network(self.network)
        if self.augment is not None:
            augmentation_and_mix(self.augment)
        if self.labels is not None and self.labels not in LABEL_SOURCES:
            raise UnknownNameError("value of --labels", self.labels, LABEL_SOURCES)

    def applied_to(self, protocol: Protocol) -> Protocol:
        """``protocol`` with what these options change."""
        changed = protocol.with_options(self.network, self.epochs, self.augment, self.labels)
        return replace(changed, judged_on=self.on)


@click.command("run")
@click.option(
    "--method",
    "methods",
    type=CommaList(),
    required=True,
    help="One or several, or ./file.py:Class.",
)
@click.option(
    "--dataset",
    "datasets",
    type=CommaList(),
    default="digits",
    show_default=True,
    callback=known("dataset"),
    help="One or several of `dcbench list`.",
)
@click.option(
    "--ipc",
    "ipcs",
    type=CommaList(int, 1),
    default="1",
    show_default=True,
    help="Images per class, one or several.",
)
@click.option(
    "--seed",
    "seeds",
    type=CommaList(int, 0),
    default="0",
    show_default=True,
    help="Of the distillation, one or several.",
)
@click.option(
    "--network",
    callback=known("network"),
    help="That is trained to judge a set, if not the protocol's.",
)
@click.option("--networks", type=int, help="How many; the protocol's number if not given.")
@click.option("--epochs", type=int, help="Of each network, if not the protocol's.")
@click.option(
    "--augment",
    help=(
        "dsa, autoaugment, randaugment, flip, resized-crop, none; also cutmix or mixup, alone or "
        "as dsa+cutmix."
    ),
)
@labels
@click.option(
    "--trace",
    type=CommaList(int, 0),
    help="Steps of the distillation after which the set is kept, pictured and judged too.",
)
@click.option(
    "--zca",
    default="auto",
    show_default=True,
    callback=known("value of --zca"),
    help=(
        "Whitening: auto (on for CIFAR with preset paper), on (of normalised values), pixels (as "
        "MTT does), off."
    ),
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="FIELD=VALUE",
    help="A method's field; METHOD.FIELD=VALUE for one of several.",
)
@click.option(
    "--holdout",
    type=int,
    default=0,
    help="Images of the training set to keep from distillation, for --judge-on and nas.",
)
@click.option(
    "--judge-on",
    default="test",
    show_default=True,
    callback=known("value of --judge-on"),
    help="test, or holdout: the images of --holdout, to choose settings by.",
)
@click.option(
    "--download",
    is_flag=True,
    help="Fetch the data set if it is not there; nothing is fetched otherwise.",
)
@resuming
@protocol()
@common(
    "Named settings: paper, own (each method as its own paper), released, quick, two-cores "
    "(dcbench list says which method has which), or a protocol's name."
)
def command(shared: Common, **options: Any) -> None:
    """Distil synthetic sets, train networks on them, store and show what they score."""
    check_methods(options["methods"], shared.preset)

    from dcbench.cli.console import Console
    from dcbench.experiments.grid import Grid, parse_settings
    from dcbench.experiments.trace import require_steps

    trace = tuple(sorted(options["trace"] or ()))
    judging = EvaluationOptions(
        **{key: options[key] for key in ("network", "networks", "epochs", "augment", "labels")},
        on=options["judge_on"],
        trace=trace,
    )
    judging.check()
    if trace and shared.executor_options.executor != "serial":
        raise OutOfRangeError(
            f"--trace with --executor {shared.executor_options.executor}: a trace watches its distillation; leave one out"
        )
    within("--holdout", options["holdout"], 0)
    if options["judge_on"] == "holdout" and not options["holdout"]:
        raise OutOfRangeError(
            "--judge-on holdout needs images that are kept from distillation: say how many with "
            "--holdout"
        )
    grid = Grid(
        **{key: options[key] for key in ("methods", "datasets", "ipcs", "seeds", "zca", "holdout")},
        preset=shared.preset,
        settings=parse_settings(options["settings"]),
    )
    for distiller in grid.distillers().values():
        grid.protocol_of(distiller, options["protocol"])
        for ipc in grid.ipcs if trace else ():
            require_steps(distiller, ipc, trace[-1])
    with Console(shared.as_json) as console:
        workspace = shared.workspace(
            console, resume=not options["no_resume"], other_machine=options["resume_elsewhere"]
        )
        done, skipped = _work(
            grid, judging, (shared.places(options["download"]), options["protocol"]), workspace
        )
    _show(console, done, shared)
    if skipped:
        console.say(f"{skipped} skipped, for the reasons given above")
        raise click.exceptions.Exit(1)


def _work(
    grid: Grid, judging: EvaluationOptions, asked: tuple[Places, str | None], workspace: Workspace
) -> tuple[list[EvaluatedSet], int]:
    """The cells, in the grid's order. One that cannot be done is skipped with its reason, unless it
    is the only one.
    """
    from dcbench.execution.interface import Job

    places, protocol_named = asked
    # folder and method of each cell, and not its data: one data set after the other fits in memory
    wanted: list[tuple[Path, str]] = []

    def jobs() -> Iterator[Job[EvaluatedSet]]:
        for cell in grid.cells(places, workspace):
            wanted.append((cell.folder(workspace), cell.distiller.name))
            protocol = judging.applied_to(grid.protocol_of(cell.distiller, protocol_named))
            yield Job(cell.label, wanted[-1][0], partial(_cell, cell, protocol, judging, workspace))

    done: dict[Path, EvaluatedSet] = {}
    for ended in workspace.executor.carry_out(jobs(), workspace.site):
        if isinstance(ended.outcome, Exception) and grid.several:
            workspace.say(f"{ended.job.label} skipped: {in_one_line(ended.outcome)}")
        else:
            done[ended.job.place] = ended.result
    _publish_last(wanted, done, workspace)
    return [done[place] for place, _ in wanted if place in done], sum(
        place not in done for place, _ in wanted
    )


def _publish_last(
    wanted: Sequence[tuple[Path, str]], done: Mapping[Path, EvaluatedSet], workspace: Workspace
) -> None:
    """The set that each method ends with is the last of the grid, whichever was made last."""
    from dcbench.experiments.distil import publish
    from dcbench.system.layout import latest_artifact

    last = {method: done[place].synthetic for place, method in wanted if place in done}
    for name, synthetic in last.items():
        if synthetic is not None:
            publish(synthetic, latest_artifact(workspace.out, name), workspace.say)


def _cell(
    cell: Cell, protocol: Protocol, judging: EvaluationOptions, workspace: Workspace
) -> Steps[EvaluatedSet]:
    from dcbench.cli.results import EvaluatedSet
    from dcbench.evaluation.evaluate import require_network
    from dcbench.experiments.distil import distilling
    from dcbench.experiments.evaluate import SetEvaluation, record_path, scoring
    from dcbench.experiments.trace import Trace

    require_network(protocol, cell.loaded.spec)  # hours before the set is there
    networks, trace = judging.networks or protocol.networks, None
    if judging.trace:
        trace = yield from Trace(cell, judging.trace, protocol, workspace).tracing(networks)
        # a trace forgets what is to be forgotten; its set and networks are not made twice
        workspace = replace(workspace, resumption=replace(workspace.resumption, resume=True))
    distilled = yield from distilling(cell, workspace)
    record = yield from scoring(
        SetEvaluation(
            distilled,
            cell.loaded.judge(protocol.judged_on),
            protocol,
            cell.seed,
            networks,
            workspace,
            cell.loaded.train,
        )
    )
    return EvaluatedSet(record, record_path(distilled, record), distilled.path, trace)


def _show(console: Console, done: Sequence[EvaluatedSet], shared: Common) -> None:
    from dcbench.cli.results import (
        evaluation_table,
        run_json,
        show_places,
        show_warnings,
        summary_table,
        trace_table,
    )
    from dcbench.records import StoredRecord
    from dcbench.report import summary_rows

    records = [scored.record for scored in done]
    summary = summary_rows(StoredRecord(scored.path, scored.record) for scored in done)
    if done:
        console.table(evaluation_table(records))
        if any(row["sets"] > 1 for row in summary):
            console.table(summary_table(summary))
        for trace, path in filter(None, (scored.trace for scored in done)):
            console.table(trace_table(trace))
            console.say(f"the set after these steps: {path.parent}")
        show_warnings(console, records)
        show_places(console, done, shared.out)
    console.result({"runs": [run_json(scored) for scored in done], "summary": summary})
