"""Residual blocks of generators and discriminators: SNGAN's, BigGAN's and AutoGAN's."""

from __future__ import annotations

from typing import final

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm
from torch.nn.utils.parametrize import is_parametrized


def raw_weight(layer: nn.Module) -> Tensor:
    """Return the learned weight of a layer, before spectral normalisation if it has that."""
    weight = (
        layer.parametrizations.weight.original  # type: ignore[union-attr]
        if is_parametrized(layer)
        else layer.weight
    )
    # asked of convolutions, linear layers and embeddings
    assert isinstance(weight, Tensor)  # noqa: S101
    return weight


@final
class DownBlock(nn.Module):
    """Residual block of SNGAN's discriminator (Miyato et al., ICLR 2018), spectrally normalised.

    ``pools``: the block halves the feature map. A network's first block does not begin with an
    activation, because its input is an image.
    """

    def __init__(self, channels: int, width: int, *, pools: bool, first: bool = False) -> None:
        super().__init__()
        self.first, self.pools = first, pools
        self.before = spectral_norm(nn.Conv2d(channels, width, 3, padding=1))
        self.after = spectral_norm(nn.Conv2d(width, width, 3, padding=1))
        self.beside = (
            spectral_norm(nn.Conv2d(channels, width, 1))
            if pools or channels != width
            else nn.Identity()
        )

    def forward(self, values: Tensor) -> Tensor:
        inner = self.after(F.relu(self.before(values if self.first else F.relu(values))))
        return self._pool(inner) + self.beside(self._pool(values))  # type: ignore[no-any-return]

    def _pool(self, values: Tensor) -> Tensor:
        return F.avg_pool2d(values, 2) if self.pools else values


def residual_trunk(channels: int, width: int) -> list[DownBlock]:
    """Return the four blocks of SNGAN's discriminator for 32×32 images; the output's side is a
    quarter of the image's.
    """
    first = DownBlock(channels, width, pools=True, first=True)
    return [first, *(DownBlock(width, width, pools=pools) for pools in (True, False, False))]


@final
class Summed(nn.Module):
    """Sums features over all positions."""

    def forward(self, maps: Tensor) -> Tensor:
        return maps.sum((2, 3))


@final
class Projection(nn.Module):
    """D(x, y) = ψ(h) + ⟨e(y), h⟩ for features h of the image (Miyato & Koyama, ICLR 2018),
    spectrally normalised.
    """

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.linear = spectral_norm(nn.Linear(features, 1))
        self.embedding = spectral_norm(nn.Embedding(classes, features))

    def forward(self, features: Float[Tensor, "n features"], labels: Tensor) -> Float[Tensor, " n"]:
        logits: Tensor = self.linear(features).flatten() + (self.embedding(labels) * features).sum(
            1
        )
        return logits


@final
class ConditionalNorm(nn.Module):
    """Batch normalisation without parameters, then gain 1 + W_γ c and bias W_β c, linear in the
    condition c = [chunk of z, e(y)].
    """

    def __init__(self, channels: int, condition: int) -> None:
        super().__init__()
        self.normalise = nn.BatchNorm2d(channels, affine=False)
        self.gain = spectral_norm(nn.Linear(condition, channels, bias=False))
        self.bias = spectral_norm(nn.Linear(condition, channels, bias=False))

    def forward(self, values: Tensor, condition: Float[Tensor, "n condition"]) -> Tensor:
        gain, bias = self.gain(condition)[:, :, None, None], self.bias(condition)[:, :, None, None]
        return self.normalise(values) * (1 + gain) + bias  # type: ignore[no-any-return]


@final
class UpBlock(nn.Module):
    """Residual block that doubles the feature map, conditioned before each convolution (Brock et
    al., ICLR 2019, Figure 15b).
    """

    def __init__(self, width: int, condition: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList([ConditionalNorm(width, condition) for _ in range(2)])
        self.convolutions = nn.ModuleList(
            [spectral_norm(nn.Conv2d(width, width, 3, padding=1)) for _ in range(2)]
        )
        self.beside = spectral_norm(nn.Conv2d(width, width, 1))

    def forward(self, values: Tensor, condition: Tensor) -> Tensor:
        inner = F.interpolate(F.relu(self.norms[0](values, condition)), scale_factor=2)
        inner = F.relu(self.norms[1](self.convolutions[0](inner), condition))
        outer: Tensor = self.convolutions[1](inner) + self.beside(
            F.interpolate(values, scale_factor=2)
        )
        return outer


@final
class Attention(nn.Module):
    """Self-attention over positions, added with a weight that starts at 0 (Zhang et al., ICML
    2019).
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        inner, outer = max(1, width // 8), max(1, width // 2)
        self.query, self.key = (
            spectral_norm(nn.Conv2d(width, inner, 1, bias=False)) for _ in range(2)
        )
        self.value, self.back = (
            spectral_norm(nn.Conv2d(*channels, 1, bias=False))
            for channels in ((width, outer), (outer, width))
        )
        self.weight = nn.Parameter(torch.zeros(()))

    def forward(self, values: Tensor) -> Tensor:
        query = self.query(values).flatten(2)
        key, value = (F.max_pool2d(of(values), 2).flatten(2) for of in (self.key, self.value))
        attended = value @ (query.transpose(1, 2) @ key).softmax(2).transpose(1, 2)
        changed = self.back(attended.unflatten(2, values.shape[2:]))
        return values + self.weight * changed  # type: ignore[no-any-return]


@final
class SkippingBlock(nn.Module):
    """AutoGAN's residual block that doubles the feature map; the output of its first convolution
    goes to all later blocks.
    """

    def __init__(self, width: int, earlier: int) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList([nn.Conv2d(width, width, 3, padding=1) for _ in range(2)])
        self.skips = nn.ModuleList([nn.Conv2d(width, width, 1) for _ in range(earlier)])
        self.beside = nn.Conv2d(width, width, 1)

    def forward(self, values: Tensor, earlier: list[Tensor]) -> tuple[Tensor, Tensor]:
        first = self.convolutions[0](F.interpolate(F.relu(values), scale_factor=2))
        inner = first
        for skip, made in zip(self.skips, earlier, strict=True):
            inner = inner + skip(F.interpolate(made, size=first.shape[2:]))
        return self.convolutions[1](F.relu(inner)) + self.beside(
            F.interpolate(values, scale_factor=2)
        ), first


@final
class SkippingBlocks(nn.Module):
    """The blocks of AutoGAN's generator, without its first and last layers (Gong et al., ICCV
    2019).
    """

    def __init__(self, width: int, doublings: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([SkippingBlock(width, earlier) for earlier in range(doublings)])

    def forward(self, values: Tensor) -> Tensor:
        earlier: list[Tensor] = []
        for block in self.blocks:
            values, made = block(values, earlier)
            earlier.append(made)
        return values
