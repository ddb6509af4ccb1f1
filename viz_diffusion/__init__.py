"""See how a diffusion model works: train it, record every step, measure, draw, report.

Importing the package loads nothing heavy; each public name loads its module when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from viz_diffusion.diffusion.interventions import (
        ForkedNoise,
        WithInterventions,
        block_means,
        drop_label,
        freeze_timestep,
        guide_within,
        mean_ablated,
        reverse_timestep,
        shuffle_timestep,
        switch_label,
    )
    from viz_diffusion.diffusion.oracles import EmpiricalOracle, GaussianOracle, TruthOracle
    from viz_diffusion.diffusion.samplers import (
        ImageNoise,
        Step,
        ddim_steps,
        ddpm_steps,
        dpm_solver_steps,
        sampling_steps,
    )
    from viz_diffusion.diffusion.schedule import NoiseSchedule
    from viz_diffusion.diffusion.unet import SimpleUNet, SinusoidalPositionEmbeddings
    from viz_diffusion.recording.hooks import match_modules
    from viz_diffusion.recording.pipeline import record_pipeline
    from viz_diffusion.recording.recorder import Recorder, record_generation
    from viz_diffusion.recording.replay import injected_noise, next_states
    from viz_diffusion.recording.trajectory import Trajectory
    from viz_diffusion.training.run import Run
    from viz_diffusion.views.feature_maps import draw_feature_maps
    from viz_diffusion.views.strip import draw_strip

__version__ = "0.1.0"

_HOMES = {
    "EmpiricalOracle": "diffusion.oracles",
    "ForkedNoise": "diffusion.interventions",
    "GaussianOracle": "diffusion.oracles",
    "ImageNoise": "diffusion.samplers",
    "WithInterventions": "diffusion.interventions",
    "NoiseSchedule": "diffusion.schedule",
    "Recorder": "recording.recorder",
    "Run": "training.run",
    "SimpleUNet": "diffusion.unet",
    "SinusoidalPositionEmbeddings": "diffusion.unet",
    "Step": "diffusion.samplers",
    "Trajectory": "recording.trajectory",
    "TruthOracle": "diffusion.oracles",
    "block_means": "diffusion.interventions",
    "ddim_steps": "diffusion.samplers",
    "ddpm_steps": "diffusion.samplers",
    "dpm_solver_steps": "diffusion.samplers",
    "draw_feature_maps": "views.feature_maps",
    "draw_strip": "views.strip",
    "drop_label": "diffusion.interventions",
    "freeze_timestep": "diffusion.interventions",
    "guide_within": "diffusion.interventions",
    "injected_noise": "recording.replay",
    "match_modules": "recording.hooks",
    "mean_ablated": "diffusion.interventions",
    "next_states": "recording.replay",
    "record_generation": "recording.recorder",
    "record_pipeline": "recording.pipeline",
    "reverse_timestep": "diffusion.interventions",
    "sampling_steps": "diffusion.samplers",
    "shuffle_timestep": "diffusion.interventions",
    "switch_label": "diffusion.interventions",
}

__all__ = [
    "EmpiricalOracle",
    "ForkedNoise",
    "GaussianOracle",
    "ImageNoise",
    "NoiseSchedule",
    "Recorder",
    "Run",
    "SimpleUNet",
    "SinusoidalPositionEmbeddings",
    "Step",
    "Trajectory",
    "TruthOracle",
    "WithInterventions",
    "__version__",
    "block_means",
    "ddim_steps",
    "ddpm_steps",
    "dpm_solver_steps",
    "draw_feature_maps",
    "draw_strip",
    "drop_label",
    "freeze_timestep",
    "guide_within",
    "injected_noise",
    "match_modules",
    "mean_ablated",
    "next_states",
    "record_generation",
    "record_pipeline",
    "reverse_timestep",
    "sampling_steps",
    "shuffle_timestep",
    "switch_label",
]


def __getattr__(name: str) -> Any:
    """Load a public name from its module on first use (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'viz_diffusion' has no attribute {name!r}")
    value = getattr(import_module(f"viz_diffusion.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names without loading them."""
    return sorted(__all__)
