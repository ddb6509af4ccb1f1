"""Confidence intervals: published values, closed forms, and their coverage."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from viz_diffusion.evaluation.intervals import (
    Share,
    all_surely,
    half_of_mean,
    paired_difference,
    share_difference,
    surely,
    t_quantile,
)


def test_known_intervals() -> None:
    z2 = 1.959963984540054**2
    low, high = Share(95, 100).interval
    assert (round(low, 4), round(high, 4)) == (0.8882, 0.9785)
    assert Share(10, 10).interval == pytest.approx((10 / (10 + z2), 1), abs=1e-12)  # 0.7225
    assert Share(0, 10).interval == pytest.approx((0, z2 / (10 + z2)), abs=1e-12)  # 0.2775
    assert Share(0, 1).interval == pytest.approx((0, z2 / (1 + z2)), abs=1e-12)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (Share(56, 70), Share(48, 80), (0.0524, 0.3339)),
        (Share(9, 10), Share(3, 10), (0.1705, 0.8090)),
        (Share(5, 56), Share(0, 29), (-0.0381, 0.1926)),
        (Share(0, 10), Share(0, 20), (-0.1611, 0.2775)),
        (Share(10, 10), Share(0, 10), (0.6075, 1.0)),
    ],
)
def test_differences_of_shares_have_the_published_intervals(
    one: Share, other: Share, expected: tuple[float, float]
) -> None:
    """Newcombe 1998, table II, method 10."""
    assert share_difference(one, other) == pytest.approx(expected, abs=6e-5)


@pytest.mark.parametrize(("hits", "count"), [(1, 10), (5, 10), (95, 100), (999, 1000), (3, 7)])
def test_the_interval_ends_where_the_score_test_says_no(hits: int, count: int) -> None:
    """Its ends are the p at which (p̂ - p)² = z² p(1 - p)/n."""
    share, z2 = hits / count, 1.959963984540054**2
    ends = sorted(np.roots([1 + z2 / count, -2 * share - z2 / count, share**2]))
    assert Share(hits, count).interval == pytest.approx(tuple(ends), rel=1e-9)


def test_the_interval_covers_the_truth_95_times_in_100(rng: np.random.Generator) -> None:
    for truth in (0.1, 0.5, 0.97):
        hits = rng.binomial(200, truth, 4000)
        inside = [low <= truth <= high for low, high in (Share(int(hit), 200).interval for hit in hits)]
        # Wilson's coverage wavers within about 2 points of 95%, plus 5 standard errors of 4000 tries
        assert abs(np.mean(inside) - 0.95) < 0.02 + 5 * (0.95 * 0.05 / 4000) ** 0.5


def test_an_interval_of_a_paired_difference_holds_the_truth_as_often_as_it_says() -> None:
    """At small N, near all, and with tied pairs, where standard errors alone hold it too seldom."""
    rng = np.random.default_rng(0)
    cases = [(40, (0.9, 0.06, 0.02, 0.02)), (40, (0.4, 0.2, 0.1, 0.3)), (64, (0.95, 0.03, 0.01, 0.01))]
    held, naive = np.zeros((3, 2, 1500), dtype=bool), np.zeros((3, 2, 1500), dtype=bool)
    for case, (n, shares) in enumerate(cases):
        for row, factor in enumerate((1.0, 0.9)):
            truth = shares[0] + shares[1] - factor * (shares[0] + shares[2])
            for k, kinds in enumerate(rng.choice(4, (1500, n), p=shares)):
                first, second = kinds <= 1, (kinds == 0) | (kinds == 2)
                found, low, high = paired_difference(first, second, factor)
                held[case, row, k] = low <= truth <= high
                error = (first - factor * second).std(ddof=1) / np.sqrt(n)
                naive[case, row, k] = abs(found - truth) <= 1.96 * error
    assert held.mean(axis=2).min() > 0.935
    assert held.mean() < 0.985
    assert naive.mean(axis=2).min() < 0.9


def test_a_paired_difference_has_its_known_ends() -> None:
    first, second = np.arange(50) < 40, np.arange(50) % 2 == 0
    difference, low, high = paired_difference(first, second)
    assert difference == pytest.approx(0.3)
    assert paired_difference(second, first) == pytest.approx((-0.3, -high, -low))
    assert paired_difference(first, second, factor=0.0)[1:] == pytest.approx(Share(40, 50).interval)
    # all pairs agree: Wilson's ends, unequal pairs or not
    everyone = np.ones(64, dtype=bool)
    score = Share(64, 64).interval[0]
    assert paired_difference(everyone, everyone) == pytest.approx((0, score - 1, 1 - score))
    same = np.arange(64) < 32
    assert paired_difference(same, same)[1] < -0.01
    assert paired_difference(same, same)[2] > 0.01
    assert paired_difference(everyone, ~everyone)[1] > 0.9


def test_a_share_in_words() -> None:
    assert str(Share(95, 100)) == "95 of 100 (95.0%, 95% interval 88.8% to 97.8%)"


def test_a_mean_lies_within_half_its_interval_as_often_as_it_should(rng: np.random.Generator) -> None:
    draws = rng.exponential(1.0, (4000, 300))
    half = half_of_mean(draws, axis=1)
    assert half == pytest.approx(1.959964 * stats.sem(draws, axis=1), rel=1e-6)
    assert abs(np.mean(np.abs(draws.mean(axis=1) - 1) <= half) - 0.95) < 0.02


@pytest.mark.parametrize(("freedom", "tabled"), [(1, 12.706), (2, 4.303), (5, 2.571), (15, 2.131), (120, 1.980)])
def test_students_quantile_is_that_of_printed_tables(freedom: int, tabled: float) -> None:
    assert t_quantile(freedom) == pytest.approx(tabled, abs=5.1e-4)


@pytest.mark.parametrize(("ends", "answer"), [((0.1, 0.2), True), ((-0.2, 0.0), False), ((-0.1, 0.1), None)])
def test_sure_is_what_lies_on_one_side_of_0(ends: tuple[float, float], answer: bool | None) -> None:
    assert surely(*ends) is answer


def test_one_sure_no_decides_and_one_open_answer_leaves_all_open() -> None:
    assert all_surely([True, True]) is True
    assert all_surely([True, None, True]) is None
    assert all_surely([True, None, False]) is False
    assert all_surely(iter([None, None])) is None


def test_the_quantile_of_several_comparisons_is_that_of_a_smaller_error() -> None:
    assert t_quantile(10, 5) == pytest.approx(3.169, abs=5.1e-4)  # the 99.5% quantile
