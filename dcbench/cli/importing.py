"""``dcbench import``: another project's synthetic set as an artifact of ours."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import click

from dcbench.artifacts.importers.catalogue import LAYOUTS
from dcbench.cli.options import (
    EXECUTOR_OPTIONS,
    Hardware,
    data_classes,
    data_root,
    download,
    hardware,
    out,
    places,
    speaking,
    unneeded,
)
from dcbench.cli.words import CLASSES, known

if TYPE_CHECKING:
    from dcbench.artifacts.importers.importing import ImportedSet
    from dcbench.datasets.places import Places

SPACE_HELP = (
    "Where a foreign set's values live: auto (the layout's usual), pixels (in [0, 1], then "
    "normalised), raw (in [0, 1], trained on as "
    "they are), normalised, zca (whitened after normalising, as here), zca-pixels (whitened "
    "without, as by MTT)."
)
FOREIGN_DEFAULTS = {"space": "auto", "experiment": None, "classes": CLASSES[0], "resize": False}


@runtime_checkable
class Listener(Protocol):
    """The interface to the console: it shows messages and progress, and may stop the work."""

    def say(self, message: str, /) -> None:
        """Show a message."""

    def stoppable_progress(self, text: str, done: int, total: int) -> None:
        """Raise KeyboardInterrupt if the user has asked to stop."""


@dataclass(frozen=True)
class ForeignOptions:
    """The user's options about a set in another project's layout."""

    layout: str
    dataset: str | None
    space: str
    name: str | None
    experiment: int | None
    classes: str
    resize: bool

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> ForeignOptions:
        """Take these options out of the command's ``options``."""
        return cls(*(options[field.name] for field in fields(cls)))

    def check(self) -> None:
        """Raise UnknownNameError or OutOfRangeError if an option is wrong in itself."""
        from dcbench.artifacts.importers.catalogue import find_layout
        from dcbench.datasets.catalogue import find
        from dcbench.system.errors import OutOfRangeError

        find_layout(self.layout)
        if self.dataset is None:
            raise OutOfRangeError(
                f"a set in the layout {self.layout} does not say what its images are of: name it "
                "with --dataset"
            )
        find(self.dataset)

    def read(self, path: Path, where: Places, listener: Listener) -> ImportedSet:
        """Read the set ``path`` as a set of ours, and show warnings about it."""
        from dcbench.artifacts.importers.catalogue import find_layout
        from dcbench.artifacts.importers.importing import import_set, open_space
        from dcbench.artifacts.importers.layout import ImportOptions
        from dcbench.datasets.catalogue import find

        assert self.dataset is not None  # noqa: S101 - checked
        layout = find_layout(self.layout)
        usual = layout.usual_space(path, find(self.dataset).channels)
        kind: Any = usual if self.space == "auto" else self.space
        spec, space = open_space(self.dataset, kind, where, listener.stoppable_progress)
        options = ImportOptions(self.experiment, self.classes == "by-position", self.resize)
        imported = import_set(path, layout, spec, space, pixels=kind == "pixels", options=options)
        for warning in imported.warnings:
            listener.say(f"{path}: {warning}")
        return imported


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


def foreign_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that describe a foreign set."""
    for option in reversed(
        (
            click.option(
                "--space",
                default="auto",
                show_default=True,
                callback=known("space"),
                help=SPACE_HELP,
            ),
            click.option(
                "--experiment",
                type=int,
                help=(
                    "Number of the set in a file of DC, DSA, DM or IDM, from 0; the last if not "
                    "given."
                ),
            ),
            click.option(
                "--classes",
                default=CLASSES[0],
                callback=known("way to know classes"),
                show_default=True,
                help=(
                    "How class folders get their labels: by-name, or by-position among the sorted "
                    "folders."
                ),
            ),
            click.option(
                "--resize",
                is_flag=True,
                help="Resize images of another size: the middle square of each, bilinear.",
            ),
            click.option(
                "--name", help="Name of the set's method in tables; the layout's if not given."
            ),
        )
    ):
        command = option(command)
    return command


@click.command("import")
@click.argument("path")
@click.option(
    "--as",
    "layout",
    required=True,
    callback=known("layout"),
    help=f"Layout of the file: {', '.join(LAYOUTS)}.",
)
@click.option(
    "--dataset",
    required=True,
    callback=known("dataset"),
    help="Data set that the images were made from.",
)
@foreign_options
@click.option(
    "--to",
    "target",
    type=click.Path(path_type=Path),
    help="File to write; OUT/NAME.pt if not given.",
)
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
    from dataclasses import replace

    from dcbench.artifacts.importers.importing import write_imported
    from dcbench.cli.console import Console
    from dcbench.datasets import hub
    from dcbench.system.layout import latest_artifact

    foreign = ForeignOptions.of(options)
    foreign.check()
    on_hub = hub.parse(path) if hub.is_address(path) else None
    with Console(as_json) as console:
        hardware.machine()  # the threads that fit a whitening
        name = foreign.name or foreign.layout
        written = target or latest_artifact(options["out"], name)
        where = places(options["data_root"], options["download"], options["data_classes"])
        file = hub.kept(on_hub, where.cache_root, console.progress) if on_hub else Path(path)
        imported = foreign.read(file, where, console)
        if on_hub:
            imported = replace(imported, notes={**imported.notes, **hub.origin(on_hub, file)})
        write_imported(written, imported, name, over=target is not None)
    console.say(f"written: {written}")
    console.result({"artifact": str(written), "warnings": list(imported.warnings)})
