"""Scores that set a method beside random images and beside the whole data: IOR, HLR, LRS and ARS,
after DD-Ranking (Li et al., 2025).

Accuracies are fractions, also in the exponent (DD-Ranking's code puts percent there, and takes the
best test epoch and the best of five rates on the test images; ours are last epochs at one rate).
Each score has an interval that carries the variance between sets and between networks.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from dcbench.report.statistics.accuracies import Interval, means_of

Sets = Mapping[Hashable, Sequence[float]]  # by a set's seed, its networks' accuracies

_CONFIDENCE = 0.95
LEAST, MOST = math.exp(-1), math.exp(1)


@dataclass(frozen=True)
class Score:
    """A figure with its 95 % interval; None where a source of variance was seen only once."""

    value: float
    ci95: Interval | None


@dataclass(frozen=True)
class Term:
    """One mean of a score: its factor, and the sets or networks that it is over."""

    factor: float
    values: Mapping[Hashable, float]


@dataclass(frozen=True)
class MethodScores:
    """The scores of one method at one budget; None where an accuracy is missing."""

    ior: Score | None
    hlr: Score | None
    lrs: Score | None
    ars: Score | None


@dataclass(frozen=True)
class ScoreInputs:
    """Accuracies that the scores of one method need, where they were measured.

    ``own`` and ``random`` are by the method's own protocol, ``hard`` by the same with classes as
    labels, ``plain`` and ``random_plain`` by the same without augmentation; ``whole`` are networks
    trained on the whole data.
    """

    own: Sets
    random: Sets | None = None
    hard: Sets | None = None
    whole: Sequence[float] | None = None
    plain: Sets | None = None
    random_plain: Sets | None = None


def combined(terms: Sequence[Term]) -> Score:
    """Σ factor · mean(values), with a t interval: variances of the means add up, their degrees of
    freedom as Welch and Satterthwaite have it.
    """
    value = sum(term.factor * float(np.mean(list(term.values.values()))) for term in terms)
    if any(len(term.values) < 2 for term in terms):
        return Score(value, None)
    parts = [
        (
            term.factor**2 * float(np.var(list(term.values.values()), ddof=1)) / len(term.values),
            len(term.values) - 1,
        )
        for term in terms
    ]
    variance = sum(part for part, _ in parts)
    if variance == 0:
        return Score(value, (value, value))
    freedom = variance**2 / sum(part**2 / degrees for part, degrees in parts)
    reach = math.sqrt(variance) * float(special.stdtrit(freedom, (1 + _CONFIDENCE) / 2))
    return Score(value, (value - reach, value + reach))


def normalised(score: Score) -> Score:
    """(e^α - e⁻¹) / (e - e⁻¹), which takes -1 to 0 and 1 to 1, of the value and of both ends."""

    def scaled(alpha: float) -> float:
        return (math.exp(alpha) - LEAST) / (MOST - LEAST)

    ends = score.ci95
    return Score(scaled(score.value), None if ends is None else (scaled(ends[0]), scaled(ends[1])))


def scores(judged: ScoreInputs, weight: float = 0.5) -> MethodScores:
    """All scores that the measured accuracies allow.

    * IOR = accuracy(own) - accuracy(random).
    * HLR = accuracy(whole) - accuracy(hard): what is lost against the whole data.
    * LRS = normalised(w·IOR - (1-w)·HLR).
    * ARS = normalised(w·IOR + (1-w)·IOR without augmentation).

    A method's own accuracies under two protocols are of the same sets, so they are added up set by
    set before variances are taken.
    """
    own, random = Term(1.0, means_of(judged.own)), _term(judged.random, -1.0)
    hard = _term(judged.hard, 1.0)
    whole = None if judged.whole is None else Term(-1.0, dict(enumerate(judged.whole)))
    ior = combined([own, random]) if random else None
    hlr = combined([_times(-1, hard), _times(-1, whole)]) if hard and whole else None
    lrs = ars = None
    if random and hard and whole:
        both = _same_sets(_times(weight, own), _times(1 - weight, hard))
        lrs = both and normalised(
            combined([*both, _times(weight, random), _times(1 - weight, whole)])
        )
    plain, random_plain = _term(judged.plain, 1.0), _term(judged.random_plain, -1.0)
    if random and plain and random_plain:
        ours = _same_sets(_times(weight, own), _times(1 - weight, plain))
        theirs = _same_sets(_times(weight, random), _times(1 - weight, random_plain))
        ars = ours and theirs and normalised(combined([*ours, *theirs]))
    return MethodScores(ior, hlr, lrs or None, ars or None)


def _term(sets: Sets | None, factor: float) -> Term | None:
    return Term(factor, means_of(sets)) if sets else None


def _times(factor: float, term: Term) -> Term:
    return Term(factor * term.factor, term.values)


def _same_sets(a: Term, b: Term) -> list[Term]:
    """The sum of two means over the sets that both know, as one mean; empty if there are none."""
    shared = [seed for seed in a.values if seed in b.values]
    summed = {seed: a.factor * a.values[seed] + b.factor * b.values[seed] for seed in shared}
    return [Term(1.0, summed)] if shared else []
