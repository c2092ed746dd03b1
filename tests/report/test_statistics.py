"""Statistics against SciPy and against their definitions."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from dcbench.report.statistics.accuracies import (
    compare,
    holm,
    standings,
    summarise,
    summarise_sets,
)
from dcbench.system.errors import OutOfRangeError

counts = st.integers(0, 10_000)  # correct answers on a test set of ten thousand
fractions = counts.map(lambda count: count / 10_000)
probabilities = st.floats(0, 1, allow_nan=False)
relaxed = settings(deadline=None, max_examples=50)


def by_seed(means: Sequence[float], first: int = 0) -> dict[Hashable, float]:
    return dict(enumerate(means, first))


@relaxed
@given(st.lists(fractions, min_size=2, max_size=30))
def test_a_set_is_summarised_as_scipy_does(accuracies: list[float]) -> None:
    assume(len(set(accuracies)) > 1)
    summary = summarise(accuracies)
    low, high = stats.t.interval(
        0.95, len(accuracies) - 1, np.mean(accuracies), stats.sem(accuracies)
    )
    assert summary.networks == len(accuracies)
    assert summary.mean == pytest.approx(np.mean(accuracies))
    assert summary.std == pytest.approx(np.std(accuracies, ddof=1))
    assert summary.ci95 == pytest.approx((low, high))


def test_one_network_has_no_deviation_and_no_interval() -> None:
    summary = summarise([0.5])
    assert (summary.mean, summary.std, summary.ci95) == (0.5, None, None)


def test_nothing_cannot_be_summarised() -> None:
    with pytest.raises(OutOfRangeError):
        summarise([])
    with pytest.raises(OutOfRangeError):
        summarise_sets([])
    with pytest.raises(OutOfRangeError):
        compare({}, {0: 0.5})


@relaxed
@given(st.lists(st.lists(fractions, min_size=1, max_size=6), min_size=2, max_size=6))
def test_the_two_sources_of_variance_are_kept_apart(sets: list[list[float]]) -> None:
    summary = summarise_sets(sets)
    means = [sum(networks) / len(networks) for networks in sets]
    assert summary.sets == len(sets)
    assert summary.mean == pytest.approx(sum(means) / len(means))
    assert summary.std_sets == pytest.approx(np.std(means, ddof=1), abs=1e-12)
    squares = sum(
        (accuracy - mean) ** 2
        for networks, mean in zip(sets, means, strict=True)
        for accuracy in networks
    )
    freedom = sum(len(networks) for networks in sets) - len(sets)
    assert summary.std_networks == (
        pytest.approx(math.sqrt(squares / freedom), abs=1e-12) if freedom else None
    )


def test_a_set_counts_once_however_many_networks_it_has() -> None:
    assert summarise_sets([[0.2], [0.4] * 99]).mean == pytest.approx(0.3)


def test_one_set_says_nothing_about_sets() -> None:
    summary = summarise_sets([[0.4, 0.5, 0.6]])
    assert (summary.std_sets, summary.ci95_sets) == (None, None)
    assert summary.std_networks == pytest.approx(0.1)


@relaxed
@given(st.lists(st.tuples(fractions, fractions), min_size=3, max_size=10))
def test_the_same_seeds_are_compared_in_pairs(pairs: list[tuple[float, float]]) -> None:
    a, b = ([pair[side] for pair in pairs] for side in (0, 1))
    assume(np.std(np.subtract(a, b)) > 1e-6)
    found = compare(by_seed(a), dict([*by_seed(b).items()][::-1]))
    wanted = stats.ttest_rel(a, b)
    interval = wanted.confidence_interval(0.95)
    assert found.paired
    assert found.difference == pytest.approx(np.mean(a) - np.mean(b))
    assert found.p_value == pytest.approx(wanted.pvalue)
    assert found.ci95 == pytest.approx((interval.low, interval.high))


@relaxed
@given(st.lists(fractions, min_size=3, max_size=10), st.lists(fractions, min_size=3, max_size=10))
def test_other_seeds_are_compared_by_welchs_test(a: list[float], b: list[float]) -> None:
    assume(np.std(a) > 1e-6 and np.std(b) > 1e-6)
    found = compare(by_seed(a), by_seed(b, first=100))
    wanted = stats.ttest_ind(a, b, equal_var=False)
    interval = wanted.confidence_interval(0.95)
    assert not found.paired
    assert found.p_value == pytest.approx(wanted.pvalue)
    assert found.ci95 == pytest.approx((interval.low, interval.high))


@relaxed
@given(
    st.lists(fractions, min_size=1, max_size=6),
    st.lists(fractions, min_size=1, max_size=6),
    st.integers(0, 1),
)
def test_comparing_the_other_way_round_changes_the_sign_alone(
    a: list[float], b: list[float], first: int
) -> None:
    there, back = compare(by_seed(a), by_seed(b, first)), compare(by_seed(b, first), by_seed(a))
    assert there.difference == pytest.approx(-back.difference)
    assert there.p_value == (None if back.p_value is None else pytest.approx(back.p_value))
    assert there.p_value is None or 0 <= there.p_value <= 1


@pytest.mark.parametrize("first", [0, 7])
@pytest.mark.parametrize("count", [1, 2])
def test_fewer_than_three_sets_cannot_be_tested(count: int, first: int) -> None:
    found = compare(by_seed([0.5, 0.6][:count]), by_seed([0.4, 0.45][:count], first))
    assert found.difference == pytest.approx([0.1, 0.125][count - 1])
    assert (found.ci95, found.p_value) == (None, None)


@pytest.mark.parametrize("first", [0, 7])
def test_sets_without_any_spread_are_the_same_or_cannot_be_tested(first: int) -> None:
    same = compare(by_seed([0.3, 0.3, 0.3]), by_seed([0.3, 0.3, 0.3], first))
    other = compare(by_seed([0.4, 0.4, 0.4]), by_seed([0.3, 0.3, 0.3], first))
    assert same.p_value == 1
    assert (other.ci95, other.p_value) == (None, None)


def test_holm_on_a_worked_example() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []


@relaxed
@given(st.lists(probabilities, max_size=12), probabilities)
def test_holm_rejects_what_stepping_down_rejects(p_values: list[float], level: float) -> None:
    adjusted = holm(p_values)
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    rejected = set()
    for step, index in enumerate(order):
        if min(1.0, (len(p_values) - step) * p_values[index]) > level:
            break
        rejected.add(index)
    assert {index for index, p_value in enumerate(adjusted) if p_value <= level} == rejected
    assert all(1 >= after >= before for before, after in zip(p_values, adjusted, strict=True))


def places(scores: dict[str, dict[Hashable, float]]) -> dict[str, tuple[int, bool]]:
    """Rank, and whether no test tells from the best, of each method."""
    return {name: (own.rank, own.tied) for name, own in standings(scores).of.items()}


def test_ranks_follow_the_means_and_what_no_test_tells_from_the_best_is_marked() -> None:
    scores = {
        "worst": by_seed([0.100, 0.104, 0.098]),
        "second": by_seed([0.300, 0.304, 0.299]),
        "tied": by_seed([0.502, 0.495, 0.503]),
        "best": by_seed([0.500, 0.504, 0.499]),
    }
    assert places(scores) == {
        "worst": (4, False),
        "second": (3, False),
        "tied": (2, True),
        "best": (1, False),
    }


def test_holm_decides_over_marks() -> None:
    best = by_seed([0.50, 0.51, 0.52, 0.505])
    near = by_seed([0.49, 0.505, 0.507, 0.501])
    p_value = compare(best, near).p_value
    assert p_value is not None
    assert 0.025 < p_value < 0.05
    assert places({"best": best, "near": near})["near"] == (2, False)
    alike = by_seed([mean - 0.0001 for mean in near.values()])
    assert places({"best": best, "near": near, "alike": alike})["near"] == (2, True)


def test_nothing_is_tested_and_no_rank_interval_given_with_fewer_than_three_sets() -> None:
    few = standings(
        {"one": by_seed([0.5]), "two": by_seed([0.4999, 0.4998]), "many": by_seed([0.3, 0.31, 0.3])}
    )
    assert (few.tests, few.detectable) == (0, None)
    assert {name: (own.rank, own.interval) for name, own in few.of.items()} == {
        "one": (1, None),
        "two": (2, None),
        "many": (3, (3, 3)),
    }


def test_the_interval_of_a_rank_is_that_of_means_drawn_over_sets() -> None:
    """Two methods that sets hardly tell apart may change places; a third is far below."""
    near = {
        "a": by_seed([0.50, 0.51, 0.49]),
        "b": by_seed([0.495, 0.505, 0.488]),
        "far": by_seed([0.10, 0.11, 0.09]),
    }
    assert {name: own.interval for name, own in standings(near).of.items()} == {
        "a": (1, 2),
        "b": (1, 2),
        "far": (3, 3),
    }


@pytest.mark.parametrize("sets", [3, 5])
def test_the_detectable_difference_is_found_four_times_in_five(sets: int) -> None:
    """Simulated: pairs whose true difference is what the test is said to detect."""
    pairs = {0: 0.5, 1: 0.52, 2: 0.49, 3: 0.5, 4: 0.51}
    a: dict[Hashable, float] = {seed: pairs[seed] for seed in range(sets)}
    b: dict[Hashable, float] = {seed: pairs[seed] - 0.01 * (-1) ** seed for seed in range(sets)}
    found = compare(a, b)
    detectable = found.detectable(0.05)
    assert detectable is not None
    spread = found.error * math.sqrt(sets)
    drawn = np.random.RandomState(0).normal(detectable, spread, (20_000, sets))
    share = float(np.mean(np.asarray(stats.ttest_1samp(drawn, 0, axis=1).pvalue) < 0.05))
    assert share == pytest.approx(0.8, abs=0.01)
    assert (found.detectable(0.01) or 0) > detectable


def test_without_spread_there_is_no_detectable_difference() -> None:
    assert compare(by_seed([0.3] * 3), by_seed([0.2] * 3)).detectable() is None
    assert compare(by_seed([0.3]), by_seed([0.2])).detectable() is None


@relaxed
@given(
    st.dictionaries(
        st.text(max_size=3), st.lists(fractions, min_size=1, max_size=4), min_size=1, max_size=6
    )
)
def test_ranks_follow_the_means(sets: dict[str, list[float]]) -> None:
    scores = {name: by_seed(means) for name, means in sets.items()}
    found = standings(scores).of
    for name, own in found.items():
        higher = sum(np.mean(other) > np.mean(sets[name]) + 1e-12 for other in sets.values())
        assert own.rank == higher + 1
        assert own.interval is None or 1 <= own.interval[0] <= own.interval[1] <= len(sets)
        assert not (own.tied and len(sets[name]) < 3)
