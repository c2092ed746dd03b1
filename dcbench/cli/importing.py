"""``dcbench import``: another project's synthetic set as an artifact of ours."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dcbench.cli.options import Common, common

if TYPE_CHECKING:
    from dcbench.experiment import Workshop

SPACES = ("auto", "raw", "normalised", "zca")


@click.command("import")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--as", "layout", required=True, help="Whose layout: dc, dm, datadam, mtt, kip, idc, idc3, folder.")
@click.option("--dataset", required=True, help="The data set that the images are images of.")
@click.option("--space", default="auto", show_default=True, help="Where the values live: auto (the layout's usual), raw, normalised, zca.")
@click.option("--name", help="The method's name in tables; the layout's if not given.")
@click.option("--to", "target", type=click.Path(path_type=Path), help="The artifact's file; OUT/NAME.pt if not given.")
@click.option("--download", is_flag=True, help="Fetch the data set if it is not there; nothing is fetched otherwise.")
@common
def command(shared: Common, **options: Any) -> None:
    """Read the foreign set PATH and write it as a self-describing artifact, doubting aloud what looks wrong."""
    from dcbench.cli.console import Console

    check_words(options["layout"], options["dataset"], options["space"])
    with Console(shared.as_json) as console:
        name = options["name"] or options["layout"]
        target = options["target"] or shared.out / f"{name}.pt"
        warnings = adopt(options["path"], target, (shared, options), shared.workshop(console))
    console.say(f"written: {target}")
    console.result({"artifact": str(target), "warnings": list(warnings)})


def check_words(layout: str, dataset: str | None, space: str) -> None:
    """Raises UnknownNameError or OutOfRangeError if the words are wrong by themselves."""
    from dcbench.datasets.catalogue import find
    from dcbench.errors import OutOfRangeError, UnknownNameError
    from dcbench.importers import find_layout

    find_layout(layout)
    if space not in SPACES:
        raise UnknownNameError("space", space, SPACES)
    if dataset is None:
        raise OutOfRangeError(f"a set in the layout {layout} does not say what its images are of: name it with --dataset")
    find(dataset)


def adopt(path: Path, target: Path, asked: tuple[Common, dict[str, Any]], workshop: Workshop) -> tuple[str, ...]:
    """Write the foreign set ``path`` as the artifact ``target``; returns and says what looks wrong with it."""
    from dcbench.datasets.loading import load
    from dcbench.images import Space
    from dcbench.importers import find_layout, import_set, write_imported

    shared, options = asked
    layout = find_layout(options["layout"])
    kind = layout.space if options["space"] == "auto" else options["space"]
    loaded = load(options["dataset"], shared.places(options["download"]), zca=kind == "zca", progress=workshop.stoppable_progress)
    imported = import_set(path, layout, loaded.spec, Space() if kind == "raw" else loaded.train.space)
    for warning in imported.warnings:
        workshop.say(f"{path}: {warning}")
    write_imported(target, imported, options["name"] or layout.name)
    return imported.warnings
