"""The loud patron: what does insisting on the order cost?

The same noise and the same orders under several guidance scales (Ho & Salimans 2022), and under guidance that works in
a window of t alone (Kynkäänniemi et al. 2024): how many are read as asked, beside how much they still differ.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor, nn

from viz_diffusion.catalogue import Texts
from viz_diffusion.data import NUM_LABELS, Digits
from viz_diffusion.distances import covered
from viz_diffusion.interventions import Intervened, guide_within
from viz_diffusion.lessons.lesson import Claim, Lesson, Rows
from viz_diffusion.lessons.material import Material, Progress, device_of, silent
from viz_diffusion.plots.guidance import Price, draw_guidance, draw_price
from viz_diffusion.quality import DigitClassifier, Share
from viz_diffusion.sample import sample_images
from viz_diffusion.schedule import NoiseSchedule

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
Z = 1.96


@dataclass(frozen=True, eq=False)
class Guidance:
    """N samples under each of A arms: the scales of :data:`SCALES`, and where it was measured last the window's."""

    scales: Float64
    """(A,) float64: s of each arm."""
    window: tuple[int, int] | None
    """First and last t of the last arm's guidance; None where there is no such arm."""
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
    """Its mean over real digits."""
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
    window = (WINDOW[0] * T // 1000, WINDOW[1] * T // 1000) if is_mnist else None
    arms: list[tuple[nn.Module, float]] = [(denoiser, scale) for scale in SCALES]
    if window is not None:
        arms.append((Intervened(denoiser, guide_within(*window, null_label)), INSISTING))
    made = []
    for done, (arm, scale) in enumerate(arms):
        progress(done, len(arms), f"guidance {scale:g}" + (" in the window" if done == len(SCALES) else ""))
        # without any guidance, or with the null label alone, half of the doubled batch would be for nothing
        labels, told = (torch.full_like(asked, null_label), 1.0) if scale == 0 else (asked, scale)
        parts = sample_images(
            arm, schedule, labels.to(device_of(denoiser)), range(SEED, SEED + count),
            sampler="ddim", steps=min(steps, T), guidance_scale=told, null_label=null_label,
        )  # fmt: skip
        made.append(torch.cat(list(parts)).clamp(-1, 1))
    reference, other = _typical(heldout, count), _typical(training, count)
    right, reached, reached_real = None, None, None
    if is_mnist:
        classifier, _ = DigitClassifier.bundled()
        right = np.stack([(classifier.read(images) == asked).numpy() for images in made])
        real, *sets = (_features(classifier, images) for images in (reference.images, other.images, *made))
        real_again, *rest = (covered(real, features) for features in sets)
        reached, reached_real = np.stack(rest), real_again
    return Guidance(
        scales=np.array([scale for _, scale in arms]),
        window=window,
        right=right,
        covered=reached,
        covered_real=reached_real,
        spread=np.stack([spread_within(images, asked) for images in made]),
        spread_real=float(spread_within(heldout.images, heldout.labels).mean()),
        white=np.stack([_white(images) for images in made]),
        white_real=float(_white(heldout.images).mean()),
        images=torch.stack(made)[:, asked == digit, 0][:, :KEPT].numpy(),
        digit=digit,
        steps=min(steps, T),
    )


def _typical(digits: Digits, count: int) -> Digits:
    """Return the first real digits of each label in turn, 0 .. 9, as many as there are samples."""
    rows = [torch.nonzero(digits.labels == k)[:, 0] for k in range(NUM_LABELS)]
    chosen = torch.stack([rows[k % NUM_LABELS][k // NUM_LABELS] for k in range(count)])
    return Digits(digits.images[chosen], digits.labels[chosen])


def _features(classifier: DigitClassifier, images: Tensor) -> Float64:
    return np.asarray(torch.cat([classifier.features(part) for part in torch.split(images, 500)]).double().numpy())


def _white(images: Tensor) -> Float64:
    return np.asarray((images >= WHITE).flatten(1).double().mean(dim=1).numpy())


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


def draw(data: Guidance) -> dict[str, Figure]:
    """Draw ``guidance``, one digit under every scale, and ``price``, what is gained beside what is lost."""
    scales = len(SCALES)
    found = facts(data)
    accuracy, recall = found["guidance_accuracy"], found["guidance_recall"]
    rows = [("%", accuracy)] if accuracy else []
    rows += [("$V$", found["guidance_variance"])] + ([("$R$", recall)] if recall else [])
    shown = draw_guidance(data.images[:scales], data.scales[:scales], [(name, row[:scales]) for name, row in rows])
    ratio, half = _variance(data)
    lines = [Price("$V$", ratio[:scales], (ratio - half)[:scales], (ratio + half)[:scales], 1.0)]
    for name, hits in (("$A$", data.right), ("$R$", data.covered)):
        if hits is not None:
            shares = [Share(int(row.sum()), len(row)) for row in hits[:scales]]
            low, high = np.array([share.interval for share in shares]).T
            ceiling = None if name == "$A$" or data.covered_real is None else float(data.covered_real.mean())
            lines.append(Price(name, np.array([share.value for share in shares]), low, high, ceiling))
    return {"guidance": shown, "price": draw_price(data.scales[:scales], lines)}


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
        "guidance_window": None if data.window is None else list(data.window),
        "insisting": INSISTING,
        "loud": LOUD,
    }


def _variance(data: Guidance) -> tuple[Float64, Float64]:
    """Return (A,) the variance within a digit, that of real digits being 1, and half its 95% interval."""
    spread = data.spread / data.spread_real
    return spread.mean(axis=1), np.asarray(Z * spread.std(axis=1, ddof=1) / np.sqrt(data.count))


def _difference(values: NDArray[Any]) -> tuple[float, float]:
    """Return the mean of (N,) paired differences, and half its 95% interval."""
    return float(values.mean()), float(Z * values.std(ddof=1) / np.sqrt(len(values)))


def _surely(low: float, high: float) -> bool | None:
    """Return whether something is surely above 0, surely not, or open."""
    return True if low > 0 else (False if high <= 0 else None)


def claims(data: Guidance) -> tuple[Claim, ...]:
    """Say whether insisting is obeyed, what it takes from variety and strokes, and whether a window of t is enough."""
    plain, insisting, loud = (data.arm(scale) for scale in (PLAIN, INSISTING, LOUD))
    answers = []
    if data.right is not None:
        right = data.right.astype(float)
        mean, half = _difference(right[insisting] - right[plain])
        shares = {"plain": float(right[plain].mean()), "insisted": float(right[insisting].mean())}
        answers.append(Claim("obeys", _surely(mean - half, mean + half), {**shares, "gain": mean, "half": half}))
    mean, half = _difference(data.spread[plain] - data.spread[insisting])
    base = float(data.spread[plain].mean())
    ratio = {"ratio": 1 - mean / base, "low": 1 - (mean + half) / base, "high": 1 - (mean - half) / base}
    answers.append(Claim("narrows", _surely(mean - half, mean + half), ratio))
    if data.covered is not None:
        reached = data.covered.astype(float)
        mean, half = _difference(reached[plain] - reached[insisting])
        shares = {"plain": float(reached[plain].mean()), "insisted": float(reached[insisting].mean())}
        answers.append(Claim("forgets", _surely(mean - half, mean + half), {**shares, "lost": mean, "half": half}))
    mean, half = _difference(data.white[loud] - data.white[plain])
    whites = {"plain": float(data.white[plain].mean()), "loudest": float(data.white[loud].mean())}
    answers.append(Claim("saturates", _surely(mean - half, mean + half), {**whites, "more": mean, "half": half}))
    if data.window is not None and data.right is not None:
        answers.append(_window(data, data.right))
    return tuple(answers)


def _window(data: Guidance, right: NDArray[np.bool_]) -> Claim:
    """Say whether guidance in the window alone keeps most of what guidance at every t gains in accuracy."""
    hits = right.astype(float)
    plain, insisting = data.arm(PLAIN), data.arm(INSISTING)
    # most of the gain is kept where the window gains more than half of it
    mean, half = _difference(hits[-1] - (hits[plain] + hits[insisting]) / 2)
    gain, gain_half = _difference(hits[insisting] - hits[plain])
    holds = _surely(mean - half, mean + half) if gain > gain_half else None  # without a gain there is nothing to keep
    three = [plain, insisting, -1]
    recall = np.zeros(3) if data.covered is None else data.covered[three].mean(axis=1)
    varies = data.spread[three].mean(axis=1) / data.spread_real
    measured = (("read", hits[three].mean(axis=1)), ("varies", varies), ("reach", recall))
    told = {
        f"{name}_{what}": float(value)
        for what, values in measured
        for name, value in zip(("plain", "always", "within"), values, strict=True)
    }
    return Claim("window", holds, told)


def rows(facts: dict[str, Any], texts: Texts) -> Rows:
    """Lay out what each scale gives."""
    count = len(facts["guidance_scales"])
    names = [f"{scale:g}" for scale in facts["guidance_scales"]]
    if facts["guidance_window"] is not None:
        first, last = facts["guidance_window"]
        names.append(texts("chapter.guidance.row_window", scale=f"{facts['insisting']:g}", first=first, last=last))
        count += 1

    def told(name: str, digits: str = ".0%") -> list[str]:
        values, spans = facts[f"guidance_{name}"], facts[f"guidance_{name}_interval"]
        if values is None:
            return ["–"] * count
        return [f"{v:{digits}} ({a:{digits}} – {b:{digits}})" for v, (a, b) in zip(values, spans, strict=True)]

    white = [f"{v:.1%}" for v in facts["guidance_white"]]
    lines = zip(names, told("accuracy"), told("variance", ".2f"), told("recall"), white, strict=True)
    return Rows(("scale", "accuracy", "variance", "recall", "white"), tuple(lines))


def _measure(material: Material) -> Guidance:
    return measure(
        material.model, material.schedule, material.heldout, material.training, material.is_mnist, material.digit,
        material.size(*SIZES), progress=material.progress,
    )  # fmt: skip


LESSON = Lesson(
    "guidance", 80, _measure, draw, facts, rows, claims=claims, core=False,
    figures=("guidance", "price"), advanced=("price",), seconds=(38, 150), data=Guidance,
)  # fmt: skip
