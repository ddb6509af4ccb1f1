"""What a network is trained to predict: the noised images of a batch, their targets, and the weights of the errors.

=========  ==============================  ===================  ================================================
objective  noised images                   target               weight of the squared error
=========  ==============================  ===================  ================================================
epsilon    x_t = √ᾱ x_0 + √(1-ᾱ) ε         ε                    ᾱ^-p (``TrainConfig.weight_exponent``)
v          the same                        √ᾱ ε - √(1-ᾱ) x_0    1, which is "SNR + 1" (Salimans & Ho 2022)
x0         the same                        x_0                  min(SNR, 5) (Hang et al. 2023, min-SNR-γ, γ = 5)
flow       x_σ = (1-σ) x_0 + σ ε           ε - x_0              1, the velocity (Liu et al. 2023; Lipman et al. 2023)
=========  ==============================  ===================  ================================================

Weights are scaled to a mean of 1 over the timesteps. In flow matching σ is continuous in 0 .. 1 and not one of T
levels, since its samplers may stop anywhere; the network gets t = T σ - 1, which counts as the other timesteps do.
Where t is not drawn uniformly (:func:`timestep_probabilities`), the weight is also divided by T times the probability
of t, so that the expected loss is the same.
Knows nothing about networks.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from viz_diffusion.diffusion.parameterizations import from_x0_and_eps
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.diffusion.timesteps import BUMP
from viz_diffusion.training.train_config import TrainConfig

LARGEST_SNR = 5.0
"""γ of min-SNR-γ."""
BUMP_MEAN, BUMP_STD = -2.2, 1.8
"""Mean and standard deviation of the bump in log SNR (nats): its middle is t = 474 of the linear schedule."""
BUMP_UNIFORM = 1 / 3
"""Share of the draws that stay uniform in t, so that no weight exceeds 3; of all draws 75% lie in t = 200 .. 699."""


class Examples(NamedTuple):
    """What a network gets and should answer, for the B images of a training step."""

    x_t: Tensor
    """(B, C, H, W) float32: the noised images."""
    t: Tensor
    """(B,) int64 in 0 .. T-1; with the objective flow float32 in -1 .. T-1."""
    target: Tensor
    """(B, C, H, W) float32: the answer that has no error."""
    weight: Tensor
    """(B,) float32: the weight of the squared error."""


class Objective:
    """Draws training examples.

    Parameters
    ----------
    config
        Which objective, and its settings.
    schedule
        The noise schedule of the run. With the objective flow only its T is used.

    Raises
    ------
    VizdiffUsageError
        Where the network predicts ε and no signal is left at the schedule's last timestep: ε̂ implies no x̂_0 there.
    """

    def __init__(self, config: TrainConfig, schedule: NoiseSchedule) -> None:
        if config.objective == "epsilon":
            schedule.require_signal()
        self._config = config
        self._schedule = schedule
        self._weights = loss_weights(schedule, config)
        self._steps: NDArray[np.float64] | None = None
        if config.timestep_density == BUMP:
            probabilities = timestep_probabilities(schedule)
            self._steps = np.cumsum(probabilities)
            self._weights = self._weights / torch.from_numpy(len(probabilities) * probabilities).float()

    def examples(self, x0: Tensor, noise: Tensor, share: Tensor) -> Examples:
        """Return the examples of images x_0 and noise ε, both (B, C, H, W), at (B,) uniform draws from 0 .. 1."""
        num_timesteps = self._schedule.num_train_timesteps
        if self._config.objective == "flow":
            sigma = share if self._config.timestep_density == "uniform" else logit_normal(share)
            s = sigma[:, None, None, None]
            return Examples((1 - s) * x0 + s * noise, num_timesteps * sigma - 1, noise - x0, torch.ones_like(sigma))
        t = (share * num_timesteps).long() if self._steps is None else _inverse(self._steps, share)
        x_t = self._schedule.add_noise(x0, noise, t)
        if self._config.objective == "epsilon":
            return Examples(x_t, t, noise, self._weights[t])
        scales = self._schedule.signal_scale[t.numpy()], self._schedule.noise_scale[t.numpy()]
        return Examples(x_t, t, from_x0_and_eps(x0, noise, self._config.prediction_type, *scales), self._weights[t])


def logit_normal(share: Tensor) -> Tensor:
    """Turn uniform draws from 0 .. 1 into logit-normal ones: sigmoid(z), z ~ N(0, 1) (Esser et al. 2024, eq. 19)."""
    return torch.sigmoid(torch.special.ndtri(share))


def timestep_probabilities(schedule: NoiseSchedule) -> NDArray[np.float64]:
    """Return the (T,) float64 probabilities of the timestep density ``bump``; they sum to 1.

    A mixture of uniform t and a normal density over log SNR, of which each t has the part nearer to its own log SNR
    than to any other's. Densities over log SNR, and errors divided by them: Kingma & Gao 2023, section 3.1.
    """
    log_snr = schedule.log_snr
    edges = np.concatenate([[np.inf], (log_snr[1:] + log_snr[:-1]) / 2, [-np.inf]])
    below = torch.special.ndtr(torch.from_numpy((edges - BUMP_MEAN) / BUMP_STD)).numpy()
    return np.asarray(BUMP_UNIFORM / len(log_snr) + (1 - BUMP_UNIFORM) * (below[:-1] - below[1:]))


def _inverse(cumulative: NDArray[np.float64], share: Tensor) -> Tensor:
    """Return the (B,) timesteps at which a (T,) cumulative distribution passes (B,) uniform draws from 0 .. 1."""
    t = np.searchsorted(cumulative, share.double().numpy(), side="right")
    return torch.from_numpy(t.clip(max=len(cumulative) - 1))


def loss_weights(schedule: NoiseSchedule, config: TrainConfig) -> Tensor:
    """Return (T,) float32 weights of the squared errors, scaled to a mean of 1; see the table of this module.

    ‖ε - ε̂‖² is ᾱ times the squared error of v (Salimans & Ho 2022, appendix D), so p = 1 gives all timesteps equal
    weight in v. All weights are 1 if p is 0.
    """
    weights = np.ones(schedule.num_train_timesteps)
    if config.objective == "epsilon":
        weights = schedule.alphas_cumprod**-config.weight_exponent
    elif config.objective == "x0":
        weights = schedule.snr.clip(max=LARGEST_SNR)
    return torch.from_numpy(weights / weights.mean()).float()
