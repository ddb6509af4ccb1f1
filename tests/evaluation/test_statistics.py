"""Root mean squares by hand; rank correlations and the sign test against SciPy's."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest, spearmanr

from viz_diffusion.evaluation.statistics import pixel_rms, rank_correlation, sign_test


def test_root_mean_square_by_hand() -> None:
    images = np.zeros((2, 3, 1, 2, 2), dtype=np.float32)
    images[1, 2] = [[[3, -4], [0, 5]]]
    images[0, 1, 0, 1, 1] = 1
    assert pixel_rms(images).tolist() == [[0, 0.5, 0], [0, 0, np.sqrt(12.5)]]
    assert pixel_rms(images[1, 2]) == np.sqrt(12.5)
    colours = np.full((2, 3, 4, 5), 2.0)
    colours[1] = [[[1.0]], [[2.0]], [[3.0]]]
    assert pixel_rms(colours) == pytest.approx([2, np.sqrt(14 / 3)], rel=1e-15)


def test_root_mean_squares_are_float64_whatever_comes_in() -> None:
    tiny = np.full((1, 1, 28, 28), 1e-25, dtype=np.float32)  # whose squares float32 does not hold
    assert pixel_rms(tiny) == pytest.approx([1e-25], rel=1e-6)
    assert pixel_rms(tiny).dtype == np.float64
    assert pixel_rms(np.full((1, 1, 2, 2), 300, dtype=np.float16)) == 300


@pytest.mark.parametrize("values", [10**9, 5, 2])
def test_rank_correlations_are_scipys_row_by_row_ties_included(values: int, rng: np.random.Generator) -> None:
    rows, other = rng.integers(values, size=(20, 30)), rng.integers(values, size=30)
    found = rank_correlation(rows, other)
    assert found.shape == (20,)
    assert found == pytest.approx([spearmanr(row, other).statistic for row in rows], rel=1e-12, abs=1e-15)
    assert np.array_equal(rank_correlation(other, rows), found)
    assert float(rank_correlation(rows[3], other)) == found[3]


def test_a_monotone_relation_is_1_its_reverse_minus_1_and_no_order_0(rng: np.random.Generator) -> None:
    values = rng.standard_normal(15)
    assert rank_correlation(values, np.exp(3 * values)) == pytest.approx(1, rel=1e-15)
    assert rank_correlation(values, -(values**3)) == pytest.approx(-1, rel=1e-15)
    assert rank_correlation([values, np.ones(15)], values) == pytest.approx([1, 0])


@pytest.mark.parametrize(("first", "second"), [(14, 5), (5, 14), (0, 0), (3, 3), (16, 0), (1, 0), (250, 190)])
def test_the_sign_test_is_the_exact_one(first: int, second: int) -> None:
    expected = binomtest(first, first + second).pvalue if first + second else 1.0
    assert sign_test(first, second) == pytest.approx(expected)
