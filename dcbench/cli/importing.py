"""``dcbench import``: another project's synthetic set as an artifact of ours."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

import click

from dcbench.artifacts.importers.catalogue import LAYOUTS
from dcbench.artifacts.importers.description import Description
from dcbench.artifacts.importers.layout import CLASS_ORDERS
from dcbench.cli.completion import word
from dcbench.cli.options import (
    EXECUTOR_OPTIONS,
    PATH,
    Hardware,
    data_classes,
    data_root,
    download,
    hardware,
    out,
    places,
    speaking,
    unneeded,
    with_options,
)

SPACE_HELP = (
    "Where a foreign set's values live: auto (the layout's usual), pixels (in [0, 1], then "
    "normalised), raw (in [0, 1], trained on as they are), normalised, zca (whitened after "
    "normalising, as here), zca-pixels (whitened without, as by MTT)."
)
FOREIGN_DEFAULTS = {
    field.name: field.default
    for field in fields(Description)
    if field.name in ("space", "experiment", "classes", "resize")
}


def description(options: Mapping[str, Any]) -> Description:
    """Take the description of a foreign set out of the command's ``options`` and check it."""
    said = Description(**{field.name: options[field.name] for field in fields(Description)})
    said.check()
    return said


@contextmanager
def foreign_sets_explained(path: Path, again: Callable[[str], str]) -> Iterator[None]:
    """If ``path`` is no artifact but looks like another project's set, let the error suggest the
    command ``again`` with that layout.
    """
    from dcbench.artifacts.importers.recognising import likely_layout
    from dcbench.system.errors import FileFormatError

    try:
        yield
    except FileFormatError as error:
        layout = likely_layout(path)
        if not layout:
            raise
        raise FileFormatError(
            f"{path} is no artifact of dcbench; it looks like another project's set "
            f"({LAYOUTS[layout].title}): {again(layout)}"
        ) from error


def imported_first(path: Path, words: Sequence[str]) -> Callable[[str], str]:
    """Return a command that imports a set and then runs ``words`` with it, for commands that only
    take artifacts.
    """
    target = f"{path.name.split('.')[0] or 'set'}.pt"
    made = target if target != path.name else f"imported-{target}"

    def commands(layout: str) -> str:
        importing = ["dcbench", "import", str(path), "--as", layout, "--dataset", "NAME"]
        then = [made if word == str(path) else word for word in words]
        return f"{shlex.join([*importing, '--to', made])} && {shlex.join(['dcbench', *then])}"

    return commands


_FOREIGN = (
    click.option("--space", default="auto", **word("space"), help=SPACE_HELP),
    click.option(
        "--experiment",
        type=int,
        help="Number of the set in a file of DC, DSA, DM or IDM, from 0; the last if not given.",
    ),
    click.option(
        "--classes",
        default=CLASS_ORDERS[0],
        **word("way to know classes"),
        help="How class folders get their labels: by-name, or by-position among the sorted "
        "folders.",
    ),
    click.option(
        "--resize",
        is_flag=True,
        help="Resize images of another size: the middle square of each, bilinear.",
    ),
    click.option("--name", help="Name of the set's method in tables; the layout's if not given."),
)


def foreign_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that describe a foreign set."""
    return with_options(_FOREIGN, command)


@click.command("import")
@click.argument("path")
@click.option(
    "--as",
    "layout",
    required=True,
    **word("layout"),
    help=f"Layout of the file: {', '.join(LAYOUTS)}.",
)
@click.option(
    "--dataset", required=True, **word("dataset"), help="Data set that the images were made from."
)
@foreign_options
@click.option("--to", "target", type=PATH, help="File to write; OUT/NAME.pt if not given.")
@download
@data_root
@data_classes
@out
@hardware
@speaking
@unneeded("preset", "protocol", "seed", *EXECUTOR_OPTIONS)
def command(
    path: str, target: Path | None, hardware: Hardware, as_json: bool, **options: Any
) -> None:
    """Read the foreign set PATH, write it as a self-describing artifact, and warn about what looks
    wrong.

    PATH is a file, a folder, or a file on the hub: hf://owner/name@COMMIT/path.
    """
    said = description(options)

    from dcbench.artifacts.importers.importing import read_foreign, write_imported
    from dcbench.cli.console import Console
    from dcbench.system.errors import OutOfRangeError
    from dcbench.system.layout import latest_artifact

    with Console(as_json) as console:
        hardware.machine()  # the threads that fit a whitening
        written = target or latest_artifact(options["out"], said.method)
        if written.resolve() == Path(path).resolve():
            raise OutOfRangeError(f"{path} is the set to read; name another file with --to")
        where = places(options["data_root"], options["download"], options["data_classes"])
        imported = read_foreign(path, said, where, console.stoppable_progress)
        for warning in imported.warnings:
            console.say(f"{path}: {warning}")
        write_imported(written, imported, said.method, over=target is not None)
    console.say(f"written: {written}")
    console.result({"artifact": str(written), "warnings": list(imported.warnings)})
