"""A network of any objective, called on the states of any noise schedule and answering in any parameterization.

Samplers, lessons and measurements of one process need not know what a network was trained to predict. Knows nothing
about training.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from viz_diffusion.diffusion.parameterizations import convert
from viz_diffusion.diffusion.scaling import SCALINGS, Float64, broadcast_factor
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.diffusion.unet import SimpleUNet


class ConvertedUNet(SimpleUNet):
    """A view of a :class:`SimpleUNet` that predicts ε̂, x̂_0, v or the velocity, as wanted.

    It has the network's own layers, so that weights, names of modules and embeddings are the same; hooks on it are its
    own. ε̂, x̂_0 and v are converted by :mod:`viz_diffusion.diffusion.parameterizations`, exactly. A flow-matching
    network gets the state of its own process that has the same SNR: from x_t = a x_0 + b ε

        σ = b / (a + b),  x_σ = x_t / (a + b) = (1-σ) x_0 + σ ε,

    and t = T σ - 1 as its time. Its answer ε - x_0 needs no change, since x_0 and ε are the same in both processes.

    Parameters
    ----------
    network
        The network, or another view of it.
    trained_for
        What its layers predict, one of :data:`~viz_diffusion.diffusion.parameterizations.PREDICTION_TYPES`.
    schedule
        The process whose x_t and t it is called with.
    prediction_type
        What it returns; by default ε̂, which where a is 0 implies no x̂_0.
    """

    def __init__(
        self, network: SimpleUNet, trained_for: str, schedule: NoiseSchedule, prediction_type: str = "epsilon"
    ) -> None:
        nn.Module.__init__(self)  # no layers of its own
        for name, layer in network.named_children():
            self.add_module(name, layer)
        self.config = network.config
        self.latent_space, self.prompts = network.latent_space, network.prompts
        self.word_places = network.word_places
        self.trained_for = trained_for
        self.schedule = schedule
        self.prediction_type = prediction_type
        self.train(network.training)

    def seeing(self, schedule: NoiseSchedule, prediction_type: str = "epsilon") -> ConvertedUNet:
        """Return a view of the same network for another schedule or another answer."""
        return ConvertedUNet(self, self.trained_for, schedule, prediction_type)

    def network_timesteps(self, timesteps: Tensor) -> Tensor:
        """Return the (B,) numbers that the time embedding gets: (B,) t, or T σ - 1 in flow matching, float32."""
        if self.trained_for != "flow":
            return timesteps
        a, b = self._scales(timesteps)
        times = self.config.num_train_timesteps * (b / (a + b)) - 1
        return torch.from_numpy(times.astype(np.float32)).to(timesteps.device)

    def forward(self, x: Tensor, timesteps: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the (B, C, H, W) prediction for states (B, C, H, W) at (B,) int64 timesteps of the schedule."""
        a, b = self._scales(timesteps)
        own_x = x
        if self.trained_for == "flow" and self.schedule.scaling != SCALINGS[2]:
            own_x = x * broadcast_factor(1 / (a + b), x)
        prediction = super().forward(own_x, timesteps, labels)
        return convert(prediction, x, self.trained_for, self.prediction_type, a, b)

    def _scales(self, timesteps: Tensor) -> tuple[Float64, Float64]:
        """Return (B,) a and b of x_t = a x_0 + b ε."""
        t = timesteps.cpu().numpy()
        return self.schedule.signal_scale[t], self.schedule.noise_scale[t]
