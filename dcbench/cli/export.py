"""``dcbench export``: a synthetic set as a file that other programs read."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from dcbench.cli.completion import completing
from dcbench.cli.importing import foreign_sets_explained, imported_first
from dcbench.cli.options import PATH, speaking

FORMATS_HELP = "safetensors, npz (float32 pixels), folder, parquet (8-bit pictures)."


@click.command("export")
@click.argument("path", type=PATH)
@click.option(
    "--as",
    "format_name",
    required=True,
    shell_complete=completing("export format"),
    help=FORMATS_HELP,
)
@click.option(
    "--to", "target", type=PATH, help="File or folder to write; beside the artifact if not given."
)
@speaking
@click.pass_context
def command(
    context: click.Context, path: Path, format_name: str, target: Path | None, as_json: bool
) -> None:
    """Write the artifact PATH for other programs: pixels in [0, 1], whitening undone, and
    labels.
    """
    from dcbench.artifacts.artifact import read_artifact
    from dcbench.artifacts.exporting import export_set, find_format
    from dcbench.cli.console import Console
    from dcbench.system.errors import OutOfRangeError, StorageError

    ending = find_format(format_name).ending
    written = target or path.parent / f"{path.stem}{ending}"
    if (ending and written.suffix != ending) or written.resolve() == path.resolve():
        wanted = f"a file of its own that ends in {ending}" if ending else "a folder of its own"
        raise OutOfRangeError(
            f"{format_name} is written to {wanted}, got {written}; leave --to out, or name another"
        )
    with foreign_sets_explained(path, imported_first(path, context.obj)):
        artifact = read_artifact(path)
    if target is None and written.exists():
        raise StorageError(
            f"{written} is there already; "
            f"name another place: dcbench export {path} --as {format_name} --to PLACE"
        )
    exported = export_set(artifact, written, format_name)
    console = Console(as_json)
    for warning in exported.warnings:
        console.say(f"{path}: {warning}")
    back = shlex.join(["dcbench", "import", str(exported.path), *exported.import_options])
    console.say(f"written: {exported.path}")
    console.say(f"read back by: {back}")
    console.result(
        {
            "written": str(exported.path),
            "format": format_name,
            "images": len(artifact.synthetic),
            "warnings": list(exported.warnings),
            "import": back,
        }
    )
