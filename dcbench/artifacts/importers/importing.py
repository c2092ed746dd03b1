"""Turn what a layout read from a foreign file into a set, and write it as an artifact.

A foreign file does not say which space its values are in. The layout's usual space is assumed
unless the user names another; the artifact records it, and a warning appears if the values do not
look like it. Pixels are transformed into the data set's own space, as their authors' code does
after loading: DSA's augmentation is made for that space.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from dcbench.artifacts.artifact import artifact_as_bytes
from dcbench.artifacts.importers.catalogue import find_layout
from dcbench.artifacts.importers.description import Description
from dcbench.artifacts.importers.interpretation import Interpretation, interpret
from dcbench.artifacts.importers.layout import FileLayout, ForeignSet, ImportOptions, ValueSpace
from dcbench.datasets import hub
from dcbench.datasets.catalogue import find
from dcbench.datasets.loading import load
from dcbench.datasets.places import Places
from dcbench.images import ImageSpec, Space, SyntheticSet, in_parts
from dcbench.system.errors import FileFormatError, MismatchError
from dcbench.system.files import write_bytes
from dcbench.system.progress import Progress, silent

_OF_SOME_LAYOUTS = {
    "experiment": "holds one set in a file, not experiments: leave out --experiment",
    "by_position": "has no class folders: leave out --classes",
    "resize": "has no image files of other sizes: leave out --resize",
}


@dataclass(frozen=True)
class ImportedSet:
    """A foreign set as a set of ours, with warnings about what looks wrong."""

    synthetic: SyntheticSet
    layout: str
    warnings: tuple[str, ...]
    parts: int = 1  # images that were one in the file
    notes: Mapping[str, Any] = field(default_factory=dict)  # for the artifact's provenance


def open_space(
    dataset: str, kind: ValueSpace, where: Places, progress: Progress = silent
) -> tuple[ImageSpec, Space]:
    """Return the spec of a set's images, and the space that its values are in or, if they are
    pixels, enter. Raises what ``load`` raises.
    """
    zca, of_pixels = kind.startswith("zca"), kind == "zca-pixels"
    loaded = load(dataset, where, zca=zca, of_pixels=of_pixels, progress=progress)
    return loaded.spec, Space() if kind == "raw" else loaded.train.space


def local_file(address: str | os.PathLike[str], where: Places, progress: Progress = silent) -> Path:
    """Return the file at ``address``: a path, or a file on the hub, which is fetched if it is not
    in the cache.

    Raises:
        OutOfRangeError: If the address on the hub pins no commit.
        DataError: If the hub has no such file.
    """
    text = os.fspath(address)
    if not hub.is_address(text):
        return Path(address)
    return hub.kept(hub.parse(text), where.cache_root, progress)


def read_foreign(
    address: str | os.PathLike[str], said: Description, where: Places, progress: Progress = silent
) -> ImportedSet:
    """Read the set at ``address``, a path or a file on the hub, as ``said`` describes it; that is
    already checked.

    Raises:
        OutOfRangeError: If the address on the hub pins no commit.
        DataError: If the hub has no such file, or the data set is not found.
        FileFormatError: If the file is damaged, hostile or of another layout.
        MismatchError: If the layout does not know an option.
    """
    file = local_file(address, where, progress)
    dataset, layout = find(str(said.dataset)), find_layout(said.layout)
    usual = layout.usual_space(file, dataset.channels)
    kind = cast("ValueSpace", usual if said.space == "auto" else said.space)
    spec, space = open_space(str(said.dataset), kind, where, progress)
    pixels = kind == "pixels"
    imported = import_set(file, layout, spec, space, pixels=pixels, options=said.options)
    text = os.fspath(address)
    origin = hub.origin(hub.parse(text), file) if hub.is_address(text) else {}
    return replace(imported, notes={**imported.notes, **origin})


def import_set(
    path: Path,
    layout: FileLayout,
    spec: ImageSpec,
    space: Space,
    *,
    pixels: bool = False,
    options: ImportOptions | None = None,
) -> ImportedSet:
    """Read the set at ``path`` as images of ``spec``.

    Its values are in ``space``, or they are ``pixels`` that enter it.

    Raises:
        FileFormatError: Naming the file and what is wrong with it.
        MismatchError: If the layout does not know an option.
    """
    options = options or ImportOptions()
    for name, missing in _OF_SOME_LAYOUTS.items():
        given = getattr(options, name) != getattr(ImportOptions(), name)
        if given and name not in layout.options:
            raise MismatchError(f"the layout {layout.name} {missing}")
    foreign = layout.read(path, spec, options)
    try:
        return interpret_set(foreign, layout, spec, space, pixels=pixels)
    except FileFormatError as error:
        raise FileFormatError(f"{path}: {error}") from error


def interpret_set(
    foreign: ForeignSet, layout: FileLayout, spec: ImageSpec, space: Space, *, pixels: bool = False
) -> ImportedSet:
    """Do the rest of ``import_set`` with what is already read. Raises FileFormatError."""
    images = interpret(foreign.images, "pixels" if pixels or space.kind == "raw" else "values")
    values = _channels_first(images.values, spec).contiguous()
    labels = _labels(foreign.labels, len(values), spec, layout)
    parts = layout.factor**2
    values = in_parts(values, layout.factor)
    each = labels.values.repeat_interleave(parts, 0)
    entered = space.enter(values).contiguous() if pixels else values
    synthetic = SyntheticSet(spec, entered, each, space, foreign.recipe)
    said = (
        *(layout.doubt, *foreign.doubts, images.doubt, labels.doubt),
        _unequal(synthetic),
        _strange_values(values, Space() if pixels else space),
    )
    notes = {**foreign.notes, "read_as": {"images": images.meaning, "labels": labels.meaning}}
    return ImportedSet(synthetic, layout.name, tuple(filter(None, said)), parts, notes)


def _channels_first(images: Tensor, spec: ImageSpec) -> Tensor:
    """Return N×C×H×W, whichever order the file has. Raises FileFormatError for another shape."""
    if tuple(images.shape[1:]) == (spec.size, spec.size, spec.channels) != spec.shape:
        images = images.permute(0, 3, 1, 2)
    if images.ndim != 4 or tuple(images.shape[1:]) != spec.shape:
        wanted = "×".join(map(str, spec.shape))
        raise FileFormatError(
            f"images of {tuple(images.shape)}, wanted N×{wanted} for {spec.dataset}"
        )
    return images


def _labels(labels: Tensor, count: int, spec: ImageSpec, layout: FileLayout) -> Interpretation:
    """Return hard labels as int64, soft ones as float32 rows."""
    if labels.shape == (count, 1) and spec.classes > 1:
        labels = labels.flatten()
    if labels.shape == (count, spec.classes):
        return interpret(labels, "centred label rows" if layout.centred else "label rows")
    if labels.shape != (count,):
        raise FileFormatError(
            f"labels of {tuple(labels.shape)} for {count} images, wanted {count} or "
            f"{count}×{spec.classes}"
        )
    found = interpret(labels, "labels")
    low, high = int(found.values.min()), int(found.values.max())
    if low < 0 or high >= spec.classes:
        from_one = "; numbered from 1? subtract it" if (low, high) == (1, spec.classes) else ""
        raise FileFormatError(
            f"labels from {low} to {high}, but {spec.dataset} has {spec.classes} classes{from_one}"
        )
    return found


def write_imported(path: Path, imported: ImportedSet, name: str, over: bool = True) -> None:
    """Write a foreign set as an artifact of the method ``name``. Unknown provenance is left out.

    Raises MismatchError if ``path`` holds something else, unless ``over`` allows to replace it.
    """
    content = _as_bytes(imported, name)
    if not over and path.exists() and not (path.is_file() and path.read_bytes() == content):
        raise MismatchError(
            f"{path} holds something else already; say where to write with --to, or another --name"
        )
    write_bytes(path, content)


def keep_imported(folder: Path, stem: str, imported: ImportedSet, name: str) -> Path:
    """Write a foreign set into ``folder``, under a name that ends with the file's checksum.

    Files of other projects often share one name.
    """
    content = _as_bytes(imported, name)
    path = folder / f"{stem}-{hashlib.sha256(content).hexdigest()[:12]}.pt"
    write_bytes(path, content)
    return path


def _as_bytes(imported: ImportedSet, name: str) -> bytes:
    return artifact_as_bytes(imported.synthetic, provenance_of(imported, name))


def provenance_of(imported: ImportedSet, name: str) -> dict[str, Any]:
    """Return the provenance of a foreign set: only what is known of it."""
    synthetic = imported.synthetic
    counts = torch.bincount(synthetic.hard_labels, minlength=synthetic.spec.classes)
    return {
        "method": name,
        "layout": imported.layout,
        "dataset": synthetic.spec.dataset,
        "revision": synthetic.spec.revision,
        # images as stored: the count that the literature compares
        "ipc": -(-int(counts.max()) // imported.parts),
        "holdout": "",
        "warnings": list(imported.warnings),
        **imported.notes,
    }


def _unequal(synthetic: SyntheticSet) -> str:
    counts = torch.bincount(synthetic.hard_labels, minlength=synthetic.spec.classes)
    low, high = int(counts.min()), int(counts.max())
    return f"images per class are unequal: {low} to {high}" if low != high else ""


def _strange_values(values: Tensor, space: Space) -> str:
    """Return a warning if the values look wrong: learned pixels may exceed [0, 1] by half the
    range, declared pixels by a fifth.
    """
    pixels = space.kind == "raw"
    doubt = space.doubt(values, beyond=0.2 if pixels else 0.5)
    advice = "--space pixels" if doubt.endswith("pixels?") else "another --space?"
    if pixels:
        advice = "normalised values? --space normalised; whitened ones? --space zca, zca-pixels"
    if pixels and float(values.max()) > 100:
        advice = "bytes as fractions? divide them by 255"
    return f"{doubt} ({advice})" if doubt else ""
