"""Mixtures of labels: a weighted sum of label embeddings in the place of one of them.

Knows nothing about sampling.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from viz_diffusion.diffusion.unet import SimpleUNet
from viz_diffusion.errors import VizdiffUsageError


@contextmanager
def mixed_labels(network: SimpleUNet, weights: Tensor) -> Iterator[None]:
    """Embed every label but the null label as the weighted sum of all label embeddings within the block.

    Parameters
    ----------
    weights
        (num_labels + 1,) float32: one for each label, the last for the null label. The embedding of a label is that of
        the weights which are 1 there and 0 elsewhere; other sums than 1 make the embedding longer or shorter.

    Raises
    ------
    VizdiffUsageError
        Where there are not as many weights as embeddings.
    """
    embeddings: Tensor = network.label_emb.weight
    if weights.shape != embeddings.shape[:1]:
        raise VizdiffUsageError(f"`weights` must be {len(embeddings)} numbers, found the shape {tuple(weights.shape)}")

    def replace(_module: Any, inputs: tuple[Tensor], output: Tensor) -> Tensor:
        mixture = weights.to(embeddings) @ embeddings
        return torch.where((inputs[0] == network.null_label)[:, None], output, mixture)

    hook = network.label_emb.register_forward_hook(replace)
    try:
        yield
    finally:
        hook.remove()
