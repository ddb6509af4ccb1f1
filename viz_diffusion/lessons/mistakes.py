"""The bug museum: six mistakes that people make in a sampler, each with the number that gives it away.

All are put around the package's own DDPM sampler, so that each differs from the correct one by its mistake alone; the
detectors look at what was recorded, and do not know which mistake was made.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor, nn

from viz_diffusion.catalogue import Texts
from viz_diffusion.data import NUM_LABELS, Digits
from viz_diffusion.interventions import Change, Intervened
from viz_diffusion.lessons.lesson import Claim, Lesson, Rows
from viz_diffusion.lessons.material import Material, Progress, device_of, silent
from viz_diffusion.plots.museum import draw_museum
from viz_diffusion.quality import DigitClassifier, paired_difference
from viz_diffusion.sample import ImageNoise, Noise, Step, ddpm_steps
from viz_diffusion.schedule import NoiseSchedule
from viz_diffusion.timesteps import spaced_timesteps

Float64 = NDArray[np.float64]
STEPS = 50
SEED = 620_000
"""Of the first sample; all samplers share their noise."""
LAST_SEED = 1_000_000
"""The mistaken noise of the last step comes from a seed that is larger by this, and not from the first state's own."""
SIZES = (50, 400)
"""Samples of each sampler, quick and full."""
Z = 1.96
Z_FIVE = 2.576
"""So that all of five comparisons hold with 95% (Bonferroni)."""
MARGIN = 0.05
"""A mistake is not seen in the digits where surely less than this share of them is lost to the classifier."""
FRAMES = 8
"""Frames of each strip, the finished one among them."""
MISTAKES = ("last_noise", "off_by_one", "no_root", "normalisation", "reversed", "unclipped")
"""The k-th is what the k-th detector is for."""
SAMPLERS = ("right", "right_cosine", *MISTAKES)
DETECTORS = ("rest", "clock", "power", "grey", "order", "beyond")
LIMITS = (1e-3, 0.5, 0.05, 0.25, 0.5, 2.0)
"""What a detector's number may be at most before it counts as caught; see :func:`detect`."""
_SYMBOLS = ("✓", "✓ cos", r"$x_0+\sigma z$", "$t+1$", r"$\sigma^2 z$", "$[0,1]$", "↩", r"$|\hat{x}_0|>1$")
_HEADS = (
    r"$\Delta x_0$",
    r"$\Delta t$",
    r"$\Delta\sigma^2$",
    r"$\Delta\langle x\rangle$",
    r"$1-\rho$",
    r"$\|\hat{x}_0\|_\infty$",
)


@dataclass(frozen=True, eq=False)
class Record:
    """What is seen of B generations of S steps, one step after another; no step is kept."""

    told: NDArray[np.int64]
    """(S,) int64: the time that the network was told at each step."""
    implied: NDArray[np.int64]
    """(S,) int64: the t whose √ᾱ joins x_t, ε̂ and x̂_0."""
    power: Float64
    """(S-1,) float64: mean square of what each step but the last put on beyond its mean, over its variance σ²."""
    roughness: Float64
    """(S+1,) float64: mean square of the difference of neighbours in a row, of the states and the finished images."""
    beyond: float
    """The largest |x̂_0| that was used."""
    last_guess: Tensor
    """(B, 1, H, W) float32: x̂_0 of the last step, as used."""
    x0: Tensor
    """(B, 1, H, W) float32: the finished images."""
    strip: NDArray[np.float32]
    """(S+1, H, W) float32: the states and the finished image of one of the B, as they came about."""
    shown: NDArray[np.int64]
    """(S+1,) int64: in which order they stand in a strip."""


@dataclass(frozen=True, eq=False)
class Mistakes:
    """Eight samplers from the same noise, and what six detectors say of each."""

    values: Float64
    """(8, 6) float64: for each of :data:`SAMPLERS` the number of each of :data:`DETECTORS`."""
    halves: Float64
    """(8, 6) float64: half their 95% intervals; 0 where nothing was estimated."""
    strips: NDArray[np.float32]
    """(8, F, H, W) float32: frames of one digit."""
    steps_left: NDArray[np.int64]
    """(F,) int64, falling to 0."""
    samples: int
    """N, how many images each sampler made."""
    read: NDArray[np.bool_] | None
    """(8, N) bool: whether the classifier reads each as asked; None where the data are not MNIST."""

    @property
    def caught(self) -> NDArray[np.bool_]:
        """(8, 6) whether a detector's number is surely above its limit."""
        return np.asarray(self.values - self.halves > np.array(LIMITS))

    @property
    def passed(self) -> NDArray[np.bool_]:
        """(8, 6) whether it is surely not."""
        return np.asarray(self.values + self.halves <= np.array(LIMITS))


def detect(record: Record, training_mean: float) -> tuple[Float64, Float64]:
    """Return (6,) numbers that are about 0 for a correct sampler (the last: at most 1), and half their 95% intervals.

    ``rest``: RMS of the finished images minus the last x̂_0, for the last step adds nothing to it.
    ``clock``: by how many timesteps the t whose √ᾱ joins x_t, ε̂ and x̂_0 is off from the t the network was told.
    ``power``: by how much the injected noise's mean square is off from σ².
    ``grey``: by how much the finished images' mean is off from that of the training images; grey runs from -1 to 1.
    ``order``: 1 minus the rank correlation of the shown frames' roughness with the steps left.
    ``beyond``: the largest x̂_0 that was used, in absolute value.

    ``power`` and ``grey`` are estimates; the others are what they are, and their intervals are 0.

    Parameters
    ----------
    training_mean
        Of the training images' grey.
    """
    grey = record.x0.clamp(-1, 1).double().mean(dim=(1, 2, 3))
    power = float(record.power.mean())
    values = [
        float((record.x0 - record.last_guess).double().square().mean().sqrt()),
        float(np.abs(record.implied - record.told).max()),
        abs(power - 1),
        abs(float(grey.mean()) - training_mean),
        1 - _rank_correlation(record.roughness[record.shown], np.arange(len(record.roughness))[::-1]),
        record.beyond,
    ]
    draws = record.x0.numel() * len(record.power)
    half_power = Z * power * float(np.sqrt(2 / draws))  # χ²: as many squares of normal draws
    half_grey = Z * float(grey.std() / np.sqrt(len(grey)))
    return np.array(values), np.array([0, 0, half_power, half_grey, 0, 0])


def _joining_t(x: Tensor, eps: Tensor, x0: Tensor, schedule: NoiseSchedule) -> int:
    """Return the t for which x = √ᾱ x̂_0 + b ε̂: √ᾱ by least squares over all pixels."""
    columns = torch.stack([x0.flatten(), eps.flatten()], dim=1).double().cpu().numpy()
    signal = float(np.linalg.lstsq(columns, x.flatten().double().cpu().numpy(), rcond=None)[0][0])
    share = min(max(signal * signal, 1e-12), 1 - 1e-12)
    return int(np.abs(schedule.log_snr - np.log(share / (1 - share))).argmin())


def _rank_correlation(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Return Spearman's rank correlation of two (N,) rows without ties."""
    ranks = [np.argsort(np.argsort(row)) for row in (a, b)]
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


class _Weakened:
    """Noise whose fresh draws are multiplied by σ once more: σ² z, where σ z was meant."""

    def __init__(self, noise: Noise, sigmas: list[float]) -> None:
        self._noise = noise
        self._factors = iter([1.0, *sigmas])

    def draw(self, device: torch.device | str = "cpu") -> Tensor:
        """Return the next draw."""
        return next(self._factors) * self._noise.draw(device)


class _ClippedToUnit(nn.Module):
    """A denoiser whose x̂_0 is clipped to [0, 1], as if digits lay there."""

    def __init__(self, denoiser: nn.Module, schedule: NoiseSchedule) -> None:
        super().__init__()
        self.denoiser, self.schedule = denoiser, schedule

    def forward(self, x: Tensor, timesteps: Tensor, labels: Tensor) -> Tensor:
        """Return the ε that goes with the clipped x̂_0."""
        eps = self.denoiser(x, timesteps, labels)
        x0 = self.schedule.predict_x0(x, eps, timesteps).clamp(0, 1)
        return self.schedule.predict_eps(x, x0, timesteps)


def _told(name: str, table: NDArray[np.int64]) -> Change:
    """Tell ``table[t]`` in the place of t."""
    told = torch.from_numpy(np.ascontiguousarray(table))
    return Change(name, lambda x, t, labels: (x, told.to(t.device)[t], labels))


def nearest_by_snr(schedule: NoiseSchedule, known: NoiseSchedule) -> NDArray[np.int64]:
    """Return (T,) at which timestep of ``known`` the SNR is nearest to that of ``schedule`` at each t, in log."""
    return np.abs(schedule.log_snr[:, None] - known.log_snr).argmin(axis=1)


@torch.no_grad()
def run(
    sampler: str, denoiser: nn.Module, schedule: NoiseSchedule, labels: Tensor, seeds: range, kept: int = 0
) -> Record:
    """Generate by one of :data:`SAMPLERS`.

    The cosine schedule's t is translated for the network to the t of its own schedule with the same SNR.

    Parameters
    ----------
    schedule
        The one the denoiser was trained with.
    labels, seeds
        B, what is asked for and the noise.
    kept
        Whose strip is kept, 0 .. B-1.
    """
    T = schedule.num_train_timesteps
    own = np.arange(T)
    visited = spaced_timesteps(T, min(STEPS, T))
    asked, process, told = denoiser, schedule, own
    if sampler in ("right_cosine", "unclipped"):
        process = NoiseSchedule.named("cosine", T)
        told = nearest_by_snr(process, schedule)
    elif sampler == "off_by_one":
        told = np.minimum(own + 1, T - 1)
    elif sampler == "normalisation":
        asked = _ClippedToUnit(denoiser, schedule)
    spaced = process.respaced(visited[::-1])
    sigmas = np.sqrt(spaced.betas)[::-1].tolist()
    noise: Noise = ImageNoise(list(seeds))
    if sampler == "no_root":
        noise = _Weakened(noise, sigmas)
    steps = ddpm_steps(
        Intervened(asked, _told(sampler, told)), process, noise, labels.to(device_of(denoiser)),
        timesteps=visited, clip=sampler != "unclipped",
    )  # fmt: skip
    last_noise = torch.zeros(len(labels), 1, 28, 28)
    if sampler == "last_noise":
        last_noise = sigmas[-1] * ImageNoise([LAST_SEED + seed for seed in seeds]).draw()
    shown = np.arange(len(visited) + 1)[:: -1 if sampler == "reversed" else 1]
    return _record(steps, schedule, spaced, told[visited], last_noise, kept, shown)


def _record(
    steps: Iterator[Step], known: NoiseSchedule, spaced: NoiseSchedule, told: NDArray[np.int64], last_noise: Tensor,
    kept: int, shown: NDArray[np.int64],
) -> Record:  # fmt: skip
    """Look at a generation's steps as they come; ``last_noise`` is put on the finished images."""
    implied, power, roughness, beyond, strip = [], [], [], 0.0, []
    last = len(told) - 1
    for index, step in enumerate(steps):
        implied.append(_joining_t(step.x_t, step.eps_pred, step.x0_raw, known))
        roughness.append(_roughness(step.x_t))
        beyond = max(beyond, float(step.x0_pred.abs().max()))
        strip.append(step.x_t[kept, 0].cpu().numpy())
        if index < last:
            at = last - index
            put_on = step.x_prev - spaced.posterior_mean(step.x0_pred, step.x_t, at)
            power.append(float(put_on.double().square().mean() / spaced.betas[at]))
    x0 = step.x_prev.cpu() + last_noise
    return Record(
        told, np.array(implied), np.array(power), np.array([*roughness, _roughness(x0)]), beyond, step.x0_pred.cpu(),
        x0, np.stack([*strip, x0[kept, 0].numpy()]), shown,
    )  # fmt: skip


def _roughness(images: Tensor) -> float:
    return float(images.diff(dim=-1).double().square().mean())


def measure(
    denoiser: nn.Module,
    schedule: NoiseSchedule,
    training: Digits,
    digit: int = 5,
    is_mnist: bool = True,
    samples: int = SIZES[0],
    progress: Progress = silent,
) -> Mistakes:
    """Make the same digits by the correct sampler, twice, and by six wrong ones, and ask every detector about each.

    Parameters
    ----------
    digit
        Of the strips.
    is_mnist
        Whether samples are read by the MNIST classifier.
    samples
        N, at least 10, asked for 0 .. 9 in turn.
    """
    labels = torch.arange(samples) % NUM_LABELS
    mean = float(training.images.double().mean())
    classifier = DigitClassifier.bundled()[0] if is_mnist else None
    found, strips, read = [], [], []
    for done, sampler in enumerate(SAMPLERS):
        progress(done, len(SAMPLERS), f"sampler {sampler}")
        record = run(sampler, denoiser, schedule, labels, range(SEED, SEED + samples), digit)
        found.append(detect(record, mean))
        frames = shown_frames(len(record.shown))
        strips.append(record.strip[record.shown[frames]])
        if classifier is not None:
            read.append((classifier.read(record.x0) == labels).numpy())
    values, halves = (np.stack(column) for column in zip(*found, strict=True))
    steps_left = len(record.shown) - 1 - frames
    return Mistakes(values, halves, np.stack(strips), steps_left, samples, np.stack(read) if read else None)


def shown_frames(count: int) -> NDArray[np.int64]:
    """Return which of ``count`` states a strip shows: the first, the last, and some between, closer in the second half.

    With ``count`` = 51 these have 50, 39, 29, 20, 13, 7, 3 and 0 steps left.
    """
    left = np.round((count - 1) * (np.linspace(1, 0, FRAMES)) ** 1.6)
    return np.unique(count - 1 - left.astype(np.int64))


def draw(data: Mistakes) -> dict[str, Figure]:
    """Draw ``mistakes``: a strip for each sampler, and the table of what the detectors say."""
    own = [-1, -1, *range(len(MISTAKES))]
    figure = draw_museum(data.strips, data.steps_left, _SYMBOLS, data.values, data.caught, _HEADS, own)
    return {"mistakes": figure}


def facts(data: Mistakes) -> dict[str, Any]:
    """Return the numbers, by sampler and detector."""
    own = [float(data.values[2 + k, k]) for k in range(len(MISTAKES))]
    right = data.values[:2].max(axis=0)
    read = None if data.read is None else data.read.sum(axis=1).tolist()
    return {
        "samples": data.samples,
        "steps": int(data.steps_left[0]),
        "own": own,
        "own_half": [float(data.halves[2 + k, k]) for k in range(len(MISTAKES))],
        "right": [float(value) for value in right],
        "limits": list(LIMITS),
        "values": {name: [float(v) for v in row] for name, row in zip(SAMPLERS, data.values, strict=True)},
        "mistakes_read": None if read is None else dict(zip(SAMPLERS, read, strict=True)),
    }


def claims(data: Mistakes) -> tuple[Claim, ...]:
    """Say whether each mistake is caught by its own detector, whether a correct sampler is by any, what eyes see."""
    own = np.arange(len(MISTAKES))
    caught, passed = data.caught[2 + own, own], data.passed[2 + own, own]
    alarms, clean = data.caught[:2], data.passed[:2]
    answers = [
        Claim("caught", _decided(caught, passed), {"caught": int(caught.sum()), "mistakes": len(MISTAKES)}),
        Claim("clean", _decided(clean, alarms), {"alarms": int(alarms.sum()), "asked": int(alarms.size)}),
    ]
    if data.read is not None:
        answers.append(_unseen(dict(zip(SAMPLERS, data.read, strict=True))))
    return tuple(answers)


def _unseen(read: dict[str, NDArray[np.bool_]]) -> Claim:
    """Say whether some mistake surely loses the classifier less than :data:`MARGIN` of the same noise's digits.

    Each is set beside the correct sampler with its schedule. ``reversed`` makes the very same images and is left out.
    """
    rights = {name: "right_cosine" if name == "unclipped" else "right" for name in MISTAKES if name != "reversed"}
    pairs = [paired_difference(read[right], read[name], Z_FIVE) for name, right in rights.items()]
    unseen = [lost + half < MARGIN for lost, half in pairs]
    seen = [lost - half > 0 and not hidden for (lost, half), hidden in zip(pairs, unseen, strict=True)]
    told: dict[str, Any] = {f"read_{name}": int(hits.sum()) for name, hits in read.items()}
    told |= {
        "unseen": sum(unseen), "seen": sum(seen), "better": sum(lost + half < 0 for lost, half in pairs),
        "compared": len(pairs), "margin": MARGIN,
    }  # fmt: skip
    return Claim("unseen", True if any(unseen) else False if all(seen) else None, told)


def _decided(all_true: NDArray[np.bool_], some_false: NDArray[np.bool_]) -> bool | None:
    return False if some_false.any() else True if all_true.all() else None


def rows(facts: dict[str, Any], texts: Texts) -> Rows:
    """Lay out each mistake with its detector's number, the correct samplers' larger one, and the limit."""
    read = facts["mistakes_read"]
    lines = [
        (
            texts[f"chapter.mistakes.row_{name}"], texts[f"chapter.mistakes.detector_{detector}"],
            f"{facts['own'][k]:.3g}" + (f" ± {facts['own_half'][k]:.1g}" if facts["own_half"][k] > 0 else ""),
            f"{facts['right'][k]:.2g}", f"{facts['limits'][k]:g}",
            "–" if read is None else f"{read[name]} / {facts['samples']}",
        )
        for k, (name, detector) in enumerate(zip(MISTAKES, DETECTORS, strict=True))
    ]  # fmt: skip
    return Rows(("mistake", "detector", "own", "right", "limit", "read"), tuple(lines))


def _measure(material: Material) -> Mistakes:
    return measure(
        material.model, material.schedule, material.training, material.digit, material.is_mnist,
        material.size(*SIZES), material.progress,
    )  # fmt: skip


LESSON = Lesson(
    "mistakes", 140, _measure, draw, facts, rows, claims=claims,
    core=False, figures=("mistakes",), seconds=(15, 100), data=Mistakes,
)  # fmt: skip
