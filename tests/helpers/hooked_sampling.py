"""A sampling by this package's network, and a count of the hooks on it."""

from __future__ import annotations

import torch
from sampler_arguments import with_config
from torch import Tensor, nn

from viz_diffusion.diffusion.samplers import ImageNoise
from viz_diffusion.diffusion.sampling import sampling_steps
from viz_diffusion.diffusion.schedule import NoiseSchedule

LABELS = torch.tensor([0, 5, 9])


def hooks(module: nn.Module) -> int:
    """Return how many hooks there are, and methods that were replaced; torch.compile replaces ``forward`` itself."""
    names = {"_call_impl"} if hasattr(module, "_orig_mod") else {"_call_impl", "forward"}
    replaced = sum(len(names & set(vars(part))) for part in module.modules())
    return replaced + sum(len(part._forward_hooks) + len(part._forward_pre_hooks) for part in module.modules())


def sample(unet: nn.Module, schedule: NoiseSchedule, count: int = 3, **options: object) -> Tensor:
    noise = ImageNoise(range(count))
    labels = torch.arange(count) % 10
    return [s.x_prev for s in sampling_steps(unet, schedule, noise, labels, **with_config(options, steps=5))][-1]
