"""Training of the text encoder with its image encoder, before the denoiser: InfoNCE on digits and their captions.

Reads and writes no files. Its random draws follow from the seed; a training that was stopped begins anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from viz_diffusion.data.captions import CaptionedDigits, all_captions
from viz_diffusion.diffusion.text_encoder import TextConfig, TextEncoder, info_nce
from viz_diffusion.diffusion.tokenizer import PADDING
from viz_diffusion.diffusion.torch_defaults import own_defaults, own_defaults_each_step
from viz_diffusion.errors import VizdiffNonFiniteError

STEPS = 1000
"""Optimizer steps, by default."""
BATCH_SIZE = 256
"""Pairs of image and caption in a step: each is told from so many others."""
LEARNING_RATE = 2e-3
"""Peak learning rate of AdamW, reached after 100 steps; it then falls linearly to 0."""
LARGEST_SCALE = 100.0
"""Largest factor of the cosines (Radford et al. 2021, section 2.5)."""


@dataclass(frozen=True)
class EncoderStep:
    """The result of one optimizer step."""

    step: int
    """Number of steps done, including this one; 1 for the first."""
    loss: float
    """InfoNCE over the batch, nats; log(256) = 5.5 where nothing is learned."""


@own_defaults()
def new_text_encoder(config: TextConfig, seed: int, device: torch.device | str = "cpu") -> TextEncoder:
    """Return a text encoder before its first step; its weights follow from the seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed % 2**63)
        return TextEncoder(config).to(device)


@own_defaults_each_step
def train_text_encoder(
    model: TextEncoder, data: CaptionedDigits, seed: int, steps: int = STEPS, batch_size: int = BATCH_SIZE
) -> Iterator[EncoderStep]:
    """Train on pairs of digits and captions that are true of them (Radford et al. 2021, figure 3); yield after each.

    Raises
    ------
    VizdiffNonFiniteError
        If the loss is not finite.
    """
    device = model.log_scale.device
    tokens = model.tokens(all_captions())
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.01)
    generator = torch.Generator().manual_seed(seed % 2**63)
    model.train()
    for step in range(steps):
        rows = torch.randint(len(data), (batch_size,), generator=generator)
        captions = tokens[data.draw_labels(rows, generator)]
        longest = int((captions != PADDING).sum(dim=1).max())
        texts = model.text_vectors(captions[:, :longest].to(device))
        scale = model.log_scale.exp().clamp(max=LARGEST_SCALE)
        loss = info_nce(model.image_vectors(data.images[rows].to(device)), texts, scale)
        if not torch.isfinite(loss):
            raise VizdiffNonFiniteError(
                f"step {step + 1} of the text encoder: the loss is {loss.item()}; begin anew with another `seed`"
            )
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * min(1, (step + 1) / 100) * (1 - step / steps)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        yield EncoderStep(step + 1, loss.item())
    model.eval().requires_grad_(False)
