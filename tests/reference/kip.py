"""Kernel ridge regression on the last features of random networks, pair by pair and with a plain
solve.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from tests.reference.networks import convnet

# weight and bias; scale and shift where there is a normalisation
Convolution = tuple[Tensor, Tensor, Tensor, Tensor]


def features(image: Tensor, convolutions: Sequence[Sequence[Tensor]]) -> Tensor:
    """Last features of one image: convolution, instance normalisation if it has weights, ReLU, 2×2
    average pooling.
    """
    if len(convolutions[0]) == 4:
        return convnet(
            image[None], [(w, b, scale, shift) for w, b, scale, shift in convolutions], False
        )[1][0]
    values = image[None]
    for weight, bias in convolutions:
        values = F.conv2d(values, weight, bias, padding=1).clamp(min=0)
        corners = [values[:, :, row::2, column::2] for row in (0, 1) for column in (0, 1)]
        values = (corners[0] + corners[1] + corners[2] + corners[3]) / 4
    return values.flatten()


def kernel(left: Tensor, right: Tensor, networks: Sequence[Sequence[Sequence[Tensor]]]) -> Tensor:
    """K(x, x') = mean over networks of the mean over features of f(x) f(x')."""
    rows = []
    for x in left:
        row = []
        for other in right:
            products = [
                (features(x, network) * features(other, network)).mean() for network in networks
            ]
            row.append(sum(products, torch.zeros((), dtype=left.dtype)) / len(products))
        rows.append(torch.stack(row))
    return torch.stack(rows)


def loss(K_ts: Tensor, K_ss: Tensor, y_t: Tensor, y_s: Tensor, ridge: float) -> Tensor:
    """½ mean over targets of ‖y_t - K_ts (K_ss + ridge tr(K_ss)/n I)⁻¹ y_s‖²."""
    n = len(K_ss)
    penalty = ridge * torch.trace(K_ss) / n
    errors = y_t - K_ts @ (torch.linalg.inv(K_ss + penalty * torch.eye(n, dtype=K_ss.dtype)) @ y_s)
    return sum((error.square().sum() for error in errors), torch.zeros((), dtype=K_ss.dtype)) / (
        2 * len(errors)
    )
