"""A small U-Net of diffusers with random weights."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import UNet2DModel


def small_unet(channels: int = 1, size: int = 8, **options: Any) -> UNet2DModel:
    """Return a U-Net for (channels, size, size) images, always with the same weights; ``options`` are UNet2DModel's."""
    torch.manual_seed(0)
    shape = {"sample_size": size, "in_channels": channels, "out_channels": channels}
    return UNet2DModel(
        **(shape | options),
        norm_num_groups=4,
        block_out_channels=(8,),
        layers_per_block=1,
        down_block_types=("DownBlock2D",),
        up_block_types=("UpBlock2D",),
    ).eval()
