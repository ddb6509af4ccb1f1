"""What the label saves the denoiser, in bits, and what it holds: no image is generated.

Takes any denoiser; knows nothing about figures or texts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from viz_diffusion.data import Digits
from viz_diffusion.diffusion.oracles import EmpiricalOracle
from viz_diffusion.diffusion.prediction import predict_noise
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.evaluation.intervals import Share, half_of_mean, surely
from viz_diffusion.lessons.base import Claim
from viz_diffusion.lessons.context import Progress, silent
from viz_diffusion.lessons.label.denoiser_as_classifier import classify_digits
from viz_diffusion.lessons.label.information_facts import InformationFacts

Float64 = NDArray[np.float64]
SIZES = ((160, 30, 10), (1000, 300, 30))
"""Images for the bits, images to classify, and draws of (t, ε) for each of these; quick and full."""
IDEAL_LEAST = 50
"""Images for the ideal denoiser, at least; it is slow, and its bits vary less, so that a fourth of N is enough."""
FIRST_T, POINTS = 100, 25
"""Of T = 1000: where the integral over SNR begins (below lies nearly all of it, and with it all errors), and in how
many points it is taken."""
NEAR_BITS, NEAR_T = 0.15, 50
"""The denoiser agrees with the ideal one within 15% of its bits, and within 50 of 1000 timesteps of its half."""
MIXED_BELOW = 500
"""Of T = 1000: at smaller t the predictions under all labels are mixed. There the ideal denoiser knows most of the
label already, so that few labels count."""
LIKELY = 1e-3
"""Labels with a smaller probability are left out of a mixture."""


@dataclass(frozen=True, eq=False)
class LabelInformation:
    """The label's bits over t, of N images, and how many of M images the denoiser classifies."""

    timesteps: NDArray[np.int64]
    """(K,) int64, falling."""
    num_train_timesteps: int
    """T."""
    bits: Float64
    """(K, N) float64: bits that each image's label saves down to this t, ½∫‖x̂_0(y) - x̂_0(∅)‖² dSNR."""
    bits_direct: Float64
    """(K, N) float64: the same from the gain in squared error, ½∫(‖x_0 - x̂_0(∅)‖² - ‖x_0 - x̂_0(y)‖²) dSNR."""
    bits_mixed: Float64
    """(K, N) float64: what a mixture saves, ½∫(‖x_0 - x̂_0(∅)‖² - ‖x_0 - Σ_y p(y | x_t) x̂_0(y)‖²) dSNR, with the
    ideal denoiser's p(y | x_t), at t < ``MIXED_BELOW``. For a denoiser whose prediction without a label is the mean of
    its predictions under the labels, as the ideal one's is, it is 0."""
    ideal: Float64
    """(K,) float64: what the ideal denoiser of the training digits knows of the label at t, in bits."""
    ideal_error: Float64
    """(K,) float64: half the 95% interval of it."""
    entropy: float
    """H(y) of the training labels, bits."""
    read: Share
    """How many of M held-out digits it classifies correctly, by the label with the smallest error of ε̂."""
    draws: int
    """Draws of (t, ε) for each digit, under each label."""

    @property
    def interval(self) -> Float64:
        """(K,) half the 95% interval of the mean bits."""
        return np.asarray(half_of_mean(self.bits))

    def half(self, bits: Float64, half: Float64) -> tuple[float, float]:
        """Return the t at which rising (K,) bits pass half of what the label holds, and half its 95% interval.

        ``half`` is (K,) half the interval of the bits; the ends are where the bits pass that much more or less.
        """
        rising, t = np.maximum.accumulate(bits), self.timesteps.astype(float)
        level = self.entropy / 2
        wide = float(np.interp(level, rising, half))
        early, late = np.interp([level - wide, level + wide], rising, t)
        return float(np.interp(level, rising, t)), float(early - late) / 2

    def _halves(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """Return the t at which half of what the label holds is saved, of the network and of the ideal denoiser."""
        return self.half(self.bits.mean(axis=1), self.interval), self.half(self.ideal, self.ideal_error)

    @property
    def mixed_from(self) -> int:
        """The place in ``timesteps`` of the largest t at which predictions are mixed."""
        return int((self.timesteps >= MIXED_BELOW * self.num_train_timesteps // 1000).sum())

    def facts(self) -> InformationFacts:
        """Return the numbers that captions and answers are filled with."""
        mean, (low, high) = self.bits.mean(axis=1), self.read.interval
        excess, start = mean - self.ideal, self.mixed_from
        (half_t, half_t_half), (ideal_t, ideal_t_half) = self._halves()
        return InformationFacts(
            worth_count=int(self.bits.shape[1]),
            worth_timesteps=tuple(self.timesteps.tolist()),
            worth_bits=tuple(mean.tolist()),
            worth_bits_ideal=tuple(self.ideal.tolist()),
            bits_total=float(mean[-1]),
            bits_total_interval=float(self.interval[-1]),
            bits_total_direct=float(self.bits_direct[-1].mean()),
            bits_total_direct_interval=half_of_mean(self.bits_direct[-1]),
            estimates_apart=float((self.bits - self.bits_direct)[-1].mean()),
            estimates_apart_interval=half_of_mean((self.bits - self.bits_direct)[-1]),
            bits_excess=float(excess[-1]),
            bits_excess_interval=float(np.hypot(self.interval[-1], self.ideal_error[-1])),
            excess_t=int(self.timesteps[start]),
            excess_before=float(excess[start - 1]),
            mixed_bits=float(self.bits_mixed[-1].mean()),
            mixed_bits_interval=half_of_mean(self.bits_mixed[-1]),
            mixed_share=float(self.bits_mixed[-1].mean() / max(mean[-1] - mean[start - 1], 1e-12)),
            bits_ideal=float(self.ideal[-1]),
            bits_entropy=self.entropy,
            half_bits=self.entropy / 2,
            half_t=round(half_t),
            half_t_interval=round(half_t_half),
            half_t_ideal=round(ideal_t),
            half_t_ideal_interval=round(ideal_t_half),
            worth_last_t=int(self.timesteps[-1]),
            read_hits=self.read.hits,
            read_count=self.read.count,
            read_low=low,
            read_high=high,
            read_questions=self.draws,
        )

    def claims(self) -> tuple[Claim, ...]:
        """Decide whether the label saves more than it holds, whose error that is, and whether digits can be read."""
        found = self.facts()
        limit = NEAR_BITS * found.bits_ideal
        excess, half = found.bits_excess, found.bits_excess_interval
        apart, apart_half = abs(found.estimates_apart), found.estimates_apart_interval
        more = None if abs(excess - limit) <= half else excess > limit
        agree = None if abs(apart - limit) <= apart_half else apart < limit
        answers = [Claim("saves_more", more, {"near": NEAR_BITS}), Claim("estimates", agree, {"near": NEAR_BITS})]
        if more:  # without an excess there is nothing to explain
            beyond, beyond_half = found.mixed_bits - excess / 2, np.hypot(found.mixed_bits_interval, half / 2)
            answers.append(Claim("unlabelled", None if abs(beyond) <= beyond_half else beyond > 0))
        return (
            *answers,
            self._spent(),
            Claim("reads", self.read.interval[0] > 0.5 if self.read.interval[1] > 0.5 else False),
        )

    def _spent(self) -> Claim:
        """Decide whether the network saves half of what the label holds down to the t of the ideal denoiser."""
        near = NEAR_T * self.num_train_timesteps // 1000
        (own, own_half), (ideal, ideal_half) = self._halves()
        beyond, half = near - abs(own - ideal), float(np.hypot(own_half, ideal_half))
        return Claim("spent", surely(beyond - half, beyond + half), {"near": near})


@torch.no_grad()
def measure_label_information(
    denoiser: nn.Module,
    schedule: NoiseSchedule,
    heldout: Digits,
    training: Digits,
    seed: int = 0,
    sizes: tuple[int, int, int] = SIZES[0],
    progress: Progress = silent,
) -> LabelInformation:
    """Measure the information in the label by how much it improves x̂_0 (Guo et al. 2005; Kong et al. 2023).

    ½∫(mmse(∅) - mmse(y)) dSNR = H(y): for the ideal denoiser the integral over the SNR up to any t is the information
    that the label holds beyond x_t. By the tower property the integrand is E‖x̂_0(y) - x̂_0(∅)‖² too, with far less
    variance. The ideal denoiser is that of the training digits, measured on training digits, for which its posterior
    p(y | x_t) is exact. Of a network it is what a label saves: H(y) plus its excess error without, less that with it.

    Parameters
    ----------
    sizes
        (N, M, D): images for the bits, images to classify, draws of (t, ε) for each of these.
    """
    count, classified, draws = sizes
    T = schedule.num_train_timesteps
    timesteps = _spread_timesteps(schedule)
    generator = torch.Generator().manual_seed(seed + 2302)
    rows = torch.randperm(len(heldout), generator=generator)[:count]
    known = torch.randperm(len(training), generator=generator)[: max(IDEAL_LEAST, count // 4)]
    noise = torch.randn((max(len(rows), len(known)), *heldout.images.shape[1:]), generator=generator)
    oracle = EmpiricalOracle(schedule, training.images, training.labels, training.num_labels)
    entropy = _label_entropy(training)
    steered, gained, mixed, posterior = [], [], [], []
    for done, t in enumerate(timesteps.tolist()):
        x0, labels = heldout.images[rows], heldout.labels[rows]
        x_t = schedule.add_noise(x0, noise[: len(rows)], t)
        conditions = (labels, getattr(denoiser, "null_label", 10))
        with_label, without = (schedule.predict_x0(x_t, predict_noise(denoiser, x_t, t, y), t) for y in conditions)
        steered.append(_squares(with_label - without))
        gained.append(_squares(x0 - without) - _squares(x0 - with_label))
        mixture = without
        if t < MIXED_BELOW * T // 1000:
            weights = oracle.posterior(x_t, torch.full_like(rows, t))
            mixture = schedule.predict_x0(x_t, _mixed_noise(denoiser, x_t, t, weights), t)
        mixed.append(_squares(x0 - without) - _squares(x0 - mixture))
        x_t = schedule.add_noise(training.images[known], noise[: len(known)], t)
        right = oracle.posterior(x_t, torch.full_like(known, t))[torch.arange(len(known)), training.labels[known]]
        posterior.append(entropy + right.clamp(min=1e-300).log2().numpy())
        progress(done + 1, len(timesteps), "what the label is worth")
    ideal = np.stack(posterior)
    return LabelInformation(
        timesteps=timesteps,
        num_train_timesteps=T,
        bits=_integral(np.stack(steered), schedule.snr[timesteps]),
        bits_direct=_integral(np.stack(gained), schedule.snr[timesteps]),
        bits_mixed=_integral(np.stack(mixed), schedule.snr[timesteps]),
        ideal=ideal.mean(axis=1),
        ideal_error=half_of_mean(ideal),
        entropy=entropy,
        read=classify_digits(denoiser, schedule, heldout, classified, draws, seed, progress),
        draws=draws,
    )


def _spread_timesteps(schedule: NoiseSchedule) -> NDArray[np.intp]:
    """Return timesteps that are spread evenly over the log SNR, falling."""
    last = FIRST_T * schedule.num_train_timesteps // 1000
    spread = np.linspace(schedule.log_snr[-1], schedule.log_snr[last], POINTS)
    return np.unique(np.abs(schedule.log_snr[:, None] - spread).argmin(axis=0))[::-1]


def _label_entropy(digits: Digits) -> float:
    """Return the entropy of the labels of digits, in bits."""
    shares = torch.bincount(digits.labels).double() / len(digits)
    return float(-(shares[shares > 0] * shares[shares > 0].log2()).sum())


def _mixed_noise(denoiser: nn.Module, x_t: Tensor, t: int, weights: Tensor) -> Tensor:
    """Return the ε̂ of (N, C, H, W) states under all labels, averaged with (N, L) weights."""
    weights = torch.where(weights < LIKELY, 0.0, weights)
    image, label = weights.nonzero(as_tuple=True)
    shares = (weights / weights.sum(dim=1, keepdim=True))[image, label].to(x_t)
    eps = predict_noise(denoiser, x_t[image], t, label)
    return torch.zeros_like(x_t).index_add_(0, image, eps * shares[:, None, None, None])


def _squares(images: Tensor) -> Float64:
    return np.asarray(images.double().square().sum(dim=(1, 2, 3)).numpy())


def _integral(values: Float64, snr: Float64) -> Float64:
    """Return (K, N) bits: half the integral of (K, N) values over the rising SNR, up to each point; 0 below the first.

    The first piece runs from SNR 0 with the first value.
    """
    steps = np.diff(snr)[:, None] * (values[1:] + values[:-1]) / 2
    return np.asarray(np.cumsum(np.concatenate([snr[:1, None] * values[:1], steps]), axis=0) / 2 / np.log(2))
