"""Generations without a label: the timestep at which their class is settled, and forks with fresh noise."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from viz_diffusion.data import Digits
from viz_diffusion.diffusion.interventions import ForkedNoise
from viz_diffusion.diffusion.latent_space import latent_space_of, pictures_of
from viz_diffusion.diffusion.prediction import device_of
from viz_diffusion.diffusion.samplers import ImageNoise, ddim_steps, ddpm_steps
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.evaluation.classifier import DigitClassifier
from viz_diffusion.lessons.context import Progress, silent
from viz_diffusion.lessons.decision.class_probability import finish, nearest, visited
from viz_diffusion.lessons.decision.ideal_paths import SURE, IdealPaths, Reader, settle_ideal
from viz_diffusion.recording.latent_pictures import state_picture

Float64 = NDArray[np.float64]
FORKED = (999, 749, 649, 549, 499, 449, 399, 299, 199)
"""Timesteps from which generations are finished several times, for T = 1000."""
SHOWN = (949, 849, 749, 649, 549, 449, 349, 249, 149, 49)
"""Timesteps at which x̂_0 of one generation is drawn, for T = 1000."""
PATH_SEED, FORK_SEED = 670_000, 680_000
"""Seeds of the first generation and of the first fork."""


@dataclass(frozen=True, eq=False)
class GenerationPaths:
    """M generations without a label, and the timestep at which the class of each is settled."""

    commit: NDArray[np.int64] | None
    """(M,) int64: the largest visited t from which on x̂_0 has the final class with a probability of at least 0.9;
    0 where only the finished image has it, -1 where it has not, T-1 where x̂_0 has it from the start; None without a
    classifier."""
    start: int
    """T-1, the first visited t."""
    strip: NDArray[np.float32]
    """(F, H, W) float32: x̂_0 of one generation at F timesteps."""
    strip_timesteps: NDArray[np.int64]
    """(F,) int64, falling."""
    ideal: IdealPaths
    """The same where the ideal denoiser has a part in it."""


@dataclass(frozen=True, eq=False)
class ForkStudy:
    """R generations that are finished K times with fresh noise from each of J timesteps."""

    timesteps: NDArray[np.int64]
    """(J,) int64, falling."""
    spread: Float64
    """(J, R) float64: V, the variance of the forks of one state over that of all generations."""
    agree: Float64 | None
    """(J, R) float64: share of the pairs of forks that are classified as the same digit; None without a classifier."""
    chance: float | None
    """That share for independent generations; None without a classifier."""
    tree: NDArray[np.float32]
    """(J, 1+K, H, W) float32: one state, and its K finished images."""
    ddim_spread: float
    """The largest difference of a pixel between two DDIM runs from one state and different seeds."""


@dataclass(frozen=True, eq=False)
class _Generations:
    """M generations without a label, with the states and x̂_0 of the first R."""

    states: dict[int, Tensor]
    """(R, C, H, W) by the t from which they are forked."""
    x0_pred: dict[int, Tensor]
    """(R, C, H, W) by the t at which they are drawn."""
    probabilities: Tensor | None
    """(M, S, L) of x̂_0 at each step; None without a classifier."""
    x0: Tensor
    """(M, C, H, W) the finished images."""
    x_t: Tensor
    """(S, I, C, H, W) the states of the first I, at every visited t."""


@torch.no_grad()
def fork_generations(
    denoiser: nn.Module,
    schedule: NoiseSchedule,
    digits: tuple[Digits, Digits],
    classifier: DigitClassifier | None,
    sizes: tuple[int, int, int, int],
    progress: Progress = silent,
    temperature: float = 1.0,
) -> tuple[GenerationPaths, ForkStudy]:
    """Generate without a label, find the timestep at which each class is settled, and fork some generations.

    Parameters
    ----------
    digits
        The ideal denoiser's training digits, and held-out ones.
    sizes
        (M, R, K, I): generations, how many of them are forked, the forks of each state, and the generations whose
        states the ideal denoiser looks at.
    temperature
        Calibrates the classifier.
    """
    count, frozen, forks, looked = sizes
    grid = visited(schedule)
    at, shown = nearest(grid, FORKED), nearest(grid, SHOWN)
    reader = None if classifier is None else partial(classifier.probabilities, temperature=temperature)
    made = _generate(denoiser, schedule, reader, (count, frozen, looked), (at, shown), progress)
    ideal = settle_ideal(schedule, *digits, made.x_t, grid, reader, progress)
    total = float(made.x0.double().flatten(1).var(dim=0).sum())
    commit, chosen, chance = None, 0, None
    if classifier is not None and made.probabilities is not None:
        finished = classifier.probabilities(made.x0, temperature=temperature)
        commit = settling_timesteps(made.probabilities, finished, grid)
        certain = classifier.probabilities(made.x0[:frozen]).max(dim=1).values  # uncalibrated: sharper ones tie at 1
        chosen = int(certain.argmax())  # the one with the most certain class is drawn
        chance = float(_agreement(finished.argmax(dim=1)[None])[0])
    spread, agree, tree = [], [], []
    for done, t in enumerate(at.tolist()):
        many = made.states[t].repeat_interleave(forks, dim=0)
        *_, last = finish(denoiser, schedule, many, range(FORK_SEED, FORK_SEED + len(many)), t)
        ends = last.x_prev.cpu()
        by_state = ends.double().reshape(frozen, forks, -1)
        spread.append((by_state.var(dim=1).sum(dim=1) / total).numpy())
        if classifier is not None:
            agree.append(_agreement(classifier.read(ends).reshape(frozen, forks)))
        own_ends = pictures_of(denoiser, ends[chosen * forks : (chosen + 1) * forks])[:, 0]
        tree.append(np.concatenate([_drawn_state(denoiser, made.states[t][chosen]), own_ends.numpy()]))
        progress(done + 1, len(at), "forks finished")
    strip = pictures_of(denoiser, torch.stack([made.x0_pred[t][chosen] for t in shown.tolist()]))[:, 0].numpy()
    ddim = _ddim_spread(denoiser, schedule, made.states[int(at[0])][:1], grid)
    return (
        GenerationPaths(commit, int(grid[0]), strip, shown, ideal),
        ForkStudy(at, np.stack(spread), np.stack(agree) if agree else None, chance, np.stack(tree), ddim),
    )


def _drawn_state(denoiser: nn.Module, x_t: Tensor) -> NDArray[np.float32]:
    """Return a (C, H, W) state as it is drawn, (1, H, W): of a latent the channels side by side."""
    space = latent_space_of(denoiser)
    return x_t.numpy() if space is None else state_picture(x_t.numpy(), space.image_shape)


def _generate(
    denoiser: nn.Module,
    schedule: NoiseSchedule,
    reader: Reader | None,
    sizes: tuple[int, int, int],
    timesteps: tuple[NDArray[np.int64], NDArray[np.int64]],
    progress: Progress,
) -> _Generations:
    """Generate without a label; keep the first states and x̂_0 at two sets of timesteps, and some at every one."""
    grid, (at, shown), (count, kept, looked) = visited(schedule), timesteps, sizes
    x_t = []
    states: dict[int, Tensor] = {}
    x0_pred: dict[int, Tensor] = {}
    probabilities = []
    null = torch.full((count,), getattr(denoiser, "null_label", 10), device=device_of(denoiser))
    space = latent_space_of(denoiser)
    noise = ImageNoise(range(PATH_SEED, PATH_SEED + count), (1, 28, 28) if space is None else space.latent_shape)
    for done, step in enumerate(ddpm_steps(denoiser, schedule, noise, null, timesteps=grid)):
        if reader is not None:
            probabilities.append(reader(step.x0_pred))
        x_t.append(step.x_t[:looked].cpu())
        if step.t in at:
            states[step.t] = step.x_t[:kept].cpu()
        if step.t in shown:
            x0_pred[step.t] = step.x0_pred[:kept].cpu()
        x0 = step.x_prev.cpu()
        progress(done + 1, len(grid), f"{count} generations without a label")
    read = torch.stack(probabilities, dim=1) if probabilities else None
    return _Generations(states, x0_pred, read, x0, torch.stack(x_t))


def _ddim_spread(denoiser: nn.Module, schedule: NoiseSchedule, x_t: Tensor, grid: NDArray[np.int64]) -> float:
    ends = []
    for seed in (FORK_SEED, FORK_SEED + 1):
        null = torch.full((1,), getattr(denoiser, "null_label", 10), device=device_of(denoiser))
        *_, last = ddim_steps(
            denoiser, schedule, ForkedNoise(x_t, ImageNoise([seed], x_t.shape[1:])), null, timesteps=grid
        )
        ends.append(last.x_prev)
    return float((ends[0] - ends[1]).abs().max())


def settling_timesteps(probabilities: Tensor, finished: Tensor, grid: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return (M,) the t at which each class is settled, from (M, S, L) probabilities of x̂_0 and (M, L) final ones."""
    return np.append(grid, (0, -1))[settling_steps(probabilities, finished)]


def settling_steps(probabilities: Tensor, finished: Tensor) -> NDArray[np.int64]:
    """Return (M,) the step from which on each class is settled; S only in the finished image, S + 1 not even there."""
    final = finished.argmax(dim=1)
    sure = (
        torch.cat([probabilities, finished[:, None]], dim=1)[torch.arange(len(probabilities)), :, final].numpy() >= SURE
    )
    at_the_end = np.logical_and.accumulate(sure[:, ::-1], axis=1).sum(axis=1)
    return np.asarray(sure.shape[1] - at_the_end)


def _agreement(digits: Tensor) -> Float64:
    """Return (R,) the share of pairs among K digits that are equal, of (R, K) digits."""
    count = digits.shape[1]
    same = (digits[:, :, None] == digits[:, None, :]).double().sum(dim=(1, 2)) - count
    return np.asarray((same / (count * (count - 1))).numpy())
