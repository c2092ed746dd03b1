"""Rank statistics against SciPy and against hand-made rankings."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from dcbench.report.statistics.rankings import (
    Estimate,
    kendall,
    rank_statistics,
    spearman,
    spearman_difference,
    top_members,
)
from dcbench.system.errors import OutOfRangeError

TRUTH = [
    round(0.3 + 0.6 * value, 6)
    for value in np.random.RandomState(0).permutation(np.linspace(0, 1, 100)).tolist()
]
few_values = st.lists(st.sampled_from([0.1, 0.2, 0.3, 0.4]), min_size=3, max_size=12)


def test_a_perfect_proxy_gives_exactly_one() -> None:
    found = rank_statistics([0.5 * accuracy for accuracy in TRUTH], TRUTH)
    for estimate in (found.spearman, found.kendall, found.spearman_top, found.kendall_top):
        assert estimate.value == 1.0
        assert estimate.ci95 == (1.0, 1.0)
    assert (found.architectures, found.top_architectures) == (100, 20)
    assert (found.top1_accuracy, found.regret) == (max(TRUTH), 0.0)
    assert found.top10_accuracy == pytest.approx(np.mean(sorted(TRUTH)[-10:]))
    assert found.top10_regret == 0.0


def test_shuffled_proxies_give_intervals_around_nothing() -> None:
    """95 % intervals: of twenty shuffles, one or two may miss."""
    around = 0
    for seed in range(20):
        found = rank_statistics(
            np.random.RandomState(seed).permutation(TRUTH).tolist(), TRUTH, resamples=100
        )
        assert found.spearman.ci95 is not None
        assert found.regret is not None
        assert found.regret >= 0
        around += found.spearman.ci95[0] < 0 < found.spearman.ci95[1]
    assert around >= 17


def test_a_reversed_proxy_gives_minus_one_and_the_largest_regret() -> None:
    found = rank_statistics([-accuracy for accuracy in TRUTH], TRUTH, resamples=50)
    assert found.spearman.value == found.kendall.value == -1.0
    assert found.regret == pytest.approx(max(TRUTH) - min(TRUTH))


@settings(deadline=None, max_examples=60)
@given(few_values)
def test_ties_are_counted_as_scipy_counts_them(values: list[float]) -> None:
    others = values[::-1]
    if len(set(values)) == 1:
        assert spearman(values, others) is None
        assert kendall(values, others) is None
        return
    assert spearman(values, others) == pytest.approx(stats.spearmanr(values, others).statistic)
    assert kendall(values, others) == pytest.approx(stats.kendalltau(values, others).statistic)


def test_the_interval_is_the_plain_bootstrap() -> None:
    """Resample architectures with SciPy's own correlation, one at a time: the fast rows must give
    the same quantiles.
    """
    random = np.random.RandomState(3)
    proxy = [
        round(accuracy + noise, 2)
        for accuracy, noise in zip(TRUTH, random.normal(0, 0.1, 100), strict=True)
    ]
    places = np.random.RandomState(7).randint(0, 100, size=(200, 100))
    slow = {name: [] for name in ("spearman", "kendall")}  # type: dict[str, list[float]]
    for row in places:
        a, b = np.array(proxy)[row], np.array(TRUTH)[row]
        slow["spearman"].append(stats.spearmanr(a, b).statistic)
        slow["kendall"].append(stats.kendalltau(a, b).statistic)
    found = rank_statistics(proxy, TRUTH, resamples=200, seed=7)
    assert found.spearman.ci95 == pytest.approx(np.percentile(slow["spearman"], [2.5, 97.5]))
    assert found.kendall.ci95 == pytest.approx(np.percentile(slow["kendall"], [2.5, 97.5]))


def test_differences_are_paired() -> None:
    """Two proxies that err alike differ by nothing for certain, though each correlation is
    uncertain.
    """
    noisy = [
        accuracy + noise
        for accuracy, noise in zip(TRUTH, np.random.RandomState(5).normal(0, 0.3, 100), strict=True)
    ]
    alone = rank_statistics(noisy, TRUTH, resamples=200).spearman.ci95
    assert alone is not None
    assert alone[1] - alone[0] > 0.1
    twin = spearman_difference(noisy, [2 * value for value in noisy], TRUTH)
    assert (twin.value, twin.ci95) == (0.0, (0.0, 0.0))
    better = spearman_difference(TRUTH, noisy, TRUTH)
    assert better.value is not None
    assert better.ci95 is not None
    assert better.value > 0
    assert better.ci95[0] > 0


def test_under_ten_architectures_the_top_has_no_correlation() -> None:
    # 20 % of 45 are 9
    assert rank_statistics(TRUTH[:45], TRUTH[:45], resamples=50).spearman_top.value is None
    assert rank_statistics(TRUTH[:46], TRUTH[:46], resamples=50).spearman_top.value == 1.0
    few = rank_statistics(TRUTH[:9], TRUTH[:9], resamples=50)
    assert (few.spearman.value, few.top10_accuracy, few.top10_regret) == (1.0, None, None)


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_next_to_nothing_gives_no_figure_rather_than_nan(count: int) -> None:
    for found in (
        rank_statistics(TRUTH[:count], TRUTH[:count], resamples=50),
        rank_statistics([0.1] * count, TRUTH[:count]),
    ):
        values = [found.spearman.value, found.kendall.value, found.top1_accuracy, found.regret]
        assert all(value is None or math.isfinite(value) for value in values)
    assert rank_statistics([0.1] * count, TRUTH[:count]).spearman.value is None


def test_a_constant_proxy_has_no_correlation_and_the_mean_as_its_best() -> None:
    found = rank_statistics([0.1] * 60, TRUTH[:60])
    assert found.spearman == found.kendall == found.spearman_top
    assert found.spearman == Estimate(None, None)
    assert found.top1_accuracy == pytest.approx(np.mean(TRUTH[:60]))
    assert found.top10_accuracy == pytest.approx(np.mean(TRUTH[:60]))


def test_ties_for_the_last_places_are_shared() -> None:
    proxy = [0.9] * 8 + [0.5] * 4 + [0.1] * 8
    truth = [float(place) / 20 for place in range(20)]
    assert rank_statistics(proxy, truth).top10_accuracy == pytest.approx(
        (sum(truth[:8]) + 2 * np.mean(truth[8:12])) / 10
    )


def test_the_top_share_is_the_papers() -> None:
    truth = np.random.RandomState(2).rand(720).tolist()
    assert len(top_members(truth, 0.2)) == 144
    assert min(truth[place] for place in top_members(truth, 0.2)) > sorted(truth)[575]
    assert top_members([0.5, 0.5, 0.5], 0.5) == [0, 1]


def test_wrong_words_are_refused() -> None:
    with pytest.raises(OutOfRangeError, match="2 accuracies on the proxy, but 3 truths"):
        rank_statistics(TRUTH[:2], TRUTH[:3])
    with pytest.raises(OutOfRangeError, match=r"got 1\.5"):
        rank_statistics(TRUTH, TRUTH, top=1.5)
