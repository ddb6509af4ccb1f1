"""Results of lesson step that were not measured: generations with the true image, directions and lengths as given."""

from __future__ import annotations

import numpy as np
import torch
from sampler_arguments import with_config

from viz_diffusion.diffusion.oracles import TruthOracle
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.lessons.step.directions import StepDirections
from viz_diffusion.lessons.step.exposure_bias import ExposureBias
from viz_diffusion.recording.generation import record_generation
from viz_diffusion.recording.trajectory import Trajectory

SCHEDULE = NoiseSchedule.named("linear")


def truth_result(sampler: str, clip: bool = False) -> Trajectory:
    """Record generations of a denoiser that knows the image, which is one of noise."""
    x0 = torch.randn((1, 1, 28, 28), generator=torch.Generator().manual_seed(3)).clamp(-1, 1)
    arguments = with_config({"sampler": sampler, "steps": 100, "clip": clip}, guidance_scale=1.0)
    oracle = TruthOracle(SCHEDULE, x0)
    return record_generation(oracle, SCHEDULE, torch.tensor([0]), [0], **arguments)


def general_result(far: float, to_noise: float, enlarging: float, spread: float = 0.01) -> StepDirections:
    """Return directions in 20 generations with these means, spread about them."""
    deviation = spread * np.resize([-1, 1], 20)
    lags = np.array([1, 100, 400])
    cosine = np.stack([np.full(20, 0.99), np.full(20, 0.5), far + deviation], axis=1)
    along = np.stack([np.zeros(20), enlarging + deviation, 27 - enlarging - deviation, np.zeros(20)], axis=1)
    return StepDirections(1000, lags, cosine, to_noise + deviation, deviation, deviation, along)


def exposure_result(own: float, tilde: float, *, near: float | None = None, too_long: float = 0.0) -> ExposureBias:
    """Return lengths of 20 generations, with these excesses from t = 10 down, and of 20 digits.

    ``near`` is the excess with β at t = 10 where it is another; digits are ``too_long`` by this share.
    """
    deviation = 0.002 * np.resize([-1, 1], (20, 1))
    at_end = np.array([0.0, 0.0, 1.0, 1.0])
    finished = np.full((20, 4), 27.0)
    excess = own * at_end if near is None else own * at_end + np.array([0, 0, near - own, 0])
    return ExposureBias(
        timesteps=np.array([900.0, 100.0, 10.0, 0.0]),
        num_train_timesteps=1000,
        pixels=784,
        draws=4,
        generated=finished * (1 + excess + deviation),
        finished=finished,
        real=finished,
        power=np.full((20, 4), 0.9),
        overlap=np.full((20, 4), 0.9 * too_long) + deviation,
        tilde=tilde * at_end + deviation,
        exact=0.3 * at_end,
        exact_tilde=0.02 * at_end,
    )
