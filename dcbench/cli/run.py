"""``dcbench run``: distil, evaluate, store, tabulate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from dcbench.cli.completion import completing, word
from dcbench.cli.options import CommaList, Common, common, download, judging, protocol, resuming
from dcbench.cli.words import check_methods
from dcbench.system.errors import OutOfRangeError
from dcbench.system.fields import within

if TYPE_CHECKING:
    from dcbench.cli.console import Console
    from dcbench.experiments.run_grid import EvaluatedSet


@click.command("run")
@click.option(
    "--method",
    "methods",
    type=CommaList(),
    required=True,
    shell_complete=completing("method"),
    help="Method, one or several of `dcbench list`, or ./file.py:Class.",
)
@click.option(
    "--dataset",
    "datasets",
    type=CommaList(),
    default="digits",
    **word("dataset"),
    help="Data set, one or several of `dcbench list`.",
)
@click.option(
    "--ipc",
    "ipcs",
    type=CommaList(int, 1),
    default="1",
    help="Images per class, one or several numbers.",
)
@click.option(
    "--seed",
    "seeds",
    type=CommaList(int, 0),
    default="0",
    help="Seed of the distillation, one or several: a set for each.",
)
@judging()
@click.option(
    "--trace",
    type=CommaList(int, 0),
    help="Steps of the distillation after which the set is also stored, pictured and evaluated.",
)
@click.option(
    "--zca",
    default="auto",
    **word("value of --zca"),
    help="Whitening: auto (preset paper: on for CIFAR; preset own: as the method's paper), on (of "
    "normalised values), pixels (as MTT does), off.",
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="FIELD=VALUE",
    help="A hyper-parameter of the methods; METHOD.FIELD=VALUE addresses one method.",
)
@click.option(
    "--holdout",
    type=int,
    default=0,
    show_default=False,
    help="Number of training images to keep from distillation, for --judge-on and nas.",
)
@click.option(
    "--judge-on",
    default="test",
    **word("value of --judge-on"),
    help="Images that judge: test, or holdout (those of --holdout), to choose settings by.",
)
@download
@resuming
@protocol()
@common(
    "Named settings: paper, own (each method as its own paper), released, quick, two-cores "
    "(dcbench list says which method has which), or a protocol's name."
)
def command(shared: Common, **options: Any) -> None:
    """Distil synthetic sets, train networks on them, and store and show their test accuracy."""
    pairs = [text.partition("=") for text in options["settings"]]
    named = [field.strip() for field, equals, _ in pairs if field.strip() and equals]
    check_methods(options["methods"], shared.preset, named)

    from dcbench.cli.console import Console
    from dcbench.experiments.grid import Grid, parse_settings
    from dcbench.experiments.run_grid import Judging, run_grid
    from dcbench.experiments.trace import require_steps

    trace = tuple(sorted(options["trace"] or ()))
    words = ("protocol", "network", "networks", "epochs", "augment", "labels")
    judging = Judging(**{key: options[key] for key in words}, on=options["judge_on"], trace=trace)
    judging.check()
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
    again = {name: options[name] for name in ("no_resume", "resume_elsewhere")}
    with Console(shared.as_json) as console, shared.workspace(console, **again) as workspace:
        done, skipped = run_grid(grid, judging, shared.places(options["download"]), workspace)
    _show(console, done, shared)
    if skipped:
        console.say(f"{skipped} skipped, for the reasons given above")
        raise click.exceptions.Exit(1)


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
