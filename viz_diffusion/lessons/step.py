"""Strike and dust: is a step only a subtraction?

Takes each recorded step apart, and holds DDIM's steps against its formula; asks a network only to record those.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from viz_diffusion.catalogue import Texts
from viz_diffusion.lessons.lesson import Claim, Lesson, Rows, Series
from viz_diffusion.lessons.material import Material
from viz_diffusion.plots.figures import Figures
from viz_diffusion.plots.ledger import StepLedger, draw_ledger
from viz_diffusion.record import record_generation
from viz_diffusion.schedule import NoiseSchedule
from viz_diffusion.trajectory import Trajectory

SHARES_LEFT = (0.9, 0.5, 0.1)
"""Shares of the steps that are left where a step is drawn whole."""
DDIM_STEPS = 50
"""Steps of the second recording, by DDIM from the same noise."""
ROUNDING = 1e-3
"""What a step's end may be off in float32, as a share of the step."""
SHARES_TOLD = (1.0, 0.9, 0.75, 0.5, 0.25, 0.1, 0.01)
"""Shares of the steps that are left in the table."""


@dataclass(frozen=True, eq=False)
class StepParts:
    """Every recorded step as a sum: x_{t-1} = x_t + rescaled + removed + injected."""

    trajectory: Trajectory
    """The recording."""
    sample: int
    """Which image of it."""
    rescaled: NDArray[np.float32]
    """(S, H, W) float32: what enlarging the picture adds, (1/√α - 1) x_t."""
    removed: NDArray[np.float32]
    """(S, H, W) float32: what is taken away as predicted noise, a negative multiple of ε̂ (after clipping)."""
    injected: NDArray[np.float32]
    """(S, H, W) float32: the fresh noise; zero throughout where none is injected, and at the last step."""
    ddim_rest: NDArray[np.float64] | None = None
    """(D,) float64: for D steps of DDIM from the same noise, how far each ended from its formula without fresh
    noise, RMS per pixel over that of the change; None where no such steps were recorded."""


def measure(trajectory: Trajectory, sample: int = 0) -> StepParts:
    """Take each step apart (Ho et al. 2020, algorithm 2, line 4; Song et al. 2021, eq. 12).

    The mean of a step with fresh noise is recomputed from the recorded x̂_0; whatever the next state holds
    beyond it was injected. A step without has no such rest: all of it but the rescaling counts as removed.
    """
    x = np.concatenate([trajectory.x_t[sample, :, 0], trajectory.x0[sample]])
    x_t, x_prev = x[:-1], x[1:]
    spaced = trajectory.schedule.respaced(trajectory.timesteps[::-1])
    index = np.arange(trajectory.num_steps)[::-1]
    scale = (1 / np.sqrt(spaced.alphas[index])).astype(np.float32)[:, None, None]
    rescaled = (scale - 1) * x_t
    mean = _mean(trajectory, spaced, sample, x_t, index) if trajectory.variance or trajectory.eta else x_prev
    return StepParts(trajectory, sample, rescaled, mean - x_t - rescaled, x_prev - mean)


def _mean(
    trajectory: Trajectory, spaced: NoiseSchedule, sample: int, x_t: NDArray[np.float32], index: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Return (S, H, W) means of the next states, before the noise of DDPM or of DDIM with its η."""
    x0 = trajectory.x0_pred[sample, :, 0]
    if trajectory.variance:
        return spaced.posterior_mean(x0, x_t, index)
    share = spaced.alphas_cumprod_prev[index]
    spread = np.sqrt(1 - share - trajectory.eta**2 * spaced.posterior_variance[index])
    signal, spread = (a.astype(np.float32)[:, None, None] for a in (np.sqrt(share), spread))
    return signal * x0 + spread * spaced.predict_eps(x_t, x0, index)


def rest_without_noise(recorded: Trajectory, sample: int = 0) -> NDArray[np.float64]:
    """Return (S,) how far each step ended from DDIM's formula with η = 0 (Song et al. 2021, eq. 12).

    As RMS over the pixels, divided by the RMS of the whole change: rounding alone is below 1e-4, fresh noise is not.
    """
    x = np.concatenate([recorded.x_t[sample, :, 0], recorded.x0[sample]])
    spaced = recorded.schedule.respaced(recorded.timesteps[::-1])
    index = np.arange(recorded.num_steps)[::-1]
    mean = _mean(replace(recorded, variance="", eta=0.0), spaced, sample, x[:-1], index)
    return _norms(x[1:] - mean) / np.maximum(_norms(x[1:] - x[:-1]), 1e-12)


def draw(data: StepParts) -> Figures:
    """Draw ``ledger``: three steps taken apart."""
    rows = _rows_at(data, SHARES_LEFT)
    trajectory = data.trajectory
    x = np.concatenate([trajectory.x_t[data.sample, :, 0], trajectory.x0[data.sample]])
    ledger = StepLedger(
        steps_left=trajectory.steps_left[rows],
        timesteps=trajectory.timesteps[rows],
        x_t=x[rows],
        rescaled=data.rescaled[rows],
        removed=data.removed[rows],
        injected=data.injected[rows],
        x_prev=x[rows + 1],
    )
    return Figures(ledger=lambda: draw_ledger(ledger))


def facts(data: StepParts) -> dict[str, Any]:
    """Return the numbers that captions and tables are filled with."""
    trajectory = data.trajectory
    told = _rows_at(data, SHARES_TOLD)
    norms = {name: _norms(getattr(data, name)) for name in ("rescaled", "removed", "injected")}
    more = norms["injected"] > norms["removed"]
    # the pixel that the drawn middle step changes most
    row = int(_rows_at(data, SHARES_LEFT)[1])
    y, x = np.unravel_index(np.argmax(np.abs(data.injected[row] + data.removed[row])), data.removed[row].shape)
    after = trajectory.x_t[data.sample, row + 1, 0] if row + 1 < trajectory.num_steps else trajectory.x0[data.sample, 0]
    pixel = [float(a[y, x]) for a in (trajectory.x_t[data.sample, row, 0], data.rescaled[row], data.removed[row])]
    return {
        "shown_left": [int(n) for n in trajectory.steps_left[_rows_at(data, SHARES_LEFT)]],
        "told_left": [int(n) for n in trajectory.steps_left[told]],
        "told_t": [int(t) for t in trajectory.timesteps[told]],
        **{name: [float(v) for v in values[told]] for name, values in norms.items()},
        "injects_more": int(more.sum()),
        "num_steps_told": trajectory.num_steps,
        "is_ddpm": bool(trajectory.variance),
        "ddim_steps": 0 if data.ddim_rest is None else len(data.ddim_rest),
        "ddim_rest_max": None if data.ddim_rest is None else float(data.ddim_rest.max()),
        "pixel_left": int(trajectory.steps_left[row]),
        "pixel_y": int(y),
        "pixel_x": int(x),
        "pixel": [*pixel, float(data.injected[row, y, x]), float(after[y, x])],
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
    names = ("told_left", "told_t", "rescaled", "removed", "injected")
    lines = (
        (str(left), str(t), *(f"{v:.2f}" for v in norms))
        for left, t, *norms in zip(*(facts[name] for name in names), strict=True)
    )
    return Rows(("left", "t", "rescaled", "removed", "injected"), tuple(lines))


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
    """Return the L2 norm of each image."""
    return np.sqrt(np.square(images, dtype=np.float64).sum(axis=(1, 2)))


def _measure(material: Material) -> StepParts:
    labels = torch.tensor([material.digit], device=material.device)
    ddim = record_generation(
        material.model, material.schedule, labels, [material.seed], sampler="ddim", steps=DDIM_STEPS, guidance_scale=1.0
    )
    return replace(measure(material.trajectory, material.sample), ddim_rest=rest_without_noise(ddim))


LESSON = Lesson(
    "step", 40, _measure, draw, facts, rows, series, claims, figures=("ledger",), recording=True, seconds=(1, 1)
)  # fmt: skip
