"""The loss at every timestep, digit by digit, compared with the best denoisers of Gaussian data.

Takes any denoiser; knows nothing about runs, figures or texts.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from viz_diffusion.data import Digits
from viz_diffusion.diffusion.prediction import predict_noise
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.evaluation.intervals import Z_95, half_of_mean
from viz_diffusion.evaluation.likelihood import bits_per_loss, gaussian_losses
from viz_diffusion.lessons.base import Claim
from viz_diffusion.lessons.context import Progress, silent
from viz_diffusion.lessons.facts import FactGroup
from viz_diffusion.lessons.training.bound_terms import (
    IMAGES,
    BoundEnds,
    BoundFacts,
    decoder_claim,
    measure_bound_ends,
)
from viz_diffusion.lessons.training.figures import LossByT
from viz_diffusion.training.loop import NUM_QUARTERS

Float64 = NDArray[np.float64]
STRATA = 28
"""Strata of t, about."""
EACH = (4, 100)
"""Draws of (t, ε) in each stratum, quick and full; each draw noises one image of every digit."""
LATE = 50
"""Of T = 1000: the timesteps below it are the late ones, whose share of the bits is given."""


@dataclass(frozen=True)
class BitsFacts:
    """What texts and JSON files say of the variational bound, in bits per pixel."""

    bits: float
    """L_1 .. L_{T-1} of the network."""
    bits_interval: float
    """Half its 95% interval."""
    bits_late: float
    """Share of it at the late timesteps."""
    bits_late_gaussian: float
    """The same share of the best denoiser of one Gaussian."""
    late: int
    """Timesteps below this are late."""


@dataclass(frozen=True)
class DigitLossFacts:
    """What texts and JSON files say of the loss by digit."""

    loss_by_digit: tuple[float, ...]
    """(K,) mean squared error of ε̂ per pixel."""
    hardest: int
    """Label of the digit with the largest loss."""
    easiest: int
    """Label of the digit with the smallest loss."""
    hardest_loss: float
    """Loss of the hardest digit."""
    easiest_loss: float
    """Loss of the easiest digit."""
    digit_gap: float
    """The first less the second."""
    digit_gap_interval: float
    """Half the 95% interval of the difference."""


@dataclass(frozen=True)
class LossFacts:
    """What texts and JSON files say of the held-out loss, mean squared error of ε̂ per pixel."""

    heldout: tuple[float, ...]
    """(4,) by quarter of t."""
    heldout_interval: tuple[float, ...]
    """(4,) half its 95% interval."""
    heldout_mean: float
    """Over all t."""
    heldout_interval_mean: float
    """Half its 95% interval."""
    heldout_count: int
    """Noised digits that it is the mean of."""
    gaussian: tuple[float, ...]
    """(4,) the same of the best denoiser of one Gaussian, by quarter of t."""
    gaussian_mean: float
    """Over all t."""
    gaussian_per_label: tuple[float, ...]
    """(4,) the same of the best denoiser of one Gaussian per label, by quarter of t."""
    gaussian_per_label_mean: float
    """Over all t."""
    bits: Annotated[BitsFacts, FactGroup()]
    """Of the variational bound's L_1 .. L_{T-1}."""
    bound: Annotated[BoundFacts, FactGroup()]
    """Of all its terms."""
    digits: Annotated[DigitLossFacts, FactGroup()]
    """Of the loss by digit."""


@dataclass(frozen=True, eq=False)
class LossByTimestep:
    """Losses of K digits under N draws of (t, ε) in each of J strata of t."""

    edges: NDArray[np.int64]
    """(J+1,) int64, rising from 0 to T, narrow where t is small."""
    labels: NDArray[np.int64]
    """(K,) int64."""
    loss: Float64
    """(J, N, K) float64: mean squared error of ε̂ per pixel."""
    bits: Float64
    """(J, N) float64: the digits' mean loss times the weight that t has in the variational bound, bits per pixel."""
    gaussian: Float64
    """(T,) float64: the loss of the best denoiser of one Gaussian."""
    per_label: Float64
    """(T,) float64: of the best denoiser of one Gaussian per label."""
    bits_per_loss: Float64
    """(T,) float64: the weights."""
    ends: BoundEnds
    """The two other terms of the bound."""

    @property
    def widths(self) -> NDArray[np.int64]:
        """(J,) how many timesteps a stratum holds."""
        return np.diff(self.edges)

    def mean(self, values: Float64, first: int = 0, last: int | None = None) -> tuple[float, float]:
        """Return the mean over t of (J, N) values in the strata within first .. last-1, and half its 95% interval."""
        inside = (self.edges[:-1] >= first) & (self.edges[1:] <= (self.edges[-1] if last is None else last))
        weights = self.widths[inside] / self.widths[inside].sum()
        errors = values[inside].std(axis=1, ddof=1) / np.sqrt(values.shape[1])
        return float(weights @ values[inside].mean(axis=1)), float(Z_95 * np.sqrt((weights**2) @ errors**2))

    def by_t(self) -> LossByT:
        """Return it as it is drawn."""
        drawn = self.loss.mean(axis=2)
        steps = np.add.reduceat(self.gaussian * self.bits_per_loss, self.edges[:-1])
        return LossByT(
            edges=self.edges,
            loss=drawn.mean(axis=1),
            error=half_of_mean(drawn),
            labels=self.labels,
            by_label=self.loss.mean(axis=1).T,
            gaussian=self.gaussian,
            per_label=self.per_label,
            bits=self.bits.mean(axis=1) * self.widths,
            gaussian_bits=steps,
            draws=self.loss.shape[1],
        )

    def facts(self) -> LossFacts:
        """Return the numbers, by quarter of t and over all."""
        T = int(self.edges[-1])
        bounds = [T * q // NUM_QUARTERS for q in range(NUM_QUARTERS + 1)]
        by_draw = self.loss.mean(axis=2)
        spans, bits = list(pairwise(bounds)), self._bits()
        quarters = [self.mean(by_draw, a, b) for a, b in spans]
        mean, interval = self.mean(by_draw)
        return LossFacts(
            heldout=tuple(value for value, _ in quarters),
            heldout_interval=tuple(half for _, half in quarters),
            heldout_mean=mean,
            heldout_interval_mean=interval,
            heldout_count=int(self.loss.size),
            gaussian=tuple(float(self.gaussian[a:b].mean()) for a, b in spans),
            gaussian_mean=float(self.gaussian.mean()),
            gaussian_per_label=tuple(float(self.per_label[a:b].mean()) for a, b in spans),
            gaussian_per_label_mean=float(self.per_label.mean()),
            bits=bits,
            bound=self.ends.facts(bits.bits, bits.bits_interval),
            digits=self._digits(),
        )

    def _bits(self) -> BitsFacts:
        """Return how many bits per pixel L_1 .. L_{T-1} cost, and which share of them lies late."""
        found = self.by_t()
        late = LATE * int(self.edges[-1]) // 1000
        inside = self.edges[1:] <= late
        errors = half_of_mean(self.bits) * self.widths
        return BitsFacts(
            bits=float(found.bits.sum()),
            bits_interval=float(np.sqrt((errors**2).sum())),
            bits_late=float(found.bits[inside].sum() / found.bits.sum()),
            bits_late_gaussian=float(found.gaussian_bits[inside].sum() / found.gaussian_bits.sum()),
            late=int(self.edges[1:][inside][-1]),
        )

    def _digits(self) -> DigitLossFacts:
        """Return which digit has the smallest loss and which the largest, with the interval of their difference."""
        means = [self.mean(self.loss[:, :, k])[0] for k in range(len(self.labels))]
        worst, best = int(np.argmax(means)), int(np.argmin(means))
        difference, half = self.mean(self.loss[:, :, worst] - self.loss[:, :, best])
        return DigitLossFacts(
            loss_by_digit=tuple(means),
            hardest=int(self.labels[worst]),
            easiest=int(self.labels[best]),
            hardest_loss=means[worst],
            easiest_loss=means[best],
            digit_gap=difference,
            digit_gap_interval=half,
        )

    def claims(self) -> tuple[Claim, ...]:
        """Decide whether the loss is below one Gaussian per label's, bits lie late, L_0's decoder costs, digits differ.

        Which digit is hardest is chosen after the fact, from K(K-1)/2 pairs; so the difference must be larger than
        twice its interval.
        """
        facts = self.facts()
        below = facts.gaussian_per_label_mean - facts.heldout_mean
        decided = abs(below) > facts.heldout_interval_mean
        differ = Claim("digits_differ", facts.digits.digit_gap > 2 * facts.digits.digit_gap_interval)
        return (
            Claim("beats_gaussian", below > 0 if decided else None),
            Claim("bits_late", facts.bits.bits_late > 0.5),
            decoder_claim(facts.bound),
            *([differ] if facts.digits.hardest != facts.digits.easiest else []),  # of one class there is no difference
        )


@torch.no_grad()
def measure_loss_by_timestep(
    denoiser: nn.Module,
    schedule: NoiseSchedule,
    heldout: Digits,
    training: Digits,
    each: int = EACH[0],
    seed: int = 0,
    progress: Progress = silent,
    decoder_counts: tuple[int, int] = IMAGES[0],
) -> LossByTimestep:
    """Predict the noise of held-out digits, under their labels, at random t of every stratum.

    Each draw of (t, ε) noises one image of every digit, so that digits are compared at the same t and noise.

    Parameters
    ----------
    each
        N, draws in each stratum; at least 2.
    decoder_counts
        Held-out and training images of the decoders; see :func:`measure_bound_ends`.
    """
    edges = strata(schedule.num_train_timesteps)
    gaussian, per_label = gaussian_losses(schedule, training)
    labels = torch.unique(heldout.labels)
    rows = [torch.nonzero(heldout.labels == label)[:, 0] for label in labels]
    generator = torch.Generator().manual_seed(seed + 1208)
    weights = bits_per_loss(schedule)
    loss = np.empty((len(edges) - 1, each, len(labels)))
    bits = np.empty(loss.shape[:2])
    for stratum, (first, last) in enumerate(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)):
        t = torch.randint(first, last, (each,), generator=generator)
        noise = torch.randn((each, 1, *heldout.images.shape[1:]), generator=generator)
        chosen = [row[torch.randint(len(row), (each,), generator=generator)] for row in rows]
        x0 = torch.stack([heldout.images[row] for row in chosen], dim=1)
        loss[stratum] = _errors(denoiser, schedule, x0, noise.expand_as(x0), t, labels)
        bits[stratum] = loss[stratum].mean(axis=1) * weights[t.numpy()]
        progress(stratum + 1, len(edges) - 1, "the loss at every t")
    ends = measure_bound_ends(denoiser, schedule, heldout, training, decoder_counts)
    return LossByTimestep(edges, labels.numpy(), loss, bits, gaussian, per_label, weights, ends)


def _errors(
    denoiser: nn.Module,
    schedule: NoiseSchedule,
    x0: torch.Tensor,
    noise: torch.Tensor,
    t: torch.Tensor,
    labels: torch.Tensor,
) -> Float64:
    """Return (N, K) mean squared errors of ε̂ for (N, K, C, H, W) images at (N,) timesteps under (K,) labels."""
    steps = t[:, None].expand(x0.shape[:2]).flatten()
    shape, labels = x0.shape[:2], labels.expand(x0.shape[:2]).flatten()
    x0, noise = x0.flatten(0, 1), noise.flatten(0, 1)
    eps = predict_noise(denoiser, schedule.add_noise(x0, noise, steps), steps, labels)
    errors = (eps - noise).square().mean(dim=(1, 2, 3))
    return np.asarray(errors.double().reshape(shape).numpy())


def strata(T: int, count: int = STRATA) -> NDArray[np.int64]:
    """Return rising bounds from 0 to T: about ``count`` strata, narrow where t is small; quarters are bounds too.

    t = 0 has a stratum of its own: its term in the bound is the decoder's, with another weight.
    """
    quadratic = np.round(T * (np.arange(count + 1) / count) ** 2)
    quarters = [T * q // NUM_QUARTERS for q in range(NUM_QUARTERS + 1)]
    return np.unique(np.concatenate([quadratic, quarters, [1, LATE * T // 1000]]).astype(np.int64))
