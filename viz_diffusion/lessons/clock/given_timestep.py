"""Denoisers that get another timestep than the sampler's: everywhere, or in their time embedding only.

Knows nothing about what is measured with them.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from viz_diffusion.data import NUM_LABELS
from viz_diffusion.diffusion.embedded_timestep import embedded_timesteps, has_time_embedding
from viz_diffusion.diffusion.prediction import device_of

Int64 = NDArray[np.int64]


class WrongTimestep(nn.Module):
    """A denoiser that gets the timestep ``given[t]`` in the place of a sampler's t.

    ``interventions`` says so in every recording.
    """

    def __init__(self, denoiser: nn.Module, given: Int64, name: str) -> None:
        super().__init__()
        self.denoiser = denoiser
        self.null_label = getattr(denoiser, "null_label", NUM_LABELS)
        self.interventions = f"clock {name}"
        self.register_buffer("given", torch.from_numpy(np.ascontiguousarray(given)).to(device_of(denoiser)))

    def forward(self, x: Tensor, timesteps: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the denoiser's ε̂ at the timesteps it is given."""
        return self.denoiser(x, self.given_for(timesteps), labels)

    def given_for(self, timesteps: Tensor) -> Tensor:
        """Return the (B,) timesteps in the place of a sampler's."""
        assert isinstance(self.given, Tensor)
        return self.given[timesteps]


class WrongEmbedding(WrongTimestep):
    """A network whose time embedding gets ``given[t]``; ᾱ in its last line is that of the sampler's t."""

    def forward(self, x: Tensor, timesteps: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the network's ε̂."""
        with embedded_timesteps(self.denoiser, self.given_for(timesteps)):  # type: ignore[arg-type]  # see make_arms
            return self.denoiser(x, timesteps, labels)


def given_timesteps(T: int, seed: int = 0) -> dict[str, Int64]:
    """Return, by name, the (T,) timesteps in the place of every t: t itself, T/2, T-1-t, and a permutation."""
    t = np.arange(T)
    return {
        "right": t,
        "frozen": np.full(T, T // 2),
        "reversed": t[::-1],
        "shuffled": np.random.default_rng([seed, 16]).permutation(T),
    }


def make_arms(denoiser: nn.Module, T: int, seed: int = 0) -> dict[str, nn.Module]:
    """Return the denoiser with each of :func:`given_timesteps`, and with the wrong ones in its embedding only.

    The latter, ``embedding_`` and the name, only where the denoiser has a time embedding of its own.
    """
    given = given_timesteps(T, seed)
    arms: dict[str, nn.Module] = {name: WrongTimestep(denoiser, one, name) for name, one in given.items()}
    if has_time_embedding(denoiser):
        wrong = {name: one for name, one in given.items() if name != "right"}
        arms |= {f"embedding_{name}": WrongEmbedding(denoiser, one, f"embedding {name}") for name, one in wrong.items()}
    return arms
