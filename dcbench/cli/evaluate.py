"""``dcbench evaluate``: train networks on finished sets."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dcbench.artifacts.importers.catalogue import LAYOUTS
from dcbench.cli.importing import (
    FOREIGN_DEFAULTS,
    ForeignOptions,
    foreign_options,
    foreign_sets_explained,
)
from dcbench.cli.options import Common, common, download, judging, protocol
from dcbench.cli.words import check_word, known
from dcbench.system.fields import within

if TYPE_CHECKING:
    from dcbench.evaluation.protocol import Protocol
    from dcbench.experiments.context import StoredSet, Workspace
    from dcbench.experiments.run_grid import EvaluatedSet, Judging


@click.command("evaluate")
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--as",
    "layout",
    callback=known("layout"),
    help=f"Layout of other people's files: {', '.join(LAYOUTS)}.",
)
@foreign_options
@click.option(
    "--dataset",
    callback=known("dataset"),
    help="Data set whose test images judge; the artifact's own if not given.",
)
@click.option("--seed", type=int, help="Seed of the networks; that of the set if not given.")
@judging(several=True)
@download
@protocol()
@common("The protocol of this name, like --protocol.")
def command(shared: Common, **options: Any) -> None:
    """Train networks on the synthetic sets PATHS and show their test accuracy."""
    from dcbench.cli.console import Console
    from dcbench.cli.results import evaluation_json, evaluation_table, show_warnings

    check_word("protocol", shared.preset, called="preset")
    _check(options)
    within("--seed", options["seed"], 0)
    with Console(shared.as_json) as console, shared.workspace(console) as workspace:
        done = _evaluate(options["protocol"] or shared.preset, shared, options, workspace)
    console.table(evaluation_table([scored.record for scored in done]))
    show_warnings(console, [scored.record for scored in done])
    console.say("Kept in:")
    for scored in done:
        console.say(f"  {scored.path.parent}")
    console.result({"evaluations": [evaluation_json(scored) for scored in done]})


def _check(options: dict[str, Any]) -> None:
    """Raise UnknownNameError or OutOfRangeError if an option is wrong in itself."""
    from dcbench.system.errors import OutOfRangeError

    if options["layout"] is not None:
        ForeignOptions.of(options).check()
    elif options["name"] is not None or any(
        options[name] != default for name, default in FOREIGN_DEFAULTS.items()
    ):
        named = ", ".join(f"--{name}" for name in FOREIGN_DEFAULTS)
        raise OutOfRangeError(
            f"{named} and --name are of another project's set; say its layout with --as, or leave "
            "them out"
        )
    for asked in _asked(options):
        asked.check()


def _asked(options: dict[str, Any]) -> list[Judging]:
    """Return the evaluations that are asked for: each network with each augmentation."""
    from dcbench.experiments.run_grid import Judging

    return [
        Judging(None, network, options["networks"], options["epochs"], augment, options["labels"])
        for network in options["network"] or [None]
        for augment in options["augment"] or [None]
    ]


def _evaluate(
    named: str, shared: Common, options: dict[str, Any], workspace: Workspace
) -> list[EvaluatedSet]:
    from dcbench.datasets.loading import load
    from dcbench.experiments.distil import reopen
    from dcbench.experiments.stored_sets import (
        judge_stored,
        protocol_of_set,
        require_known_data,
    )

    sets, own = [], options["layout"] is None
    for path in dict.fromkeys(options["paths"]):
        with foreign_sets_explained(path, _again(options)) if own else nullcontext():
            sets.append(reopen(_own(path, shared, options, workspace), workspace))
    for distilled in sets:
        require_known_data(distilled, options["dataset"])

    def protocols(distilled: StoredSet) -> list[Protocol]:
        base = protocol_of_set(distilled, named)
        return [asked.applied_to(base) for asked in _asked(options)]

    places = shared.places(options["download"])
    return judge_stored(
        sets,
        protocols,
        # own data is named by its folder, but the set stores only its name
        lambda name: load(
            options["dataset"] or name, places, progress=workspace.stoppable_progress
        ),
        workspace,
        networks=options["networks"],
        seed=options["seed"],
    )


def _again(options: dict[str, Any]) -> Callable[[str], str]:
    """Return this command with the option for another project's layout."""
    words = [] if options["dataset"] else ["--dataset", "NAME"]
    given = click.get_current_context().obj
    return lambda layout: shlex.join(["dcbench", *given, "--as", layout, *words])


def _own(path: Path, shared: Common, options: dict[str, Any], workspace: Workspace) -> Path:
    """Return the path of an artifact: the given one, or the one that a foreign set is
    imported to.
    """
    from dcbench.artifacts.importers.importing import keep_imported
    from dcbench.system.layout import file_name, imported_folder

    if options["layout"] is None:
        return path
    foreign = ForeignOptions.of(options)
    imported = foreign.read(path, shared.places(options["download"]), workspace)
    folder = imported_folder(workspace.out, options["dataset"])
    stem = f"{foreign.layout}-{file_name(path.stem)}"
    return keep_imported(folder, stem, imported, foreign.name or foreign.layout)
