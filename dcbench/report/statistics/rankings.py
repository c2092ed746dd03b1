"""How well a proxy ranks architectures: rank correlations with the truth, and what its best
architectures are worth.

Intervals are bootstrap percentiles (95 %) over architectures: they say what another draw of
architectures might have given, not what other networks of the same ones might. Everything is
seeded, and proxies are compared on the same resamples.
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
    """What the ranking by a proxy is worth. Accuracies are true ones (test set, whole data)."""

    architectures: int
    top_architectures: int
    spearman: Estimate
    kendall: Estimate
    spearman_top: Estimate
    kendall_top: Estimate
    best_accuracy: float | None  # of all
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


def judge(
    proxy: Figures, truth: Figures, *, top: float = 0.2, resamples: int = RESAMPLES, seed: int = 0
) -> RankFigures:
    """All figures of one proxy; ``proxy`` and ``truth`` are accuracies of the same architectures in
    the same order.

    ``top`` is the share that is best by truth. Raises OutOfRangeError where it is not in (0, 1] or the lengths differ.
    """
    _check(proxy, truth, top)
    best = top_members(truth, top)
    few = len(best) < FEWEST
    nothing = Estimate(None, None)

    def estimate(statistic: _Statistic, members: Sequence[int]) -> Estimate:
        a, b = np.asarray(proxy, float)[members], np.asarray(truth, float)[members]
        return Estimate(
            statistic.value(a, b), _interval(statistic.resampled((a,), b, resamples, seed)[0])
        )

    everything = range(len(truth))
    top1, top10 = _worth(proxy, truth, 1), _worth(proxy, truth, FEWEST)
    return RankFigures(
        architectures=len(truth),
        top_architectures=len(best),
        spearman=estimate(_SPEARMAN, everything),
        kendall=estimate(_KENDALL, everything),
        spearman_top=nothing if few else estimate(_SPEARMAN, best),
        kendall_top=nothing if few else estimate(_KENDALL, best),
        best_accuracy=_worth(truth, truth, 1),
        top1_accuracy=top1,
        regret=_less(_worth(truth, truth, 1), top1),
        top10_accuracy=top10,
        top10_regret=_less(_worth(truth, truth, FEWEST), top10),
    )


def difference(
    first: Figures, second: Figures, truth: Figures, *, resamples: int = RESAMPLES, seed: int = 0
) -> Estimate:
    """Spearman's correlation of one proxy less that of another, paired: each resample is of the
    same architectures for both.
    """
    _check(first, truth, 1.0)
    _check(second, truth, 1.0)
    values = [spearman(values, truth) for values in (first, second)]
    sides = (np.asarray(first, float), np.asarray(second, float))
    a, b = _SPEARMAN.resampled(sides, np.asarray(truth, float), resamples, seed)
    return Estimate(_less(*values), _interval(a - b))


def top_members(truth: Figures, share: float) -> list[int]:
    """The places of the best ``share`` by truth (rounded up), in order of place; of equals, the
    earlier ones.
    """
    count = math.ceil(share * len(truth) - 1e-9)
    order = np.argsort(-np.asarray(truth, float), kind="stable")
    return sorted(int(place) for place in order[:count])


@dataclass(frozen=True)
class _Statistic:
    """A correlation of two rows of values, and of many resamples of them."""

    value: Callable[[Figures, Figures], float | None]
    # NaN where all that was drawn is alike
    of_resamples: Callable[[Values, Values, Places], Values]

    def resampled(
        self, sides: tuple[Values, ...], truth: Values, resamples: int, seed: int
    ) -> list[Values]:
        """The statistic of each of ``sides`` with ``truth``, once for each resample of the
        architectures, drawn for all alike.
        """
        count = len(truth)
        # its stream is frozen: the same intervals with every version of NumPy
        random = np.random.RandomState(seed)
        found: list[list[Values]] = [[] for _ in sides]
        rows = max(1, _CHUNK_VALUES // max(1, count))
        for start in range(0, resamples if count > 1 else 0, rows):
            places = random.randint(
                0, count, size=(min(rows, resamples - start), count), dtype=np.int64
            )
            for side, values in zip(found, sides, strict=True):
                side.append(self.of_resamples(values, truth, places))
        return [np.concatenate(side) if side else np.empty(0) for side in found]


def _spearman_of_resamples(first: Values, second: Values, places: Places) -> Values:
    """Pearson's correlation of the ranks, row by row."""
    a, b = (stats.rankdata(values[places], axis=1) for values in (first, second))
    a, b = a - a.mean(1, keepdims=True), b - b.mean(1, keepdims=True)
    return _share((a * b).sum(1), (a**2).sum(1), (b**2).sum(1))


def _kendall_of_resamples(first: Values, second: Values, places: Places) -> Values:
    """With S the signs of all pairs' products and w how often each architecture was drawn:
    concordant less discordant is wᵀSw / 2.

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


_SPEARMAN = _Statistic(spearman, _spearman_of_resamples)
_KENDALL = _Statistic(kendall, _kendall_of_resamples)


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


def _worth(scores: Figures, truth: Figures, count: int) -> float | None:
    """The mean truth of the ``count`` best by ``scores``; those that tie for the last places share
    them. None if there are fewer.
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
