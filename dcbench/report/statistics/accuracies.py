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
from typing import TypeVar

import numpy as np
from scipy import special, stats

from dcbench.system.errors import OutOfRangeError

Interval = tuple[float, float]
Key = TypeVar("Key", bound=Hashable)

SIGNIFICANCE = 0.05
_CONFIDENCE = 0.95
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


def compare(a: Mapping[Hashable, float], b: Mapping[Hashable, float]) -> MeanDifference:
    """The mean of ``a`` less that of ``b``: a paired t-test if the seeds are the same, otherwise
    Welch's.

    Args:
        a: each set's mean accuracy by the set's seed.
        b: likewise.

    Raises:
        OutOfRangeError: if either has no set.
    """
    if not a or not b:
        raise OutOfRangeError("nothing to compare; wanted at least one set of each")
    paired = a.keys() == b.keys()
    first, second = list(a.values()), [b[seed] for seed in (a if paired else b)]
    difference = float(np.mean(first) - np.mean(second))
    if min(len(first), len(second)) < 2:
        return MeanDifference(difference, None, None, paired)
    variances = [np.subtract(first, second)] if paired else [first, second]
    error = math.hypot(*(np.std(values, ddof=1) / math.sqrt(len(values)) for values in variances))
    if error < _NO_SPREAD:
        p_value = 1.0 if abs(difference) < _NO_SPREAD else 0.0
        return MeanDifference(difference, (difference, difference), p_value, paired)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # one side may have no spread
        test = (
            stats.ttest_rel(first, second)
            if paired
            else stats.ttest_ind(first, second, equal_var=False)
        )
    low, high = test.confidence_interval(_CONFIDENCE)
    return MeanDifference(difference, (float(low), float(high)), float(test.pvalue), paired)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment, in the order given (Holm, Scandinavian Journal of Statistics 6,
    1979).
    """
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def ranks(scores: Mapping[Key, Mapping[Hashable, float]]) -> dict[Key, int]:
    """Rank 1 for the highest mean and all that no test tells from it (Holm over the group's tests),
    2 for the best of the rest, and so on.

    A method with one set cannot be tested: it shares no rank.
    """
    left = sorted(scores, key=lambda name: -float(np.mean(list(scores[name].values()))))
    found: dict[Key, int] = {}
    rank = 0
    while left:
        rank += 1
        best, *others = left
        p_values = {name: compare(scores[best], scores[name]).p_value for name in others}
        tested = {name: p_value for name, p_value in p_values.items() if p_value is not None}
        adjusted = dict(zip(tested, holm(list(tested.values())), strict=True))
        left = [name for name in others if adjusted.get(name, 0.0) < SIGNIFICANCE]
        found |= dict.fromkeys({best, *others} - set(left), rank)
    return {name: found[name] for name in scores}
