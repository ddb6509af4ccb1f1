"""When a digit is chosen: what can be told of it at t, what becomes of it from there, when generations settle.

Part of the lesson on the decision; asks any denoiser without a label, knows nothing about figures' words.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from viz_diffusion.data import Digits
from viz_diffusion.diffusion.interventions import ForkedNoise
from viz_diffusion.diffusion.oracles import EmpiricalOracle
from viz_diffusion.diffusion.prediction import device_of
from viz_diffusion.diffusion.samplers import ImageNoise, Step, ddim_steps, ddpm_steps
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.diffusion.timesteps import spaced_timesteps
from viz_diffusion.evaluation.classifier import DigitClassifier
from viz_diffusion.lessons.context import Progress, silent

Float64 = NDArray[np.float64]
STEPS = 100
"""Steps of every generation."""
TIMESTEPS = (899, 749, 699, 649, 599, 549, 499, 449, 399, 349, 249, 99)
"""Where digits are looked at and turned back, for T = 1000."""
FORKED = (999, 749, 649, 549, 499, 449, 399, 299, 199)
"""Where generations are frozen and finished several times, for T = 1000."""
IDEAL_TIMES = 3
"""Training digits the ideal denoiser is asked about, for each held-out one: its window must be known well."""
SURE = 0.9
"""From which probability on a picture counts as read."""
SHOWN = (949, 849, 749, 649, 549, 449, 349, 249, 149, 49)
"""Where the guess of one generation is kept to be drawn, for T = 1000."""
TURN_SEED, PATH_SEED, FORK_SEED = 660_000, 670_000, 680_000
"""Of the first image of each kind."""


@dataclass(frozen=True, eq=False)
class Turned:
    """N held-out digits noised to each of K timesteps: what can be told of their class there, and what comes back."""

    timesteps: NDArray[np.int64]
    """(K,) int64, falling."""
    ideal: Float64
    """(K, N) float64: p(class | x_t) of the true class, of the ideal denoiser of the training digits."""
    told: Float64
    """(K, 3N) float64: what that denoiser knows of the class of training digits, for which it is exact, in bits."""
    entropy: float
    """H(y) of the training labels, bits."""
    guess: Float64 | None
    """(K, N) float64: probability of the true class that the classifier gives x̂_0; None where nobody can read."""
    returned: NDArray[np.bool_] | None
    """(K, N) bool: whether what the noised digit is finished to is read as its class; None where nobody can read."""


@dataclass(frozen=True, eq=False)
class Paths:
    """M generations without a label, and when each settles on what it becomes."""

    commit: NDArray[np.int64] | None
    """(M,) int64: the largest visited t from which on x̂_0 is read as the final digit with probability 0.9 at least;
    0 where the finished picture alone is, -1 where not even that, T-1 where it was so from the start; None where
    nobody can read."""
    start: int
    """T-1, the first visited t."""
    strip: NDArray[np.float32]
    """(F, H, W) float32: x̂_0 of one generation at F timesteps."""
    strip_timesteps: NDArray[np.int64]
    """(F,) int64, falling."""


@dataclass(frozen=True, eq=False)
class ForkStudy:
    """R generations frozen at each of J timesteps and finished K times with fresh noise."""

    timesteps: NDArray[np.int64]
    """(J,) int64, falling."""
    spread: Float64
    """(J, R) float64: V, the variance within the forks of one state as a share of that of all generations."""
    agree: Float64 | None
    """(J, R) float64: share of the pairs of forks that are read as the same digit; None where nobody can read."""
    chance: float | None
    """That share among the independent generations; None where nobody can read."""
    tree: NDArray[np.float32]
    """(J, 1+K, H, W) float32: one frozen state, and what it was finished to."""
    ddim_spread: float
    """The largest difference of a pixel between two DDIM runs from one state and different seeds."""


Judge = DigitClassifier | None


def visited(schedule: NoiseSchedule) -> NDArray[np.int64]:
    """Return the (S,) falling timesteps of every generation here."""
    return spaced_timesteps(schedule.num_train_timesteps, min(STEPS, schedule.num_train_timesteps))


def nearest(grid: NDArray[np.int64], wanted: tuple[int, ...]) -> NDArray[np.int64]:
    """Return the visited timesteps nearest to those wanted for T = 1000, falling."""
    places = np.array(wanted) * grid[0] / 999
    return np.unique(grid[np.abs(grid[:, None] - places).argmin(axis=0)])[::-1]


@torch.no_grad()
def turn_back(
    denoiser: nn.Module,
    schedule: NoiseSchedule,
    heldout: Digits,
    training: Digits,
    judge: Judge,
    count: int,
    generator: torch.Generator,
    progress: Progress = silent,
) -> Turned:
    """Noise digits to t, ask what they are, and finish them again without a label (Sclocchi et al. 2025).

    For the ideal denoiser a finished picture is drawn from p(x_0 | x_t), so that the share that comes back as the
    same class is the mean of p(class | x_t): no network is needed to predict it.
    """
    timesteps = nearest(visited(schedule), TIMESTEPS)
    rows = torch.randperm(len(heldout), generator=generator)[:count]
    known = torch.randperm(len(training), generator=generator)[: IDEAL_TIMES * count]
    x0, labels = heldout.images[rows], heldout.labels[rows]
    own, own_labels = training.images[known], training.labels[known]
    noise, other = (torch.randn(images.shape, generator=generator) for images in (x0, own))
    oracle = EmpiricalOracle(schedule, training.images, training.labels)
    shares = torch.bincount(training.labels).double() / len(training)
    entropy = float(-(shares[shares > 0] * shares[shares > 0].log2()).sum())
    ideal, told, guess, returned = [], [], [], []
    for done, t in enumerate(timesteps.tolist()):
        x_t = schedule.add_noise(x0, noise, t)
        ideal.append(_of(oracle.posterior(x_t, torch.full((len(x0),), t)), labels))
        right = _of(oracle.posterior(schedule.add_noise(own, other, t), torch.full((len(own),), t)), own_labels)
        told.append(entropy + np.log2(np.maximum(right, 1e-300)))
        if judge is not None:
            seeds = range(TURN_SEED, TURN_SEED + len(x0))
            steps = list(_finish(denoiser, schedule, x_t, seeds, t))
            guess.append(_of(judge.probabilities(steps[0].x0_pred), labels))
            returned.append((judge.read(steps[-1].x_prev) == labels).numpy())
        progress(done + 1, len(timesteps), "digits noised and turned back")
    return Turned(
        timesteps,
        np.stack(ideal),
        np.stack(told),
        entropy,
        np.stack(guess) if guess else None,
        np.stack(returned) if returned else None,
    )


@torch.no_grad()
def follow(
    denoiser: nn.Module,
    schedule: NoiseSchedule,
    judge: Judge,
    sizes: tuple[int, int, int],
    progress: Progress = silent,
) -> tuple[Paths, ForkStudy]:
    """Generate without a label and see when each generation settles; freeze some, and finish them several times.

    Parameters
    ----------
    sizes
        (M, R, K): generations, how many of them are frozen, and how often each is finished.
    """
    count, frozen, forks = sizes
    grid = visited(schedule)
    at, shown = nearest(grid, FORKED), nearest(grid, SHOWN)
    states: dict[int, Tensor] = {}
    guesses: dict[int, Tensor] = {}
    read = []
    null = torch.full((count,), getattr(denoiser, "null_label", 10), device=device_of(denoiser))
    noise = ImageNoise(range(PATH_SEED, PATH_SEED + count))
    for done, step in enumerate(ddpm_steps(denoiser, schedule, noise, null, timesteps=grid)):
        if judge is not None:
            read.append(judge.probabilities(step.x0_pred))
        if step.t in at:
            states[step.t] = step.x_t[:frozen].cpu()
        if step.t in shown:
            guesses[step.t] = step.x0_pred[:frozen, 0].cpu()
        x0 = step.x_prev.cpu()
        progress(done + 1, len(grid), f"{count} generations without a label")
    total = float(x0.double().flatten(1).var(dim=0).sum())
    commit, chosen, chance = None, 0, None
    if judge is not None:
        finished = judge.probabilities(x0)
        commit = _commit(torch.stack(read, dim=1), finished, grid)
        chosen = int(finished[:frozen].max(dim=1).values.argmax())  # the one that is read most surely is drawn
        chance = float(_agreement(finished.argmax(dim=1)[None])[0])
    spread, agree, tree = [], [], []
    for done, t in enumerate(at.tolist()):
        many = states[t].repeat_interleave(forks, dim=0)
        *_, last = _finish(denoiser, schedule, many, range(FORK_SEED, FORK_SEED + len(many)), t)
        ends = last.x_prev.cpu()
        by_state = ends.double().reshape(frozen, forks, -1)
        spread.append((by_state.var(dim=1).sum(dim=1) / total).numpy())
        if judge is not None:
            agree.append(_agreement(judge.read(ends).reshape(frozen, forks)))
        tree.append(torch.cat([states[t][chosen], ends[chosen * forks : (chosen + 1) * forks, 0]]).numpy())
        progress(done + 1, len(at), "forks finished")
    strip = np.stack([guesses[t][chosen].numpy() for t in shown.tolist()])
    ddim = _ddim_spread(denoiser, schedule, states[int(at[0])][:1], grid)
    return (
        Paths(commit, int(grid[0]), strip, shown),
        ForkStudy(at, np.stack(spread), np.stack(agree) if agree else None, chance, np.stack(tree), ddim),
    )


def _finish(denoiser: nn.Module, schedule: NoiseSchedule, x_t: Tensor, seeds: range, t: int) -> list[Step]:
    """Return the first and the last of the steps that finish (B, C, H, W) states at t without a label."""
    grid = visited(schedule)
    null = torch.full((len(x_t),), getattr(denoiser, "null_label", 10), device=device_of(denoiser))
    noise = ForkedNoise(x_t, ImageNoise(seeds))
    kept: list[Step] = []
    for step in ddpm_steps(denoiser, schedule, noise, null, timesteps=grid[grid <= t]):
        kept = [kept[0] if kept else step, step]
    return kept


def _ddim_spread(denoiser: nn.Module, schedule: NoiseSchedule, x_t: Tensor, grid: NDArray[np.int64]) -> float:
    ends = []
    for seed in (FORK_SEED, FORK_SEED + 1):
        null = torch.full((1,), getattr(denoiser, "null_label", 10), device=device_of(denoiser))
        *_, last = ddim_steps(denoiser, schedule, ForkedNoise(x_t, ImageNoise([seed])), null, timesteps=grid)
        ends.append(last.x_prev)
    return float((ends[0] - ends[1]).abs().max())


def _commit(read: Tensor, finished: Tensor, grid: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return (M,) where each of M generations settles, from (M, S, L) readings of x̂_0 and (M, L) of the last."""
    final = finished.argmax(dim=1)
    sure = torch.cat([read, finished[:, None]], dim=1)[torch.arange(len(read)), :, final].numpy() >= SURE
    at_the_end = np.logical_and.accumulate(sure[:, ::-1], axis=1).sum(axis=1)
    return np.append(grid, (0, -1))[sure.shape[1] - at_the_end]


def _agreement(digits: Tensor) -> Float64:
    """Return (R,) the share of pairs among K readings that agree, of (R, K) digits."""
    count = digits.shape[1]
    same = (digits[:, :, None] == digits[:, None, :]).double().sum(dim=(1, 2)) - count
    return np.asarray((same / (count * (count - 1))).numpy())


def _of(probabilities: Tensor, labels: Tensor) -> Float64:
    return np.asarray(probabilities.double()[torch.arange(len(labels)), labels].numpy())
