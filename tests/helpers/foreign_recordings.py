"""Recordings of diffusers' schedulers, a small picture each."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import DDIMPipeline, DDIMScheduler, DDPMPipeline
from small_unet import small_unet

from viz_diffusion import record_pipeline
from viz_diffusion.recording.trajectory import Trajectory


def record(scheduler: Any, channels: int = 3, steps: int = 20, **call: Any) -> Trajectory:
    """Record one small picture; whichever scheduler it is, DDIM's pipeline can run it."""
    pipe = DDIMPipeline(small_unet(channels), DDIMScheduler())
    pipe.scheduler = scheduler  # the constructor would turn it into a DDIM
    if not hasattr(scheduler, "final_alpha_cumprod"):
        pipe = DDPMPipeline(pipe.unet, scheduler)
    pipe.set_progress_bar_config(disable=True)
    if hasattr(scheduler, "init_noise_sigma") and float(scheduler.init_noise_sigma) > 1:
        pipe.unet.register_forward_pre_hook(
            lambda _, args: (scheduler.scale_model_input(args[0], args[1]), *args[1:])
        )  # which an unconditional pipeline does not do
    with record_pipeline(pipe, seeds=[3]) as recording:
        pipe(generator=torch.Generator().manual_seed(3), num_inference_steps=steps, output_type="np", **call)
    return recording.trajectory()
