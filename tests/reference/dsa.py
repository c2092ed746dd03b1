"""DSA's six operations on one image (channels × size × size), pixel by pixel; u are numbers from
U(0, 1).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def colour(image: Tensor, u: Sequence[float]) -> Tensor:
    image = image + (u[0] - 0.5) * 1.0  # brightness
    over_channels = sum(image[channel] for channel in range(len(image))) / len(image)
    # saturation
    image = torch.stack([(plane - over_channels) * (2 * u[1]) + over_channels for plane in image])
    over_all = image.sum() / image.numel()
    return (image - over_all) * (u[2] + 0.5) + over_all  # contrast


def crop(image: Tensor, u: Sequence[float]) -> Tensor:
    size = image.shape[1]
    reach = round(0.125 * size)
    down, right = (int(u[axis] * (2 * reach + 1)) - reach for axis in (0, 1))
    return moved(image, lambda row, column: (row + down, column + right))


def cutout(image: Tensor, u: Sequence[float]) -> Tensor:
    size = image.shape[1]
    side = round(0.5 * size)
    top, left = (int(u[axis] * (size + 1 - side % 2)) - side // 2 for axis in (0, 1))
    kept = [
        [not (top <= row < top + side and left <= column < left + side) for column in range(size)]
        for row in range(size)
    ]
    return image * torch.tensor(kept)


def flip(image: Tensor, u: Sequence[float]) -> Tensor:
    size = image.shape[1]
    return moved(image, lambda row, column: (row, size - 1 - column)) if u[0] < 0.5 else image


def scale(image: Tensor, u: Sequence[float]) -> Tensor:
    across, down = (1 / 1.2 + u[axis] * (1.2 - 1 / 1.2) for axis in (0, 1))
    return moved(image, about_the_centre(image.shape[1], lambda x, y: (across * x, down * y)))


def rotate(image: Tensor, u: Sequence[float]) -> Tensor:
    angle = math.radians(-15 + 30 * u[0])
    cosine, sine = math.cos(angle), math.sin(angle)
    return moved(
        image,
        about_the_centre(
            image.shape[1], lambda x, y: (cosine * x - sine * y, sine * x + cosine * y)
        ),
    )


def about_the_centre(
    size: int, change: Callable[[float, float], tuple[float, float]]
) -> Callable[[int, int], tuple[float, float]]:
    """(row, column) of the source of a pixel, where ``change`` is given in (x, y) from the middle
    of the image.
    """
    middle = (size - 1) / 2

    def source(row: int, column: int) -> tuple[float, float]:
        x, y = change(column - middle, row - middle)
        return y + middle, x + middle

    return source


def moved(image: Tensor, source: Callable[[int, int], tuple[float, float]]) -> Tensor:
    """Each pixel becomes what is at its source: bilinear between four pixels, zero outside. Linear,
    so written as a matrix.
    """
    size = image.shape[1]
    weights = torch.zeros(size * size, size * size, dtype=image.dtype)
    for row in range(size):
        for column in range(size):
            y, x = source(row, column)
            for near_y in (math.floor(y), math.floor(y) + 1):
                for near_x in (math.floor(x), math.floor(x) + 1):
                    if 0 <= near_y < size and 0 <= near_x < size:
                        weights[row * size + column, near_y * size + near_x] += (
                            1 - abs(y - near_y)
                        ) * (1 - abs(x - near_x))
    return (image.flatten(1) @ weights.T).view_as(image)


OPERATIONS = {
    "colour": colour,
    "crop": crop,
    "cutout": cutout,
    "flip": flip,
    "scale": scale,
    "rotate": rotate,
}
