"""Checks of the states of a sampling: what is no state of it, though it was passed as one, stops the recording.

Knows nothing about hooks or files.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from viz_diffusion.diffusion.scaling import scales
from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.recording.forward_pass import ForwardPass
from viz_diffusion.recording.guidance_halves import Halves, answers_agree, rows
from viz_diffusion.recording.trajectory import Float32


def check_next_state(before: ForwardPass, now: ForwardPass) -> None:
    """Refuse a batch that holds images several times, and channels that are no state.

    Parameters
    ----------
    before, now
        The first two steps of a sampling; of guidance that was recognised, the conditional halves.

    Raises
    ------
    VizdiffUsageError
        Where x is the same at both though another argument changed, two images share their states at both steps though
        the denoiser answered differently, or some of the channels, but not all, are the same at both.
    """
    _require_new_x(before, now)
    if _is_affine(before.x, now.x):
        return  # the loop makes no use of the predictions
    twins = _twins(now)
    if any(
        np.array_equal(before.x[i], before.x[k]) and not answers_agree(*(rows(before, np.array([n])) for n in (i, k)))
        for i, k in twins
    ):
        raise VizdiffUsageError(
            f"two images of the batch have the same states at t = {before.t:g} and t = {now.t:g}, and different "
            "predictions: they are one image under guidance; say which label stands for none: Recorder(…, "
            "null_label=…), or which half comes first: Recorder(…, guidance_order=…); of more than two conditions, "
            "record an nn.Module whose forward mixes them"
        )
    same = [c for c in range(now.x.shape[1]) if np.array_equal(before.x[:, c], now.x[:, c])]
    if same:
        raise VizdiffUsageError(
            f"channels {', '.join(map(str, same))} of x are the same at t = {before.t:g} and t = {now.t:g}: they are a "
            "condition, no state; say which channels are the state: Recorder(…, state_channels=slice(first, last + 1))"
        )


def _require_new_x(before: ForwardPass, now: ForwardPass) -> None:
    """Refuse an x that the step left as it was, where the answer moves it and another argument changed."""
    if not np.array_equal(before.x, now.x):
        return
    answer = before.prediction
    if not answer.any() or np.array_equal(answer, before.x):  # a velocity of 0, or an x̂_0 that is x_t
        return
    changed = [
        name
        for name, values in before.conditions.items()
        if name in now.conditions and not np.array_equal(values, now.conditions[name])
    ]
    if changed:
        raise VizdiffUsageError(
            f"what was taken for x is the same at t = {before.t:g} and t = {now.t:g}, and {', '.join(changed)} "
            'changed: say which argument is the noisy state: Recorder(…, arguments={"x": …})'
        )


def check_scale(one: ForwardPass, scaling: str) -> None:
    """Refuse an x_t that was divided by what the noise has grown to, as networks inside a preconditioner get it.

    Raises
    ------
    VizdiffUsageError
        Where the variance explodes, and x_t at a σ above 3 spreads by less than a third of it.
    """
    if scaling != "variance_exploding":
        return
    power = 1 / one.alphas_cumprod - 1  # σ², about
    flat = one.x.ravel()
    if power < 8.99 or float(flat.dot(flat)) > 0.12 * power * flat.size:
        return  # clearly large enough, in float32
    noise = float(scales(one.alphas_cumprod, scaling)[1])
    if noise <= 3:
        return
    spread = float(np.sqrt(np.mean(np.square(one.x, dtype=np.float64))))
    if spread < noise / 3:
        raise VizdiffUsageError(
            f"at σ = {noise:.4g} the x that the denoiser was given has a root mean square of {spread:.3g}: it was "
            "scaled before; record the module around the denoiser that is called with x and σ themselves"
        )


def check_one_by_one(units: Sequence[Halves], scaling: str) -> None:
    """Refuse evaluations at one timestep that are no images of a batch, because their noise is not independent.

    Two images of independent noise differ by at least √2 times its level. States that differ by less follow from each
    other, as in a corrector or in annealed Langevin sampling.

    Raises
    ------
    VizdiffUsageError
        Where consecutive states do.
    """
    passes = [unit.cond for unit in units]
    noise = float(scales(passes[0].alphas_cumprod, scaling)[1])
    for one, other in itertools.pairwise(passes):
        if one.x.shape != other.x.shape or one.x.size < 16:
            continue
        apart = float(np.sqrt(np.mean(np.square(one.x - other.x, dtype=np.float64))))
        if 0 < apart < noise:
            raise _not_one_by_one(units)


class ChainCheck:
    """Tells images that a loop takes one by one from the states of one image that it resamples, as RePaint does.

    The state of an image follows from its own state at the timestep before, resampled states from the evaluation just
    before. Each state is fitted by least squares to x_t and the predictions of both, and the log-likelihood ratio of
    the fits is added up, less what fits to mere noise may differ by.
    """

    _ENOUGH = 12.0
    _LEEWAY = 3.0  # for each state; the difference of two fits to noise by three numbers spreads by 1.7

    def __init__(self) -> None:
        self._before: Sequence[Halves] = ()
        self._resampled = 0.0

    def add(self, units: Sequence[Halves]) -> None:
        """Add the evaluations at the next timestep.

        Raises
        ------
        VizdiffUsageError
            Where the states so far are resampled.
        """
        before, self._before = self._before, units
        if len(units) < 2 or len(before) != len(units) or self._resampled < -10 * self._ENOUGH:
            return
        for unit, own, chained in zip(units, before, [before[-1], *units], strict=False):
            if own.cond.x.shape == unit.cond.x.shape == chained.cond.x.shape:
                ratio = np.log(_unexplained(unit.cond.x, own) / _unexplained(unit.cond.x, chained))
                self._resampled += unit.cond.x.size / 2 * float(ratio) - self._LEEWAY
        if self._resampled > self._ENOUGH:
            raise _not_one_by_one(units)


def _unexplained(states: Float32, unit: Halves) -> float:
    """Return the share of the states' variance that an evaluation's x and predictions leave, at least 1e-12."""
    causes = [unit.cond.x, unit.cond.prediction, *([] if unit.uncond is None else [unit.uncond.prediction])]
    columns = np.stack([np.ones(states.size), *(one.ravel().astype(np.float64) for one in causes)], axis=1)
    target = states.ravel().astype(np.float64)
    if not (np.isfinite(columns).all() and np.isfinite(target).all()):
        return 1.0
    fit = columns @ np.linalg.lstsq(columns, target, rcond=None)[0]
    total = float(np.square(target - target.mean()).sum())
    return max(float(np.square(target - fit).sum()) / total, 1e-12) if total else 1.0


def _not_one_by_one(units: Sequence[Halves]) -> VizdiffUsageError:
    return VizdiffUsageError(
        f"t = {units[0].cond.t:g} was evaluated {len(units)} times, at states that follow from each other (a "
        "corrector, Langevin steps or the resampling of RePaint); say how many evaluations a step has, of "
        f"which the first is the step's own: Recorder(…, evaluations_per_step={len(units)})"
    )


def _is_affine(before: Float32, now: Float32) -> bool:
    """Return whether states are the states before, times a number, plus another."""
    centred = [values - values.mean() for values in (before.astype(np.float64), now.astype(np.float64))]
    norms = [float(np.linalg.norm(values)) for values in centred]
    return min(norms) == 0 or 1 - abs(float((centred[0] * centred[1]).sum())) / (norms[0] * norms[1]) < 1e-10


def _twins(one: ForwardPass) -> list[tuple[int, int]]:
    """Return pairs of images with the same state."""
    first: dict[bytes, int] = {}
    found = []
    for number, state in enumerate(one.x):
        earlier = first.setdefault(state.tobytes(), number)
        if earlier != number:
            found.append((earlier, number))
    return found
