"""``dcbench evaluate``: train networks on finished sets."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dcbench.artifacts.importers.catalogue import LAYOUTS
from dcbench.cli.completion import word
from dcbench.cli.importing import (
    FOREIGN_DEFAULTS,
    description,
    foreign_options,
    foreign_sets_explained,
)
from dcbench.cli.options import PATH, Common, common, download, judging, protocol
from dcbench.cli.words import check_word

if TYPE_CHECKING:
    from dcbench.experiments.context import Workspace
    from dcbench.experiments.run_grid import EvaluatedSet
    from dcbench.experiments.stored_sets import StoredJudging


@click.command("evaluate")
@click.argument("paths", nargs=-1, required=True, type=PATH)
@click.option(
    "--as",
    "layout",
    **word("layout"),
    help=f"Layout of other people's files: {', '.join(LAYOUTS)}.",
)
@foreign_options
@click.option(
    "--dataset",
    **word("dataset"),
    help="Data set whose test images judge; the artifact's own if not given.",
)
@click.option("--seed", type=int, help="Seed of the networks; that of the set if not given.")
@judging(several=True)
@download
@protocol()
@common("The protocol of this name, like --protocol.", "protocol")
def command(shared: Common, **options: Any) -> None:
    """Train networks on the synthetic sets PATHS and show their test accuracy."""
    from dcbench.cli.console import Console
    from dcbench.cli.results import evaluation_json, evaluation_table, show_warnings

    check_word("protocol", shared.preset, called="preset")
    _check_foreign(options)
    asked = _asked(options["protocol"] or shared.preset, options)
    with Console(shared.as_json) as console, shared.workspace(console) as workspace:
        done = _evaluate(asked, shared, options, workspace)
    console.table(evaluation_table([scored.record for scored in done]))
    show_warnings(console, [scored.record for scored in done])
    console.say("Kept in:")
    for scored in done:
        console.say(f"  {scored.path.parent}")
    console.result({"evaluations": [evaluation_json(scored) for scored in done]})


def _check_foreign(options: dict[str, Any]) -> None:
    """Raise UnknownNameError or OutOfRangeError if an option of a foreign set is wrong."""
    from dcbench.system.errors import OutOfRangeError

    if options["layout"] is not None:
        description(options)
    elif options["name"] is not None or any(
        options[name] != default for name, default in FOREIGN_DEFAULTS.items()
    ):
        named = ", ".join(f"--{name}" for name in FOREIGN_DEFAULTS)
        raise OutOfRangeError(
            f"{named} and --name are of another project's set; say its layout with --as, or leave "
            "them out"
        )


def _asked(protocol: str, options: dict[str, Any]) -> StoredJudging:
    """Return the evaluations that are asked for: each network with each augmentation. Raises what
    ``StoredJudging.check`` raises.
    """
    from dcbench.experiments.run_grid import Judging
    from dcbench.experiments.stored_sets import StoredJudging

    judgings = [
        Judging(None, network, options["networks"], options["epochs"], augment, options["labels"])
        for network in options["network"] or [None]
        for augment in options["augment"] or [None]
    ]
    asked = StoredJudging(protocol, judgings, options["dataset"], options["seed"])
    asked.check()
    return asked


def _evaluate(
    asked: StoredJudging, shared: Common, options: dict[str, Any], workspace: Workspace
) -> list[EvaluatedSet]:
    from dcbench.datasets.loading import load
    from dcbench.experiments.distil import reopen
    from dcbench.experiments.run_grid import evaluate_all
    from dcbench.experiments.stored_sets import plan_evaluations

    sets, own = [], options["layout"] is None
    for path in dict.fromkeys(options["paths"]):
        with foreign_sets_explained(path, _again(options)) if own else nullcontext():
            sets.append(reopen(_own(path, shared, options, workspace), workspace))
    where, progress = shared.places(options["download"]), workspace.stoppable_progress
    planned = plan_evaluations(
        sets, asked, lambda name: load(name, where, progress=progress), workspace
    )
    return evaluate_all(planned, workspace)


def _again(options: dict[str, Any]) -> Callable[[str], str]:
    """Return this command with the option for another project's layout."""
    words = [] if options["dataset"] else ["--dataset", "NAME"]
    given = click.get_current_context().obj
    return lambda layout: shlex.join(["dcbench", *given, "--as", layout, *words])


def _own(path: Path, shared: Common, options: dict[str, Any], workspace: Workspace) -> Path:
    """Return the path of an artifact: the given one, or the one that a foreign set is
    imported to.
    """
    from dcbench.artifacts.importers.importing import keep_imported, read_foreign
    from dcbench.system.layout import file_name, imported_folder

    if options["layout"] is None:
        return path
    said, places = description(options), shared.places(options["download"])
    imported = read_foreign(path, said, places, workspace.stoppable_progress)
    for warning in imported.warnings:
        workspace.say(f"{path}: {warning}")
    folder = imported_folder(workspace.out, options["dataset"])
    return keep_imported(folder, f"{said.layout}-{file_name(path.stem)}", imported, said.method)
