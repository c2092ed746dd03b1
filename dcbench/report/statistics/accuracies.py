"""Means, intervals and tests of accuracies. There are two sources of variance: networks trained on
one set, and sets.

Intervals and p-values come from Student's t distribution. A figure that does not exist (one value
has no standard deviation) is None.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from scipy import special, stats

from dcbench.system.errors import OutOfRangeError

Interval = tuple[float, float]
Key = TypeVar("Key", bound=Hashable)

SIGNIFICANCE = 0.05
POWER = 0.8
FEWEST_SETS = 3  # of both sides of a test, and of a rank interval
_CONFIDENCE = 0.95
_DRAWS = 10_000
# a standard error below this is rounding: accuracies are counts over at most millions of images
_NO_SPREAD = 1e-12


@dataclass(frozen=True)
class Summary:
    """Figures of the networks trained on one set; the interval is for the mean *given this set*."""

    networks: int
    mean: float
    std: float | None
    ci95: Interval | None

    @property
    def shown_ci95(self) -> Interval | None:
        """The interval of accuracies as reports show it: within 0 and 1."""
        return clipped(self.ci95)


@dataclass(frozen=True)
class SetsSummary:
    """Figures of several sets. Each set's mean counts once, however many networks it had."""

    sets: int
    fewest_networks: int  # of a set
    most_networks: int
    mean: float
    std_sets: float | None
    std_networks: float | None  # within sets, pooled
    ci95_sets: Interval | None
    ci95_networks: Interval | None  # of a single set

    @property
    def shown_ci95_sets(self) -> Interval | None:
        """The interval over sets as reports show it: within 0 and 1."""
        return clipped(self.ci95_sets)

    @property
    def shown_ci95(self) -> Interval | None:
        """The interval over sets; of a single set, the interval over its networks."""
        return clipped(self.ci95_sets if self.sets > 1 else self.ci95_networks)

    @property
    def shown_std(self) -> float | None:
        """The standard deviation over sets; of a single set, that over its networks."""
        return self.std_sets if self.sets > 1 else self.std_networks


@dataclass(frozen=True)
class MeanDifference:
    """The difference of two means over sets. Interval and p-value are None where a method has only
    one set.
    """

    difference: float
    ci95: Interval | None
    p_value: float | None
    paired: bool
    error: float = 0.0  # standard error of the difference
    freedom: float = math.nan  # degrees of freedom

    def detectable(self, level: float = SIGNIFICANCE) -> float | None:
        """The smallest true difference that the test finds with 80 % power (two-sided t-test at
        ``level``, with the standard error seen); None if there was no test.
        """
        if self.p_value is None or self.error < _NO_SPREAD:
            return None
        return self.error * _noncentrality(self.freedom, level)


@dataclass(frozen=True)
class Standing:
    """Where a method stands in one column: its place by mean, how sets could shift that place, and
    whether a test tells it from the best.
    """

    rank: int  # equal means share it
    interval: tuple[int, int] | None  # 95 %; None under three sets
    tied: bool = False  # not the best, and no test over sets tells it from the best


@dataclass(frozen=True)
class Standings(Generic[Key]):
    """All standings of a column, and what its tests could see."""

    of: Mapping[Key, Standing]
    tests: int = 0
    # the smallest and the largest difference from the best that a test finds with 80 % power
    detectable: Interval | None = None


def clipped(interval: Interval | None) -> Interval | None:
    """The part of an accuracy's interval within 0 and 1; few figures can give a wider interval."""
    return None if interval is None else (max(0.0, interval[0]), min(1.0, interval[1]))


def summarise(accuracies: Sequence[float]) -> Summary:
    """Mean, standard deviation (n - 1) and 95 % t interval of one set's networks.

    Raises:
        OutOfRangeError: if there are no accuracies.
    """
    if not accuracies:
        raise OutOfRangeError("no accuracies to summarise; wanted at least one")
    count, mean = len(accuracies), float(np.mean(accuracies))
    if count == 1:
        return Summary(count, mean, None, None)
    std = float(np.std(accuracies, ddof=1))
    reach = std / math.sqrt(count) * float(special.stdtrit(count - 1, (1 + _CONFIDENCE) / 2))
    return Summary(count, mean, std, (mean - reach, mean + reach))


def summarise_sets(sets: Sequence[Sequence[float]]) -> SetsSummary:
    """Mean of the sets' means, standard deviation of each source, 95 % t interval over sets.

    Raises:
        OutOfRangeError: if there are no sets, or one is empty.
    """
    each = [summarise(networks) for networks in sets]
    over_sets = summarise([summary.mean for summary in each])
    freedom = sum(len(networks) - 1 for networks in sets)
    squares = sum(
        float(np.sum((np.asarray(networks) - np.mean(networks)) ** 2)) for networks in sets
    )
    return SetsSummary(
        sets=len(sets),
        fewest_networks=min(map(len, sets)),
        most_networks=max(map(len, sets)),
        mean=over_sets.mean,
        std_sets=over_sets.std,
        std_networks=math.sqrt(squares / freedom) if freedom else None,
        ci95_sets=over_sets.ci95,
        ci95_networks=each[0].ci95 if len(sets) == 1 else None,
    )


def means_of(sets: Mapping[Key, Sequence[float]]) -> dict[Key, float]:
    """The mean accuracy of each set's networks."""
    return {which: float(np.mean(networks)) for which, networks in sets.items()}


def compare(a: Mapping[Hashable, float], b: Mapping[Hashable, float]) -> MeanDifference:
    """The mean of ``a`` minus that of ``b``: a paired t-test if the seeds are the same, otherwise
    Welch's.

    Args:
        a: each set's mean accuracy by the set's seed.
        b: likewise.

    Returns:
        Interval and p-value are None with fewer than three sets of a side, and where all
        differences are equal.

    Raises:
        OutOfRangeError: if either has no set.
    """
    if not a or not b:
        raise OutOfRangeError("nothing to compare; wanted at least one set of each")
    paired = a.keys() == b.keys()
    first, second = list(a.values()), [b[seed] for seed in (a if paired else b)]
    difference = float(np.mean(first) - np.mean(second))
    if min(len(first), len(second)) < FEWEST_SETS:
        return MeanDifference(difference, None, None, paired)
    variances = [np.subtract(first, second)] if paired else [first, second]
    error = math.hypot(*(np.std(values, ddof=1) / math.sqrt(len(values)) for values in variances))
    if error < _NO_SPREAD:
        # equal sets are not told apart; equal differences leave nothing to estimate an error from
        equal = abs(difference) < _NO_SPREAD
        return MeanDifference(difference, None, 1.0 if equal else None, paired)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # one side may have no spread
        test = (
            stats.ttest_rel(first, second)
            if paired
            else stats.ttest_ind(first, second, equal_var=False)
        )
    low, high = test.confidence_interval(_CONFIDENCE)
    interval = float(low), float(high)
    return MeanDifference(difference, interval, float(test.pvalue), paired, error, float(test.df))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment, in the order given (Holm, Scandinavian Journal of Statistics 6,
    1979).
    """
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def standings(scores: Mapping[Key, Mapping[Hashable, float]]) -> Standings[Key]:
    """Rank methods by their means, and test each against the best over sets.

    Tests are those of ``compare`` after Holm's correction over the column. They need three sets of
    both methods.

    Args:
        scores: each method's accuracy of each set, by the set's seed.
    """
    names = list(scores)
    means = [float(np.mean(list(scores[name].values()))) for name in names]
    ranks = stats.rankdata([-round(mean, 12) for mean in means], method="min").astype(int)
    intervals = _rank_intervals([list(scores[name].values()) for name in names])
    best = names[int(np.argmin(ranks))]
    tests = {
        name: compare(scores[best], scores[name])
        for name, rank in zip(names, ranks, strict=True)
        if rank > 1 and min(len(scores[best]), len(scores[name])) >= FEWEST_SETS
    }
    adjusted = dict(zip(tests, holm([test.p_value or 0.0 for test in tests.values()]), strict=True))
    seen = [test.detectable(SIGNIFICANCE / len(tests)) for test in tests.values()]
    known = [difference for difference in seen if difference is not None]
    return Standings(
        {
            name: Standing(int(rank), interval, adjusted.get(name, 0.0) >= SIGNIFICANCE)
            for name, rank, interval in zip(names, ranks, intervals, strict=True)
        },
        len(tests),
        (min(known), max(known)) if known else None,
    )


def _rank_intervals(columns: Sequence[Sequence[float]]) -> list[tuple[int, int] | None]:
    """The middle 95 % of each method's ranks when means are drawn from their t distributions over
    sets. A method with fewer than three sets stays at its mean and has no interval.
    """
    # its stream is frozen: the same intervals with every version of NumPy
    random = np.random.RandomState(0)
    drawn = np.empty((_DRAWS, len(columns)))
    for place, values in enumerate(columns):
        drawn[:, place] = np.mean(values)
        if len(values) >= FEWEST_SETS:
            error = np.std(values, ddof=1) / math.sqrt(len(values))
            drawn[:, place] += error * random.standard_t(len(values) - 1, _DRAWS)
    ranks = stats.rankdata(-drawn.round(12), axis=1, method="min")
    low, high = np.percentile(ranks, [2.5, 97.5], axis=0, method="inverted_cdf").astype(int)
    return [
        (int(low[place]), int(high[place])) if len(values) >= FEWEST_SETS else None
        for place, values in enumerate(columns)
    ]


def _noncentrality(freedom: float, level: float) -> float:
    """The true difference, in standard errors, that a two-sided t-test finds with 80 % power; the
    other side's share of that power is below rounding.
    """
    critical = special.stdtrit(freedom, 1 - level / 2)
    return float(special.nctdtrinc(freedom, 1 - POWER, critical))
