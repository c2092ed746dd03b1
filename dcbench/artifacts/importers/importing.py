"""Makes one of our sets of what a layout reads, and writes it as an artifact.

No foreign file says which space its values live in. The layout's usual one is assumed unless the
user names another; it is recorded in the artifact, and doubted aloud where the values do not look
like it. Pixels enter the data set's own space, as their authors' code takes them there after
loading: DSA's amounts are meant for it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from dcbench.artifacts.artifact import artifact_as_bytes
from dcbench.artifacts.importers.layout import FileLayout, ImportOptions
from dcbench.images import ImageSpec, Space, SyntheticSet, class_weights
from dcbench.system.errors import FileFormatError, MismatchError
from dcbench.system.files import write_bytes


@dataclass(frozen=True)
class ImportedSet:
    """A foreign set as one of ours, with what looks wrong about it."""

    synthetic: SyntheticSet
    layout: str
    warnings: tuple[str, ...]
    parts: int = 1  # images that were one in the file


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

    Its values live in ``space``, or they are ``pixels`` that enter it. Raises FileFormatError
    naming the file and what is wrong with it, MismatchError if the layout has no experiments.
    """
    options = options or ImportOptions()
    if options.experiment is not None and not layout.experiments:
        raise MismatchError(
            f"the layout {layout.name} holds one set in a file, not experiments: leave out --experiment"
        )
    foreign = layout.read(path, spec, options)
    images, whole = _as_floats(foreign.images.detach(), pixels or space.kind == "raw", path)
    if images.ndim != 4 or tuple(images.shape[1:]) != spec.shape:
        raise FileFormatError(
            f"{path}: images of {tuple(images.shape)}, wanted N×{'×'.join(map(str, spec.shape))} for {spec.dataset}"
        )
    if not len(images) or not bool(images.isfinite().all()):
        raise FileFormatError(f"{path}: no images, or values that are not finite")
    labels, doubts = _labels(foreign.labels.detach(), len(images), spec, layout, path)
    synthetic = SyntheticSet(
        spec, space.enter(images).contiguous() if pixels else images, labels, space, foreign.recipe
    )
    strange = _strange_values(images, Space() if pixels else space)
    said = (
        *filter(None, [layout.doubt]),
        *foreign.doubts,
        *whole,
        *doubts,
        *_unequal(synthetic),
        *strange,
    )
    return ImportedSet(synthetic, layout.name, said, foreign.parts)


def _as_floats(images: Tensor, pixels: bool, path: Path) -> tuple[Tensor, list[str]]:
    """Values as float32, and what was odd about them: bytes are pixels of 0 to 255, and nothing
    else.
    """
    if images.is_floating_point():
        return images.float().contiguous(), []
    if not pixels:
        raise FileFormatError(
            f"{path}: images are whole numbers, which no normalised values are; they may be bytes: --space pixels"
        )
    return images.float().contiguous() / 255, [
        "images are stored as whole numbers; read as bytes, 255 for white"
    ]


def write_imported(
    path: Path, imported: ImportedSet, name: str, holdout: str = "", over: bool = True
) -> None:
    """Write a foreign set as an artifact under the method's name ``name``; what nobody knows of it
    stays unsaid.

    Raises MismatchError if ``path`` holds something else that it may not be written ``over``.
    """
    content = _as_bytes(imported, name, holdout)
    if not over and path.exists() and not (path.is_file() and path.read_bytes() == content):
        raise MismatchError(
            f"{path} holds something else already; say where to write with --to, or another --name"
        )
    write_bytes(path, content)


def keep_imported(folder: Path, stem: str, imported: ImportedSet, name: str) -> Path:
    """The same into ``folder``, under a name that ends with the file's checksum: other people's
    files are all called alike.
    """
    content = _as_bytes(imported, name)
    path = folder / f"{stem}-{hashlib.sha256(content).hexdigest()[:12]}.pt"
    write_bytes(path, content)
    return path


def _as_bytes(imported: ImportedSet, name: str, holdout: str = "") -> bytes:
    synthetic = imported.synthetic
    counts = torch.bincount(synthetic.hard_labels, minlength=synthetic.spec.classes)
    known = {
        "method": name,
        "layout": imported.layout,
        "dataset": synthetic.spec.dataset,
        "revision": synthetic.spec.revision,
        # as stored, which is what the literature compares
        "ipc": -(-int(counts.max()) // imported.parts),
        "holdout": holdout,
        "warnings": list(imported.warnings),
    }
    return artifact_as_bytes(synthetic, known)


def _labels(
    labels: Tensor, count: int, spec: ImageSpec, layout: FileLayout, path: Path
) -> tuple[Tensor, list[str]]:
    """Hard labels as int64, soft ones as float32 rows, and what was odd about them."""
    if labels.ndim == 2 and labels.shape == (count, spec.classes):
        return _rows(labels.float(), layout.centred, path)
    if labels.shape != (count,):
        raise FileFormatError(
            f"{path}: labels of {tuple(labels.shape)} for {count} images, wanted {count} or {count}×{spec.classes}"
        )
    whole = labels.long()
    if labels.is_floating_point() and not torch.equal(whole.to(labels.dtype), labels):
        raise FileFormatError(
            f"{path}: labels are fractions, and not one row of {spec.classes} per image"
        )
    if int(whole.min()) < 0 or int(whole.max()) >= spec.classes:
        raise FileFormatError(
            f"{path}: labels from {int(whole.min())} to {int(whole.max())}, but {spec.dataset} has {spec.classes} classes"
        )
    return whole, [
        "labels are stored as floats; read as whole numbers"
    ] if labels.is_floating_point() else []


def _rows(rows: Tensor, centred: bool, path: Path) -> tuple[Tensor, list[str]]:
    """Rows that sum to one, or the class if that is all they say: centred ones shifted back, others
    softened if they must be logits.
    """
    if not bool(rows.isfinite().all()):
        raise FileFormatError(f"{path}: soft labels hold values that are not finite")
    classes, hard = rows.shape[1], rows.argmax(1)
    if centred:
        if torch.allclose(
            rows, torch.nn.functional.one_hot(hard, classes) - 1 / classes, atol=1e-3
        ):
            return hard, []
        return class_weights(rows), [
            "labels are learned; read as probabilities less 1/classes, negative ones cut off"
        ]
    if bool((rows >= 0).all()) and bool(((rows.sum(1) - 1).abs() < 1e-3).all()):
        return rows, []
    return rows.softmax(1), ["labels are rows that do not sum to one; read as logits"]


def _unequal(synthetic: SyntheticSet) -> list[str]:
    counts = torch.bincount(synthetic.hard_labels, minlength=synthetic.spec.classes)
    if int(counts.min()) == int(counts.max()):
        return []
    return [f"images per class are unequal: {int(counts.min())} to {int(counts.max())}"]


def _strange_values(values: Tensor, space: Space) -> list[str]:
    """Half the range of pixels outside it is reason enough to ask."""
    doubt = space.doubt(values, beyond=0.5)
    advice = "--space pixels" if doubt.endswith("pixels?") else "another --space?"
    if space.kind == "raw" and float(values.max()) > 100:
        advice = "bytes as fractions? divide them by 255"
    return [f"{doubt} ({advice})"] if doubt else []
