"""Statue or plaster cast: are the samples copies of training digits?

Looks for the nearest training digits of samples, and of test digits, which cannot be copies; and does the same with a
network that was trained on a hundred digits, which must be caught.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from viz_diffusion.data import NUM_LABELS, Digits
from viz_diffusion.diffusion.prediction import device_of
from viz_diffusion.diffusion.sampler_config import SamplerConfig
from viz_diffusion.diffusion.sampling import sample_images
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.evaluation.evaluate import Evaluation, evaluate
from viz_diffusion.evaluation.intervals import Z_95, Share, share_difference
from viz_diffusion.evaluation.metrics import Nearest, nearest_neighbours
from viz_diffusion.lessons.base import Claim, Lesson, LessonFigure, Precomputed, Rows
from viz_diffusion.lessons.context import LessonContext, Progress, silent
from viz_diffusion.lessons.memorisation.figures import Suspects, draw_copies
from viz_diffusion.plots.lazy_figures import Figures
from viz_diffusion.text.catalogue import Texts
from viz_diffusion.training.run import Run

Float64 = NDArray[np.float64]
STEPS = 50
SEED = 200_000
"""Of the first sample."""
SIZES = (200, 2000)
"""Samples of the network, and half as many of the control; quick and full."""
COPY = 1 / 3
"""d₁/d₂ below this is a near-copy (Yoon et al. 2023, section 4)."""
MARGINS = (0.02, 0.01)
"""Samples count as no more often flagged than test digits where it is by surely less than this share; the second from
1000 of each on."""
NEAR = 0.1
"""d₁ counts as that of test digits where it is surely within this share of it."""
READABLE = 0.9
"""Samples count as digits where surely more than this share is read as asked."""
CONTROL = "subset_100"


@dataclass(frozen=True, eq=False)
class Neighbours:
    """N samples beside N test digits with the same labels, all beside one training set."""

    ratio: Float64
    """(N,) float64: d₁/d₂ of each sample, of its nearest and its second nearest training digit; 0 to 1."""
    distance: Float64
    """(N,) float64: d₁, L2 over the pixels."""
    test_ratio: Float64
    """(N,) float64: d₁/d₂ of test digits."""
    test_distance: Float64
    """(N,) float64: their d₁."""
    suspects: Suspects
    """For each digit the sample with the smallest d₁/d₂."""
    training: int
    """How many training digits there are."""

    @property
    def flagged(self) -> Share:
        """How many samples are near-copies."""
        return _flagged(self.ratio)

    @property
    def test_flagged(self) -> Share:
        """How many test digits would be called near-copies."""
        return _flagged(self.test_ratio)

    def far(self) -> tuple[float, float]:
        """Return the samples' mean d₁ over the test digits', and half its 95% interval."""
        mean, count = self.test_distance.mean(), len(self.distance)
        ratio = float(self.distance.mean() / mean)
        spread = np.sqrt(self.distance.var(ddof=1) + ratio**2 * self.test_distance.var(ddof=1)) / mean
        return ratio, float(Z_95 * spread / np.sqrt(count))

    def apart(self) -> float:
        """Return the Kolmogorov-Smirnov distance of both sets' d₁: the largest gap of their distribution functions."""
        places = np.sort(np.concatenate([self.distance, self.test_distance]))
        shares = (np.searchsorted(np.sort(d), places, side="right") for d in (self.distance, self.test_distance))
        first, second = shares
        return float(np.abs(first - second).max() / len(self.distance))


@dataclass(frozen=True, eq=False)
class Memorisation:
    """Whether a network copies, and whether the control is caught."""

    own: Neighbours
    """The network's samples beside its training digits."""
    control: Neighbours | None
    """The control's beside its own; None where the data are not MNIST."""
    quality: Evaluation | None
    """What the samples are worth: whoever draws no digits copies none. None where the data are not MNIST."""


def _flagged(ratio: Float64) -> Share:
    return Share(int((ratio < COPY).sum()), len(ratio))


def compare(images: Tensor, labels: Tensor, training: Digits, heldout: Digits) -> Neighbours:
    """Find the two nearest training digits of (N, 1, H, W) samples asked for (N,) labels, and of N test digits.

    The test digits have the labels 0 .. 9 in turn, as the samples should, for thin ones are near to everything.
    """
    pool = training.images.numpy()
    near = nearest_neighbours(images.numpy(), pool)
    test = nearest_neighbours(heldout.first_of_each(len(images)).images.numpy(), pool)
    ratio = _ratio(near)
    chosen = [min(torch.nonzero(labels == k)[:, 0].tolist(), key=ratio.__getitem__) for k in torch.unique(labels)]
    suspects = Suspects(images[chosen, 0].numpy(), pool[near.index[chosen], 0], ratio[chosen])
    return Neighbours(ratio, near.first, _ratio(test), test.first, suspects, len(training))


def _ratio(near: Nearest) -> Float64:
    """Return d₁/d₂; 0 where both are 0."""
    return np.divide(near.first, near.second, out=np.zeros_like(near.first), where=near.second > 0)


def sample(
    denoiser: nn.Module, schedule: NoiseSchedule, count: int, progress: Callable[[int], None] = lambda _: None
) -> tuple[Tensor, Tensor]:
    """Return (N, 1, 28, 28) samples by DDIM, unguided, and their (N,) labels, 0 .. 9 in turn."""
    labels = torch.arange(count) % NUM_LABELS
    made: list[Tensor] = []
    for part in sample_images(
        denoiser,
        schedule,
        labels.to(device_of(denoiser)),
        range(SEED, SEED + count),
        SamplerConfig("ddim", min(STEPS, schedule.num_train_timesteps)),
        null_label=getattr(denoiser, "null_label", NUM_LABELS),
    ):
        made.append(part)
        progress(sum(map(len, made)))
    return torch.cat(made), labels


def measure(
    denoiser: nn.Module,
    schedule: NoiseSchedule,
    training: Digits,
    heldout: Digits,
    count: int = SIZES[0],
    control: tuple[nn.Module, NoiseSchedule, Digits] | None = None,
    is_mnist: bool = True,
    progress: Progress = silent,
) -> Memorisation:
    """Ask whether samples are near-copies of training digits, more often than test digits are.

    Parameters
    ----------
    count
        N samples of the denoiser, and N/2 of the control.
    control
        A denoiser that should be caught, its schedule, and the digits it was trained on.
    is_mnist
        Whether the samples' quality can be told by the MNIST classifier.
    """
    total = count + (count // 2 if control else 0)
    images, labels = sample(denoiser, schedule, count, lambda n: progress(n, total, "samples"))
    own = compare(images, labels, training, heldout)
    caught = None
    if control is not None:
        guilty, its_schedule, few = control
        copies, asked = sample(guilty, its_schedule, count // 2, lambda n: progress(count + n, total, "the control"))
        caught = compare(copies, asked, few, heldout)
    enough = is_mnist and 20 <= count <= min(len(training), len(heldout))
    return Memorisation(own, caught, evaluate(images, labels, training, heldout) if enough else None)


def draw(data: Memorisation) -> Figures:
    """Draw ``copies``: the most suspicious sample of each digit over its nearest training digit, and all d₁/d₂."""
    blocks = [data.own] if data.control is None else [data.own, data.control]
    drawn = [(one.suspects, one.ratio, one.test_ratio, f"N = {one.training:,}") for one in blocks]
    return Figures(copies=lambda: draw_copies(drawn, COPY))


def facts(data: Memorisation) -> dict[str, Any]:
    """Return the numbers; those of the control begin with ``control_``."""
    found = _told(data.own, "")
    if data.control is not None:
        found |= _told(data.control, "control_")
    if data.quality is not None:
        made, real, control = data.quality.samples, data.quality.real, data.quality.control
        found |= {
            "read_hits": made.accuracy.hits,
            "read_low": made.accuracy.interval[0],
            "read_high": made.accuracy.interval[1],
            "frechet": made.frechet,
            "frechet_real": real.frechet,
            "frechet_clouds": control.frechet,
            "recall": made.recall,
            "recall_real": real.recall,
            "classifier": data.quality.classifier_sha256[:8],
        }
    return found | {"copy_steps": STEPS, "has_control": data.control is not None}


def _told(one: Neighbours, prefix: str) -> dict[str, Any]:
    (low, high), (test_low, test_high) = one.flagged.interval, one.test_flagged.interval
    far, half = one.far()
    values = {
        "training": one.training,
        "count": len(one.ratio),
        "flagged": one.flagged.hits,
        "flagged_low": low,
        "flagged_high": high,
        "test_flagged": one.test_flagged.hits,
        "test_flagged_low": test_low,
        "test_flagged_high": test_high,
        "distance": float(one.distance.mean()),
        "test_distance": float(one.test_distance.mean()),
        "far": far,
        "far_half": half,
        "ratio_median": float(np.median(one.ratio)),
        "test_ratio_median": float(np.median(one.test_ratio)),
        "ratio_least": float(one.ratio.min()),
        "apart": one.apart(),
        "apart_limit": 1.358 * float(np.sqrt(2 / len(one.ratio))),
    }
    return {f"{prefix}{name}": value for name, value in values.items()}


def claims(data: Memorisation) -> tuple[Claim, ...]:
    """Say whether samples are flagged no more than test digits, are as far, are digits; and the control is caught."""
    own = data.own
    margin = MARGINS[len(own.ratio) >= 1000]
    least, most = share_difference(own.flagged, own.test_flagged)
    far, half = own.far()
    as_far = None if abs(abs(far - 1) - NEAR) <= half else abs(far - 1) < NEAR
    answers = [
        Claim("no_copies", False if least > 0 else True if most < margin else None, {"margin": margin, "most": most}),
        Claim("as_far", as_far, {"near": NEAR}),
    ]
    if data.quality is not None:
        low, high = data.quality.samples.accuracy.interval
        answers.append(Claim("digits", True if low > READABLE else False if high < READABLE else None))
    if data.control is not None:
        caught, free = data.control.flagged, data.control.test_flagged
        surely = share_difference(caught, free)[0] > 0
        answers.append(Claim("control_caught", True if surely else None if caught.hits > free.hits else False))
    return tuple(answers)


def rows(facts: dict[str, Any], texts: Texts) -> Rows:
    """Lay out samples and test digits beside each training set."""
    lines = []
    for prefix in ("", "control_") if facts["has_control"] else ("",):
        for who, of in (("samples", ""), ("test", "test_")):
            hits, low, high = (facts[f"{prefix}{of}flagged{end}"] for end in ("", "_low", "_high"))
            lines.append(
                (
                    texts(f"chapter.memorisation.row_{who}", training=facts[f"{prefix}training"]),
                    f"{hits} / {facts[f'{prefix}count']} ({low:.1%} … {high:.1%})",
                    f"{facts[f'{prefix}{of}ratio_median']:.2f}",
                    f"{facts[f'{prefix}{of}distance']:.2f}",
                )
            )
    return Rows(("who", "flagged", "ratio", "distance"), tuple(lines))


def _measure(context: LessonContext) -> Memorisation:
    control = None
    if context.is_mnist:
        guilty = Run.control(CONTROL)
        model = guilty.load_model(context.device)[0]
        control = (model, guilty.config.noise_schedule, guilty.config.load_digits("train"))
    return measure(
        context.model,
        context.schedule,
        context.training,
        context.heldout,
        context.size(*SIZES),
        control,
        context.is_mnist,
        context.progress,
    )


LESSON = Lesson(
    name="memorisation",
    position=110,
    precomputed=Precomputed(Memorisation, _measure, (LessonFigure("copies", in_exercise=True),)),
    seconds=(25, 170),
    facts=facts,
    claims=claims,
    rows=rows,
    draw=draw,
)
