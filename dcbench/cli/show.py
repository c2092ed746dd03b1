"""``dcbench show``: describe an artifact and draw its images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dcbench.cli.importing import foreign_sets_explained, imported_first
from dcbench.cli.options import PATH, speaking
from dcbench.system.fields import within

if TYPE_CHECKING:
    from dcbench.artifacts.artifact import Artifact

SCALES = (0.1, 20.0)  # centimetres


@click.command("show")
@click.argument("path", type=PATH)
@click.option(
    "--out",
    type=PATH,
    help="File of the picture, ending in .png or, with the classes' names, .pdf for print; beside"
    " the artifact if not given.",
)
@click.option(
    "--scale", type=float, help="Width of an image in a .pdf, in centimetres; 1 if not given."
)
@speaking
@click.pass_context
def command(
    context: click.Context, path: Path, out: Path | None, scale: float | None, as_json: bool
) -> None:
    """Describe the artifact PATH and draw its images, a row per class, whitening undone."""
    from dcbench.cli.console import Console
    from dcbench.system.errors import OutOfRangeError

    picture = out or path.parent / f"{path.stem}.png"
    ending = picture.suffix.lower()
    if ending not in (".png", ".pdf") or picture == path:
        raise OutOfRangeError(
            f"the picture needs a name of its own that ends in .png or .pdf, got {picture}; give "
            "one with --out"
        )
    if scale is not None and ending == ".png":
        raise OutOfRangeError(f"--scale is for a .pdf, and {picture} is none; give one with --out")
    scale = 1.0 if scale is None else scale
    within("--scale", scale, *SCALES)

    from dcbench.artifacts.artifact import read_artifact
    from dcbench.artifacts.pictures import as_pdf, as_png, figure, grid, is_ours
    from dcbench.system.errors import StorageError
    from dcbench.system.files import write_bytes

    with foreign_sets_explained(path, imported_first(path, context.obj)):
        artifact = read_artifact(path)
    if out is None and picture.exists() and not is_ours(picture):
        raise StorageError(
            f"{picture} is there already and no picture of dcbench's; "
            f"name another: dcbench show {path} --out PICTURE.png"
        )
    drawn = artifact.synthetic
    content = as_png(grid(drawn)) if ending == ".png" else as_pdf(figure(drawn, scale))
    write_bytes(picture, content)
    described = _describe(artifact) | {"picture": str(picture)}
    console = Console(as_json)
    console.pairs(
        str(path), [(key.replace("_", " "), _in_words(value)) for key, value in described.items()]
    )
    console.result(described)


def _describe(artifact: Artifact) -> dict[str, Any]:
    synthetic, origin = artifact.synthetic, artifact.provenance
    wanted = (
        "method",
        "method_version",
        "preset",
        "fields",
        "dataset",
        "revision",
        "ipc",
        "seed",
        "holdout",
        "precision",
        "dcbench",
    )
    return {
        **{key: origin.get(key) for key in wanted},
        **({"stopped_after": origin["step"]} if isinstance(origin.get("step"), int) else {}),
        "images": list(synthetic.images.shape),
        "labels": "hard" if synthetic.labels.ndim == 1 else "soft",
        "space": synthetic.space.name,
        "recipe": dict(synthetic.recipe),
        "values": [float(synthetic.images.min()), float(synthetic.images.max())],
        "sha256": artifact.sha256,
    }


def _in_words(value: object) -> str:
    if isinstance(value, dict):
        pairs = (f"{key}={'none' if entry is None else entry}" for key, entry in value.items())
        return " ".join(pairs) or "none"
    if isinstance(value, list) and all(isinstance(entry, int) for entry in value):
        return "×".join(map(str, value))
    if isinstance(value, list):
        return " to ".join(f"{entry:.3g}" for entry in value)
    return "none" if value in (None, "") else str(value)
