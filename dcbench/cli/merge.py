"""``dcbench merge``: copy records and sets of others into a results folder."""

from __future__ import annotations

from pathlib import Path

import click

from dcbench.cli.options import PATH, results_folder, speaking


@click.command("merge")
@click.argument("folders", nargs=-1, required=True, type=PATH)
@results_folder("Where they go, each to a folder of its own.")
@click.option(
    "--name",
    default="",
    show_default=False,
    help="Whose they are, of one FOLDER; its name if not given.",
)
@speaking
def command(folders: tuple[Path, ...], results: Path, name: str, as_json: bool) -> None:
    """Copy the records and sets below each FOLDER into the results, if all of them are sound.

    If a record or set is damaged, or a set is not the one that its records measured, the message
    names it and nothing is copied.
    """
    from dcbench.artifacts.merging import merge
    from dcbench.cli.console import Console
    from dcbench.system.errors import OutOfRangeError
    from dcbench.system.wording import counted

    if name and len(folders) > 1:
        raise OutOfRangeError(
            f"--name {name} is of one folder, got {len(folders)}; merge one by one"
        )
    console, merged = Console(as_json), []
    for folder in folders:
        taken = merge(folder, results, name)
        said = f"{counted(taken.records, 'record')}, {counted(taken.sets, 'set')}"
        console.say(f"{folder}: {said}, now in {taken.place}")
        merged.append(
            {
                "source": str(folder),
                "place": str(taken.place),
                "records": taken.records,
                "sets": taken.sets,
            }
        )
    console.result({"merged": merged})
