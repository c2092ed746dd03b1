"""Sets of images, and the space that their values are in."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from dcbench.system.errors import DataError, FileFormatError, brief
from dcbench.system.machine import Machine

SpaceKind = Literal["raw", "normalised", "zca"]
MOST_STRANGE = 0.2  # share of a set's pixels that may lie far outside [0, 1]
# most bytes of whitened training values kept in memory: CIFAR's are 0.6 GB
MOST_WHITENED_BYTES = 2 << 30


@dataclass(frozen=True)
class ImageSpec:
    """What the images of a set are: data set, revision, shape, classes."""

    dataset: str
    # hash of the decoded content: the same name with other pixels is another revision
    revision: str
    channels: int
    size: int  # pixels per side
    class_names: tuple[str, ...]
    flips: bool = True  # whether a mirrored image keeps its class (not so for digits)

    @property
    def classes(self) -> int:
        return len(self.class_names)

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.channels, self.size, self.size


@dataclass(frozen=True, eq=False)
class Space:
    """The transform between pixels in [0, 1] and the values that networks are trained on.

    * ``raw``: none; values are pixels.
    * ``normalised``: (pixels - mean) / std, per channel.
    * ``zca``: normalised, then whitened: ``(x - zca_mean) @ zca_matrix`` over all values x of an
      image, with a symmetric matrix.
    """

    kind: SpaceKind = "raw"
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    zca_mean: Float[Tensor, " pixels"] | None = None
    zca_matrix: Float[Tensor, "pixels pixels"] | None = None

    @property
    def name(self) -> str:
        """The kind; ``zca-pixels`` for a whitening that does not normalise first."""
        of_pixels = self.kind == "zca" and not any(self.mean) and set(self.std) == {1.0}
        return "zca-pixels" if of_pixels else self.kind

    def enter(
        self, pixels: Float[Tensor, "n channels size size"]
    ) -> Float[Tensor, "n channels size size"]:
        """Transform pixels in [0, 1] into values of this space, on the pixels' device."""
        if self.kind == "raw":
            return pixels
        values = (pixels - self._row(self.mean, pixels)) / self._row(self.std, pixels)
        if self.zca_matrix is None or self.zca_mean is None:
            return values
        centred = values.flatten(1) - self._beside("zca_mean", values)
        return (centred @ self._beside("zca_matrix", values)).view_as(pixels)

    def leave(
        self, values: Float[Tensor, "n channels size size"]
    ) -> Float[Tensor, "n channels size size"]:
        """Transform values of this space back into pixels, without clipping them to [0, 1]."""
        if self.kind == "raw":
            return values
        unwhitened = values
        if self.zca_matrix is not None and self.zca_mean is not None:
            coloured = values.flatten(1) @ self._beside("_colouring", values)
            unwhitened = (coloured + self._beside("zca_mean", values)).view_as(values)
        return unwhitened * self._row(self.std, values) + self._row(self.mean, values)

    def _beside(self, name: str, values: Tensor) -> Tensor:
        """Return the tensor called ``name`` on the device and in the type of ``values``; copied to
        another device once.
        """
        tensor: Tensor = getattr(self, name)
        if tensor.device == values.device:
            return tensor.to(values)
        key = (name, values.device, values.dtype)
        if key not in self._elsewhere:
            self._elsewhere[key] = tensor.to(values)
        return self._elsewhere[key]

    @cached_property
    def _elsewhere(self) -> dict[tuple[str, torch.device, torch.dtype], Tensor]:
        return {}

    def __getstate__(self) -> dict[str, Any]:
        """Pickle the fields only: cached tensors may be on a device that other processes lack."""
        return {own.name: getattr(self, own.name) for own in fields(self)}

    @cached_property
    def _colouring(self) -> Tensor:
        """The inverse of the whitening, in float64 until it is used: its smallest eigenvalues are
        far from its largest.
        """
        assert self.zca_matrix is not None  # noqa: S101 - asked only of a whitening space
        inverse: Tensor = torch.linalg.inv(self.zca_matrix.double())
        return inverse

    def doubt(
        self, values: Float[Tensor, "n channels size size"], beyond: float, spread: float = 0.0
    ) -> str:
        """Return why ``values`` are probably not in this space; empty if they may be.

        Either they look like pixels (all in [0, 1], spread over at least ``spread`` of it), or many
        of them become pixels that are more than ``beyond`` outside [0, 1].
        """
        declared = "pixels" if self.kind == "raw" else self.kind
        low, high = float(values.min()), float(values.max())
        if self.kind != "raw" and low >= 0 and high <= 1 and high - low >= spread:
            return (
                f"declared {declared}, but all values lie in [0, 1] ({low:.2f} to {high:.2f}): "
                "pixels?"
            )
        pixels = self.leave(values)
        share = float(((pixels < -beyond) | (pixels > 1 + beyond)).double().mean())
        if share > MOST_STRANGE:
            return (
                f"declared {declared} (values {low:.2f} to {high:.2f}), but {share:.0%} of its "
                "pixels are far outside [0, 1]"
            )
        return ""

    @staticmethod
    def _row(per_channel: tuple[float, ...], like: Tensor) -> Tensor:
        return torch.tensor(per_channel, dtype=like.dtype, device=like.device).view(1, -1, 1, 1)

    @cached_property
    def fingerprint(self) -> str:
        """Hash the kind, mean and std.

        The matrix of a whitening follows from the data's revision and the holdout. Its last bits
        depend on the machine, so it is left out.
        """
        return hashlib.sha256(repr((self.kind, self.mean, self.std)).encode()).hexdigest()[:12]

    def to_plain(self) -> dict[str, Any]:
        """Convert to a dict of tensors and plain values: the ``space`` of an artifact."""
        plain: dict[str, Any] = {"kind": self.kind, "mean": list(self.mean), "std": list(self.std)}
        if self.zca_matrix is not None:
            plain |= {"zca_mean": self.zca_mean, "zca_matrix": self.zca_matrix}
        return plain

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Space:
        """Read what ``to_plain`` made; raises FileFormatError on anything else."""
        try:
            space = cls(
                kind=plain["kind"],
                mean=tuple(float(value) for value in plain["mean"]),
                std=tuple(float(value) for value in plain["std"]),
                zca_mean=plain.get("zca_mean"),
                zca_matrix=plain.get("zca_matrix"),
            )
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise FileFormatError(
                f"a space needs kind, mean and std; got {brief(sorted(map(str, plain)))}"
            ) from error
        whitened = isinstance(space.zca_mean, Tensor) and isinstance(space.zca_matrix, Tensor)
        if space.kind not in ("raw", "normalised", "zca") or whitened != (space.kind == "zca"):
            raise FileFormatError(
                f"unknown space {brief(space.kind)}; wanted raw, normalised, or zca with zca_mean "
                "and zca_matrix"
            )
        return space


class _RealSet:
    """Real images stored as bytes, returned as values in a space."""

    spec: ImageSpec
    images: UInt8[Tensor, "n channels size size"]
    space: Space

    def __len__(self) -> int:
        return len(self.images)

    def values(self, indices: Int64[Tensor, " k"] | slice) -> Float[Tensor, "k channels size size"]:
        """Return the chosen images as float32 values in the set's space."""
        return self.space.enter(self.images[indices].float() / 255)


@dataclass(frozen=True, eq=False)
class TrainSet(_RealSet):
    """The training images that a method gets. It gives no access to the test images."""

    spec: ImageSpec
    images: UInt8[Tensor, "n channels size size"]
    labels: Int64[Tensor, " n"]
    space: Space
    holdout: str = ""  # which part of the published training set is held out, if any

    @cached_property
    def by_class(self) -> tuple[Int64[Tensor, " members"], ...]:
        """For each class, the indices of its images, ascending."""
        # one pass over all labels, not one for each of a thousand classes
        order = torch.argsort(self.labels, stable=True)
        return tuple(order.split(torch.bincount(self.labels, minlength=self.spec.classes).tolist()))

    @cached_property
    def _whitened(self) -> Tensor | None:
        """All values whitened once, unless they are too many to keep: whitening each batch anew is
        slow.
        """
        if self.space.kind != "zca" or self.images.numel() * 4 > MOST_WHITENED_BYTES:
            return None
        return torch.cat(
            [
                _RealSet.values(self, slice(start, start + 1000))
                for start in range(0, len(self), 1000)
            ]
        )

    def values(self, indices: Int64[Tensor, " k"] | slice) -> Float[Tensor, "k channels size size"]:
        return _RealSet.values(self, indices) if self._whitened is None else self._whitened[indices]

    def held_on(self, machine: Machine) -> TrainSet:
        """Return this set with its images on the machine's device; the set itself if they are there
        or do not fit.
        """
        images = (
            self.images.to(machine.device) if machine.has_room(self.images.nbytes) else self.images
        )
        return self if images is self.images else replace(self, images=images)

    def draw(self, label: int, count: int, generator: torch.Generator) -> Int64[Tensor, " k"]:
        """Draw indices of ``count`` different images of class ``label``; of all if there
        are fewer.
        """
        members = self.by_class[label]
        return members[torch.randperm(len(members), generator=generator)[:count].to(members.device)]

    def require(self, ipc: int) -> None:
        """Raise DataError if a class has fewer than ``ipc`` images."""
        sizes = [len(members) for members in self.by_class]
        smallest = min(range(len(sizes)), key=sizes.__getitem__)
        if sizes[smallest] < ipc:
            name = self.spec.class_names[smallest]
            raise DataError(
                f"ipc {ipc} asked, but class {name!r} of {self.spec.dataset} has {sizes[smallest]} "
                "images; choose a smaller --ipc"
            )


@dataclass(frozen=True, eq=False)
class TestSet(_RealSet):
    """The real images on which synthetic sets are judged. Only the evaluation gets them."""

    __test__ = False  # tell pytest that this is no test case

    spec: ImageSpec
    images: UInt8[Tensor, "n channels size size"]
    labels: Int64[Tensor, " n"]
    space: Space
    note: str = ""  # what sets this copy of the data apart, such as JPEG-75: records store it


@dataclass(frozen=True, eq=False)
class SyntheticSet:
    """What a method returns: images in ``space``, with labels.

    Labels are hard (int64, one class for each image) or soft (float32, one row of class weights for
    each image).
    """

    spec: ImageSpec
    images: Float[Tensor, "n channels size size"]
    labels: Int64[Tensor, " n"] | Float[Tensor, "n classes"]
    space: Space
    # network, lr, batch, augment, where the set asks for its own; factor, of images that are
    # several
    recipe: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.images)

    @property
    def hard_labels(self) -> Int64[Tensor, " n"]:
        """The class of each image; for a soft label the class with the largest weight."""
        return self.labels if self.labels.ndim == 1 else self.labels.argmax(1)

    @property
    def pixels(self) -> Float[Tensor, "n channels size size"]:
        """The images as pixels, clipped to [0, 1]."""
        return self.space.leave(self.images).clamp(0, 1)

    @property
    def in_training(self) -> SyntheticSet:
        """Return the set as networks are trained on it. For IDC's sets, whose recipe has a
        ``factor``, these are the factor×factor parts of each image, enlarged.
        """
        factor = int(self.recipe.get("factor", 1))
        if factor == 1:
            return self
        labels = self.labels.repeat_interleave(factor**2, 0)
        return replace(self, images=in_parts(self.images, factor), labels=labels)

    @cached_property
    def content_hash(self) -> str:
        """Hash images and labels alone: sets with the same content have the same hash."""
        digest = hashlib.sha256()
        for values in (self.images, self.labels):
            digest.update(values.contiguous().numpy().data)
        return digest.hexdigest()

    @property
    def strange_values(self) -> str:
        """Return why the images are probably not in their space; empty if they may be.

        Learned pixels may lie far outside [0, 1], but not as far as bytes would.
        """
        return self.space.doubt(self.images.detach(), beyond=50, spread=0.9)


def in_parts(images: Tensor, factor: int) -> Tensor:
    """The factor×factor parts of each image, enlarged bilinearly to the whole image's size."""
    if factor == 1:
        return images
    size = images.shape[-1]
    side = -(-size // factor)
    padded = F.pad(images, (0, side * factor - size) * 2, value=0.5)
    rows = padded.unfold(2, side, side).unfold(3, side, side)  # N×C×factor×factor×side×side
    parts = rows.permute(0, 2, 3, 1, 4, 5).flatten(0, 2)
    return F.interpolate(parts, (size, size), mode="bilinear")


def stitched(parts: Tensor, factor: int) -> Tensor:
    """Put factor×factor parts into each image, row by row: image i of n has parts i, n + i, …"""
    count = len(parts) // factor**2
    places = parts.split(count)
    rows = [torch.cat(places[row * factor :][:factor], 3) for row in range(factor)]
    return torch.cat(rows, 2)


def class_weights(labels: Float[Tensor, "n classes"]) -> Float[Tensor, "n classes"]:
    """Turn KIP's centred labels into probabilities.

    Adds 1/classes, cuts negative weights to zero, and scales each row to sum to one. This is exact
    for a centred one-hot label, which a softmax would flatten. A row with nothing left becomes the
    class of its largest entry.
    """
    classes = labels.shape[1]
    shifted = (labels + 1 / classes).clamp(min=0)
    total = shifted.sum(1, keepdim=True)
    largest = F.one_hot(labels.argmax(1), classes).to(labels)
    return torch.where(
        total > 0, shifted / total.clamp(min=torch.finfo(labels.dtype).tiny), largest
    ).float()
