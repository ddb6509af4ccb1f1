"""Short calls of pipelines."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import DDIMScheduler, FlowMatchEulerDiscreteScheduler
from tiny_pipelines import flux, stable_diffusion, stable_diffusion_3

MAKE = {
    "Stable Diffusion": lambda: stable_diffusion(DDIMScheduler(clip_sample=False, steps_offset=1)),
    "Stable Diffusion 3": lambda: stable_diffusion_3(FlowMatchEulerDiscreteScheduler(shift=3.0)),
    "FLUX": lambda: flux(FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True)),
}
STEPS = 4


def run(pipe: Any, call: dict[str, Any], **more: Any) -> Any:
    options = {"num_inference_steps": STEPS, "output_type": "np", "generator": torch.Generator().manual_seed(1)}
    return pipe(**(call | options | more)).images


@torch.no_grad()
def steps(pipe: Any, timesteps: Any, x: torch.Tensor, renoise: bool = False) -> torch.Tensor:
    for t in timesteps:
        x = pipe.scheduler.step(pipe.unet(x, t).sample, t, x).prev_sample
        x = x + 0.1 if renoise else x
    return x
