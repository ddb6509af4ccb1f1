"""Images of prompts from chosen noise, with sums of encoded prompts, and with the attention to their words.

Knows nothing about what an image shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from viz_diffusion.diffusion.latent_space import pictures_of
from viz_diffusion.diffusion.prediction import device_of
from viz_diffusion.diffusion.prompted import PromptedDenoiser
from viz_diffusion.diffusion.sampler_config import SamplerConfig
from viz_diffusion.diffusion.samplers import Step
from viz_diffusion.diffusion.sampling import sample_images
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.diffusion.text_encoder import TextEncoder
from viz_diffusion.diffusion.unet import SimpleUNet
from viz_diffusion.errors import VizdiffUsageError

Float32 = NDArray[np.float32]
STEPS = 20
"""Steps of each sample, by DPM-Solver++(2M)."""
GUIDANCE = 2.0
"""Guidance scale of each sample, against the empty prompt."""


class PromptSum(NamedTuple):
    """A sum of encoded prompts: that of ``start``, with ``added`` in the place of ``removed``."""

    start: str
    """The prompt whose words the network attends to."""
    added: str
    """The prompt whose vector is added."""
    removed: str
    """The prompt whose vector is taken away."""


@dataclass(frozen=True, eq=False)
class AttendedSamples:
    """N samples of S steps, with the attention to the L tokens of their prompts: the start token, then the words."""

    images: Tensor
    """(N, 1, H, W) float32 in [-1, 1]."""
    timesteps: NDArray[np.int64]
    """(S,) int64, falling."""
    x0_pred: Float32
    """(N, S, H, W) float32: predicted x̂_0 at each step, after guidance; of latents decoded."""
    maps: Float32
    """(N, S, L, h, w) float32: how much each position attends to each token; over the tokens they sum to 1."""


class PromptSampler(Protocol):
    """Samples images of prompts: image k has the k-th prompt and the noise of the k-th seed."""

    def sample(self, prompts: Sequence[str], seeds: Sequence[int]) -> Tensor:
        """Return (N, 1, H, W) float32 images of N prompts, clipped to [-1, 1]."""

    def sample_sums(self, sums: Sequence[PromptSum], seeds: Sequence[int]) -> Tensor:
        """Return the same of N sums of prompts."""

    def sample_with_attention(self, prompts: Sequence[str], seeds: Sequence[int]) -> AttendedSamples:
        """Return N samples with their attention; all prompts have the same number of words."""


class NetworkSampler:
    """Samples images of prompts by a network of prompts, with guidance against the empty prompt.

    Parameters
    ----------
    network
        A network that predicts ε and was trained with text.
    encoder
        The text encoder it was trained with.
    schedule
        The process that it is sampled in.
    """

    def __init__(self, network: SimpleUNet, encoder: TextEncoder, schedule: NoiseSchedule) -> None:
        self.network, self.encoder, self.schedule = network, encoder, schedule

    def sample(self, prompts: Sequence[str], seeds: Sequence[int]) -> Tensor:
        """Return (N, 1, H, W) float32 images of N prompts, clipped to [-1, 1]."""
        names = tuple(dict.fromkeys(prompts))
        labels = torch.tensor([names.index(prompt) for prompt in prompts])
        return self._draw(PromptedDenoiser(self.network, self.encoder, names), labels, seeds)

    def sample_sums(self, sums: Sequence[PromptSum], seeds: Sequence[int]) -> Tensor:
        """Return the same of N sums: the vectors of the prompts are summed, the words are those of the first one."""
        different = tuple(dict.fromkeys(sums))
        labels = torch.tensor([different.index(one) for one in sums])
        starts = [one.start for one in different]
        unet = PromptedDenoiser(self.network, self.encoder, starts)
        encoded = self.encoder.encode(starts)
        added, removed = (
            self.encoder.encode([getattr(one, name) for one in different]).pooled[:-1] for name in ("added", "removed")
        )
        pooled = torch.cat([encoded.pooled[:-1] + added - removed, encoded.pooled[-1:]])
        unet.label_emb.set_prompts(replace(encoded, pooled=pooled))
        return self._draw(unet, labels, seeds)

    def sample_with_attention(self, prompts: Sequence[str], seeds: Sequence[int]) -> AttendedSamples:
        """Return N samples with their attention; all prompts have the same number of words.

        Raises
        ------
        VizdiffUsageError
            Where they have not.
        """
        words = {len(self.encoder.tokenizer.words(prompt)) for prompt in prompts}
        if len(words) != 1:
            raise VizdiffUsageError(f"`prompts` must all have the same number of words, found {sorted(words)}")
        names = tuple(dict.fromkeys(prompts))
        unet = PromptedDenoiser(self.network, self.encoder, names)
        labels = torch.tensor([names.index(prompt) for prompt in prompts])
        maps: list[Tensor] = []
        steps: list[Step] = []

        def keep(_module: Any, _inputs: Any, attention: Tensor) -> None:
            maps.append(attention[: len(attention) // 2].cpu())  # the other half is of the empty prompt

        hook = unet.word_attention.maps.register_forward_hook(keep)
        try:
            images = self._draw(unet, labels, seeds, steps)
        finally:
            hook.remove()
        rows = [len(maps) // STEPS, STEPS]  # batches, steps
        attention = torch.unflatten(torch.stack(maps), 0, rows).transpose(1, 2).flatten(0, 1)
        predicted = torch.stack([pictures_of(unet, step.x0_pred)[:, 0].cpu() for step in steps])
        x0 = torch.unflatten(predicted, 0, rows).transpose(1, 2).flatten(0, 1)
        return AttendedSamples(
            images,
            np.array([step.t for step in steps[:STEPS]]),
            x0[: len(images)].numpy(),
            attention[: len(images)].numpy(),
        )

    def _draw(
        self, unet: PromptedDenoiser, labels: Tensor, seeds: Sequence[int], steps: list[Step] | None = None
    ) -> Tensor:
        """Return samples of (N,) labels; ``steps`` gets the steps of each batch in turn."""
        config = SamplerConfig("dpm-solver++", STEPS, GUIDANCE)
        watch = None if steps is None else steps.append
        parts = sample_images(
            unet,
            self.schedule,
            labels.to(device_of(unet)),
            seeds,
            config,
            null_label=unet.null_label,
            on_step=watch,
        )
        return torch.cat(list(parts)).clamp(-1, 1)
