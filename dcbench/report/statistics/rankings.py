"""How well a proxy ranks architectures: rank correlations with the truth, and the true accuracy of
its best architectures.

Intervals are bootstrap percentiles (95 %) over architectures: they cover other draws of
architectures, not other networks of the same architectures. Everything is seeded, and proxies are
compared on the same resamples.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from dcbench.system.errors import OutOfRangeError

Interval = tuple[float, float]
Values = NDArray[np.float64]
Places = NDArray[np.int64]  # resamples × architectures
Figures = Sequence[float] | Values
# the correlation in each resample; NaN if all that was drawn is alike
_OfResamples = Callable[[Values, Values, Places], Values]

FEWEST = 10  # architectures that a correlation of the top share, or the ten best, is given for
RESAMPLES = 1000
_CHUNK_VALUES = 2_000_000  # resampled at a time
_MOST_IN_SQUARES = 2000  # architectures
_DIGITS = 12  # what is beyond is rounding: a perfect ranking is 1, not 0.9999999999999999


@dataclass(frozen=True)
class Estimate:
    """A figure and its interval; None where it does not exist (constant values, too few
    architectures).
    """

    value: float | None
    ci95: Interval | None


@dataclass(frozen=True)
class RankFigures:
    """How good the ranking by a proxy is. Accuracies are true ones (test set, whole data)."""

    architectures: int
    top_architectures: int
    spearman: Estimate
    kendall: Estimate
    spearman_top: Estimate
    kendall_top: Estimate
    top1_accuracy: float | None  # of the proxy's best; the mean of all that tie for it
    regret: float | None
    top10_accuracy: float | None  # mean of the proxy's ten best
    top10_regret: float | None  # less than the mean of the ten best


def spearman(first: Figures, second: Figures) -> float | None:
    """Spearman's rank correlation, ties sharing their mean rank; None where one side is constant or
    has fewer than two values.
    """
    return _both_vary(first, second, lambda a, b: float(stats.spearmanr(a, b).statistic))


def kendall(first: Figures, second: Figures) -> float | None:
    """Kendall's tau-b; None as in ``spearman``."""
    # of a p-value that nobody asks for: the quick one
    method: Literal["auto", "asymptotic"] = "asymptotic" if len(first) > 2 else "auto"
    return _both_vary(
        first, second, lambda a, b: float(stats.kendalltau(a, b, method=method).statistic)
    )


def rank_statistics(
    proxy: Figures,
    truth: Figures,
    *,
    top: float = 0.2,
    best_by: Figures | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> RankFigures:
    """All figures of one proxy.

    Args:
        proxy: accuracies of the architectures on the proxy.
        truth: their true accuracies, in the same order.
        top: the share that is best.
        best_by: by which figures, in the same order; by truth if there are none.
        resamples: of the bootstrap.
        seed: of the bootstrap.

    Raises:
        OutOfRangeError: if ``top`` is not in (0, 1], or the lengths differ.
    """
    _check(proxy, truth, top)
    best = top_members(truth if best_by is None else best_by, top)
    everything = range(len(truth))

    def estimate(
        value: Callable[[Figures, Figures], float | None],
        of_resamples: _OfResamples,
        members: Sequence[int],
    ) -> Estimate:
        a, b = np.asarray(proxy, float)[members], np.asarray(truth, float)[members]
        return Estimate(value(a, b), _interval(*_resampled(of_resamples, [a], b, resamples, seed)))

    nothing = Estimate(None, None)
    few = len(best) < FEWEST
    top1, top10 = (_best(proxy, truth, count) for count in (1, FEWEST))
    best1, best10 = (_best(truth, truth, count) for count in (1, FEWEST))
    return RankFigures(
        architectures=len(truth),
        top_architectures=len(best),
        spearman=estimate(spearman, _spearman_of_resamples, everything),
        kendall=estimate(kendall, _kendall_of_resamples, everything),
        spearman_top=nothing if few else estimate(spearman, _spearman_of_resamples, best),
        kendall_top=nothing if few else estimate(kendall, _kendall_of_resamples, best),
        top1_accuracy=top1,
        regret=_less(best1, top1),
        top10_accuracy=top10,
        top10_regret=_less(best10, top10),
    )


def spearman_difference(
    first: Figures, second: Figures, truth: Figures, *, resamples: int = RESAMPLES, seed: int = 0
) -> Estimate:
    """Spearman's correlation of one proxy minus that of another, paired: each resample is of the
    same architectures for both.
    """
    _check(first, truth, 1.0)
    _check(second, truth, 1.0)
    sides = [np.asarray(first, float), np.asarray(second, float)]
    a, b = _resampled(_spearman_of_resamples, sides, np.asarray(truth, float), resamples, seed)
    return Estimate(_less(spearman(first, truth), spearman(second, truth)), _interval(a - b))


def top_members(figures: Figures, share: float) -> list[int]:
    """The places of the best ``share`` by ``figures`` (rounded up), ascending; of equals, the
    earlier.
    """
    count = math.ceil(share * len(figures) - 1e-9)
    order = np.argsort(-np.asarray(figures, float), kind="stable")
    return sorted(int(place) for place in order[:count])


def _resampled(
    of_resamples: _OfResamples, sides: Sequence[Values], truth: Values, resamples: int, seed: int
) -> list[Values]:
    """The correlation of each of ``sides`` with ``truth`` in each resample of the architectures;
    the resamples are the same for all sides.
    """
    count = len(truth)
    # its stream is frozen: the same intervals with every version of NumPy
    random = np.random.RandomState(seed)
    found = [np.empty(0) for _ in sides]
    rows = max(1, _CHUNK_VALUES // max(1, count))
    for start in range(0, resamples if count > 1 else 0, rows):
        size = min(rows, resamples - start), count
        places = random.randint(0, count, size=size, dtype=np.int64)
        found = [
            np.append(values, of_resamples(side, truth, places))
            for values, side in zip(found, sides, strict=True)
        ]
    return found


def _spearman_of_resamples(first: Values, second: Values, places: Places) -> Values:
    """Pearson's correlation of the ranks, row by row."""
    a, b = (stats.rankdata(values[places], axis=1) for values in (first, second))
    a, b = a - a.mean(1, keepdims=True), b - b.mean(1, keepdims=True)
    return _share((a * b).sum(1), (a**2).sum(1), (b**2).sum(1))


def _kendall_of_resamples(first: Values, second: Values, places: Places) -> Values:
    """With S the signs of all pairs' products and w how often each architecture was drawn:
    concordant minus discordant is wᵀSw / 2.

    The same for the pairs that are not tied on one side. Where the squares would outgrow memory,
    SciPy takes one row after another.
    """
    count = len(first)
    if count > _MOST_IN_SQUARES:
        pairs = (kendall(first[row], second[row]) for row in places)
        return np.array([math.nan if value is None else value for value in pairs])
    drawn = np.zeros((len(places), count))
    np.add.at(drawn, (np.arange(len(places))[:, None], places), 1)
    signs = [np.sign(values[:, None] - values[None, :]) for values in (first, second)]
    product, *untied = (
        (drawn @ square * drawn).sum(1) for square in (signs[0] * signs[1], *map(np.abs, signs))
    )
    return _share(product, *untied)


def _share(product: Values, first: Values, second: Values) -> Values:
    norm = np.sqrt(first * second)
    found: Values = np.divide(product, norm, out=np.full(len(norm), np.nan), where=norm > 0)
    return found


def _both_vary(
    first: Figures, second: Figures, statistic: Callable[[Values, Values], float]
) -> float | None:
    a, b = np.asarray(first, float), np.asarray(second, float)
    if len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return None
    return round(statistic(a, b), _DIGITS)


def _interval(values: Values) -> Interval | None:
    """The middle 95 %; None where most resamples have no figure."""
    known = values[np.isfinite(values)]
    if len(known) <= len(values) / 2:
        return None
    low, high = np.percentile(known, [2.5, 97.5])
    return round(float(low), _DIGITS), round(float(high), _DIGITS)


def _best(scores: Figures, truth: Figures, count: int) -> float | None:
    """The mean truth of the ``count`` best by ``scores``; ties for the last places share them. None
    if there are fewer.
    """
    if len(truth) < count:
        return None
    values, true = np.asarray(scores, float), np.asarray(truth, float)
    last = np.sort(values)[-count]
    above, tied = values > last, values == last
    left = count - int(above.sum())
    return float((true[above].sum() + left * true[tied].mean()) / count)


def _less(first: float | None, second: float | None) -> float | None:
    return None if first is None or second is None else round(first - second, _DIGITS)


def _check(proxy: Figures, truth: Figures, top: float) -> None:
    if len(proxy) != len(truth):
        raise OutOfRangeError(
            f"{len(proxy)} accuracies on the proxy, but {len(truth)} truths; wanted as many"
        )
    if not 0 < top <= 1:
        raise OutOfRangeError(f"the top share must be above 0 and at most 1, got {top}")
