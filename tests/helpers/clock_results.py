"""Results of lesson ``clock`` as if they had been measured, and what it says of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from lesson_context import make_context, mute, outcomes, told_in_every_language
from numpy.typing import NDArray

from viz_diffusion.lessons.base import Finding
from viz_diffusion.lessons.clock import lesson as clock
from viz_diffusion.lessons.clock.arms import SampledArms
from viz_diffusion.lessons.clock.border_estimate import BORDER_TIMESTEPS
from viz_diffusion.lessons.clock.no_timestep import ClockStudy
from viz_diffusion.lessons.clock.wrong_timestep import WrongTimesteps
from viz_diffusion.training.run import Run

VERDICTS = {True: "Yes", False: "No", None: "Undecided"}
"""Of each outcome, the verdict: the first word of the answer."""


def planted(
    read: Any = (194, 20, 20, 20, 60, 20, 30),
    smoothed: Any = (193, 150, 20, 40, 180, 160, 175),
    correlation: Any = (1, 0.7, 0.3, 0.5, 0.9, 0.85, 0.9),
    samples: int = 200,
    loss: NDArray[np.float64] | None = None,
    time_error: float = 80,
) -> WrongTimesteps:
    """Return results as if they had been measured, alike for both samplers; of four arms where four are given."""
    count, rng = len(read), np.random.default_rng(0)
    timesteps = np.array(BORDER_TIMESTEPS)
    levels = np.array((0.02, 0.25, 0.5, 0.4, 0.2, 0.26, 0.21)[:count])[:, None]
    pixels = rng.uniform(-1, 1, (2, count, 10, 28, 28)).astype(np.float32)
    spread = 0.05 * rng.standard_normal((2, count, samples))
    return WrongTimesteps(
        levels * rng.uniform(0.5, 1.5, (count, 400)) if loss is None else loss,
        SampledArms(pixels, samples, np.array([read] * 2), np.array([smoothed[:count]] * 2)),
        np.array(correlation[:count])[None, :, None] + spread,
        np.full((2, samples - 10), 0.45),
        np.arange(784).reshape(1, 28, 28) < 67,
        timesteps,
        np.where(timesteps == 499, time_error, 1.0),
        np.zeros(len(timesteps)),
        np.geomspace(1, 500, 1000),
        1000,
    )


def answer_to(study: ClockStudy, name: str) -> str:
    """Return the English answer to a claim; that its verdict and its first word are those of the outcome is checked."""
    context = make_context(mute(), heldout=20)
    codes = clock.measure_embeddings(Run.bundled().load_model()[0])
    finding = Finding.of(clock.LESSON, replace(codes, study=study), full=False)
    told = told_in_every_language(finding, context)
    place = [claim.name for claim in finding.claims].index(name)
    found, answer = finding.claims[place], told["en"].answers[place]
    assert answer.verdict == VERDICTS[found.holds]
    assert answer.text.startswith(answer.verdict)
    assert len(told["zh"].answers) == len(finding.claims)
    return answer.text


def judged(study: ClockStudy) -> dict[str, bool | None]:
    """Return what the claims say, by name."""
    return outcomes(clock.LESSON, clock.Clock(None, 0.0, study))  # type: ignore[arg-type]  # claims do not read it
