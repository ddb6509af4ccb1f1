"""Learning the chisel: what is the exam, and how did training go?

Knows nothing about sampling beyond the thumbnails that the run itself kept.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from viz_diffusion.data import Digits
from viz_diffusion.diffusion.samplers import ImageNoise
from viz_diffusion.errors import VizdiffInputError
from viz_diffusion.lessons.base import Claim, Lesson, LessonFigure, Precomputed, Rows
from viz_diffusion.lessons.context import LessonContext, device_of
from viz_diffusion.lessons.training.figures import draw_bits_by_t, draw_loss_by_t
from viz_diffusion.lessons.training.loss_by_timestep import EACH, LossByTimestep, measure_loss_by_timestep
from viz_diffusion.plots.curves import LossHistory, draw_loss
from viz_diffusion.plots.film import film_frames
from viz_diffusion.plots.grid import TrainingFrames, draw_training_step
from viz_diffusion.plots.lazy_figures import Figures
from viz_diffusion.plots.training_samples import LearningFrames
from viz_diffusion.text.catalogue import Texts
from viz_diffusion.training.loop import NUM_QUARTERS
from viz_diffusion.training.run import Run
from viz_diffusion.training.trainer import Thumbnails

TIMESTEPS = (100, 300, 600)
SHOWN_DIGITS = (2, 3, 5, 8)
NUM_SHOWN_LOOKS = 7
"""How many of the run's looks at itself are drawn, and which of their ten digits: more would be specks."""


@dataclass(frozen=True, eq=False)
class Training:
    """Three questions of the exam with the network's answers, and the run's own history."""

    frames: TrainingFrames
    """The held-out digit, its noise and the guess, at three timesteps."""
    history: LossHistory
    """Losses and thumbnails over the training steps."""
    loss_by_timestep: LossByTimestep
    """What it was graded on held-out digits at every t, beside what Gaussians would be graded."""
    digit: int
    """The digit of the three questions."""
    seed: int
    """Of their noise."""
    weight_exponent: float
    """p of the weights ᾱ^-p the errors had in training; 0 where all counted alike."""


def measure(
    run: Run,
    model: nn.Module,
    heldout: Digits,
    loss_by_timestep: LossByTimestep,
    digit: int = 5,
    seed: int = 0,
) -> Training:
    """Measure three training steps on one held-out digit, and read the run's metrics."""
    schedule = run.config.noise_schedule
    device = device_of(model)
    t = torch.tensor(TIMESTEPS) * (schedule.num_train_timesteps - 1) // 999
    noise = ImageNoise([seed]).draw().expand(len(t), -1, -1, -1)
    x0 = heldout.typical_of(digit).expand(len(t), -1, -1, -1)
    x_t = schedule.add_noise(x0, noise, t)
    with torch.no_grad():
        eps_pred = model(x_t.to(device), t.to(device), torch.full_like(t, digit).to(device)).cpu()
    error = eps_pred - noise
    frames = TrainingFrames(
        timesteps=t.numpy(),
        x0=x0[:, 0].numpy(),
        noise=noise[:, 0].numpy(),
        x_t=x_t[:, 0].numpy(),
        eps_pred=eps_pred[:, 0].numpy(),
        error=error[:, 0].numpy(),
        mean_squared_error=error.square().mean(dim=(1, 2, 3)).numpy(),
    )
    return Training(frames, read_history(run), loss_by_timestep, digit, seed, run.config.training.weight_exponent)


def read_history(run: Run) -> LossHistory:
    """Read ``metrics.jsonl`` and the thumbnails of a run."""
    path = run.path / "metrics.jsonl"
    try:
        entries = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        trained = [(entry["step"], entry["loss"]) for entry in entries if "loss" in entry]
        looked = [(entry["step"], entry["heldout_loss"]) for entry in entries if "heldout_loss" in entry]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise VizdiffInputError(f"{path} cannot be read ({error}); train again or choose another `run`") from error
    if not trained:
        raise VizdiffInputError(f"{path} holds no losses; train again or choose another `run`")
    steps, losses = (np.array(column) for column in zip(*trained, strict=True))
    looks, samples = _shown_samples(run)
    last = run.config.num_train_timesteps // NUM_QUARTERS
    return LossHistory(
        steps=steps,
        train=losses,
        train_smooth=_smooth(losses),
        heldout_steps=np.array([step for step, _ in looked], dtype=np.int64),
        heldout=np.array([values for _, values in looked], dtype=np.float64).reshape(-1, NUM_QUARTERS),
        quarters=np.array([(last * q, last * (q + 1) - 1) for q in range(NUM_QUARTERS)]),
        sample_steps=looks,
        samples=samples,
    )


def _shown_samples(run: Run) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the steps and thumbnails to draw: a few looks, the first and the last among them."""
    kept = run.load_samples()
    if kept is None:
        return np.zeros(0, np.int64), np.zeros((0, 1, 28, 28))
    steps, images = kept[0].numpy(), kept[1].numpy()
    shown = np.unique(np.round(np.linspace(0, len(steps) - 1, NUM_SHOWN_LOOKS)).astype(np.int64))
    return steps[shown], images[shown][:, SHOWN_DIGITS] / 127.5 - 1


def read_training_samples(run: Run, most: int | None = None) -> LearningFrames:
    """Return what the run drew from one noise while it learned.

    Parameters
    ----------
    most
        How many looks are wanted at most, evenly chosen, the first and the last among them; all by default.

    Raises
    ------
    VizdiffInputError
        Where the run kept none, or they are damaged.
    """
    kept = run.load_samples()
    if kept is None or not len(kept[0]):
        raise VizdiffInputError(
            f"{run.path} keeps no looks yet: they begin after 100 steps; train on, or choose another `run`"
        )
    steps, images = kept[0].numpy(), kept[1].numpy()
    if images.ndim != 4 or len(images) != len(steps):
        raise VizdiffInputError(f"{run.path / 'samples.safetensors'} holds images of the shape {images.shape}")
    shown = film_frames(len(steps), len(steps) if most is None else most)
    return LearningFrames(steps[shown], images[shown] / 127.5 - 1, np.arange(images.shape[1]))


def training_samples_facts(looks: LearningFrames) -> dict[str, Any]:
    """Return the numbers that the captions of the looks are filled with; the settings are those they are drawn with."""
    return {
        "looks": len(looks.steps),
        "labels": ", ".join(map(str, looks.labels)),
        "looked_at": [int(step) for step in looks.steps],
        "steps": int(looks.steps[-1]),
        "seed": Thumbnails.SEED,
        "sampling_steps": Thumbnails.STEPS,
        "guidance_scale": Thumbnails.GUIDANCE_SCALE,
    }


def draw(data: Training) -> Figures:
    """Draw ``training_step``, the exam, ``loss``, the history, and what the grades are, over t and in bits."""
    grades = data.loss_by_timestep.by_t()
    return Figures(
        training_step=lambda: draw_training_step(data.frames),
        loss=lambda: draw_loss(data.history),
        loss_by_t=lambda: draw_loss_by_t(grades),
        bits_by_t=lambda: draw_bits_by_t(grades),
    )


def facts(data: Training) -> dict[str, Any]:
    """Return the numbers that captions and tables are filled with."""
    return {
        "digit": data.digit,
        "seed": data.seed,
        "weight_exponent": data.weight_exponent,
        "timesteps": [int(t) for t in data.frames.timesteps],
        "mean_squared_error": [float(v) for v in data.frames.mean_squared_error],
        "steps": int(data.history.steps[-1]),
        "loss": float(data.history.train_smooth[-1]),
        "shown_digits": ", ".join(map(str, SHOWN_DIGITS)),
        "quarters": [[int(a), int(b)] for a, b in data.history.quarters],
        **data.loss_by_timestep.facts(),
    }


def claims(data: Training) -> tuple[Claim, ...]:
    """Say whether the network beats a Gaussian a digit, whether bits lie late, and whether digits differ."""
    return data.loss_by_timestep.claims()


def rows(facts: dict[str, Any], texts: Texts) -> Rows:
    """Lay out the held-out loss by quarter of t."""
    names = ("heldout", "heldout_interval", "gaussian", "gaussian_per_label")
    quarters = zip(facts["quarters"], *(facts[name] for name in names), strict=True)
    lines = [_row(f"{first}–{last}", *losses) for (first, last), *losses in quarters]
    lines.append(_row(texts["chapter.training.mean"], *(facts[f"{name}_mean"] for name in names)))
    return Rows(("quarter", *names), tuple(lines))


def _row(name: str, loss: float, interval: float, *baselines: float) -> tuple[str, ...]:
    return (name, f"{loss:.4f}", f"± {interval:.4f}", *(f"{value:.4f}" for value in baselines))


def _smooth(values: NDArray[np.float64], share: float = 0.05) -> NDArray[np.float64]:
    """Return the running mean over a window that grows with the step: a share of all steps so far."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    ends = np.arange(1, len(values) + 1)
    starts = np.minimum(ends - 1, np.floor(ends * (1 - share)).astype(int))
    return (sums[ends] - sums[starts]) / (ends - starts)


def _loss_by_timestep(context: LessonContext) -> LossByTimestep:
    return measure_loss_by_timestep(
        context.model,
        context.schedule,
        context.heldout,
        context.data_set,
        context.size(*EACH),
        context.seed,
        context.progress,
    )


PRECOMPUTED = Precomputed(
    LossByTimestep, _loss_by_timestep, (LessonFigure("loss_by_t"), LessonFigure("bits_by_t", advanced=True))
)


def _measure(context: LessonContext) -> Training:
    # with the quick sizes it is not slow
    loss_by_timestep = PRECOMPUTED.results(context) or PRECOMPUTED.measure(context)
    return measure(context.run, context.model, context.heldout, loss_by_timestep, context.digit, context.seed)


LESSON = Lesson(
    name="training",
    position=20,
    measure=_measure,
    precomputed=PRECOMPUTED,
    seconds=(6, 30),
    facts=facts,
    claims=claims,
    rows=rows,
    draw=draw,
    figures=(LessonFigure("training_step", in_exercise=True), LessonFigure("loss")),
)
