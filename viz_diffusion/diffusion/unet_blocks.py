"""The blocks of the denoiser network: the code of a timestep, residual blocks, and self-attention."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from viz_diffusion.errors import VizdiffInputError


class SinusoidalPositionEmbeddings(nn.Module):
    """Sinusoidal code of the timestep: ``cat(sin, cos)`` of t at geometrically falling frequencies.

    With ``half = dim / 2`` the frequencies are 10000^(-k/half), k = 0 .. half-1 (Vaswani et al. 2017,
    section 3.5, sines and cosines side by side instead of interleaved). Every code has norm √(dim/2).

    Parameters
    ----------
    dim
        Width of the code; even.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        if dim < 2 or dim % 2:
            raise VizdiffInputError(f"the time code needs an even width of at least 2, found {dim}")
        self.dim = dim

    def forward(self, timesteps: Tensor) -> Tensor:
        """Return (B, dim) float32 codes of (B,) timesteps."""
        half = self.dim // 2
        exponents = torch.arange(half, dtype=torch.float32, device=timesteps.device) / half
        angles = timesteps.float()[:, None] * torch.exp(-math.log(10000.0) * exponents)[None, :]
        return torch.cat([angles.sin(), angles.cos()], dim=1)


class ResidualBlock(nn.Module):
    """Two convolutions with a skip connection; the embedding scales and shifts the features between them."""

    def __init__(self, in_channels: int, out_channels: int, embedding_dim: int, kernel_size: int = 3) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(8, in_channels)
        self.conv1 = nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2)
        self.condition = nn.Linear(embedding_dim, 2 * out_channels)
        self.norm2 = nn.GroupNorm(8, out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, kernel_size, padding=kernel_size // 2)
        self.shortcut = nn.Conv2d(in_channels, out_channels, 1) if in_channels != out_channels else nn.Identity()
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(bias_of(self.conv2))

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """Return (B, out_channels, H, W) from (B, in_channels, H, W) and a (B, D) embedding."""
        h = self.conv1(functional.silu(self.norm1(x)))
        scale, shift = self.condition(functional.silu(embedding))[:, :, None, None].chunk(2, dim=1)
        h = self.norm2(h) * (1 + scale) + shift
        h = self.conv2(functional.silu(h))
        return h + self.shortcut(x)


class AttentionBlock(nn.Module):
    """Self-attention over the positions of a feature map, added to it."""

    def __init__(self, channels: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.norm = nn.GroupNorm(8, channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.out = nn.Conv2d(channels, channels, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(bias_of(self.out))

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, C, H, W) from (B, C, H, W)."""
        batch, channels, height, width = x.shape
        qkv = self.qkv(self.norm(x)).reshape(batch, 3, self.num_heads, channels // self.num_heads, -1)
        q, k, v = qkv.transpose(-1, -2).unbind(1)
        h = functional.scaled_dot_product_attention(q, k, v)
        h = h.transpose(-1, -2).reshape(batch, channels, height, width)
        return x + self.out(h)


def bias_of(layer: nn.Conv2d) -> Tensor:
    """Return the bias of a convolution that has one."""
    assert layer.bias is not None
    return layer.bias
