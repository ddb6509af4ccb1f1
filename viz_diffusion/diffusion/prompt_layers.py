"""What a network has for prompts in the place of labels: an embedding of prompts, and attention to their words.

Knows nothing about how prompts are encoded.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from viz_diffusion.diffusion.text_encoder import EncodedPrompts
from viz_diffusion.diffusion.unet_blocks import bias_of


class PromptEmbedding(nn.Module):
    """K prompts in the place of K labels, and the empty prompt in that of the null label.

    Only the linear layer is trained and kept in a weights file: the prompts are chosen when the network is used.

    Parameters
    ----------
    width
        Of the encoded prompts.
    embedding_dim
        Width D of the embedding.
    num_prompts
        K, before prompts are set; they are zeros then.
    """

    pooled: Tensor
    states: Tensor
    mask: Tensor

    def __init__(self, width: int, embedding_dim: int, num_prompts: int) -> None:
        super().__init__()
        self.project = nn.Linear(width, embedding_dim)
        self.embedding_dim = embedding_dim
        self.register_buffer("pooled", torch.zeros(num_prompts + 1, width), persistent=False)
        self.register_buffer("states", torch.zeros(num_prompts + 1, 1, width), persistent=False)
        self.register_buffer("mask", torch.ones(num_prompts + 1, 1, dtype=torch.bool), persistent=False)

    def set_prompts(self, prompts: EncodedPrompts) -> None:
        """Let label k mean the k-th of these prompts; the last one is the null label."""
        device = self.project.weight.device
        self.pooled, self.states, self.mask = (
            values.to(device) for values in (prompts.pooled, prompts.words, prompts.mask)
        )

    @property
    def num_prompts(self) -> int:
        """K, without the empty prompt; it is also the null label."""
        return len(self.pooled) - 1

    @property
    def weight(self) -> Tensor:
        """(K + 1, D): the embedding of each label, as a table of labels has them."""
        embeddings: Tensor = self.project(self.pooled)
        return embeddings

    def forward(self, labels: Tensor) -> Tensor:
        """Return the (B, D) embeddings of (B,) labels."""
        embeddings: Tensor = self.project(self.pooled[labels])
        return embeddings

    def words(self, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the (B, L, width) states of the tokens of (B,) labels, and (B, L) which are not padding."""
        return self.states[labels], self.mask[labels]


class WordAttention(nn.Module):
    """Cross-attention of the positions of a feature map to the tokens of a prompt, added to it.

    The attention of Vaswani et al. 2017, eq. 1, its queries from the image, its keys and values from the words (Rombach
    et al. 2022, section 3.3).
    """

    def __init__(self, channels: int, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.norm = nn.GroupNorm(8, channels)
        self.query = nn.Conv2d(channels, channels, 1)
        self.key_value = nn.Linear(width, 2 * channels)
        self.out = nn.Conv2d(channels, channels, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(bias_of(self.out))
        self.maps = nn.Identity()
        """Gets (B, L, H, W): how much each position attends to each token, the mean over heads; for hooks to read."""

    def forward(self, x: Tensor, words: Tensor, mask: Tensor) -> Tensor:
        """Return (B, C, H, W) from (B, C, H, W), the (B, L, width) states of tokens and their (B, L) mask."""
        batch, channels, height, width = x.shape
        heads = (batch, self.num_heads, channels // self.num_heads, -1)
        q = self.query(self.norm(x)).reshape(heads)  # (B, heads, c, H W)
        k, v = (part.transpose(1, 2).reshape(heads) for part in self.key_value(words).chunk(2, dim=2))  # (.., c, L)
        scores = k.transpose(2, 3) @ q / (channels // self.num_heads) ** 0.5  # (B, heads, L, H W)
        attention = scores.masked_fill(~mask[:, None, :, None], float("-inf")).softmax(dim=2)
        self.maps(attention.mean(dim=1).reshape(batch, -1, height, width))
        h = (v @ attention).reshape(batch, channels, height, width)
        return x + self.out(h)
