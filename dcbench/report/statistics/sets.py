"""Means, intervals and tests over the two sources of variance: networks given one set, and sets.

All intervals and p-values come from Student's t distribution; a figure that does not exist (one
value has no deviation) is None.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from scipy.special import stdtr, stdtrit

from dcbench.system.errors import OutOfRangeError

Interval = tuple[float, float]
Key = TypeVar("Key", bound=Hashable)

SIGNIFICANCE = 0.05
_CONFIDENCE = 0.95
# a standard error below this is rounding: accuracies are counts over at most millions of images
_NOTHING = 1e-12


@dataclass(frozen=True)
class Summary:
    """Of the networks trained on one set: the interval is for the mean *given this set*."""

    networks: int
    mean: float
    std: float | None
    ci95: Interval | None

    @property
    def shown_ci95(self) -> Interval | None:
        """The interval as people are shown it, if these are accuracies."""
        return possible(self.ci95)


@dataclass(frozen=True)
class SetsSummary:
    """Of several sets: each set's mean counts once, however many networks it had."""

    sets: int
    mean: float
    std_sets: float | None
    std_networks: float | None  # within sets, pooled
    ci95_sets: Interval | None

    @property
    def shown_ci95_sets(self) -> Interval | None:
        """The interval as people are shown it."""
        return possible(self.ci95_sets)


@dataclass(frozen=True)
class Comparison:
    """The difference of two means over sets; interval and p-value are None where a method has one
    set only.
    """

    difference: float
    ci95: Interval | None
    p_value: float | None
    paired: bool


def possible(interval: Interval | None) -> Interval | None:
    """The part of an accuracy's interval within 0 and 1: of a few figures it may leave them, which
    says no more than that part.
    """
    return None if interval is None else (max(0.0, interval[0]), min(1.0, interval[1]))


def less_printed(measured: SetsSummary, printed: float) -> tuple[float, Interval | None]:
    """The measured mean less a printed one, with the interval of the measured mean over sets.

    The printed value counts as exact: its deviation is over networks, and how many sets were behind
    it is not known.
    """
    interval = measured.shown_ci95_sets
    return measured.mean - printed, None if interval is None else (
        interval[0] - printed,
        interval[1] - printed,
    )


def summarise(accuracies: Sequence[float]) -> Summary:
    """Mean, standard deviation (n - 1) and 95 % t interval of one set's networks; raises
    OutOfRangeError if there are none.
    """
    if not accuracies:
        raise OutOfRangeError("no accuracies to summarise; wanted at least one")
    std = _std(accuracies)
    mean = float(np.mean(accuracies))
    error = None if std is None else std / math.sqrt(len(accuracies))
    return Summary(len(accuracies), mean, std, _interval(mean, error, len(accuracies) - 1))


def summarise_sets(sets: Sequence[Sequence[float]]) -> SetsSummary:
    """Mean of the sets' means, the deviation of each source, the 95 % t interval over sets; raises
    OutOfRangeError if one is empty.
    """
    over_sets = summarise([summarise(networks).mean for networks in sets])
    freedom = sum(len(networks) - 1 for networks in sets)
    squares = sum(
        float(np.sum((np.asarray(networks) - np.mean(networks)) ** 2)) for networks in sets
    )
    within = math.sqrt(squares / freedom) if freedom else None
    return SetsSummary(len(sets), over_sets.mean, over_sets.std, within, over_sets.ci95)


def compare(a: Mapping[Hashable, float], b: Mapping[Hashable, float]) -> Comparison:
    """The mean of ``a`` less that of ``b``, each a set's mean by its seed: paired where the seeds
    are the same, else Welch's test.
    """
    if not a or not b:
        raise OutOfRangeError("nothing to compare; wanted at least one set of each")
    if a.keys() == b.keys():
        return _paired([a[seed] - b[seed] for seed in a])
    return _welch(list(a.values()), list(b.values()))


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
        group = {left[0], *_ties(left[0], left[1:], scores)}
        found |= {name: rank for name in left if name in group}
        left = [name for name in left if name not in group]
    return {name: found[name] for name in scores}


def _ties(
    best: Key, others: Sequence[Key], scores: Mapping[Key, Mapping[Hashable, float]]
) -> list[Key]:
    p_values = {name: compare(scores[best], scores[name]).p_value for name in others}
    tested = {name: p_value for name, p_value in p_values.items() if p_value is not None}
    return [
        name
        for name, p_value in zip(tested, holm(list(tested.values())), strict=True)
        if p_value >= SIGNIFICANCE
    ]


def _paired(differences: Sequence[float]) -> Comparison:
    summary = summarise(differences)
    error = None if summary.std is None else summary.std / math.sqrt(len(differences))
    p_value = _two_sided(summary.mean, error, len(differences) - 1)
    return Comparison(summary.mean, summary.ci95, p_value, paired=True)


def _welch(a: Sequence[float], b: Sequence[float]) -> Comparison:
    difference = float(np.mean(a) - np.mean(b))
    std_a, std_b = _std(a), _std(b)
    if std_a is None or std_b is None:
        return Comparison(difference, None, None, paired=False)
    variance_a, variance_b = std_a**2 / len(a), std_b**2 / len(b)
    error = math.sqrt(variance_a + variance_b)
    if error < _NOTHING:
        freedom = float(len(a) + len(b) - 2)
    else:  # Welch and Satterthwaite, with the shares of the variance so that small ones do not vanish
        share_a, share_b = variance_a / error**2, variance_b / error**2
        freedom = 1 / (share_a**2 / (len(a) - 1) + share_b**2 / (len(b) - 1))
    return Comparison(
        difference,
        _interval(difference, error, freedom),
        _two_sided(difference, error, freedom),
        paired=False,
    )


def _std(values: Sequence[float]) -> float | None:
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def _interval(mean: float, error: float | None, freedom: float) -> Interval | None:
    if error is None:
        return None
    reach = error * float(stdtrit(freedom, (1 + _CONFIDENCE) / 2))
    return mean - reach, mean + reach


def _two_sided(difference: float, error: float | None, freedom: float) -> float | None:
    if error is None:
        return None
    if error < _NOTHING:
        return 1.0 if abs(difference) < _NOTHING else 0.0
    return 2 * float(stdtr(freedom, -abs(difference) / error))
