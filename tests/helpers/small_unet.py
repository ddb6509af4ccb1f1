"""A network of diffusers, as small as it gets and randomly initialised, for tests that need one of another program."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import UNet2DModel


def small_unet(channels: int = 1, size: int = 8, **options: Any) -> UNet2DModel:
    """Return one for ``channels`` × ``size`` × ``size`` pictures, always the same; ``options`` are UNet2DModel's."""
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
