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
            raise VizdiffUsageError(
                f"t = {one.t:g} was evaluated {len(passes)} times, at states that follow from each other (a corrector "
                "or Langevin steps); say how many evaluations a step has, of which the first is the step's own: "
                f"Recorder(…, evaluations_per_step={len(passes)})"
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
