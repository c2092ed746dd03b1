"""``dcbench evaluate``: train networks on sets that are there already."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dcbench.artifacts.importers.catalogue import LAYOUTS
from dcbench.cli.importing import FOREIGN_DEFAULTS, foreign_options, foreign_sets_explained
from dcbench.cli.options import LARGEST, CommaList, Common, common, labels, protocol, within
from dcbench.cli.words import check_word, known

if TYPE_CHECKING:
    from dcbench.cli.importing import ForeignOptions
    from dcbench.datasets.loading import Loaded
    from dcbench.evaluation.protocol import Protocol
    from dcbench.experiments.compare import EvaluatedSet, Judging
    from dcbench.experiments.context import StoredSet, Workspace


@click.command("evaluate")
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--as",
    "layout",
    callback=known("layout"),
    help=f"Layout of other people's files: {', '.join(LAYOUTS)}.",
)
@foreign_options
@click.option("--name", help="Name of a foreign set's method in tables; the layout's if not given.")
@click.option(
    "--dataset",
    callback=known("dataset"),
    help="Data set whose test images judge; the artifact's own if not given.",
)
@click.option("--seed", type=int, help="Seed of the networks; that of the set if not given.")
@click.option(
    "--network",
    "networks_named",
    type=CommaList(),
    default=None,
    callback=known("network"),
    help="Architecture to train, one or several; the protocol's if not given.",
)
@click.option(
    "--networks", type=int, help="Number of networks for each set; the protocol's if not given."
)
@click.option("--epochs", type=int, help="Epochs of each network; the protocol's if not given.")
@click.option(
    "--augment",
    type=CommaList(),
    default=None,
    help=(
        "Augmentation, one or several: dsa, autoaugment, randaugment, flip, resized-crop, none; "
        "also with +cutmix or +mixup."
    ),
)
@labels
@click.option(
    "--download",
    is_flag=True,
    help="Download the data set if it is missing; without this nothing is downloaded.",
)
@protocol()
@common("The protocol of this name, like --protocol.")
def command(shared: Common, **options: Any) -> None:
    """Train networks on the synthetic sets PATHS and show what they score."""
    from dcbench.cli.console import Console
    from dcbench.cli.results import evaluation_json, evaluation_table, show_warnings

    check_word("protocol", shared.preset, called="preset")
    _check(options)
    within("--seed", options["seed"], 0, LARGEST)
    with Console(shared.as_json) as console, shared.workspace(console) as workspace:
        done = _evaluate(options["protocol"] or shared.preset, shared, options, workspace)
    console.table(evaluation_table([scored.record for scored in done]))
    show_warnings(console, [scored.record for scored in done])
    console.say("Kept in:")
    for scored in done:
        console.say(f"  {scored.path.parent}")
    console.result({"evaluations": [evaluation_json(scored) for scored in done]})


def _check(options: dict[str, Any]) -> None:
    """Raises UnknownNameError or OutOfRangeError if the words are wrong by themselves."""
    from dcbench.cli.run import check_judging
    from dcbench.system.errors import OutOfRangeError

    if options["layout"] is not None:
        _foreign(options).check()
    elif options["name"] is not None or any(
        options[name] != default for name, default in FOREIGN_DEFAULTS.items()
    ):
        named = ", ".join(f"--{name}" for name in FOREIGN_DEFAULTS)
        raise OutOfRangeError(
            f"{named} and --name are of another project's set; say its layout with --as, or leave "
            "them out"
        )
    for asked in _asked(options):
        check_judging(asked)


def _asked(options: dict[str, Any]) -> list[Judging]:
    """What is asked of the evaluation: the networks named, each with every augmentation."""
    from dcbench.experiments.compare import Judging

    return [
        Judging(None, network, options["networks"], options["epochs"], augment, options["labels"])
        for network in options["networks_named"] or [None]
        for augment in options["augment"] or [None]
    ]


def _protocols(distilled: StoredSet, name: str, options: dict[str, Any]) -> list[Protocol]:
    """How a set is judged; raises MismatchError where its method's own paper is not known."""
    from dcbench.distiller import registered
    from dcbench.evaluation.protocol import OWN, PROTOCOLS, find_protocol
    from dcbench.experiments.presets import own_protocol
    from dcbench.system.errors import MismatchError

    method, known = str(distilled.provenance.get("method")), registered()
    if name != OWN:
        base = find_protocol(name)
    elif method in known:
        base = own_protocol(known[method])
    elif method in PROTOCOLS and "layout" in distilled.provenance:  # another project's, by its name
        base = PROTOCOLS[method]
    else:
        raise MismatchError(
            f"{distilled.path} was made by {method}, how whose paper judges is not known here; "
            "choose a protocol, such as --protocol lineage"
        )
    return [asked.applied_to(base) for asked in _asked(options)]


def _evaluate(
    named: str, shared: Common, options: dict[str, Any], workspace: Workspace
) -> list[EvaluatedSet]:
    from dcbench.datasets.loading import load
    from dcbench.experiments.compare import evaluate_all
    from dcbench.experiments.distil import reopen
    from dcbench.experiments.evaluate import SetEvaluation, check

    sets = []
    for path in dict.fromkeys(options["paths"]):
        with foreign_sets_explained(path, _again(options)):
            sets.append(reopen(_own(path, shared, options, workspace), workspace))
    for distilled in sets:
        _check_data(distilled, options["dataset"])
    # one's own data is named by its folder, and the set only by its name
    names = {each.synthetic.spec.dataset: options["dataset"] for each in sets}
    protocols = {each.path: _protocols(each, named, options) for each in sets}
    places = shared.places(options["download"])
    loaded = {
        name: load(asked or name, places, progress=workspace.stoppable_progress)
        for name, asked in sorted(names.items())
    }
    set_evaluations: list[SetEvaluation] = []
    for distilled in sets:
        data = loaded[distilled.synthetic.spec.dataset]
        placed = _placed(distilled, data, workspace)
        seed = _seed(distilled, options["seed"])
        set_evaluations += [
            SetEvaluation(
                placed,
                data.test,
                protocol,
                seed,
                options["networks"] or protocol.networks,
                workspace,
                data.train,
            )
            for protocol in protocols[distilled.path]
        ]
    for set_evaluation in set_evaluations:
        check(set_evaluation)
    return evaluate_all(set_evaluations, workspace)


def _again(options: dict[str, Any]) -> Callable[[str], str]:
    """The same command for a set in another project's layout."""
    words = [] if options["dataset"] else ["--dataset", "NAME"]
    given = click.get_current_context().obj
    return lambda layout: shlex.join(["dcbench", *given, "--as", layout, *words])


def _own(path: Path, shared: Common, options: dict[str, Any], workspace: Workspace) -> Path:
    """The path of our artifact: as given, or that of the artifact which a foreign set becomes."""
    from dcbench.artifacts.importers.importing import keep_imported
    from dcbench.system.layout import file_name, imported_folder

    if options["layout"] is None:
        return path
    foreign = _foreign(options)
    imported = foreign.read(path, shared.places(options["download"]), workspace)
    folder = imported_folder(workspace.out, options["dataset"])
    stem = f"{foreign.layout}-{file_name(path.stem)}"
    return keep_imported(folder, stem, imported, foreign.name or foreign.layout)


def _foreign(options: dict[str, Any]) -> ForeignOptions:
    from dcbench.cli.importing import ForeignOptions

    return ForeignOptions.of(options)


def _check_data(distilled: StoredSet, asked: str | None) -> None:
    """Raises MismatchError unless the set was made from a data set that is known, and from the one
    that was asked for.
    """
    from dcbench.datasets.catalogue import DATASETS, find, installed
    from dcbench.system.errors import MismatchError

    spec, known = distilled.synthetic.spec, (*DATASETS, *installed())
    what = (
        f"{distilled.path} holds {spec.channels}×{spec.size}×{spec.size} images made from "
        f"{spec.dataset}"
    )
    if asked is not None and asked != spec.dataset and find(asked).name != spec.dataset:
        raise MismatchError(f"{what}, not from {asked}; evaluate it with --dataset {spec.dataset}")
    if asked is None and spec.dataset not in known:
        raise MismatchError(
            f"{what}, which is unknown here; name its folder, as in --dataset ./{spec.dataset}, or one "
            f"of {', '.join(known)}"
        )


def _placed(distilled: StoredSet, data: Loaded, workspace: Workspace) -> StoredSet:
    """The set, with a folder of its own for its evaluations on another revision of its data; raises
    MismatchError if it does not fit.
    """
    from dataclasses import replace

    from dcbench.evaluation.evaluate import check_fit
    from dcbench.system.layout import revision_folder

    check_fit(distilled.synthetic, data.test)
    made_for = distilled.synthetic.spec
    if data.spec.revision == made_for.revision:
        return distilled
    workspace.say(
        f"{distilled.path} was made from another revision of {made_for.dataset} "
        f"({made_for.revision}, here {data.spec.revision})"
    )
    return replace(distilled, folder=revision_folder(distilled.folder, data.spec.revision))


def _seed(distilled: StoredSet, asked: int | None) -> int:
    """The seed that was asked for, else that of the set, else 0."""
    own = distilled.provenance.get("seed")
    return asked if asked is not None else own if isinstance(own, int) else 0
