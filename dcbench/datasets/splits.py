"""A fixed, stratified part of a labelled set, for test splits and holdouts."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dcbench.system.errors import DataError, OutOfRangeError


def stratified(labels: NDArray[np.int64], count: int, seed: int) -> NDArray[np.bool_]:
    """Return a mask (n,) of ``count`` members, each class by its share (largest remainders first,
    then lower labels).

    NumPy's RandomState draws them because its stream is frozen: the same labels give the same part
    in every version. Raises OutOfRangeError for a negative count, DataError if a class would have
    no image outside the part.
    """
    if count < 0:
        raise OutOfRangeError(f"a part of {count} images was asked, wanted 0 or more")
    classes, sizes = np.unique(labels, return_counts=True)
    quotas = _quotas(sizes, count)
    if (quotas >= sizes).any():
        raise DataError(
            f"a part of {count} of {len(labels)} images leaves a class without any outside it; "
            "choose a smaller part"
        )
    random = np.random.RandomState(seed)
    chosen = np.zeros(len(labels), dtype=np.bool_)
    for label, quota in zip(classes, quotas, strict=True):
        members = np.flatnonzero(labels == label)
        chosen[random.permutation(members)[:quota]] = True
    return chosen


def _quotas(sizes: NDArray[np.intp], count: int) -> NDArray[np.intp]:
    shares, remainders = np.divmod(sizes * count, sizes.sum())
    first = np.argsort(-remainders, kind="stable")[: count - int(shares.sum())]
    shares[first] += 1
    return shares
