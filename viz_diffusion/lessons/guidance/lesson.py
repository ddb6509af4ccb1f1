"""The loud patron: what does insisting on the order cost?

The same noise and the same orders under several guidance scales (Ho & Salimans 2022), and under guidance that works in
a window of t alone (Kynkäänniemi et al. 2024), or beside it: how many are read as asked, beside how much they still
differ.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from viz_diffusion.data import NUM_LABELS, Digits
from viz_diffusion.diffusion.interventions import WithInterventions, guide_within
from viz_diffusion.diffusion.samplers import sample_images
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.diffusion.timesteps import spaced_timesteps
from viz_diffusion.evaluation.classifier import DigitClassifier
from viz_diffusion.evaluation.intervals import Z_95, Share, half_of_mean, paired_difference, surely
from viz_diffusion.evaluation.metrics import covered
from viz_diffusion.lessons.base import Claim, Lesson, LessonFigure, Precomputed, Rows
from viz_diffusion.lessons.context import LessonContext, Progress, device_of, silent
from viz_diffusion.lessons.guidance.figures import Price, draw_guidance, draw_price
from viz_diffusion.plots.lazy_figures import Figures
from viz_diffusion.text.catalogue import Texts

Float64 = NDArray[np.float64]
SCALES = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 8.0)
"""s in ε_∅ + s (ε_y - ε_∅)."""
PLAIN, INSISTING, LOUD = 1.0, 3.0, 8.0
"""No guidance, the scale that the claims compare with it, and the loudest."""
WINDOW = (435, 665)
"""Of T = 1000: where an ideal denoiser of MNIST without a label chooses the digit."""
STEPS = 20
SEED = 130_000
"""Of the first sample; all scales share their noise."""
SIZES = (140, 500)
"""Samples of each scale, quick and full."""
KEPT = 4
"""Samples of the digit that is told of, kept of each scale to be drawn."""
WHITE = 0.95
"""A pixel counts as saturated from here on; 1 is white."""


@dataclass(frozen=True, eq=False)
class Guidance:
    """N samples under each of A arms: the scales of :data:`SCALES`, and where they were measured last the windows'."""

    scales: Float64
    """(A,) float64: s of each arm."""
    windows: NDArray[np.int64]
    """(W, 2) int64: first and last t of the last W arms' guidance: the ideal denoiser's window, and as many steps just
    before it and just after it (W = 3); or W = 0."""
    right: NDArray[np.bool_] | None
    """(A, N) bool: which are read as asked; None where the data are not MNIST."""
    covered: NDArray[np.bool_] | None
    """(A, M) bool: which of M real digits lie within reach of the samples, in features of the classifier (recall)."""
    covered_real: NDArray[np.bool_] | None
    """(M,) bool: the same of N other real digits: what recall can be had with so many."""
    spread: Float64
    """(A, N) float64: squared distance of each sample from the mean of its digit, per pixel; their mean over the
    samples is the variance within a digit."""
    spread_real: float
    """That variance among real digits."""
    white: Float64
    """(A, N) float64: share of saturated pixels."""
    white_real: float
    """Its mean over real digits, every label counting alike, as among the samples."""
    white_real_error: float
    """The standard error of that mean."""
    images: NDArray[np.float32]
    """(A, K, H, W) float32: the first samples of one digit."""
    digit: int
    """Which digit that is."""
    steps: int
    """DDIM steps of each sample."""

    def arm(self, scale: float) -> int:
        """Return which arm guides with ``scale`` at every t."""
        return int(np.flatnonzero(self.scales == scale)[0])

    @property
    def count(self) -> int:
        """N."""
        return int(self.white.shape[1])


@torch.no_grad()
def measure(
    denoiser: nn.Module,
    schedule: NoiseSchedule,
    heldout: Digits,
    training: Digits,
    is_mnist: bool = True,
    digit: int = 5,
    count: int = SIZES[0],
    steps: int = STEPS,
    progress: Progress = silent,
) -> Guidance:
    """Sample the same noise under the same orders with every scale, by DDIM.

    Parameters
    ----------
    is_mnist
        Whether the classifier can read the samples, and the window means anything.
    count
        N; sample k is asked for k mod 10.
    """
    T = schedule.num_train_timesteps
    null_label = int(getattr(denoiser, "null_label", NUM_LABELS))
    asked = torch.arange(count) % NUM_LABELS
    windows = windows_of(T, min(steps, T)) if is_mnist else np.empty((0, 2), dtype=np.int64)
    arms: list[tuple[nn.Module, float]] = [(denoiser, scale) for scale in SCALES]
    for first, last in windows.tolist():
        arms.append((WithInterventions(denoiser, guide_within(first, last, null_label)), INSISTING))
    made = []
    for done, (arm, scale) in enumerate(arms):
        progress(done, len(arms), f"guidance {scale:g}" + (" in a window" if done >= len(SCALES) else ""))
        # without any guidance, or with the null label alone, half of the doubled batch would be for nothing
        labels, told = (torch.full_like(asked, null_label), 1.0) if scale == 0 else (asked, scale)
        parts = sample_images(
            arm,
            schedule,
            labels.to(device_of(denoiser)),
            range(SEED, SEED + count),
            sampler="ddim",
            steps=min(steps, T),
            guidance_scale=told,
            null_label=null_label,
        )
        made.append(torch.cat(list(parts)).clamp(-1, 1))
    reference, other = heldout.first_of_each(count), training.first_of_each(count)
    right, reached, reached_real = None, None, None
    if is_mnist:
        classifier, _ = DigitClassifier.bundled()
        right = np.stack([(classifier.read(images) == asked).numpy() for images in made])
        real, *sets = (_features(classifier, images) for images in (reference.images, other.images, *made))
        real_again, *rest = (covered(real, features) for features in sets)
        reached, reached_real = np.stack(rest), real_again
    white_real, white_real_error = _white_real(heldout)
    return Guidance(
        scales=np.array([scale for _, scale in arms]),
        windows=windows,
        right=right,
        covered=reached,
        covered_real=reached_real,
        spread=np.stack([spread_within(images, asked) for images in made]),
        spread_real=float(spread_within(heldout.images, heldout.labels).mean()),
        white=np.stack([_white(images) for images in made]),
        white_real=white_real,
        white_real_error=white_real_error,
        images=torch.stack(made)[:, asked == digit, 0][:, :KEPT].numpy(),
        digit=digit,
        steps=min(steps, T),
    )


def windows_of(T: int, steps: int) -> NDArray[np.int64]:
    """Return (3, 2) the window of the ideal denoiser, and as many visited steps just before it and just after it."""
    first, last = WINDOW[0] * T // 1000, WINDOW[1] * T // 1000
    visited = spaced_timesteps(T, steps)
    before, after = visited[visited > last], visited[visited < first]
    inside = len(visited) - len(before) - len(after)
    before, after = before[max(0, len(before) - inside) :], after[:inside]
    # where few steps are visited there may be none: t = T and t = -1 are never visited
    beside = [(part[-1], part[0]) if len(part) else (none, none) for part, none in ((before, T), (after, -1))]
    return np.array([(first, last), *beside], dtype=np.int64)


def _features(classifier: DigitClassifier, images: Tensor) -> Float64:
    return np.asarray(torch.cat([classifier.features(part) for part in torch.split(images, 500)]).double().numpy())


def _white(images: Tensor) -> Float64:
    return np.asarray((images >= WHITE).flatten(1).double().mean(dim=1).numpy())


def _white_real(digits: Digits) -> tuple[float, float]:
    """Return the mean share of saturated pixels of real digits, all labels counting alike, and its standard error."""
    white = _white(digits.images)
    kinds = [white[(digits.labels == k).numpy()] for k in torch.unique(digits.labels)]
    variances = [kind.var(ddof=1) / len(kind) if len(kind) > 1 else 0.0 for kind in kinds]
    return float(np.mean([kind.mean() for kind in kinds])), float(np.sqrt(sum(variances)) / len(kinds))


def spread_within(images: Tensor, labels: Tensor) -> Float64:
    """Return (N,) squared distances per pixel from the mean of all images with the same label, times n/(n-1).

    n is how many these are, at least 2: the mean over them is the unbiased variance of a pixel within the label, mean
    over the pixels.
    """
    flat, found = images.flatten(1).double(), np.empty(len(images))
    for k in torch.unique(labels):
        here = labels == k
        n = max(2, int(here.sum()))
        found[here.numpy()] = ((flat[here] - flat[here].mean(dim=0)).square().mean(dim=1) * n / (n - 1)).numpy()
    return found


def draw(data: Guidance) -> Figures:
    """Draw ``guidance``, one digit under every scale, and ``price``, what is gained beside what is lost."""
    scales = len(SCALES)
    found = facts(data)
    accuracy, recall = found["guidance_accuracy"], found["guidance_recall"]
    rows = [("%", accuracy)] if accuracy else []
    rows += [("$V$", found["guidance_variance"])] + ([("$R$", recall)] if recall else [])
    ratio, half = _variance(data)
    lines = [Price("$V$", ratio[:scales], (ratio - half)[:scales], (ratio + half)[:scales], 1.0)]
    for name, hits in (("$A$", data.right), ("$R$", data.covered)):
        if hits is not None:
            shares = [Share(int(row.sum()), len(row)) for row in hits[:scales]]
            low, high = np.array([share.interval for share in shares]).T
            ceiling = None if name == "$A$" or data.covered_real is None else float(data.covered_real.mean())
            lines.append(Price(name, np.array([share.value for share in shares]), low, high, ceiling))
    return Figures(
        guidance=lambda: draw_guidance(
            data.images[:scales], data.scales[:scales], [(name, row[:scales]) for name, row in rows]
        ),
        price=lambda: draw_price(data.scales[:scales], lines),
    )


def facts(data: Guidance) -> dict[str, Any]:
    """Return the numbers that captions and tables are filled with."""
    scales = len(SCALES)
    ratio, half = _variance(data)

    def shares(hits: NDArray[np.bool_] | None) -> list[float] | None:
        return None if hits is None else [float(row.mean()) for row in hits]

    def intervals(hits: NDArray[np.bool_] | None) -> list[list[float]] | None:
        return None if hits is None else [list(Share(int(row.sum()), len(row)).interval) for row in hits]

    return {
        "guidance_scales": [float(s) for s in data.scales[:scales]],
        "guidance_count": data.count,
        "guidance_steps": data.steps,
        "guidance_digit": data.digit,
        "guidance_accuracy": shares(data.right),
        "guidance_accuracy_interval": intervals(data.right),
        "guidance_variance": [float(v) for v in ratio],
        "guidance_variance_interval": [[float(v - h), float(v + h)] for v, h in zip(ratio, half, strict=True)],
        "guidance_recall": shares(data.covered),
        "guidance_recall_interval": intervals(data.covered),
        "guidance_recall_real": None if data.covered_real is None else float(data.covered_real.mean()),
        "guidance_white": [float(v) for v in data.white.mean(axis=1)],
        "guidance_white_real": data.white_real,
        "guidance_windows": [[int(t) for t in span] for span in data.windows],
        "insisting": INSISTING,
        "loud": LOUD,
    }


def _variance(data: Guidance) -> tuple[Float64, Float64]:
    """Return (A,) the variance within a digit, that of real digits being 1, and half its 95% interval."""
    spread = data.spread / data.spread_real
    return spread.mean(axis=1), np.asarray(half_of_mean(spread))


def claims(data: Guidance) -> tuple[Claim, ...]:
    """Say whether insisting is obeyed, what it takes from variety and strokes, and whether a window of t is enough."""
    answers = [] if data.right is None else [_shares("obeys", data, data.right, 1)]
    answers.append(_narrows(data))
    if data.covered is not None:
        answers.append(_shares("forgets", data, data.covered, -1))
    answers.append(_saturates(data))
    if len(data.windows) and data.right is not None:
        answers.append(_window(data, data.right))
    return tuple(answers)


def _shares(name: str, data: Guidance, hits: NDArray[np.bool_], sign: int) -> Claim:
    """Say whether a share of pairs rises (sign 1) or falls (sign -1) from no guidance to insisting."""
    plain, insisted = hits[data.arm(PLAIN)], hits[data.arm(INSISTING)]
    change, low, high = paired_difference(*((insisted, plain) if sign > 0 else (plain, insisted)))
    told = {
        "plain": float(plain.mean()),
        "insisted": float(insisted.mean()),
        "change": change,
        "low": low,
        "high": high,
        "plain_hits": int(plain.sum()),
        "insisted_hits": int(insisted.sum()),
        "change_hits": sign * int(insisted.sum() - plain.sum()),
    }
    return Claim(name, surely(low, high), told)


def _narrows(data: Guidance) -> Claim:
    """Say whether the variance within a digit shrinks: the ratio of two means over the same noise."""
    plain, insisted = data.spread[data.arm(PLAIN)], data.spread[data.arm(INSISTING)]
    ratio = float(insisted.mean() / plain.mean())
    half = half_of_mean(insisted - ratio * plain) / float(plain.mean())  # linearized: both means are estimates
    low, high = ratio - half, ratio + half
    return Claim("narrows", surely(1 - high, 1 - low), {"ratio": ratio, "low": low, "high": high})


def _saturates(data: Guidance) -> Claim:
    """Say whether the loudest guidance makes more pixels white than real digits have."""
    plain, loud = data.white[data.arm(PLAIN)], data.white[data.arm(LOUD)]
    beyond = float(loud.mean()) - data.white_real
    beyond_half = float(np.hypot(half_of_mean(loud), Z_95 * data.white_real_error))
    told = {
        "plain": float(plain.mean()),
        "loudest": float(loud.mean()),
        "more": float((loud - plain).mean()),
        "half": half_of_mean(loud - plain),
        "beyond": beyond,
        "beyond_half": beyond_half,
    }
    return Claim("saturates", surely(beyond - beyond_half, beyond + beyond_half), told)


def _window(data: Guidance, right: NDArray[np.bool_]) -> Claim:
    """Say whether guidance in the window alone keeps most of what guidance gains, and more than as many other steps."""
    plain, always = right[data.arm(PLAIN)], right[data.arm(INSISTING)]
    within, *others = right[len(SCALES) :]
    gain, missing = paired_difference(within, plain), paired_difference(always, within)
    # most is kept where more is gained than is missing; without a gain there is nothing to keep
    most = surely(gain[1] - missing[2], gain[2] - missing[1]) if paired_difference(always, plain)[1] > 0 else None
    ahead, low, high = min((paired_difference(within, other) for other in others), key=lambda found: found[1])
    elsewhere = surely(low, high)
    holds = False if most is False or elsewhere is False else (True if most and elsewhere else None)
    rows = [data.arm(PLAIN), data.arm(INSISTING), *range(len(SCALES), len(right))]
    recall = np.zeros(len(rows)) if data.covered is None else data.covered[rows].mean(axis=1)
    varies = data.spread[rows].mean(axis=1) / data.spread_real
    told = {
        f"{name}_{what}": float(value)
        for what, values in (("read", right[rows].mean(axis=1)), ("varies", varies), ("reach", recall))
        for name, value in zip(("plain", "always", "within", "before", "after"), values, strict=True)
    }
    return Claim("window", holds, {**told, "ahead": ahead, "low": low, "high": high})


def rows(facts: dict[str, Any], texts: Texts) -> Rows:
    """Lay out what each scale gives."""
    names = [f"{scale:g}" for scale in facts["guidance_scales"]]
    for first, last in facts["guidance_windows"]:
        names.append(texts("chapter.guidance.row_window", scale=f"{facts['insisting']:g}", first=first, last=last))

    def told(name: str, digits: str = ".0%") -> list[str]:
        values, spans = facts[f"guidance_{name}"], facts[f"guidance_{name}_interval"]
        if values is None:
            return ["–"] * len(names)
        return [f"{v:{digits}} ({a:{digits}} – {b:{digits}})" for v, (a, b) in zip(values, spans, strict=True)]

    white = [f"{v:.1%}" for v in facts["guidance_white"]]
    lines = zip(names, told("accuracy"), told("variance", ".2f"), told("recall"), white, strict=True)
    return Rows(("scale", "accuracy", "variance", "recall", "white"), tuple(lines))


def _measure(context: LessonContext) -> Guidance:
    return measure(
        context.model,
        context.schedule,
        context.heldout,
        context.training,
        context.is_mnist,
        context.digit,
        context.size(*SIZES),
        progress=context.progress,
    )


LESSON = Lesson(
    name="guidance",
    position=80,
    precomputed=Precomputed(
        Guidance,
        _measure,
        (LessonFigure("guidance", in_exercise=True, digit="guidance_digit"), LessonFigure("price", advanced=True)),
    ),
    seconds=(45, 150),
    facts=facts,
    claims=claims,
    rows=rows,
    draw=draw,
)
