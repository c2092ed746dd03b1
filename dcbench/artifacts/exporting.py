"""Export synthetic sets for other programs, as pixels and labels.

Pixels are 0 for black and 1 for white; dcbench's space is undone. Tensor formats (``safetensors``,
``npz``) keep float32, and learned pixels may lie outside [0, 1]. Picture formats (``folder``,
``parquet``) clip to [0, 1] and round to 8 bits.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

import dcbench
from dcbench.artifacts.artifact import Artifact
from dcbench.datasets.catalogue import option_for
from dcbench.images import SyntheticSet
from dcbench.system.errors import MismatchError, require_known
from dcbench.system.files import write_bytes, write_folder

ABOUT = "dcbench"  # the key under which a file describes its set, as JSON
_NO_FOLDER = frozenset('/\\:*?"<>|')  # characters that some systems refuse in a name


@dataclass(frozen=True)
class ExportFormat:
    """A file format that other programs read."""

    name: str
    ending: str  # of the file's name; empty for a folder
    layout: str  # of the importer that reads it back
    pictures: bool  # 8 bits per channel and one class per image, or else float32 and any labels
    write: Callable[[Path, Artifact], None]


@dataclass(frozen=True)
class Exported:
    """A file that was written, with warnings of what was lost."""

    path: Path
    warnings: tuple[str, ...]
    import_options: tuple[str, ...]  # options of ``dcbench import`` to read it back


def export_set(artifact: Artifact, path: Path, format_name: str) -> Exported:
    """Write the set of ``artifact`` to ``path`` in the format called ``format_name``.

    An existing file is replaced; a folder must not exist yet.

    Raises:
        UnknownNameError: If there is no such format.
        MismatchError: If the format cannot hold the set: soft labels, or class names that cannot be
            names of folders.
        StorageError: If ``path`` cannot be written, or is an existing folder.
    """
    chosen = find_format(format_name)
    synthetic = artifact.synthetic
    if chosen.pictures and synthetic.labels.ndim > 1:
        able = " or ".join(each.name for each in FORMATS.values() if not each.pictures)
        raise MismatchError(
            f"the labels are soft, and {chosen.name} holds one class for each image; "
            f"export it with --as {able}"
        )
    chosen.write(path, artifact)
    raw = synthetic.space.kind == "raw"
    back = ("--as", chosen.layout, "--dataset", option_for(synthetic.spec.dataset))
    return Exported(
        path,
        tuple(filter(None, (_outside(synthetic, chosen), _unsaid_recipe(synthetic)))),
        (*back, "--space", "raw") if raw else back,
    )


def find_format(name: str) -> ExportFormat:
    """Return the format called ``name``. Raises UnknownNameError."""
    require_known("format", name, FORMATS)
    return FORMATS[name]


def _outside(synthetic: SyntheticSet, chosen: ExportFormat) -> str:
    pixels = synthetic.space.leave(synthetic.images)
    share = float(((pixels < 0) | (pixels > 1)).double().mean())
    done = "clipped to it" if chosen.pictures else "kept as they are"
    return f"{share:.1%} of the pixels lie outside [0, 1]; they are {done}" if share else ""


def _unsaid_recipe(synthetic: SyntheticSet) -> str:
    asked = " ".join(f"{key}={value}" for key, value in synthetic.recipe.items())
    return f"the set asks to be trained on with {asked}: no importer reads that" if asked else ""


def _pixels(synthetic: SyntheticSet) -> Tensor:
    """Return the set's pixels as float32, not clipped."""
    return synthetic.space.leave(synthetic.images.detach().cpu()).float().contiguous()


def _bytes(synthetic: SyntheticSet) -> UInt8[np.ndarray, "n channels size size"]:
    """Return the pixels as 8 bits, clipped and rounded."""
    return (synthetic.pixels.detach().cpu() * 255).round().to(torch.uint8).numpy()


def _about(artifact: Artifact) -> str:
    """Describe the set as JSON with sorted keys: the same set gives the same bytes."""
    synthetic, origin = artifact.synthetic, artifact.provenance
    known: Mapping[str, Any] = {
        **{key: origin.get(key) for key in ("method", "preset", "ipc", "seed", "fields")},
        "dataset": synthetic.spec.dataset,
        "revision": synthetic.spec.revision,
        "class_names": list(synthetic.spec.class_names),
        "learned_in": synthetic.space.name,
        "recipe": dict(synthetic.recipe),
        "artifact_sha256": artifact.sha256,
        "written_by": f"dcbench {dcbench.__version__}",
    }
    return json.dumps(known, sort_keys=True)


def _write_safetensors(path: Path, artifact: Artifact) -> None:
    from safetensors.torch import save

    synthetic = artifact.synthetic
    tensors = {"images": _pixels(synthetic), "labels": synthetic.labels.detach().cpu().contiguous()}
    write_bytes(path, save(tensors, {ABOUT: _about(artifact)}))


def _write_arrays(path: Path, artifact: Artifact) -> None:
    synthetic, stream = artifact.synthetic, io.BytesIO()
    labels = synthetic.labels.detach().cpu().numpy()
    about = {ABOUT: np.array(_about(artifact))}
    np.savez(stream, allow_pickle=False, images=_pixels(synthetic).numpy(), labels=labels, **about)
    write_bytes(path, stream.getvalue())


def _write_folder(path: Path, artifact: Artifact) -> None:
    """Write ``CLASS/00000.png``, numbered by the image's position in the set."""
    synthetic = artifact.synthetic
    names = synthetic.spec.class_names
    _require_folder_names(names)
    labels = synthetic.labels.tolist()
    pictures = {
        f"{names[label]}/{index:05d}.png": _as_png(image)
        for index, (image, label) in enumerate(zip(_bytes(synthetic), labels, strict=True))
    }
    write_folder(path, pictures, folders=names)


def _require_folder_names(names: tuple[str, ...]) -> None:
    """Raise MismatchError unless each class name can be the name of a folder on any system."""
    for name in names:
        unable = not name or name != name.strip() or name.startswith(".") or name.endswith(".")
        if unable or _NO_FOLDER & set(name) or not name.isprintable():
            raise MismatchError(
                f"the class name {name!r} cannot be a folder's name; export with --as parquet"
            )
    if len({name.casefold() for name in names}) < len(names):
        raise MismatchError("two class names differ in case alone; export with --as parquet")


def _write_parquet(path: Path, artifact: Artifact) -> None:
    """Write the hub's image layout: a column of encoded images, and one of classes with their
    names.
    """
    from pyarrow import lib as arrow  # the part of it that has no half-typed names
    from pyarrow import parquet

    synthetic = artifact.synthetic
    encoded = [
        {"bytes": _as_png(image), "path": f"{index:05d}.png"}
        for index, image in enumerate(_bytes(synthetic))
    ]
    features = {
        "image": {"_type": "Image"},
        "label": {"names": list(synthetic.spec.class_names), "_type": "ClassLabel"},
    }
    image = arrow.struct([("bytes", arrow.binary()), ("path", arrow.string())])
    huggingface = json.dumps({"info": {"features": features}})
    metadata = {"huggingface": huggingface, ABOUT: _about(artifact)}
    schema = arrow.schema([("image", image), ("label", arrow.int64())], metadata=metadata)
    columns = {"image": encoded, "label": synthetic.labels.tolist()}
    stream = io.BytesIO()
    write_table: Any = parquet.write_table
    write_table(arrow.Table.from_pydict(columns, schema), stream)
    write_bytes(path, stream.getvalue())


def _as_png(image: UInt8[np.ndarray, "channels size size"]) -> bytes:
    from PIL import Image

    stream = io.BytesIO()
    sheet = image[0] if len(image) == 1 else np.ascontiguousarray(image.transpose(1, 2, 0))
    Image.fromarray(sheet).save(stream, format="PNG")
    return stream.getvalue()


FORMATS: Mapping[str, ExportFormat] = {
    each.name: each
    for each in (
        ExportFormat("safetensors", ".safetensors", "plain", False, _write_safetensors),
        ExportFormat("npz", ".npz", "plain", False, _write_arrays),
        ExportFormat("folder", "", "folder", True, _write_folder),
        ExportFormat("parquet", ".parquet", "parquet", True, _write_parquet),
    )
}
