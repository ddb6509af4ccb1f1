"""How few steps? Samplers and spacings on a denoiser that makes no error of its own.

    python benchmarks/samplers.py    # a few minutes: prints benchmarks/SAMPLERS.md, and writes it

The denoiser is the perfect one of the Gaussian with the mean and covariance of MNIST's 60,000 training digits. For it
every sampler is linear, and along an eigenvector of the covariance only a variance has to be carried on: nothing is
drawn at random. The start is the exact marginal at t = 999, so that what is left is the sampler's own error. Last comes
what the bundled classifier reads in samples of the bundled weights.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from viz_diffusion.data import load_digits
from viz_diffusion.diffusion.oracles import GaussianOracle
from viz_diffusion.diffusion.sampler_config import SamplerConfig
from viz_diffusion.diffusion.sampling import sample_images
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.diffusion.timesteps import SPACINGS, spaced_timesteps
from viz_diffusion.evaluation.classifier import classifier_accuracy
from viz_diffusion.files import write_bytes
from viz_diffusion.training.run import Run

Float64 = NDArray[np.float64]
Ending = Callable[[Float64, Float64], Float64]
TABLE_STEPS = (5, 10, 20, 50, 1000)
SPACING_STEPS = (5, 7, 10, 20, 50)
WEIGHTS_STEPS = (5, 7, 10, 20)
COUNT = 200


def ddim(shares: Float64, variances: Float64) -> Float64:
    """Return (D,) standard deviations that DDIM ends with, from (N+1,) ᾱ, falling noise, the last one 1."""
    spread = np.sqrt(shares[0] * variances + 1 - shares[0])
    for now, after in pairwise(shares):
        kept = np.sqrt(now * after) * variances + np.sqrt((1 - now) * (1 - after))
        spread = spread * kept / (now * variances + 1 - now)
    return spread


def second_order(shares: Float64, variances: Float64) -> Float64:
    """Return the same for DPM-Solver++(2M) (Lu et al. 2022b, algorithm 2), its first and last step of order 1."""
    with np.errstate(divide="ignore"):
        lambdas = np.log(shares / (1 - shares)) / 2
    h = np.diff(lambdas)
    state, before = np.sqrt(shares[0] * variances + 1 - shares[0]), None
    for i, (now, after) in enumerate(pairwise(shares)):
        guess = np.sqrt(now) * variances / (now * variances + 1 - now) * state
        ahead = h[i] / (2 * h[i - 1]) if before is not None and i < len(h) - 1 else 0.0
        direction = guess if before is None else (1 + ahead) * guess - ahead * before
        state = np.sqrt((1 - after) / (1 - now)) * state - np.sqrt(after) * np.expm1(-h[i]) * direction
        before = guess
    return np.abs(state)


def ddpm(shares: Float64, variances: Float64, *, tilde: bool) -> Float64:
    """Return the same for ancestral steps with σ² = β, or β̃ (Ho et al. 2020, eq. 7); no noise on the last step."""
    variance = shares[0] * variances + 1 - shares[0]
    for now, after in pairwise(shares):
        alpha = now / after
        of_guess = np.sqrt(after) * (1 - alpha) / (1 - now)
        of_state = np.sqrt(alpha) * (1 - after) / (1 - now)
        gain = of_guess * np.sqrt(now) * variances / (now * variances + 1 - now) + of_state
        fresh = (1 - alpha) * ((1 - after) / (1 - now) if tilde else 1.0)
        variance = gain**2 * variance + (fresh if after < 1 else 0.0)
    return np.sqrt(variance)


SAMPLERS: dict[str, Ending] = {
    "DDIM": ddim,
    "2M": second_order,
    "DDPM β": lambda shares, variances: ddpm(shares, variances, tilde=False),
    "DDPM β̃": lambda shares, variances: ddpm(shares, variances, tilde=True),
}


def error(schedule: NoiseSchedule, variances: Float64, sampler: str, steps: int, spacing: str = "trailing") -> float:
    """Return the Fréchet distance, in pixels, of what a sampler ends with to the Gaussian it should make.

    Mean and eigenvectors agree, so that ‖Δμ‖² + tr(C + C' - 2 (C C')^½) is the sum over the eigenvectors of the
    squared difference of the standard deviations.
    """
    visited = spaced_timesteps(schedule.num_train_timesteps, steps, spacing)
    shares = np.append(schedule.alphas_cumprod[visited], 1.0)
    return float(np.square(SAMPLERS[sampler](shares, variances) - np.sqrt(variances)).sum())


def digits(value: float) -> str:
    """Return an error in as many digits as it is worth."""
    return f"{value:.3f}" if value < 0.1 else f"{value:.2f}" if value < 1 else f"{value:.1f}"


def tables(schedule: NoiseSchedule, variances: Float64) -> str:
    """Return both tables of the oracle as Markdown."""
    lines = [f"| N | {' | '.join(SAMPLERS)} |", "|--:" * (len(SAMPLERS) + 1) + "|"]
    for steps in TABLE_STEPS:
        lines.append(f"| {steps} | {' | '.join(digits(error(schedule, variances, s, steps)) for s in SAMPLERS)} |")
    lines += ["", "Trailing / linspace:", "", *lines[:2]]
    for steps in SPACING_STEPS:
        pairs = ([digits(error(schedule, variances, s, steps, spacing)) for spacing in SPACINGS] for s in SAMPLERS)
        lines.append(f"| {steps} | {' | '.join(' / '.join(pair) for pair in pairs)} |")
    return "\n".join(lines)


def weights_table() -> str:
    """Return what the bundled classifier reads as asked, of 200 samples of the bundled weights, as Markdown."""
    run = Run.bundled()
    model, digest = run.load_model()
    labels = torch.arange(COUNT) % 10
    lines = [f"| N | {' | '.join(SPACINGS)} |", "|--:" * (len(SPACINGS) + 1) + "|"]
    for steps in WEIGHTS_STEPS:
        row = []
        for spacing in SPACINGS:
            images = torch.cat(
                list(
                    sample_images(
                        model,
                        run.config.noise_schedule,
                        labels,
                        range(COUNT),
                        SamplerConfig("ddim", steps, timestep_spacing=spacing),
                    )
                )
            )
            row.append(str(classifier_accuracy(images, labels)[0]))
        lines.append(f"| {steps} | {' | '.join(row)} |")
    return "\n".join([f"Weights {digest[:8]}, DDIM, guidance 1, seeds 0 to {COUNT - 1}.", "", *lines])


def main() -> None:
    """Print the tables, and write them to SAMPLERS.md beside this file."""
    schedule = NoiseSchedule.named("linear")
    oracle = GaussianOracle.fit(schedule, load_digits("train").images)
    text = (
        "# Samplers: how few steps?\n\n"
        "Made by `python benchmarks/samplers.py`. Pixel Fréchet distance to the Gaussian of MNIST's 60,000 "
        "training digits of what each sampler makes with that Gaussian's perfect denoiser: exact, nothing is drawn. "
        "Linear schedule, T = 1000, no clipping, started from the exact marginal at t = 999; trailing spacing.\n\n"
        f"{tables(schedule, oracle.variances)}\n"
        f"\n## The bundled weights: how many samples are classified as requested\n\n{weights_table()}\n"
    )
    print(text)
    write_bytes(Path(__file__).with_name("SAMPLERS.md"), text.encode())


if __name__ == "__main__":
    main()
