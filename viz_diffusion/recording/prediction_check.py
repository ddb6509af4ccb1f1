"""Checks of what a denoiser predicts, where nobody said it: a contradiction stops the recording.

Two things can be checked without knowing the loop. Where x_t is nearly all noise, a predicted noise is nearly x_t. And
where the next state follows from x_t and the prediction by DDIM's, DDPM's or Euler's update, the update shows what was
predicted. Knows nothing about hooks or files.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from viz_diffusion.diffusion.parameterizations import PREDICTION_TYPES, to_x0_and_eps
from viz_diffusion.diffusion.scaling import SCALINGS, Float64, scales
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
_MOST_SPREAD = 1.5
"""An x_t that spreads by more than this many times its noise is not nearly all noise, whatever ᾱ says."""
_FITS = 0.02
"""An update fits where its error is below this share of the step's length, or of its noise."""
_FITS_EXACTLY = 1e-3
"""Below this share one update is enough: the first one of a multistep sampler, or the one that ends with x̂_0."""
_MISFITS = 0.2
"""An update does not fit where its error is above this share."""
_LIKELIER = 12.0
"""A type of prediction is far likelier than another where its log-likelihood is greater by this, in nats."""
_NUM_PAIRS = 10
"""About as many pairs of states are checked, spread over the steps."""
_NUM_VALUES = 64
"""Fewer values than these decide nothing."""


def choices() -> str:
    """Return how to say what is predicted, as the end of an error message."""
    return f"say what the denoiser predicts: Recorder(…, prediction_type=…), one of {', '.join(PREDICTION_TYPES)}"


def chosen_prediction_type(said: str | None, schedule: NoiseSchedule) -> str:
    """Return what the denoiser predicts; refuse what does not go with the schedule."""
    if not isinstance(schedule, NoiseSchedule):
        raise VizdiffUsageError(
            f"`schedule` must be a NoiseSchedule, such as NoiseSchedule(betas=…), found {type(schedule).__name__}"
        )
    flows = schedule.scaling == "flow"
    kind = said or ("flow" if flows else "epsilon")
    if kind not in PREDICTION_TYPES:
        raise VizdiffUsageError(f"`prediction_type` must be one of {', '.join(PREDICTION_TYPES)}, found {kind!r}")
    if kind == "flow" and not flows:
        raise VizdiffUsageError(
            f'`prediction_type` flow needs the schedule NoiseSchedule.named("flow"), found {schedule!r}'
        )
    if kind == "epsilon":
        schedule.require_signal()
    return kind


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
    x, prediction = x - x.mean(), prediction - prediction.mean()
    spreads = (float(np.sqrt(x @ x / x.size)), float(np.sqrt(prediction @ prediction / x.size)))
    correlation = float(x @ prediction) / (x.size * spreads[0] * spreads[1]) if min(spreads) > 0 else 0.0
    _, noise = scales(one.alphas_cumprod, schedule.scaling)
    if spreads[0] > _MOST_SPREAD * float(noise):
        return  # data of more than unit power show through the noise
    length = float(noise) * spreads[1] / spreads[0] if spreads[0] else 0.0  # 1 where the answer is the noise
    if correlation > _LEAST_CORRELATION and 1 / _MOST_LENGTH < length < _MOST_LENGTH:
        return
    raise VizdiffUsageError(
        f"at t = {one.t:g} x_t is {1 - one.alphas_cumprod:.0%} noise, and the denoiser's answer is not that noise "
        f"(their correlation is {correlation:.2f}, the answer's spread {length:.2f} of the noise's): {choices()}; "
        "for an untrained network, say epsilon"
    )


def check_updates(
    updates: Iterable[tuple[RecordedStep, ForwardPass]],
    schedule: NoiseSchedule,
    guidance_scale: float | None,
    assumed: str = "epsilon",
    velocity_sign: int = 1,
) -> None:
    """Refuse predictions that the loop uses as something else than was assumed.

    Parameters
    ----------
    updates
        Steps of one sampling, each with an evaluation whose state the loop made of it: the next step's, or a
        further one within the step.
    schedule
        The forward process.
    guidance_scale
        s of the loop; where it is not known, guided steps decide nothing.
    assumed
        The type of prediction that is recorded, because nobody said one: ``epsilon``, or ``flow`` with its schedule.
    velocity_sign
        -1 where the denoiser's answers were negated, so that as velocities they are ε - x_0; else 1.

    Raises
    ------
    VizdiffUsageError
        Where the states fit an update by another type of prediction, and none by the assumed one.
    """
    votes: dict[str, int] = {}
    fits: dict[tuple[str, bool, bool], _NoiseFit] = {}
    pairs = [
        (step.cond, prediction, following)
        for step, following in updates
        if (prediction := _used(step, guidance_scale)) is not None
        and step.cond.x.size >= _NUM_VALUES
        and step.cond.x.shape == following.x.shape
        and not np.array_equal(step.cond.x, following.x)
        and np.isfinite(prediction).all()
        and np.isfinite(following.x).all()
    ]
    pairs = pairs[:: max(1, len(pairs) // _NUM_PAIRS)]
    for one, prediction, following in pairs:
        tried = list(_updates(one, prediction, following, schedule, velocity_sign))
        best, error = _best_straight(tried, assumed)
        if best:
            votes[best] = votes.get(best, 0) + (3 if error < _FITS_EXACTLY else 1)
        for update in tried if following.alphas_cumprod < 1 else ():
            for beta in (True, False):
                fits.setdefault((update.kind, update.clipped, beta), _NoiseFit()).add(update, beta)
    found = max(votes, key=votes.__getitem__, default="")
    if not found or votes[found] < min(3, len(pairs)) or assumed in votes:
        found = "flow" if _is_euler(pairs, schedule) else _best_noise(fits, assumed)
    if found not in ("", assumed):
        raise VizdiffUsageError(
            f"the loop's next states follow from the denoiser's answers as {found}, not as {assumed} (the default): "
            f"{choices()}"
        )


def check_ending(
    last: RecordedStep, x0: Float32 | None, schedule: NoiseSchedule, scale: float | None, kind: str, velocity_sign: int
) -> None:
    """Refuse a last prediction that the finished images follow from as something else: most loops end with x̂_0.

    Raises
    ------
    VizdiffUsageError
        As of :func:`check_updates`.
    """
    if x0 is not None:
        finished = ForwardPass(-1, x0, x0, last.cond.labels, alphas_cumprod=1.0)
        check_updates([(last, finished)], schedule, scale, kind, velocity_sign)


def _used(step: RecordedStep, guidance_scale: float | None) -> Float32 | None:
    """Return the prediction that the loop used, after guidance; None where that is not known."""
    if step.uncond is None:
        return step.cond.prediction
    if guidance_scale is None:
        return None
    difference = step.cond.prediction - step.uncond.prediction
    return step.uncond.prediction + np.float32(guidance_scale) * difference


@dataclass(frozen=True, eq=False)
class _Update:
    """What known samplers make of a state, where the prediction is of one type."""

    kind: str
    clipped: bool
    straight: float
    """Error of DDIM's next state (of Euler's, in a flow), as a share of the step's length."""
    difference: Float64
    """The next state less DDPM's mean (Ho et al. 2020, eq. 7), both divided by a."""
    spreads: tuple[float, float]
    """√β̃ and √β, divided by a."""
    explained: float
    """The share of the power of ``difference`` that x_t and x̂_0 explain."""


class _NoiseFit:
    """How well differences from DDPM's mean are fresh noise, over several steps."""

    def __init__(self) -> None:
        self.count, self.squares, self.log_likelihood = 0, 0.0, 0.0
        self.steps, self.explained = 0, 0.0  # about χ² with two degrees of freedom a step, for fresh noise

    def add(self, update: _Update, beta: bool) -> None:
        spread = max(update.spreads[beta], 1e-30)
        squares = float(((update.difference / spread) ** 2).sum())
        self.count += update.difference.size
        self.steps += 1
        self.explained += update.difference.size * update.explained
        self.squares += squares
        self.log_likelihood -= squares / 2 + update.difference.size * np.log(spread)

    @property
    def fits(self) -> bool:
        """Whether the RMS is 1 within four standard errors, and x_t and x̂_0 explain no more of it than of noise."""
        scatter = abs(np.sqrt(self.squares / self.count) - 1) * np.sqrt(2 * self.count)
        return bool(scatter < 4 and self.explained < 2 * self.steps + 10 * np.sqrt(self.steps))


def _best_straight(updates: Sequence[_Update], assumed: str) -> tuple[str, float]:
    """Return the type by which the next state is DDIM's, where one fits and the assumed does not, or the contrary.

    With it goes its error, as a share of the step's length.
    """
    errors: dict[str, float] = {}
    for update in updates:
        errors[update.kind] = min(update.straight, errors.get(update.kind, np.inf))
    if assumed not in errors:
        return "", np.inf
    best = min(errors, key=errors.__getitem__)
    others = min(error for kind, error in errors.items() if kind != best)
    clear = errors[best] < _FITS and (others if best == assumed else errors[assumed]) > _MISFITS
    return (best if clear else ""), errors[best]


def _best_noise(fits: Mapping[tuple[str, bool, bool], _NoiseFit], assumed: str) -> str:
    """Return the type by which the next states are DDPM's, where it is far likelier than the assumed; else nothing."""
    fitting = {key: fit.log_likelihood for key, fit in fits.items() if fit.fits}
    if not fitting:
        return ""
    best = max(fitting, key=fitting.__getitem__)
    as_assumed = max((fit.log_likelihood for key, fit in fits.items() if key[0] == assumed), default=np.inf)
    return best[0] if fitting[best] - as_assumed > _LIKELIER else ""


def _updates(
    one: ForwardPass, prediction: Float32, following: ForwardPass, schedule: NoiseSchedule, velocity_sign: int
) -> Iterator[_Update]:
    """Yield the updates of each type of prediction, without and with clipping."""
    x, p, wanted = (values.astype(np.float64) for values in (one.x, prediction, following.x))
    a, b = scales(one.alphas_cumprod, schedule.scaling)
    if not b:
        return  # an evaluation of the data
    a_next, b_next = scales(following.alphas_cumprod, schedule.scaling)
    power, power_next = (b / a) ** 2 if a else np.inf, (b_next / a_next) ** 2
    posterior = float(np.sqrt(power_next * (1 - power_next / power)))
    ratio = float(np.sqrt((1 - one.alphas_cumprod) / max(1 - following.alphas_cumprod, 1e-30)))
    length = max(float(np.linalg.norm(wanted - x)), 1e-6 * float(np.linalg.norm(x)))
    flows = schedule.scaling == "flow"
    for kind in PREDICTION_TYPES if flows else PREDICTION_TYPES[:-1]:
        raw, noise = to_x0_and_eps(p if kind == "flow" else velocity_sign * p, x, kind, a, b)
        if not np.isfinite(raw).all() or not a:
            continue
        for clipped in (False, True):
            x0 = raw.clip(-1, 1) if clipped else raw
            eps = (x - a * x0) / b if clipped else noise
            straight = float(np.linalg.norm(wanted - a_next * x0 - b_next * eps)) / length
            mean = x0 + power_next / power * (x / a - x0)
            difference = wanted / a_next - mean
            spreads = (posterior, posterior * ratio)
            yield _Update(kind, clipped, straight, difference, spreads, _explained(difference, x, x0))


def _explained(difference: Float64, x: Float64, x0: Float64) -> float:
    """Return the share of the power of a difference that x_t and x̂_0 explain: about 2/n for fresh noise of n values."""
    wanted, first, second = (values.ravel() for values in (difference, x, x0))
    second = second - first * (float(first @ second) / max(float(first @ first), 1e-300))  # what x0 adds to x_t
    power = float(second @ second)
    left = wanted - first * (float(first @ wanted) / max(float(first @ first), 1e-300))
    if power > 1e-20 * float(x0.ravel() @ x0.ravel()):
        left = left - second * (float(second @ left) / power)
    return 1 - float(left @ left) / max(float(wanted @ wanted), 1e-30)


def _is_euler(pairs: Sequence[tuple[ForwardPass, Float32, ForwardPass]], schedule: NoiseSchedule) -> bool:
    """Return whether each next state is x_t less the answer times the time that passes, as in flow matching."""
    if not pairs or schedule.scaling != SCALINGS[0] or pairs[-1][2].t < 0:
        return False
    for one, prediction, following in pairs:
        passed = (one.t - following.t) / schedule.num_train_timesteps
        step = one.x.astype(np.float64) - following.x
        if float(np.linalg.norm(step - passed * prediction)) > 0.05 * float(np.linalg.norm(step)):
            return False
    return True
