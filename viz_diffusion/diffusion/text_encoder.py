"""The text encoder: a one-layer transformer over the words of a prompt, and the image encoder it is trained with.

Both map to one space in which a caption is near the images it is true of (CLIP: Radford et al. 2021). The denoiser uses
the transformer alone. Knows nothing about captions, training or diffusion.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from viz_diffusion.diffusion.tokenizer import PADDING, START, Tokenizer
from viz_diffusion.errors import VizdiffInputError


@dataclass(frozen=True)
class TextConfig:
    """The architecture of a :class:`TextEncoder`, and its vocabulary."""

    vocabulary: tuple[str, ...]
    """The words it knows, in the order of their numbers."""
    width: int = 64
    """Width of the transformer, and of the space that texts and images share."""
    num_heads: int = 4
    """Attention heads of the transformer, and of the denoiser's attention to words."""

    def __post_init__(self) -> None:
        known = all(type(word) is str and word for word in self.vocabulary)
        if not known or not self.vocabulary or len(set(self.vocabulary)) != len(self.vocabulary):
            raise VizdiffInputError("the text encoder's vocabulary must be different words")
        if not all(type(n) is int and 0 < n <= 65536 for n in (self.width, self.num_heads)):
            raise VizdiffInputError(f"the text encoder's width and heads must be positive, found {self.width}")
        if self.width % (2 * self.num_heads):
            raise VizdiffInputError(
                f"the text encoder's width must be divisible by twice its heads, found {self.width}"
            )

    @classmethod
    def from_dict(cls, values: Any) -> TextConfig:
        """Build a config from JSON values.

        Raises
        ------
        VizdiffInputError
            Where an entry is unknown or has no possible value.
        """
        try:
            return cls(**{**values, "vocabulary": tuple(values["vocabulary"])})
        except (TypeError, KeyError) as error:
            raise VizdiffInputError(f"the text encoder's config does not fit this version: {error}") from error


@dataclass(frozen=True, eq=False)
class EncodedPrompts:
    """K prompts as the denoiser gets them; the last one may be the empty prompt."""

    pooled: Tensor
    """(K, width) float32: one vector a prompt, the state of its start token."""
    words: Tensor
    """(K, L, width) float32: the states of its tokens, the start token first."""
    mask: Tensor
    """(K, L) bool: which of them are tokens, and not padding."""


class TextTransformer(nn.Module):
    """One layer of a transformer (Vaswani et al. 2017, its norms first as in Radford et al. 2021), over tokens.

    Every token attends to every other. Positions are sines and cosines, so that no length is unknown.
    """

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        width = config.width
        self.num_heads = config.num_heads
        self.embedding = nn.Embedding(len(config.vocabulary) + START + 1, width, padding_idx=PADDING)
        nn.init.normal_(self.embedding.weight, std=0.5)
        self.norm1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.norm_out = nn.LayerNorm(width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the (N, L, width) states of (N, L) int64 tokens."""
        h = self.embedding(tokens)
        h = h + 0.1 * _positions(*h.shape[1:]).to(h)
        split = (*h.shape[:2], 3, self.num_heads, -1)
        q, k, v = self.qkv(self.norm1(h)).reshape(split).permute(2, 0, 3, 1, 4)
        mask = (tokens != PADDING)[:, None, None, :]
        attended = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        h = h + self.out(attended.transpose(1, 2).flatten(2))
        states: Tensor = self.norm_out(h + self.mlp(self.norm2(h)))
        return states


def _positions(length: int, width: int) -> Tensor:
    """Return (L, width) sines and cosines of the positions 0 .. L-1 (Vaswani et al. 2017, section 3.5)."""
    half = width // 2
    frequencies = torch.exp(-math.log(10000.0) * torch.arange(half, dtype=torch.float32) / half)
    angles = torch.arange(length, dtype=torch.float32)[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=1)


class ImageEncoder(nn.Sequential):
    """A small convolutional network: (B, 1, 28, 28) images to (B, width) vectors."""

    def __init__(self, width: int) -> None:
        layers: list[nn.Module] = []
        for in_channels, out_channels in ((1, 16), (16, 32), (32, 64)):
            layers += [nn.Conv2d(in_channels, out_channels, 3, padding=1, stride=2), nn.GroupNorm(8, out_channels)]
            layers.append(nn.GELU())
        super().__init__(*layers, nn.Flatten(), nn.Linear(64 * 4 * 4, width))


class TextEncoder(nn.Module):
    """A text and an image encoder with one shared space.

    Parameters
    ----------
    config
        The architecture, and the vocabulary.
    """

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.config = config
        self.tokenizer = Tokenizer(config.vocabulary)
        self.text = TextTransformer(config)
        self.project_text = nn.Linear(config.width, config.width, bias=False)
        self.image = ImageEncoder(config.width)
        self.log_scale = nn.Parameter(torch.tensor(math.log(10.0)))
        """Logarithm of the factor of the cosines, which is learned (Radford et al. 2021, figure 3)."""

    def tokens(self, prompts: Sequence[str]) -> Tensor:
        """Return the (N, L) int64 tokens of prompts, each filled up to the length of the longest.

        Raises
        ------
        VizdiffUsageError
            Where a prompt holds unknown words, or is too long.
        """
        numbers = [self.tokenizer.numbers(prompt) for prompt in prompts]
        length = max(map(len, numbers), default=1)
        return torch.tensor([one + [PADDING] * (length - len(one)) for one in numbers], dtype=torch.int64)

    @torch.no_grad()
    def encode(self, prompts: Sequence[str]) -> EncodedPrompts:
        """Encode prompts for a denoiser, the empty one added as the last."""
        tokens = self.tokens([*prompts, ""]).to(self.log_scale.device)
        words = self.text(tokens)
        return EncodedPrompts(words[:, 0], words, tokens != PADDING)

    def text_vectors(self, tokens: Tensor) -> Tensor:
        """Return the (N, width) unit vectors of (N, L) tokens in the shared space."""
        return functional.normalize(self.project_text(self.text(tokens)[:, 0]), dim=1)

    def image_vectors(self, images: Tensor) -> Tensor:
        """Return the (B, width) unit vectors of (B, 1, 28, 28) images in the shared space."""
        return functional.normalize(self.image(images), dim=1)

    @torch.no_grad()
    def similarity(self, images: Tensor, prompts: Sequence[str], batch_size: int = 500) -> Tensor:
        """Return the (B, N) cosines of images with prompts."""
        device = self.log_scale.device
        texts = self.text_vectors(self.tokens(prompts).to(device))
        return torch.cat([self.image_vectors(part.to(device)) @ texts.T for part in torch.split(images, batch_size)])

    def classify(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        """Return the (B,) int64 number of the prompt that each image is nearest to: zero-shot classification.

        No classifier is trained for these prompts (Radford et al. 2021, section 3.1).
        """
        return self.similarity(images, prompts).argmax(dim=1)


def info_nce(images: Tensor, texts: Tensor, scale: Tensor | float) -> Tensor:
    """Return the contrastive loss of B pairs: the cross-entropy of finding each one's partner among all B.

    With the logits l_ij = scale ⟨image_i, text_j⟩ it is the mean over i of -(log softmax_j l_ii + log softmax_i l_ii)/2
    (InfoNCE, van den Oord et al. 2018, eq. 4, in both directions as in Radford et al. 2021, figure 3).

    Parameters
    ----------
    images, texts
        (B, width) unit vectors; row i of one belongs to row i of the other.
    """
    logits = scale * images @ texts.T
    partner = torch.arange(len(logits), device=logits.device)
    return (functional.cross_entropy(logits, partner) + functional.cross_entropy(logits.T, partner)) / 2
