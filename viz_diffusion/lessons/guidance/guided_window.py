"""Guidance in a window of timesteps alone: whether it is enough there, and better than in as many other steps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from viz_diffusion.evaluation.intervals import paired_difference, surely
from viz_diffusion.lessons.base import Claim
from viz_diffusion.lessons.guidance.guidance_scales import NO_GUIDANCE, SCALES, STRONG, Guidance

Bools = NDArray[np.bool_]
Difference = tuple[float, float, float]


def window_claim(data: Guidance, right: Bools) -> Claim:
    """Decide whether guidance in the window keeps most of the gain, and is better than in as many other steps.

    It is better where it is surely more accurate than both other windows, and covers no fewer real digits than the
    more accurate of them; worse where that one is as accurate or more, and surely covers more.
    """
    plain, always = right[data.arm(NO_GUIDANCE)], right[data.arm(STRONG)]
    within, *others = right[len(SCALES) :]
    gain, missing = paired_difference(within, plain), paired_difference(always, within)
    # most is kept where more is gained than is missing; without a gain there is nothing to keep
    most = surely(gain[1] - missing[2], gain[2] - missing[1]) if paired_difference(always, plain)[1] > 0 else None
    leads = [paired_difference(within, other) for other in others]
    nearest = min(range(len(leads)), key=lambda place: leads[place][1])
    ahead, reach = leads[nearest], _reach(data, nearest)
    fewer = reach[2] < 0
    if most is False or surely(*ahead[1:]) is False or (ahead[0] <= 0 and fewer):
        holds: bool | None = False
    else:
        holds = True if most and surely(*ahead[1:]) and not fewer else None
    numbers = {"ahead": ahead[0], "low": ahead[1], "high": ahead[2]}
    numbers |= {"reach_ahead": reach[0], "reach_low": reach[1], "reach_high": reach[2]}
    return Claim("window", holds, {**_by_arm(data, right), **numbers})


def _reach(data: Guidance, other: int) -> Difference:
    """Return how many more real digits the window covers than another one, as a share, with its interval."""
    if data.covered is None:
        return 0.0, 0.0, 0.0
    within, *others = data.covered[len(SCALES) :]
    return paired_difference(within, others[other])


def _by_arm(data: Guidance, right: Bools) -> dict[str, float]:
    """Return accuracy, variance and recall of no guidance, guidance at every t, and the windows, by name."""
    arms = [data.arm(NO_GUIDANCE), data.arm(STRONG), *range(len(SCALES), len(right))]
    recall = np.zeros(len(arms)) if data.covered is None else data.covered[arms].mean(axis=1)
    varies = data.spread[arms].mean(axis=1) / data.spread_real
    return {
        f"{name}_{what}": float(value)
        for what, values in (("read", right[arms].mean(axis=1)), ("varies", varies), ("reach", recall))
        for name, value in zip(("plain", "always", "within", "before", "after"), values, strict=True)
    }
