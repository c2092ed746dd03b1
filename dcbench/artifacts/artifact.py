"""The artifact: a synthetic set in a file that describes itself.

The file is a dict of tensors and plain values, read with ``weights_only=True``. With torch alone
one can get the pixels back: undo ``space`` (for ZCA, solve with ``zca_matrix`` and add
``zca_mean``; then times ``std`` plus ``mean``, per channel).
"""

from __future__ import annotations

import base64
import hashlib
import html
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dcbench.artifacts.pictures import as_png, grid
from dcbench.images import ImageSpec, Space, SyntheticSet
from dcbench.records import Distillation
from dcbench.system.errors import FileFormatError, brief
from dcbench.system.files import read_tensors, tensors_as_bytes, write_bytes

FORMAT_VERSION = 1
KEYS = frozenset({"format_version", "images", "labels", "space", "recipe", "provenance"})
MOST_PARTS = 8  # most parts per side of an image that holds several
# what a recipe may hold, and which values
_RECIPE: Mapping[str, Callable[[Any], bool]] = {
    "network": lambda name: isinstance(name, str),
    "lr": lambda rate: type(rate) in (int, float) and 0 < rate < math.inf,
    "batch": lambda batch: type(batch) is int and batch > 0,
    "augment": lambda name: isinstance(name, str),
    "factor": lambda factor: type(factor) is int and 0 < factor <= MOST_PARTS,
}
MOST_BYTES = 8 << 30  # a larger file is no distilled set


@dataclass(frozen=True, repr=False)
class Artifact:
    """A synthetic set with its provenance and its file's hash. Notebooks show its images."""

    synthetic: SyntheticSet
    provenance: Mapping[str, Any]
    sha256: str
    path: Path | None = None  # of its file; None if it is only in memory
    cost: Distillation | None = None  # what making it took, if known

    @property
    def images(self) -> Tensor:
        """Float32 N×C×H×W, in the set's own space; ``synthetic.pixels`` are in [0, 1]."""
        return self.synthetic.images

    @property
    def labels(self) -> Tensor:
        """Int64 N, or float32 N×classes if they are soft."""
        return self.synthetic.labels

    @property
    def content_hash(self) -> str:
        """A checksum of images and labels, independent of the method."""
        return self.synthetic.content_hash

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the artifact to ``path``, whole or not at all. Raises StorageError."""
        write_artifact(Path(path), self.synthetic, self.provenance)
        return Path(path)

    def __repr__(self) -> str:
        shape = "×".join(map(str, self.images.shape))
        known = {key: self.provenance.get(key) for key in ("method", "ipc", "seed")}
        words = [f"{key}={value!r}" for key, value in known.items() if value is not None]
        dataset = f"dataset={self.synthetic.spec.dataset!r}"
        return f"Artifact({', '.join([*words, dataset, f'images={shape}'])})"

    def _repr_png_(self) -> bytes:
        """Draw all images on one sheet, a row for each class; for notebooks."""
        return as_png(grid(self.synthetic))

    def _repr_html_(self) -> str:
        """Return the sheet under a line of text; for notebooks."""
        sheet = base64.b64encode(self._repr_png_()).decode()
        picture = f'<img alt="the images, a class in each row" src="data:image/png;base64,{sheet}">'
        return f"<p>{html.escape(repr(self))}</p>{picture}"


def artifact_of(
    synthetic: SyntheticSet, provenance: Mapping[str, Any], cost: Distillation | None = None
) -> Artifact:
    """Return an artifact in memory, with the hash that its file would have. Raises FileFormatError
    if the file could not be read back.
    """
    content = _content(synthetic, provenance)
    _synthetic_set(content)
    digest = hashlib.sha256(tensors_as_bytes(content)).hexdigest()
    return Artifact(synthetic, provenance, digest, cost=cost)


def write_artifact(path: Path, synthetic: SyntheticSet, provenance: Mapping[str, Any]) -> None:
    """Write a set as an artifact. The same set and provenance give the same bytes.

    Raises StorageError.
    """
    write_bytes(path, artifact_as_bytes(synthetic, provenance))


def artifact_as_bytes(synthetic: SyntheticSet, provenance: Mapping[str, Any]) -> bytes:
    """Return the bytes that ``write_artifact`` writes."""
    return tensors_as_bytes(_content(synthetic, provenance))


def _content(synthetic: SyntheticSet, provenance: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "format_version": FORMAT_VERSION,
        "images": _alone(synthetic.images.detach().cpu().float()),
        "labels": _alone(synthetic.labels.detach().cpu()),
        "space": synthetic.space.to_plain(),
        "recipe": dict(synthetic.recipe),
        "provenance": {
            **provenance,
            "images_of": asdict(synthetic.spec) | {"class_names": list(synthetic.spec.class_names)},
        },
    }


def _alone(tensor: torch.Tensor) -> torch.Tensor:
    """Return a copy with memory of its own: of a slice, torch would save the whole tensor."""
    return tensor.clone(memory_format=torch.contiguous_format)


def read_artifact(path: str | os.PathLike[str]) -> Artifact:
    """Read an artifact without executing anything. Raises FileFormatError, which names the file and
    what is wrong.
    """
    path = Path(path)
    check_size(path)
    content = read_tensors(path)
    try:
        synthetic, provenance = _synthetic_set(content), _provenance(content)
    except FileFormatError as error:
        raise FileFormatError(f"{path}: {error}") from error
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return Artifact(synthetic, provenance, digest, path)


def check_size(path: Path) -> None:
    """Raise FileFormatError if the file is too large for a synthetic set."""
    if path.is_file() and path.stat().st_size > MOST_BYTES:
        raise FileFormatError(
            f"{path} has {path.stat().st_size} bytes; a synthetic set of more than {MOST_BYTES} is "
            "refused"
        )


def _synthetic_set(content: Mapping[str, Any]) -> SyntheticSet:
    version = content.get("format_version")
    if type(version) is not int or version != FORMAT_VERSION:
        hint = "made by another version of dcbench"
        if version is None:
            hint = "is it another project's file? see dcbench evaluate --as"
        raise FileFormatError(f"format_version {brief(version)}, wanted {FORMAT_VERSION}; {hint}")
    if set(content) != KEYS:
        raise FileFormatError(f"keys {brief(list(content))}, wanted {sorted(KEYS)}")
    spec, images, labels = _spec(_provenance(content)), content["images"], content["labels"]
    if not (_plain_tensor(images, torch.float32) and images.ndim == 4 and len(images)):
        raise FileFormatError(f"images must be float32 N×C×H×W, got {_shape(images)}")
    if images.shape[1:] != spec.shape:
        raise FileFormatError(
            f"images of {tuple(images.shape[1:])} do not fit {brief(spec.dataset)}, whose images "
            f"are {spec.shape}"
        )
    if not bool(images.isfinite().all()):
        raise FileFormatError("images hold values that are not finite")
    _check_labels(labels, len(images), spec.classes)
    check_recipe(content["recipe"])
    if not isinstance(content["space"], dict):
        raise FileFormatError("space must be a dict")
    return SyntheticSet(spec, images, labels, _space(content["space"], spec), content["recipe"])


def check_recipe(recipe: Any) -> None:
    """Check a set's recipe: known names, a positive learning rate, a whole batch size.

    Raises FileFormatError.
    """
    if not isinstance(recipe, dict) or not set(recipe) <= set(_RECIPE):
        raise FileFormatError(f"the recipe may hold {sorted(_RECIPE)}, got {brief(recipe)}")
    if not all(_RECIPE[key](value) for key, value in recipe.items()):
        raise FileFormatError(
            "the recipe must have a positive lr, a positive whole batch, a factor from 1 to "
            f"{MOST_PARTS}, and names; got {brief(recipe)}"
        )


def _space(plain: Mapping[str, Any], spec: ImageSpec) -> Space:
    space = Space.from_plain(plain)
    channels = 0 if space.kind == "raw" else spec.channels
    finite = all(math.isfinite(value) for value in (*space.mean, *space.std))
    positive = all(value > 0 for value in space.std)
    if not (len(space.mean) == len(space.std) == channels and finite and positive):
        raise FileFormatError(
            f"a {space.kind} space of {spec.channels} channels cannot have mean "
            f"{brief(space.mean)} and std {brief(space.std)}"
        )
    if space.zca_matrix is not None and space.zca_mean is not None:
        pixels = spec.channels * spec.size**2
        if space.zca_matrix.shape != (pixels, pixels) or space.zca_mean.shape != (pixels,):
            raise FileFormatError(
                f"a whitening of {tuple(space.zca_matrix.shape)} does not fit images of {pixels} "
                "values"
            )
        for tensor in (space.zca_matrix, space.zca_mean):
            if not (_plain_tensor(tensor, torch.float32) and bool(tensor.isfinite().all())):
                raise FileFormatError("a whitening must be float32 and finite")
    return space


def _check_labels(labels: Any, count: int, classes: int) -> None:
    hard = _plain_tensor(labels, torch.int64) and labels.shape == (count,)
    soft = _plain_tensor(labels, torch.float32) and labels.shape == (count, classes)
    if not (hard or soft):
        raise FileFormatError(
            f"labels must be int64 {count} or float32 {count}×{classes}, got {_shape(labels)}"
        )
    if hard and not bool(((labels >= 0) & (labels < classes)).all()):
        raise FileFormatError(
            f"labels must lie in 0 to {classes - 1}, got {int(labels.min())} to {int(labels.max())}"
        )
    if soft and not bool(labels.isfinite().all()):
        raise FileFormatError("soft labels hold values that are not finite")


def _provenance(content: Mapping[str, Any]) -> Mapping[str, Any]:
    provenance = content.get("provenance")
    if not isinstance(provenance, dict):
        raise FileFormatError("provenance must be a dict")
    return provenance


def _spec(provenance: Mapping[str, Any]) -> ImageSpec:
    plain = provenance.get("images_of")
    if not isinstance(plain, dict):
        raise FileFormatError("provenance does not say what the images are images of")
    try:
        spec = ImageSpec(**{**plain, "class_names": tuple(plain["class_names"])})
        numbers = (spec.channels, spec.size, spec.classes)
    except (TypeError, KeyError) as error:
        raise FileFormatError("provenance does not say what the images are images of") from error
    whole = all(type(number) is int and 0 < number <= 100_000 for number in numbers)
    texts = all(isinstance(text, str) for text in (spec.dataset, spec.revision, *spec.class_names))
    if not whole or not texts or not isinstance(spec.flips, bool):
        raise FileFormatError(f"provenance names impossible images: {brief(plain)}")
    return spec


def _plain_tensor(value: Any, dtype: torch.dtype) -> bool:
    """Return whether ``value`` is a tensor of this type whose every number is in the file (not
    sparse, not expanded from fewer).
    """
    return (
        isinstance(value, torch.Tensor)
        and value.dtype == dtype
        and value.layout == torch.strided
        and value.device.type == "cpu"
        and value.is_contiguous()
    )


def _shape(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        return f"{value.dtype} {tuple(value.shape)}"
    return type(value).__name__
