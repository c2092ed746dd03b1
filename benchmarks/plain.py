"""The published algorithms written down plainly: eager, fp32, class by class, one DataLoader batch
after another.

What the engine is compared with. It does what the peers' code does and is not slowed down: tensors
stay where they are, the augmentation is vectorised over the images of a class, and real features
are computed without a graph.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset


class PlainConvNet(nn.Module):
    """ConvNet-3 with instance normalisation: three blocks of conv3×3(128), norm, ReLU, average
    pooling, and a classifier.
    """

    def __init__(
        self, channels: int, classes: int, size: int = 32, width: int = 128, depth: int = 3
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList()
        for _ in range(depth):
            self.blocks.append(
                nn.Sequential(
                    nn.Conv2d(channels, width, 3, padding=1),
                    nn.GroupNorm(width, width),
                    nn.ReLU(inplace=False),
                )
            )
            channels, size = width, size // 2
        self.classifier = nn.Linear(width * size * size, classes)

    def taps(self, images: Tensor) -> tuple[list[Tensor], Tensor]:
        taps = []
        for block in self.blocks:
            images = block(images)
            taps.append(images)
            images = F.avg_pool2d(images, 2)
        return taps, images.flatten(1)

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier(self.taps(images)[1])  # type: ignore[no-any-return]


def plain_dsa(images: Tensor, seed: int, siamese: bool) -> Tensor:
    """One of the six operations; with ``siamese`` one draw of its parameters for all images, else
    one per image.
    """
    generator = torch.Generator(images.device).manual_seed(seed)
    operation = int(torch.randint(6, (1,), generator=generator, device=images.device))
    rows = 1 if siamese else len(images)
    u = torch.rand(rows, 3, generator=generator, device=images.device)[:, :, None, None, None]
    size = images.shape[-1]
    if operation == 0:
        images = images + (u[:, 0] - 0.5)
        mean = images.mean(1, keepdim=True)
        images = (images - mean) * (u[:, 1] * 2) + mean
        mean = images.mean((1, 2, 3), keepdim=True)
        return (images - mean) * (u[:, 2] + 0.5) + mean
    if operation == 1:
        reach = round(size * 0.125)
        shift = (u[:, :2, 0, 0, 0] * (2 * reach + 1)).long().expand(len(images), 2)
        batch, rows_, columns = torch.meshgrid(
            torch.arange(len(images)), torch.arange(size), torch.arange(size), indexing="ij"
        )
        padded = F.pad(images, (reach,) * 4).permute(0, 2, 3, 1)
        return padded[
            batch, rows_ + shift[:, 0, None, None], columns + shift[:, 1, None, None]
        ].permute(0, 3, 1, 2)
    if operation == 2:
        side = size // 2
        corner = (u[:, :2, 0, 0, 0] * (size + 1)).long() - side // 2
        line = torch.arange(size)
        rows_ = (line >= corner[:, :1]) & (line < corner[:, :1] + side)
        columns = (line >= corner[:, 1:]) & (line < corner[:, 1:] + side)
        return images * ~(rows_[:, None, :, None] & columns[:, None, None, :])
    if operation == 3:
        return torch.where(u[:, 0] < 0.5, images.flip(3), images)
    angle = (u[:, 0, 0, 0, 0] - 0.5) * 2 * math.radians(15)
    factors = u[:, :2, 0, 0, 0] * (1.2 - 1 / 1.2) + 1 / 1.2
    zero = torch.zeros(rows)
    if operation == 4:
        theta = torch.stack(
            [
                torch.stack([factors[:, 0], zero, zero], 1),
                torch.stack([zero, factors[:, 1], zero], 1),
            ],
            1,
        )
    else:
        upper, lower = (
            torch.stack([angle.cos(), -angle.sin(), zero], 1),
            torch.stack([angle.sin(), angle.cos(), zero], 1),
        )
        theta = torch.stack([upper, lower], 1)
    grid = F.affine_grid(theta.expand(len(images), 2, 3), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False)


Method = Literal["datadam", "dm"]


def distillation_step(
    method: Method,
    images: Tensor,
    optimizer: torch.optim.Optimizer,
    draw: Callable[[int], Tensor],
    classes: int,
) -> float:
    """One step of DataDAM (paper) or DM: a fresh network, a batch of real images of each class, the
    loss, a step on ``images``.
    """
    network = PlainConvNet(images.shape[1], classes, images.shape[-1])
    for parameter in network.parameters():
        parameter.requires_grad = False
    ipc = len(images) // classes
    loss = torch.zeros(())
    for label in range(classes):
        seed = int(torch.randint(100_000, (1,)))
        real = plain_dsa(draw(label), seed, siamese=True)
        synthetic = plain_dsa(images[label * ipc : (label + 1) * ipc], seed, siamese=True)
        with torch.no_grad():
            real_taps, real_features = network.taps(real)
        taps, features = network.taps(synthetic)
        difference = (real_features.mean(0) - features.mean(0)).square().sum()
        if method == "dm":
            loss = loss + difference
            continue
        for real_tap, tap in zip(real_taps[:-1], taps[:-1], strict=True):
            loss = (
                loss + 100 * (_attention(real_tap).mean(0) - _attention(tap).mean(0)).square().sum()
            )
        loss = loss + 100 * 0.01 * difference
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return float(loss.detach())


def _attention(tap: Tensor, power: float = 4.0) -> Tensor:
    return F.normalize(tap.abs().pow(power).sum(1).flatten(1), dim=1)


def training_epoch(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    loader: DataLoader[tuple[Tensor, ...]],
    seed: int,
) -> float:
    """One epoch over a loader with DSA; returns the mean loss."""
    network.train()
    total, count = 0.0, 0
    for index, (images, labels) in enumerate(loader):
        loss = F.cross_entropy(network(plain_dsa(images, seed + index, siamese=False)), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total, count = total + float(loss.detach()) * len(labels), count + len(labels)
    return total / count


@torch.no_grad()
def test_pass(network: nn.Module, loader: DataLoader[tuple[Tensor, ...]]) -> float:
    """Accuracy over a loader."""
    network.eval()
    right, count = 0, 0
    for images, labels in loader:
        right, count = right + int((network(images).argmax(1) == labels).sum()), count + len(labels)
    return right / count


def loader_of(images: Tensor, labels: Tensor, shuffle: bool) -> DataLoader[tuple[Tensor, ...]]:
    """Batches of 256, as the peers' evaluators make them."""
    return DataLoader(TensorDataset(images, labels), batch_size=256, shuffle=shuffle)
