"""Fewer strokes: how few steps are enough?

The same noise and the same orders under four samplers and several numbers of steps, beside all steps of DDPM; and in
:mod:`~viz_diffusion.lessons.samplers.path_geometry` why some samplers can take larger steps than others.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from viz_diffusion.data import NUM_LABELS, Digits
from viz_diffusion.diffusion.samplers import Step, sample_images
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.evaluation.classifier import DigitClassifier
from viz_diffusion.evaluation.evaluate import FLOOR_DRAWS, draw_with_labels
from viz_diffusion.evaluation.intervals import Share, half_of_mean, paired_difference, surely
from viz_diffusion.evaluation.metrics import frechet_distance
from viz_diffusion.lessons.base import Claim, Lesson, LessonFigure, Precomputed, Rows
from viz_diffusion.lessons.context import TRACED_SEED, LessonContext, Progress, device_of, silent
from viz_diffusion.lessons.samplers.figures import draw_paths, draw_samplers, draw_strokes
from viz_diffusion.lessons.samplers.path_geometry import Paths, measure_paths
from viz_diffusion.plots.lazy_figures import Figures
from viz_diffusion.recording.trajectory import Trajectory
from viz_diffusion.text.catalogue import Texts

Float64 = NDArray[np.float64]
ARMS = (("ddpm", "beta"), ("ddpm", "beta_tilde"), ("ddim", "beta"), ("dpm-solver++", "beta"))
"""Sampler and the variance of what it injects; only DDPM's matters."""
NAMES = ("DDPM β", "DDPM β̃", "DDIM", "2M")
DDIM, SOLVER = 2, 3
"""Which of the arms those are: both follow the probability-flow equation, and end in the same picture if exact."""
STEPS = (2, 5, 10, 20, 50, 100)
COUNTS = (64, 256)
"""Samples of each, quick and full."""
ENOUGH = 0.9
"""Few steps are enough where no less than this share is read as asked of what all steps give."""
FEW = 50
"""Steps, for T = 1000: so many are few."""
COMPARED = 10
"""Steps at which the two that follow one equation are compared."""
Z_OF_MANY = 3.02
"""The same for the largest of 20 differences, so that it is above by chance in 1 of 40 measurements (Bonferroni)."""


@dataclass(frozen=True, eq=False)
class Samplers:
    """N samples of each of :data:`ARMS` with each of K numbers of steps, and of DDPM with all steps."""

    steps: NDArray[np.int64]
    """(K,) int64, rising."""
    all_steps: int
    """How many the reference took."""
    right: NDArray[np.bool_] | None
    """(4, K, N) bool: which are read as asked; None where the data are not MNIST."""
    right_all: NDArray[np.bool_] | None
    """(N,) bool: the same of the reference."""
    frechet: Float64 | None
    """(4, K) float64: Fréchet distance to N real digits in the classifier's features; None where N is too small."""
    frechet_all: float | None
    """The same of the reference."""
    frechet_real: float | None
    """The same of N other real digits: what lies below it is no better than real, for it varies with the draw too."""
    classifier_sha256: str
    """Of the classifier whose features those are."""
    apart: Float64
    """(2, K, N) float64: RMS distance of DDIM's and the solver's pictures from the solver's with the most steps."""
    seconds: Float64
    """(K,) float64: of one image, with the quickest of the samplers, as it was measured here."""
    images: NDArray[np.float32]
    """(4, K, H, W) float32: one sample of each."""
    image_all: NDArray[np.float32]
    """(H, W) float32: the reference from the same noise."""
    digit: int
    """Which digit it was asked for."""
    paths: Paths
    """How winding the ways are."""

    @property
    def count(self) -> int:
        """N."""
        return int(self.apart.shape[2])

    def first_enough(self, arm: int) -> int | None:
        """Return the fewest steps from which on :data:`ENOUGH` of the reference's share is read as asked."""
        if self.right is None or self.right_all is None:
            return None
        enough = self.right[arm].mean(axis=1) >= ENOUGH * self.right_all.mean()
        lasting = np.logical_and.accumulate(enough[::-1])[::-1]
        return int(self.steps[lasting.argmax()]) if lasting.any() else None


def measure(
    denoiser: nn.Module,
    traces: Trajectory,
    heldout: Digits,
    training: Digits,
    is_mnist: bool = True,
    digit: int = 5,
    count: int = COUNTS[0],
    steps: tuple[int, ...] = STEPS,
    full: bool = False,
    progress: Progress = silent,
) -> Samplers:
    """Sample with few steps from the noise that the traces began with, and compare with what they ended in.

    Parameters
    ----------
    traces
        DDPM with all steps, M images; where ``count`` is larger, the rest is sampled the same way.
    full
        Whether there are enough samples for a Fréchet distance to mean something.
    """
    schedule, T = traces.schedule, traces.schedule.num_train_timesteps
    asked = torch.arange(count) % NUM_LABELS
    kept_steps = [n for n in steps if n <= T]
    total = len(ARMS) * len(kept_steps)
    made: list[list[Tensor]] = [[] for _ in ARMS]
    seconds = np.zeros((len(ARMS), len(kept_steps)))
    path = _PathKeeper(min(len(traces.labels), count))
    for k, n in enumerate(kept_steps):
        for arm, (sampler, variance) in enumerate(ARMS):
            progress(k * len(ARMS) + arm, total, f"{NAMES[arm]}, {n} steps")
            listen = path if arm == DDIM and n == kept_steps[-1] else None
            begun = time.perf_counter()
            made[arm].append(_sample(denoiser, schedule, asked, sampler, variance, n, listen))
            seconds[arm, k] = (time.perf_counter() - begun) / count
    reference = _reference(denoiser, traces, asked, progress)
    pictures = torch.stack([torch.stack(row) for row in made])
    limit = pictures[SOLVER, -1]
    apart = (pictures[[DDIM, SOLVER]] - limit).square().mean(dim=(3, 4, 5)).sqrt().double().numpy()
    ddim = path.states()
    looks = np.round(np.linspace(0, traces.num_steps, ddim.shape[1])).astype(np.int64)
    states = np.concatenate([traces.x_t[: len(ddim), :, 0], traces.x0[: len(ddim)]], axis=1)[:, looks]
    shown = int(torch.nonzero(asked == digit)[0]) if bool((asked == digit).any()) else 0
    judged = _judge(pictures, reference, asked, heldout, training, full) if is_mnist else _Judged()
    return Samplers(
        steps=np.array(kept_steps),
        all_steps=traces.num_steps,
        right=judged.right,
        right_all=judged.right_all,
        frechet=judged.frechet,
        frechet_all=judged.frechet_all,
        frechet_real=judged.frechet_real,
        classifier_sha256=judged.digest,
        apart=apart,
        seconds=seconds.min(axis=0),
        images=pictures[:, :, shown, 0].numpy(),
        image_all=reference[shown, 0].numpy(),
        digit=int(asked[shown]),
        paths=measure_paths(ddim, states),
    )


class _PathKeeper:
    """Listens to bulk sampling and keeps the path of the first images."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._batches: list[list[Tensor]] = []
        self._last = -1

    def __call__(self, step: Step) -> None:
        if self._last <= step.t:  # a new batch begins at the largest t
            self._batches.append([step.x_t.cpu()])
        self._last = step.t
        if sum(len(batch[0]) for batch in self._batches[:-1]) < self._count:
            self._batches[-1].append(step.x_prev.cpu())

    def states(self) -> NDArray[np.float32]:
        """Return (M, S+1, H, W) the states of the first M images, from noise to picture."""
        whole = [torch.stack(batch, dim=1)[:, :, 0] for batch in self._batches if len(batch) > 1]
        return torch.cat(whole)[: self._count].numpy()


def _sample(
    denoiser: nn.Module,
    schedule: NoiseSchedule,
    asked: Tensor,
    sampler: str,
    variance: str,
    steps: int,
    listen: _PathKeeper | None = None,
    first: int = 0,
) -> Tensor:
    """Return (N, 1, H, W) samples; image k has the noise of the k-th trace."""
    seeds = range(TRACED_SEED + first, TRACED_SEED + first + len(asked))
    parts = sample_images(
        denoiser,
        schedule,
        asked.to(device_of(denoiser)),
        seeds,
        sampler=sampler,
        variance=variance,
        steps=steps,
        null_label=getattr(denoiser, "null_label", NUM_LABELS),
        on_step=listen,
    )
    return torch.cat(list(parts))


def _reference(denoiser: nn.Module, traces: Trajectory, asked: Tensor, progress: Progress) -> Tensor:
    """Return (N, 1, H, W): what the traces ended in, and as many more like them as are needed."""
    known = torch.from_numpy(traces.x0)[: len(asked)]
    parts = [known]
    for start in range(len(known), len(asked), 20):
        progress(start, len(asked), f"DDPM, {traces.num_steps} steps")
        part = asked[start : start + 20]
        parts.append(_sample(denoiser, traces.schedule, part, *ARMS[0], traces.num_steps, first=start))
    return torch.cat(parts)


@dataclass(frozen=True, eq=False)
class _Judged:
    """What the classifier says of all samples."""

    right: NDArray[np.bool_] | None = None
    right_all: NDArray[np.bool_] | None = None
    frechet: Float64 | None = None
    frechet_all: float | None = None
    frechet_real: float | None = None
    digest: str = ""


@torch.no_grad()
def _judge(
    pictures: Tensor, reference: Tensor, asked: Tensor, heldout: Digits, training: Digits, full: bool
) -> _Judged:
    """Read (4, K, N, 1, H, W) samples and the reference, and with ``full`` measure how far they are from real ones."""
    classifier, digest = DigitClassifier.bundled()
    arms, numbers = pictures.shape[:2]
    right = torch.stack([classifier.read(images) == asked for images in pictures.flatten(0, 1)])
    right_all = (classifier.read(reference) == asked).numpy()
    shaped = right.reshape(arms, numbers, -1).numpy()
    if not full:
        return _Judged(shaped, right_all, digest=digest)
    generator = torch.Generator().manual_seed(1400)
    compared = heldout.images[torch.randperm(len(heldout), generator=generator)[: len(asked)]]
    floor = [draw_with_labels(training, asked, generator) for _ in range(FLOOR_DRAWS)]
    real, *others = (
        classifier.features(images.clamp(-1, 1)).double().numpy()
        for images in (compared, *floor, reference, *pictures.flatten(0, 1))
    )
    found = np.array([frechet_distance(features, real) for features in others])
    far = found[FLOOR_DRAWS + 1 :].reshape(arms, numbers)
    return _Judged(shaped, right_all, far, float(found[FLOOR_DRAWS]), float(found[:FLOOR_DRAWS].mean()), digest)


def draw(data: Samplers) -> Figures:
    """Draw ``samplers``, one picture of each; ``strokes``, how good they are over N; and ``paths``."""
    shares = None if data.right is None else data.right.mean(axis=2)
    share_all = None if data.right_all is None else float(data.right_all.mean())
    bounds = None
    if data.right is not None:
        counts = data.right.sum(axis=2)
        bounds = np.array([[Share(int(hits), data.count).interval for hits in row] for row in counts])
    half = half_of_mean(data.apart)
    return Figures(
        samplers=lambda: draw_samplers(
            data.images, data.image_all, data.steps, data.all_steps, NAMES, shares, share_all
        ),
        strokes=lambda: draw_strokes(
            data.steps, NAMES, shares, bounds, share_all, data.apart.mean(axis=2), half, (DDIM, SOLVER)
        ),
        paths=lambda: draw_paths(
            data.paths.maps, data.paths.ends, data.paths.straight.mean(axis=1), data.paths.share.mean(axis=1)
        ),
    )


def facts(data: Samplers) -> dict[str, Any]:
    """Return the numbers that captions and tables are filled with."""
    shares = None
    if data.right is not None:
        shares = [[Share(int(hits), data.count) for hits in row] for row in data.right.sum(axis=2)]
    all_share = None if data.right_all is None else Share(int(data.right_all.sum()), data.count)
    first = [data.first_enough(arm) for arm in range(len(ARMS))]
    return {
        "sampler_names": list(NAMES),
        "stroke_steps": [int(n) for n in data.steps],
        "all_steps": data.all_steps,
        "stroke_count": data.count,
        "stroke_digit": data.digit,
        "accuracy": None if shares is None else [[share.value for share in row] for row in shares],
        "accuracy_interval": None if shares is None else [[list(share.interval) for share in row] for row in shares],
        "accuracy_all": None if all_share is None else all_share.value,
        "accuracy_all_interval": None if all_share is None else list(all_share.interval),
        "first_enough": None if shares is None else first,
        "first_enough_told": "–"
        if shares is None
        else ", ".join(f"{name}: {n or '–'}" for name, n in zip(NAMES, first, strict=True)),
        "frechet": None if data.frechet is None else [[float(v) for v in row] for row in data.frechet],
        "frechet_all": data.frechet_all,
        "frechet_real": data.frechet_real,
        "classifier_sha256": data.classifier_sha256,
        "apart": [[float(v) for v in row] for row in data.apart.mean(axis=2)],
        "seconds": [float(v) for v in data.seconds],
        "enough": ENOUGH,
        "few": FEW,
        **data.paths.facts(),
    }


def _difference(values: Float64) -> tuple[float, float]:
    """Return the mean of (N,) paired differences, and half its 95% interval."""
    return float(values.mean()), float(half_of_mean(values))


def _positive(values: Float64) -> bool | None:
    """Return whether the mean of (N,) paired differences is surely above 0, surely not, or open."""
    mean, half = _difference(values)
    return surely(mean - half, mean + half)


def claims(data: Samplers) -> tuple[Claim, ...]:
    """Say whether few steps are enough, which of two samplers comes nearer with as many, and why."""
    answers = [] if data.right is None or data.right_all is None else [_few(data, data.right, data.right_all)]
    k = int(np.abs(data.steps - COMPARED).argmin())
    if k < len(data.steps) - 1:  # the last one of the solver is what is compared with
        mean, half = _difference(data.apart[0, k] - data.apart[1, k])
        distances = {"ddim": float(data.apart[0, k].mean()), "solver": float(data.apart[1, k].mean())}
        facts = {"at": int(data.steps[k]), "most": int(data.steps[-1]), **distances, "nearer": mean, "half": half}
        answers.append(Claim("second_order", surely(mean - half, mean + half), facts))
    straighter = _positive(data.paths.straight[0] - data.paths.straight[1])
    flat = data.paths.share.sum(axis=2)
    flatter = _positive(flat[0] - flat[2])
    return (*answers, Claim("straighter", straighter), Claim("flatter", flatter))


def _few(data: Samplers, right: NDArray[np.bool_], right_all: NDArray[np.bool_]) -> Claim:
    """Say whether some sampler is as good with few steps: paired, for all began with the same noise.

    It is found where one sampler with one few number of steps surely is, and no longer run of it falls below again; the
    answer names the one with the fewest steps. Otherwise it names the best of few steps.
    """
    few = [(k, arm) for k in np.flatnonzero(data.steps <= FEW).tolist() for arm in range(len(ARMS))]
    verdicts = {(k, arm): surely(*paired_difference(right[arm, k], right_all, ENOUGH, Z_OF_MANY)[1:]) for k, arm in few}
    lasting = right.mean(axis=2) >= ENOUGH * right_all.mean()
    sure = [(k, arm) for k, arm in few if verdicts[k, arm] and lasting[arm, k:].all()]
    holds = True if sure else (False if all(v is False for v in verdicts.values()) else None)
    if sure:
        k, quickest = min(sure, key=lambda at: (at[0], -right[at[1], at[0]].sum()))
    else:
        k, quickest = max(few, key=lambda at: right[at[1], at[0]].sum())
    fewest, found = int(data.steps[k]), Share(int(right[quickest, k].sum()), data.count)
    low, high = found.interval
    told = Share(int(right_all.sum()), data.count)
    facts = {
        "fewest": fewest,
        "quickest": NAMES[quickest],
        "share": found.value,
        "low": low,
        "high": high,
        "all_share": told.value,
        "all_low": told.interval[0],
        "all_high": told.interval[1],
    }
    return Claim("few_strokes", holds, facts)


def rows(facts: dict[str, Any], texts: Texts) -> Rows:
    """Lay out what each number of steps gives under each sampler, and what it costs."""
    lines = []
    for k, n in enumerate(facts["stroke_steps"]):
        cells = [_cell(facts, arm, k) for arm in range(len(ARMS))]
        lines.append((str(n), *cells, f"{facts['seconds'][k]:.3f}"))
    last = "–"
    if facts["accuracy_all"] is not None:
        low, high = facts["accuracy_all_interval"]
        last = f"{facts['accuracy_all']:.0%} ({low:.0%} – {high:.0%})" + _distance(facts["frechet_all"])
    lines.append((str(facts["all_steps"]), last, "–", "–", "–", "–"))
    if facts["frechet_real"] is not None:
        lines.append((texts["chapter.samplers.row_real"], _distance(facts["frechet_real"])[2:], *"––––"))
    return Rows(("steps", "beta", "beta_tilde", "ddim", "solver", "seconds"), tuple(lines))


def _cell(facts: dict[str, Any], arm: int, k: int) -> str:
    if facts["accuracy"] is None:
        return "–"
    low, high = facts["accuracy_interval"][arm][k]
    far = None if facts["frechet"] is None else facts["frechet"][arm][k]
    return f"{facts['accuracy'][arm][k]:.0%} ({low:.0%} – {high:.0%})" + _distance(far)


def _distance(value: float | None) -> str:
    return "" if value is None else f"; {value:.1f}"


def _measure(context: LessonContext) -> Samplers:
    return measure(
        context.model,
        context.traces,
        context.heldout,
        context.training,
        context.is_mnist,
        context.digit,
        context.size(*COUNTS),
        full=context.full,
        progress=context.progress,
    )


LESSON = Lesson(
    name="samplers",
    position=90,
    precomputed=Precomputed(
        Samplers,
        _measure,
        (
            LessonFigure("samplers", in_exercise=True, digit="stroke_digit"),
            LessonFigure("strokes"),
            LessonFigure("paths", advanced=True),
        ),
    ),
    needs=frozenset({"traces"}),
    seconds=(36, 280),
    facts=facts,
    claims=claims,
    rows=rows,
    draw=draw,
)
