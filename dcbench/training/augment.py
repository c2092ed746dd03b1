"""Augmentations: DSA (Zhao & Bilen, ICML 2021); torchvision's AutoAugment, RandAugment and random
resized crops for evaluation.

DSA acts on values in the space that is trained in, without clipping. One of the operations is drawn
per call. Siamese use (distillation) shares the operation and one draw of its parameters among all
images of a call; in evaluation the operation is shared and the parameters are drawn per image.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, final, runtime_checkable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from dcbench.images import Space
from dcbench.system.errors import require_known

Images = Float[Tensor, "n channels size size"]

BRIGHTNESS, SATURATION, CONTRAST = 1.0, 2.0, 0.5  # Table 2 of DataDAM's supplement
CROP_RATIO, CUTOUT_RATIO, SCALE_RATIO, ROTATION_DEGREES = 0.125, 0.5, 1.2, 15.0


@dataclass(frozen=True, eq=False)
class Draw:
    """An operation and its random numbers, uniform in [0, 1]: ``amounts`` is 1 × 4 (shared by all
    images) or n × 4 (one row for each image).
    """

    operation: str
    amounts: Float[Tensor, "rows 4"]


def _column(amounts: Tensor, index: int, like: Tensor) -> Tensor:
    return amounts[:, index].to(like).view(-1, 1, 1, 1)


def colour(images: Images, u: Tensor) -> Images:
    """Brightness, then saturation, then contrast: x + (u-½)·1, (x-m)·2u+m with m over channels,
    (x-m)·(u+½)+m with m over all.
    """
    bright = images + (_column(u, 0, images) - 0.5) * BRIGHTNESS
    grey = bright.mean(1, keepdim=True)
    saturated = (bright - grey) * (_column(u, 1, images) * SATURATION) + grey
    mean = saturated.mean((1, 2, 3), keepdim=True)
    return (saturated - mean) * (_column(u, 2, images) + CONTRAST) + mean


def crop(images: Images, u: Tensor) -> Images:
    """Shift by whole pixels within ±round(0.125·size) each way, zeros outside."""
    size = images.shape[-1]
    reach = round(CROP_RATIO * size)
    down, right = ((u[:, :2] * (2 * reach + 1)).long().clamp(max=2 * reach)).unbind(1)
    padded = F.pad(images, (reach,) * 4)
    if len(u) == 1:
        top, left = int(down), int(right)
        return padded[:, :, top : top + size, left : left + size]
    line = torch.arange(size)
    rows = (down[:, None] + line).to(images.device)
    columns = (right[:, None] + line).to(images.device)
    which = torch.arange(len(images), device=images.device)[:, None, None]
    return padded[which, :, rows[:, :, None], columns[:, None, :]].movedim(-1, 1)


def cutout(images: Images, u: Tensor) -> Images:
    """Set a square of half the size to zero; its centre is uniform over the image, the square is
    clipped at the border.
    """
    size = images.shape[-1]
    side = round(CUTOUT_RATIO * size)
    places = size + 1 - side % 2
    start = (u[:, :2] * places).long().clamp(max=places - 1) - side // 2
    offset = torch.arange(size) - start[:, :, None]
    inside = (offset >= 0) & (offset < side)
    mask = ~(inside[:, 0, :, None] & inside[:, 1, None, :])
    return images * mask[:, None].to(images)


def flip(images: Images, u: Tensor) -> Images:
    """Mirror left to right where u < ½."""
    return torch.where((_column(u, 0, images) < 0.5), images.flip(3), images)


def _warp(images: Images, matrices: Float[Tensor, "rows 2 2"]) -> Images:
    """Sample the images at affinely transformed positions, bilinearly; outside is zero."""
    theta = F.pad(matrices, (0, 1)).to(images).expand(len(images), 2, 3)
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False)


def scale(images: Images, u: Tensor) -> Images:
    """Stretch each axis by its own factor, U(1/1.2, 1.2)."""
    factors = u[:, :2] * (SCALE_RATIO - 1 / SCALE_RATIO) + 1 / SCALE_RATIO
    return _warp(images, torch.diag_embed(factors))


def rotate(images: Images, u: Tensor) -> Images:
    """Rotate by U(-15°, 15°)."""
    angle = (u[:, 0] - 0.5) * 2 * math.radians(ROTATION_DEGREES)
    cosine, sine = angle.cos(), angle.sin()
    return _warp(images, torch.stack([cosine, -sine, sine, cosine], 1).view(-1, 2, 2))


OPERATIONS: dict[str, Callable[[Images, Tensor], Images]] = {
    "colour": colour,
    "crop": crop,
    "cutout": cutout,
    "flip": flip,
    "scale": scale,
    "rotate": rotate,
}


@runtime_checkable
class Augmentation(Protocol):
    """Changes the images of a batch at random, without changing their classes."""

    def __call__(self, images: Images, generator: torch.Generator) -> Images: ...


@final
@dataclass(frozen=True)
class DSAAugmentation:
    """Differentiable siamese augmentation; ``flips``: whether a mirrored image keeps its class."""

    flips: bool = True

    def draw(self, generator: torch.Generator, rows: int = 1) -> Draw:
        """Draw an operation and its random numbers, one row or one for each image."""
        names = [name for name in OPERATIONS if self.flips or name != "flip"]
        index = int(torch.randint(len(names), (1,), generator=generator))
        return Draw(names[index], torch.rand(rows, 4, generator=generator))

    def apply(self, images: Images, draw: Draw) -> Images:
        """Apply the drawn operation to ``images``; differentiable in them."""
        return OPERATIONS[draw.operation](images, draw.amounts)

    def __call__(self, images: Images, generator: torch.Generator) -> Images:
        """Augment a batch for evaluation: one operation for the batch, parameters for each
        image.
        """
        return self.apply(images, self.draw(generator, len(images)))


@final
@dataclass(frozen=True, eq=False)
class Policy:
    """torchvision's AutoAugment or RandAugment, drawn for each image, on pixels rounded to bytes;
    the result is transformed back into the space.
    """

    name: str
    space: Space

    def __call__(self, images: Images, generator: torch.Generator) -> Images:
        from torchvision.transforms import AutoAugment, AutoAugmentPolicy, RandAugment

        transform = (
            AutoAugment(AutoAugmentPolicy.CIFAR10) if self.name == "autoaugment" else RandAugment()
        )
        pixels = (self.space.leave(images).clamp(0, 1) * 255).round().to(torch.uint8).cpu()
        with lent(generator):
            changed = torch.stack([transform(image) for image in pixels])
        return self.space.enter(changed.to(images) / 255)


@contextmanager
def lent(generator: torch.Generator) -> Iterator[None]:
    """Run torchvision's transforms with ``generator``: they draw from torch's global one."""
    with torch.random.fork_rng(devices=[]):
        torch.set_rng_state(generator.get_state())
        yield
        generator.set_state(torch.get_rng_state())


@final
@dataclass(frozen=True)
class Flip:
    """Mirror each image left to right with probability ½, if that keeps its class."""

    flips: bool = True

    def __call__(self, images: Images, generator: torch.Generator) -> Images:
        return (
            flip(images, torch.rand(len(images), 1, generator=generator)) if self.flips else images
        )


@final
@dataclass(frozen=True)
class ResizedCrop:
    """Cut a part of 8 to 100 % of each image's area and resize it to the whole; then mirror half of
    the images (torchvision's RandomResizedCrop at its defaults, as in SRe2L's code).
    """

    flips: bool = True
    least: float = 0.08  # of the area

    def __call__(self, images: Images, generator: torch.Generator) -> Images:
        from torchvision.transforms import v2

        crop = v2.RandomResizedCrop(images.shape[-1], scale=(self.least, 1.0), antialias=True)
        with lent(generator):
            cropped = torch.stack([crop(image) for image in images])
        return Flip(self.flips)(cropped, generator)


@final
@dataclass(frozen=True)
class ShuffledPatches:
    """Swap each image's halves half of the time, left and right, then top and bottom; then cut 50
    to 100 % of its area, resize it to the whole and mirror half of the images.

    What RDED's code does with images of four patches (its factor 2).
    """

    flips: bool = True

    def __call__(self, images: Images, generator: torch.Generator) -> Images:
        half = images.shape[-1] // 2
        for axis in (3, 2):
            swapped = _column(torch.rand(len(images), 1, generator=generator), 0, images) < 0.5
            images = torch.where(swapped, images.roll(half, axis), images)
        return ResizedCrop(self.flips, least=0.5)(images, generator)


@final
@dataclass(frozen=True)
class ColourAndWarp:
    """Mirror and recolour the images, then crop, scale or rotate (one of these for each batch);
    parameters are drawn for each image.

    IDC's code does this in place of DSA when it also uses CutMix: colour and mirroring are always
    applied, and there is no cutout.
    """

    flips: bool = True

    def __call__(self, images: Images, generator: torch.Generator) -> Images:
        images = Flip(self.flips)(images, generator)
        images = colour(images, torch.rand(len(images), 4, generator=generator))
        name = ("crop", "scale", "rotate")[int(torch.randint(3, (1,), generator=generator))]
        return OPERATIONS[name](images, torch.rand(len(images), 4, generator=generator))


ALONE: dict[str, Callable[[bool], Augmentation]] = {
    "dsa": DSAAugmentation,
    "flip": Flip,
    "resized-crop": ResizedCrop,
    "shuffled-patches": ShuffledPatches,
    "colour-and-warp": ColourAndWarp,
}
POLICIES = ("autoaugment", "randaugment")
AUGMENTATIONS = (*ALONE, *POLICIES, "none")


def augmentation(name: str, space: Space, flips: bool) -> Augmentation | None:
    """Return the augmentation called ``name`` for images in ``space``. Raises UnknownNameError."""
    require_known("augmentation", name, AUGMENTATIONS)
    if name == "none":
        return None
    return ALONE[name](flips) if name in ALONE else Policy(name, space)
