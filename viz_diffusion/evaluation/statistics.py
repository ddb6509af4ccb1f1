"""Statistics that several measurements share: root mean square over pixels, Spearman's rank correlation, a sign test.

Arrays in, arrays out; knows nothing about networks or recordings.
"""

from __future__ import annotations

from math import comb
from typing import Any

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]


def pixel_rms(images: NDArray[np.floating[Any]]) -> Float64:
    """Return (...,) float64, the root mean square of (..., C, H, W) images over channels and pixels."""
    return np.sqrt(np.square(images, dtype=np.float64).mean(axis=(-3, -2, -1)))


def rank_correlation(a: NDArray[Any], b: NDArray[Any]) -> Float64:
    """Return (...,) float64, Spearman's rank correlation of (..., N) values with (..., N) others, row by row.

    Equal values share the mean of their ranks; where all values of a row are equal, the correlation is 0.
    """
    first, second = (_standardised(_ranks(np.asarray(values))) for values in (a, b))
    return np.vecdot(first, second)


def sign_test(first: int, second: int) -> float:
    """Return the two-sided p of the exact sign test: of paired outcomes, so many differ one way and the other way.

    Of paired yes-or-no outcomes it is McNemar's test (1947) in its exact form, for few outcomes that differ.
    """
    n, fewer = first + second, min(first, second)
    return min(1.0, 2 * sum(comb(n, k) for k in range(fewer + 1)) / 2**n)


def _ranks(values: NDArray[Any]) -> Float64:
    """Return (..., N) ranks from 1 as ``scipy.stats.rankdata`` gives them, without the time that it takes to load."""
    rows = values.reshape(-1, values.shape[-1])
    order = np.argsort(rows, axis=1, kind="stable")
    ordered = np.take_along_axis(rows, order, axis=1)
    begins = np.ones(rows.shape, dtype=bool)
    begins[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    starts = np.flatnonzero(begins)  # of runs of equal values, each within a row
    lengths = np.diff(np.append(starts, rows.size))
    shared = np.repeat(starts % rows.shape[1] + (lengths + 1) / 2, lengths)
    ranks = np.empty(rows.shape)
    np.put_along_axis(ranks, order, shared.reshape(rows.shape), axis=1)
    ranks[np.isnan(rows).any(axis=1)] = np.nan
    return ranks.reshape(values.shape)


def _standardised(values: Float64) -> Float64:
    """Return (..., N) values with mean 0 and norm 1; 0 where all of a row are equal."""
    centred = values - values.mean(axis=-1, keepdims=True)
    length = np.linalg.norm(centred, axis=-1, keepdims=True)
    return np.asarray(np.divide(centred, length, out=np.zeros_like(centred), where=length > 0))
