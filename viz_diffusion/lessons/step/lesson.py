"""Strike and dust: is a step only a subtraction?

Takes each recorded step apart, and holds DDIM's steps against its formula; asks a network only to record those.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.lessons.base import Claim, Lesson, LessonFigure, Rows, Series
from viz_diffusion.lessons.context import LessonContext
from viz_diffusion.lessons.step.figures import StepLedger, draw_ledger
from viz_diffusion.plots.lazy_figures import Figures
from viz_diffusion.recording.recorder import record_generation
from viz_diffusion.recording.trajectory import Trajectory
from viz_diffusion.text.catalogue import Texts
from viz_diffusion.views.frames import one_channel, pictures

SHARES_LEFT = (0.9, 0.5, 0.1)
"""Shares of the steps that are left where a step is drawn whole."""
DDIM_STEPS = 50
"""Steps of the second recording, by DDIM from the same noise."""
ROUNDING = 1e-3
"""What a step's end may be off in float32, as a share of the step."""
FARTHEST = 6.0
"""Standard errors that the spread of what a step throws on may be off from the formula's."""
SHARES_TOLD = (1.0, 0.9, 0.75, 0.5, 0.25, 0.1, 0.01)
"""Shares of the steps that are left in the table."""
PARTS = ("rescaled", "removed", "injected")


@dataclass(frozen=True, eq=False)
class StepParts:
    """Every recorded step as a sum: what is there after it = x_t + rescaled + removed + injected."""

    trajectory: Trajectory
    """The recording."""
    sample: int
    """Which image of it."""
    rescaled: NDArray[np.float32]
    """(S, C, H, W) float32: what enlarging the picture adds, (1/√α - 1) x_t."""
    removed: NDArray[np.float32]
    """(S, C, H, W) float32: what is taken away as predicted noise, a negative multiple of ε̂ (after clipping)."""
    injected: NDArray[np.float32]
    """(S, C, H, W) float32: the fresh noise; zero throughout where none is injected, and at the last step."""
    ddim_rest: NDArray[np.float64] | None = None
    """(D,) float64: for D steps of DDIM from the same noise, how far each ended from its formula without fresh
    noise, RMS per pixel over that of the change; None where no such steps were recorded."""


def measure(trajectory: Trajectory, sample: int = 0, *, implied: bool = True) -> StepParts:
    """Take each step apart (Ho et al. 2020, algorithm 2, line 4; Song et al. 2021, eq. 12).

    The mean of a step with fresh noise is recomputed from the recorded x̂_0; whatever the next state holds
    beyond it was injected. A step without has no such rest: all of it but the rescaling counts as removed.
    ``implied`` as of :func:`rest_without_noise`.
    """
    x_t, x_prev = _states(trajectory, sample)
    spaced = _spaced(trajectory)
    scale = (1 / np.sqrt(spaced.alphas[::-1])).astype(np.float32)[:, None, None, None]
    rescaled = (scale - 1) * x_t
    noisy = trajectory.variance or trajectory.eta
    mean = _mean(trajectory, spaced, sample, implied) if noisy else x_prev
    return StepParts(trajectory, sample, rescaled, mean - x_t - rescaled, x_prev - mean)


def measure_recording(trajectory: Trajectory) -> StepParts | None:
    """Take each step of another program's sampler apart, where the recording itself shows how it was made.

    That is so where every step ends where DDIM's formula without fresh noise says; or where what lies between the
    mean and the next state has the spread that DDPM's variance, or DDIM's η, demands of it, and the last step none.
    The RMS of D normal numbers is their spread, with the relative standard error 1/√(2D).

    Returns
    -------
    The parts, or None where neither holds: then nothing tells what was taken away from what was thrown on.
    """
    if np.any(np.diff(trajectory.alphas_cumprod) <= 0):
        return None
    plain = replace(trajectory, variance="", eta=0.0)
    if any(rest_without_noise(trajectory, implied=implied).max() < ROUNDING for implied in (False, True)):
        return measure(plain)
    spaced = _spaced(trajectory)
    variance = spaced.betas if trajectory.variance == "beta" else spaced.posterior_variance
    sigma = np.sqrt(variance[::-1]) * (1.0 if trajectory.variance else trajectory.eta)
    for implied in (False, True) if sigma.any() else ():
        parts = measure(trajectory, implied=implied)
        size = parts.injected[0].size
        spread, change = (_norms(part) / np.sqrt(size) for part in (parts.injected, parts.rescaled + parts.removed))
        off = np.abs(spread[:-1] / sigma[:-1] - 1) * np.sqrt(2 * size)
        if spread[-1] <= ROUNDING * change[-1] and np.all(off < FARTHEST):
            return parts
    return None


def _states(trajectory: Trajectory, sample: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return (S, C, H, W) the state before each step, and the one after it."""
    x = np.concatenate([trajectory.x_t[sample], trajectory.x0[sample][None]])
    return x[:-1], x[1:]


def _spaced(trajectory: Trajectory) -> NoiseSchedule:
    """Return the schedule of the visited steps alone, its index rising with t."""
    if trajectory.step_alphas_cumprod is None:
        return trajectory.schedule.respaced(trajectory.timesteps[::-1])
    shares = trajectory.alphas_cumprod[::-1]
    return NoiseSchedule(1 - shares / np.concatenate([[1.0], shares[:-1]]), trajectory.schedule.name)


def _mean(trajectory: Trajectory, spaced: NoiseSchedule, sample: int, implied: bool) -> NDArray[np.float32]:
    """Return (S, C, H, W) means of the next states, before the noise of DDPM or of DDIM with its η."""
    x_t, x0, eps = trajectory.x_t[sample], trajectory.x0_pred[sample], trajectory.eps_pred[sample]
    index = np.arange(trajectory.num_steps)[::-1]
    if trajectory.variance:
        return spaced.posterior_mean(x0, x_t, index)
    share = spaced.alphas_cumprod_prev[index]
    spread = np.sqrt(1 - share - trajectory.eta**2 * spaced.posterior_variance[index])
    signal, spread = (a.astype(np.float32)[:, None, None, None] for a in (np.sqrt(share), spread))
    return signal * x0 + spread * (spaced.predict_eps(x_t, x0, index) if implied else eps)


def rest_without_noise(recorded: Trajectory, sample: int = 0, *, implied: bool = True) -> NDArray[np.float64]:
    """Return (S,) how far each step ended from DDIM's formula with η = 0 (Song et al. 2021, eq. 12).

    As RMS over the pixels, divided by the RMS of the whole change: rounding alone is below 1e-4, fresh noise is not.
    ``implied``: whether the formula's noise is what the clipped x̂_0 implies, as here, or else the predicted one, as
    in the paper; without clipping both are the same.
    """
    x_t, x_prev = _states(recorded, sample)
    mean = _mean(replace(recorded, variance="", eta=0.0), _spaced(recorded), sample, implied)
    return _norms(x_prev - mean) / np.maximum(_norms(x_prev - x_t), 1e-12)


def draw(data: StepParts) -> Figures:
    """Draw ``ledger``: three steps taken apart."""
    rows = _rows_at(data, SHARES_LEFT)
    trajectory = data.trajectory
    x_t, x_prev = _states(trajectory, data.sample)
    parts = {name: getattr(data, name)[rows] for name in PARTS}
    ledger = StepLedger(
        steps_left=trajectory.steps_left[rows],
        timesteps=trajectory.timesteps[rows],
        x_t=pictures(x_t[rows]),
        **{name: one_channel(part) for name, part in parts.items()},
        x_prev=pictures(x_prev[rows]),
        norms=np.stack([_norms(part) for part in parts.values()], axis=1),
        stride=_stride(trajectory),
    )
    return Figures(ledger=lambda: draw_ledger(ledger))


def _stride(trajectory: Trajectory) -> int | None:
    """Return by how much every step lowers t, or None where steps differ or are not whole."""
    strides = set((trajectory.timesteps[:-1] - trajectory.timesteps[1:]).tolist())
    return int(strides.pop()) if len(strides) == 1 and float(min(strides)).is_integer() else None


def facts(data: StepParts) -> dict[str, Any]:
    """Return the numbers that captions and tables are filled with."""
    trajectory = data.trajectory
    told = _rows_at(data, SHARES_TOLD)
    norms = {name: _norms(getattr(data, name)) for name in PARTS}
    more = norms["injected"] > norms["removed"]
    # the pixel that the drawn middle step changes most
    shown = _rows_at(data, SHARES_LEFT)
    row = int(shown[len(shown) // 2])
    at = np.unravel_index(np.argmax(np.abs(data.injected[row] + data.removed[row])), data.removed[row].shape)
    before, after = (states[row] for states in _states(trajectory, data.sample))
    rest = None if data.ddim_rest is None else float(data.ddim_rest.max())
    terms = (before, data.rescaled[row], data.removed[row], data.injected[row], after)
    return {
        "shown_left": [int(n) for n in trajectory.steps_left[shown]],
        "told_left": [int(n) for n in trajectory.steps_left[told]],
        "told_t": trajectory.timesteps[told].tolist(),
        **{name: [float(v) for v in values[told]] for name, values in norms.items()},
        "injects_more": int(more.sum()),
        "num_steps_told": trajectory.num_steps,
        "is_ddpm": bool(trajectory.variance),
        "ddim_steps": 0 if data.ddim_rest is None else len(data.ddim_rest),
        "ddim_rest_max": rest,
        "ddim_rest_told": "–" if rest is None else f"{rest:.1e}" if rest else "0",
        "pixel_left": int(trajectory.steps_left[row]),
        "pixel_channel": int(at[0]),
        "pixel_y": int(at[1]),
        "pixel_x": int(at[2]),
        "pixel": [float(term[at]) for term in terms],
    }


def claims(data: StepParts) -> tuple[Claim, ...]:
    """Say whether DDPM throws on more than it takes away, and whether DDIM throws on nothing."""
    found = facts(data)
    answers = []
    if found["is_ddpm"]:
        share = found["injects_more"] / found["num_steps_told"]
        answers.append(Claim("injects_more", share > 0.5, {"share": share}))
    if data.ddim_rest is not None:
        answers.append(Claim("ddim_injects_nothing", found["ddim_rest_max"] < ROUNDING, {"rounding": ROUNDING}))
    return tuple(answers)


def rows(facts: dict[str, Any], _: Texts) -> Rows:
    """Lay out the norms of the parts."""
    names = ("told_left", "told_t", *PARTS)
    lines = (
        (str(left), f"{t:g}", *(f"{v:.2f}" for v in norms))
        for left, t, *norms in zip(*(facts[name] for name in names), strict=True)
    )
    return Rows(("left", "t", *PARTS), tuple(lines))


def series(data: StepParts) -> tuple[Series, ...]:
    """Return how large what was removed and what was injected are, at each step."""
    lines = {"removed": _norms(data.removed), "injected": _norms(data.injected)}
    return (Series("parts", data.trajectory.steps_left, lines),)


def _rows_at(data: StepParts, shares: tuple[float, ...]) -> NDArray[np.int64]:
    """Return the indices of the steps with these shares of all steps left, without repeats."""
    count = data.trajectory.num_steps
    left = np.unique(np.maximum(1, np.round(np.array(shares) * count)).astype(np.int64))[::-1]
    return count - left


def _norms(images: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the L2 norm of each image, over all channels."""
    return np.sqrt(np.square(images, dtype=np.float64).sum(axis=(1, 2, 3)))


def _measure(context: LessonContext) -> StepParts:
    labels = torch.tensor([context.digit], device=context.device)
    ddim = record_generation(
        context.model, context.schedule, labels, [context.seed], sampler="ddim", steps=DDIM_STEPS, guidance_scale=1.0
    )
    return replace(measure(context.trajectory, context.sample), ddim_rest=rest_without_noise(ddim))


LESSON = Lesson(
    name="step",
    position=40,
    measure=_measure,
    measure_recording=measure_recording,
    needs=frozenset({"recording"}),
    seconds=(1, 1),
    facts=facts,
    claims=claims,
    rows=rows,
    series=series,
    draw=draw,
    figures=(LessonFigure("ledger", in_exercise=True),),
)
