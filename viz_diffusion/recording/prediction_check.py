"""Checks of what a denoiser predicts, where nobody said it: a contradiction stops the recording.

Two things can be checked without knowing the loop. Where x_t is nearly all noise, a predicted noise is nearly x_t. And
where the next state follows from x_t and the prediction by DDIM's, DDPM's or Euler's update, the update shows what was
predicted. Knows nothing about hooks or files.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from viz_diffusion.diffusion.parameterizations import PREDICTION_TYPES, to_x0_and_eps
from viz_diffusion.diffusion.scaling import Float64, scales
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.recording.forward_pass import ForwardPass
from viz_diffusion.recording.step_grouper import RecordedStep
from viz_diffusion.recording.trajectory import Float32

NOISY = 0.05
"""Below this ᾱ at least 95% of the power of x_t is noise, for images of unit power."""
_LEAST_CORRELATION = 0.5
"""A predicted noise correlates with such an x_t by more than this."""
_MOST_LENGTH = 3.0
"""Its spread is at most this many times the noise's own, and at least its reciprocal."""
_FITS = 0.02
"""An update fits where its error is below this share of the step's length, or of its noise."""
_MISFITS = 0.2
"""An update does not fit where its error is above this share."""
_NUM_PAIRS = 10
"""About as many pairs of states are checked, spread over the steps."""
_NUM_VALUES = 64
"""Fewer values than these decide nothing."""


def choices() -> str:
    """Return how to say what is predicted, as the end of an error message."""
    return f"say what the denoiser predicts: Recorder(…, prediction_type=…), one of {', '.join(PREDICTION_TYPES)}"


def check_noisy_pass(one: ForwardPass, schedule: NoiseSchedule) -> None:
    """Refuse a prediction that cannot be the noise in an x_t that is nearly all noise.

    Raises
    ------
    VizdiffUsageError
        Where ᾱ is below :data:`NOISY`, and the answer hardly correlates with x_t or is much larger or smaller.
    """
    if not one.alphas_cumprod < NOISY or one.x.size < _NUM_VALUES:
        return
    x, prediction = (values.astype(np.float64).ravel() for values in (one.x, one.prediction))
    spreads = (float(x.std()), float(prediction.std()))
    correlation = float(np.corrcoef(x, prediction)[0, 1]) if min(spreads) > 0 else 0.0
    _, noise = scales(one.alphas_cumprod, schedule.scaling)
    length = float(noise) * spreads[1] / spreads[0] if spreads[0] else 0.0  # 1 where the answer is the noise
    if correlation > _LEAST_CORRELATION and 1 / _MOST_LENGTH < length < _MOST_LENGTH:
        return
    raise VizdiffUsageError(
        f"at t = {one.t:g} x_t is {1 - one.alphas_cumprod:.0%} noise, and the denoiser's answer is not that noise "
        f"(their correlation is {correlation:.2f}, the answer's spread {length:.2f} of the noise's): {choices()}; "
        "of an untrained network, epsilon is recorded as it is"
    )


def check_updates(steps: Sequence[RecordedStep], schedule: NoiseSchedule, guidance_scale: float | None) -> None:
    """Refuse predictions that the loop uses as something else than noise.

    Parameters
    ----------
    steps
        Consecutive steps of one sampling.
    schedule
        The forward process.
    guidance_scale
        s of the loop; where it is not known, guided steps decide nothing.

    Raises
    ------
    VizdiffUsageError
        Where the next states fit an update by another type of prediction, and none by noise.
    """
    votes: dict[str, int] = {}
    pairs = list(itertools.pairwise(steps))
    for step, following in pairs[:: max(1, len(pairs) // _NUM_PAIRS)]:
        prediction = _used(step, guidance_scale)
        if prediction is None or step.cond.x.size < _NUM_VALUES or np.array_equal(step.cond.x, following.cond.x):
            continue
        errors = _errors(step.cond, prediction, following.cond, schedule)
        best = min(errors, key=errors.__getitem__)
        others = min(error for kind, error in errors.items() if kind != best)
        if errors[best] < _FITS and (others if best == "epsilon" else errors["epsilon"]) > _MISFITS:
            votes[best] = votes.get(best, 0) + 1
    found = max(votes, key=votes.__getitem__, default="epsilon")
    if found != "epsilon" and votes[found] >= min(3, len(pairs)) and "epsilon" not in votes:
        raise VizdiffUsageError(
            f"the loop's next states follow from the denoiser's answers as {found}, not as epsilon (the default): "
            f"{choices()}"
        )


def _used(step: RecordedStep, guidance_scale: float | None) -> Float32 | None:
    """Return the prediction that the loop used, after guidance; None where that is not known."""
    if step.uncond is None:
        return step.cond.prediction
    if guidance_scale is None:
        return None
    difference = step.cond.prediction - step.uncond.prediction
    return step.uncond.prediction + np.float32(guidance_scale) * difference


def _errors(one: ForwardPass, prediction: Float32, following: ForwardPass, schedule: NoiseSchedule) -> dict[str, float]:
    """Return for each type of prediction how far the next state is from the nearest known update, as a share."""
    x, p, wanted = (values.astype(np.float64) for values in (one.x, prediction, following.x))
    here = scales(one.alphas_cumprod, schedule.scaling)
    after = scales(following.alphas_cumprod, schedule.scaling)
    errors = {}
    for kind in PREDICTION_TYPES:
        x0, eps = to_x0_and_eps(p, x, kind, *here)
        if not np.isfinite(x0).all():
            errors[kind] = np.inf
            continue
        errors[kind] = min(_error(x, x0, eps, wanted, one, following, here, after))
        clipped = x0.clip(-1, 1)
        implied = (x - here[0] * clipped) / here[1]
        errors[kind] = min(errors[kind], *_error(x, clipped, implied, wanted, one, following, here, after))
    return errors


def _error(
    x: Float64,
    x0: Float64,
    eps: Float64,
    wanted: Float64,
    one: ForwardPass,
    following: ForwardPass,
    here: tuple[Float64, Float64],
    after: tuple[Float64, Float64],
) -> tuple[float, float]:
    """Return the errors of DDIM's update (Euler's, in a flow), and of DDPM's, whose noise must have its variance."""
    straight = after[0] * x0 + after[1] * eps
    length = max(float(np.linalg.norm(wanted - x)), 1e-6 * float(np.linalg.norm(x)))
    ddim = float(np.linalg.norm(wanted - straight)) / length
    # DDPM between any two noise levels (Ho et al. 2020, eq. 7), in units of x_t / a
    power, power_after = (here[1] / here[0]) ** 2, (after[1] / after[0]) ** 2
    spread = np.sqrt(power_after * (1 - power_after / power))
    mean = x0 + power_after / power * (x / here[0] - x0)
    noise = (wanted / after[0] - mean) / max(float(spread), 1e-30)
    # β in place of β̃ makes the noise larger by √((1-ᾱ_t) / (1-ᾱ_{t-1}))
    rms = float(np.sqrt((noise**2).mean()))
    ratio = float(np.sqrt((1 - one.alphas_cumprod) / (1 - following.alphas_cumprod)))
    scatter = 4 / np.sqrt(2 * noise.size)  # four standard errors of an RMS
    is_noise = min(abs(rms - 1), abs(rms / ratio - 1)) < scatter and _explained(noise, x, x0) < 16 / noise.size
    return ddim, 0.0 if is_noise else np.inf


def _explained(noise: Float64, x: Float64, x0: Float64) -> float:
    """Return the share of the power of ``noise`` that x_t and x̂_0 explain: about 2/n for fresh noise of n values."""
    given = np.stack([x.ravel(), x0.ravel()], axis=1)
    left = noise.ravel() - given @ np.linalg.lstsq(given, noise.ravel(), rcond=None)[0]
    return 1 - float(left @ left) / max(float((noise**2).sum()), 1e-30)
