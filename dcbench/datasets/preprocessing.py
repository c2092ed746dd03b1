"""The space that networks are trained in: normalisation per channel, optionally followed by ZCA
whitening.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from jaxtyping import Float64, UInt8
from torch import Tensor

from dcbench.datasets.declaration import Dataset
from dcbench.images import Space
from dcbench.system.errors import DataError, FileFormatError, MismatchError
from dcbench.system.files import locked, read_tensors, write_tensors
from dcbench.system.progress import Progress, silent

# of DataDAM's code, after normalising, and of MTT's, which whitens pixels as they are: 25 times as
# much there
ZCA_EPSILON = 0.1
ZCA_LARGEST_SIZE = 64
_CHUNK = 2000  # images in float64 at a time
_CHUNK_BYTES = 8 << 20  # of images whose squares are summed at a time


def normalisation(dataset: Dataset, images: UInt8[Tensor, "n channels size size"]) -> Space:
    """Return mean and std per channel: published constants, or else those of ``images``.

    The std is that of the population. Sums over bytes are exact, so the result is the same on every
    machine. Raises DataError if a channel is constant.
    """
    if dataset.mean:
        return Space("normalised", dataset.mean, dataset.std)
    first, second = (torch.zeros(dataset.channels, dtype=torch.int64) for _ in range(2))
    for chunk in torch.split(images, max(1, _CHUNK_BYTES // images[0].numel())):
        values = chunk.transpose(0, 1).flatten(1).to(torch.int64)
        first += values.sum(1)
        second += values.square().sum(1)
    count = images.numel() // dataset.channels
    mean = first.double() / count
    std = (second.double() / count - mean.square()).sqrt()
    if not bool((std > 0).all()):
        raise DataError(
            f"all training images of {dataset.name} are of one colour: they cannot be normalised"
        )
    return Space("normalised", tuple((mean / 255).tolist()), tuple((std / 255).tolist()))


def require_zca(dataset: Dataset) -> None:
    """Raise MismatchError if the images are too large to be whitened."""
    if dataset.size > ZCA_LARGEST_SIZE:
        values = dataset.channels * dataset.size**2
        raise MismatchError(
            f"ZCA whitens images of up to {ZCA_LARGEST_SIZE}x{ZCA_LARGEST_SIZE}; {dataset.name} is "
            f"{dataset.size}x{dataset.size} and would need a matrix of {values} x {values} "
            f"({values**2 * 8 / 2**30:.0f} GiB); use --zca off"
        )


def whitening(
    images: UInt8[Tensor, "n channels size size"],
    base: Space,
    *,
    eps: float = ZCA_EPSILON,
    progress: Progress = silent,
) -> Space:
    """ZCA fitted on ``images`` in ``base``: (x - mean) @ T with T = U (S + eps)^(-1/2) U^T of the
    covariance U S U^T (ddof 1).

    The same as ``kornia.enhance.zca_mean``, whose T is symmetric too; here in chunks and in
    float64, which takes half its memory and stays accurate where eps is far below float32's share
    of the largest eigenvalue. Raises DataError for fewer than two images.
    """
    if len(images) < 2:
        raise DataError(f"ZCA needs at least two images, got {len(images)}")
    sums = [_values(chunk, base).sum(0) for chunk in torch.split(images, _CHUNK)]
    mean = torch.stack(sums).sum(0) / len(images)
    covariance = torch.zeros(len(mean), len(mean), dtype=torch.float64)
    done = 0
    for chunk in torch.split(images, _CHUNK):
        centred = _values(chunk, base) - mean
        covariance.addmm_(centred.T, centred)
        done += len(chunk)
        progress("fitting ZCA", done, len(images))
    S, U = torch.linalg.eigh(covariance / (len(images) - 1))
    T = (U * (S.clamp(min=0) + eps).rsqrt()) @ U.T
    return replace(base, kind="zca", zca_mean=mean.float(), zca_matrix=((T + T.T) / 2).float())


def _values(
    images: UInt8[Tensor, "n channels size size"], base: Space
) -> Float64[Tensor, "n pixels"]:
    return base.enter(images.double() / 255).flatten(1)


def cached(path: Path, fit: Callable[[], Space]) -> Space:
    """Read the space in ``path``; if it is missing or damaged, fit it and store it there.

    Raises StorageError.
    """
    known = _read(path)
    if known is not None:
        return known
    with locked(path.parent):
        known = _read(path)  # another process may have fitted it meanwhile
        if known is None:
            known = fit()
            write_tensors(path, {"fingerprint": known.fingerprint, "space": known.to_plain()})
        return known


def _read(path: Path) -> Space | None:
    try:
        content = read_tensors(path)
        space = Space.from_plain(content["space"])
        return space if space.fingerprint == content["fingerprint"] else None
    except (FileFormatError, KeyError, TypeError):
        return None
