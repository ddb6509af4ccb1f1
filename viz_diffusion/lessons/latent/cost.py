"""What an image costs: time, measured in turns in one process, multiplications, and parameters.

Knows nothing about figures or texts.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from math import comb

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from viz_diffusion.diffusion.latent_space import latent_space_of, pictures_of
from viz_diffusion.diffusion.prediction import device_of
from viz_diffusion.diffusion.sampler_config import SamplerConfig
from viz_diffusion.diffusion.samplers import ImageNoise
from viz_diffusion.diffusion.sampling import sampling_steps
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.diffusion.unet import SimpleUNet
from viz_diffusion.lessons.context import Progress, silent

BATCH = 64
"""Images that are generated at once."""
TIMING = ((6, 10), (15, 50))
"""Rounds, and DDIM steps of each generation: quick and full."""


@dataclass(frozen=True, eq=False)
class Cost:
    """Seconds and multiplications of an image in latents and in pixels."""

    latent_seconds: NDArray[np.float64]
    """(R,) float64: seconds per image of each round (see :func:`measure_cost`), in latents, with the decoder."""
    pixel_seconds: NDArray[np.float64]
    """(R,) float64: seconds per image of the same round, in pixels."""
    steps: int
    """DDIM steps, without guidance: evaluations of the network for each image."""
    batch: int
    """Images generated at once."""
    threads: int
    """Threads of the processor that were used."""
    device: str
    """What it ran on."""
    latent_products: int
    """Multiplications of one evaluation of the latent network, for one image."""
    pixel_products: int
    """Multiplications of one evaluation of the pixel network, for one image."""
    decoder_products: int
    """Multiplications of the decoder, for one image."""
    latent_parameters: int
    """Parameters of the latent network."""
    pixel_parameters: int
    """Parameters of the pixel network."""
    encoder_parameters: int
    """Parameters of the encoder, which generation does not need."""
    decoder_parameters: int
    """Parameters of the decoder."""

    @property
    def ratio(self) -> NDArray[np.float64]:
        """(R,) float64: seconds in latents over seconds in pixels, round by round."""
        return self.latent_seconds / self.pixel_seconds

    @property
    def ratio_interval(self) -> tuple[float, float]:
        """The 95% interval of the median ratio, from the ratios in order."""
        return median_interval(self.ratio)


def measure_cost(
    latent: tuple[SimpleUNet, NoiseSchedule],
    pixel: tuple[SimpleUNet, NoiseSchedule],
    rounds: int,
    steps: int,
    progress: Progress = silent,
    clock: Callable[[], float] | None = None,
) -> Cost:
    """Generate a batch in latents and one in pixels in turns, so that whatever else the machine does meets both.

    Parameters
    ----------
    latent, pixel
        A network that works in latents, and one that works on pixels, each with its schedule.
    clock
        Returns seconds; by default those that the processor spent on this process, which other work lengthens little,
        and on another device those that passed.
    """
    device = device_of(pixel[0]).type
    if clock is None:
        clock = time.process_time if device == "cpu" else time.perf_counter
    for arm in (latent, pixel):
        _generate(*arm, 2)  # the first generation is slower
    seconds: tuple[list[float], list[float]] = [], []
    for index in range(rounds):
        for kept, arm in zip(seconds, (latent, pixel), strict=True):
            begun = clock()
            _generate(*arm, steps)
            kept.append((clock() - begun) / BATCH)
        progress(index + 1, rounds, "rounds of generations timed")
    space = latent_space_of(latent[0])
    assert space is not None
    decoder, encoder = space.autoencoder.decoder, space.autoencoder.encoder
    one = torch.zeros(1, *space.latent_shape, device=device_of(decoder))
    return Cost(
        np.array(seconds[0]),
        np.array(seconds[1]),
        steps,
        BATCH,
        torch.get_num_threads(),
        device,
        latent_products=_evaluation_products(latent[0], space.latent_shape),
        pixel_products=_evaluation_products(pixel[0], space.image_shape),
        decoder_products=products(lambda: decoder(one)),
        latent_parameters=num_parameters(latent[0]),
        pixel_parameters=num_parameters(pixel[0]),
        encoder_parameters=num_parameters(encoder),
        decoder_parameters=num_parameters(decoder),
    )


def _generate(network: SimpleUNet, schedule: NoiseSchedule, steps: int) -> Tensor:
    """Return a batch of images by DDIM."""
    space = latent_space_of(network)
    size = network.config.image_size
    shape = (network.config.in_channels, size, size) if space is None else space.latent_shape
    labels = torch.arange(BATCH, device=device_of(network)) % network.null_label
    for step in sampling_steps(
        network,
        schedule,
        ImageNoise(range(BATCH), shape),
        labels,
        SamplerConfig("ddim", steps),
        null_label=network.null_label,
    ):
        x = step.x_prev
    return pictures_of(network, x).cpu()


def _evaluation_products(network: SimpleUNet, shape: tuple[int, ...]) -> int:
    device = device_of(network)
    x, one = torch.zeros(1, *shape, device=device), torch.zeros(1, dtype=torch.int64, device=device)
    return products(lambda: network(x, one, one))


def median_interval(values: NDArray[np.float64]) -> tuple[float, float]:
    """Return the 95% interval of the median of (R,) values: whole -∞ to ∞ where R is below 6.

    Between the k-th smallest and the k-th largest value lies the median with the probability 1 - 2 P(X < k), where X is
    the number of heads in R tosses of a coin.
    """
    count, ordered, below, kept = len(values), np.sort(values), 0.0, 0
    for k in range(count // 2):
        below += comb(count, k) / 2**count
        if below > 0.025:
            break
        kept = k + 1
    return (float(ordered[kept - 1]), float(ordered[-kept])) if kept else (float("-inf"), float("inf"))


@torch.no_grad()
def products(call: Callable[[], object]) -> int:
    """Return the multiplications of matrix products and convolutions in a call."""
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:  # it does not know fused attention
        call()
    return int(counter.get_total_flops()) // 2  # a product and its sum count as two operations


def training_products(network: SimpleUNet, steps: tuple[int, int], batches: tuple[int, int]) -> int:
    """Return the multiplications of a network's training: of one in latents, with those of its autoencoder.

    Forward and backward pass count as three evaluations: of the output, and of the gradients of weights and inputs.

    Parameters
    ----------
    steps, batches
        Training steps of network and autoencoder, and their images at a step.
    """
    config, space = network.config, latent_space_of(network)
    shape = (config.in_channels, config.image_size, config.image_size)
    total = 3 * _evaluation_products(network, shape) * steps[0] * batches[0]
    if space is None:
        return total
    device = device_of(space.autoencoder)
    one, noise = torch.zeros(1, *space.image_shape, device=device), torch.zeros(1, *space.latent_shape, device=device)
    return total + 3 * products(lambda: space.autoencoder.loss(one, noise)) * steps[1] * batches[1]


def num_parameters(module: torch.nn.Module) -> int:
    """Return the parameters of a module."""
    return sum(parameter.numel() for parameter in module.parameters())
