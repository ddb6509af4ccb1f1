"""See how a diffusion model works: train it, record every step, measure, draw, report.

Importing the package loads nothing heavy; each public name loads its module when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from viz_diffusion.diffusers import record_pipeline
    from viz_diffusion.interventions import (
        Fork,
        Intervened,
        block_means,
        drop_label,
        freeze_clock,
        guide_within,
        mean_ablated,
        reverse_clock,
        shuffle_clock,
        switch_label,
    )
    from viz_diffusion.lessons.activations import draw_feature_maps
    from viz_diffusion.lessons.guess import draw_strip
    from viz_diffusion.listening import match_modules
    from viz_diffusion.model import SimpleUNet, SinusoidalPositionEmbeddings
    from viz_diffusion.oracles import EmpiricalOracle, GaussianOracle, TruthOracle
    from viz_diffusion.record import Recorder, record_generation
    from viz_diffusion.replay import injected_noise, next_states
    from viz_diffusion.run import Run
    from viz_diffusion.sample import ImageNoise, Step, ddim_steps, ddpm_steps, dpm_solver_steps, sampling_steps
    from viz_diffusion.schedule import NoiseSchedule
    from viz_diffusion.trajectory import Trajectory

__version__ = "0.1.0"

_HOMES = {
    "EmpiricalOracle": "oracles",
    "Fork": "interventions",
    "GaussianOracle": "oracles",
    "ImageNoise": "sample",
    "Intervened": "interventions",
    "NoiseSchedule": "schedule",
    "Recorder": "record",
    "Run": "run",
    "SimpleUNet": "model",
    "SinusoidalPositionEmbeddings": "model",
    "Step": "sample",
    "Trajectory": "trajectory",
    "TruthOracle": "oracles",
    "block_means": "interventions",
    "ddim_steps": "sample",
    "ddpm_steps": "sample",
    "dpm_solver_steps": "sample",
    "draw_feature_maps": "lessons.activations",
    "draw_strip": "lessons.guess",
    "drop_label": "interventions",
    "freeze_clock": "interventions",
    "guide_within": "interventions",
    "injected_noise": "replay",
    "match_modules": "listening",
    "mean_ablated": "interventions",
    "next_states": "replay",
    "record_generation": "record",
    "record_pipeline": "diffusers",
    "reverse_clock": "interventions",
    "sampling_steps": "sample",
    "shuffle_clock": "interventions",
    "switch_label": "interventions",
}

__all__ = [
    "EmpiricalOracle",
    "Fork",
    "GaussianOracle",
    "ImageNoise",
    "Intervened",
    "NoiseSchedule",
    "Recorder",
    "Run",
    "SimpleUNet",
    "SinusoidalPositionEmbeddings",
    "Step",
    "Trajectory",
    "TruthOracle",
    "__version__",
    "block_means",
    "ddim_steps",
    "ddpm_steps",
    "dpm_solver_steps",
    "draw_feature_maps",
    "draw_strip",
    "drop_label",
    "freeze_clock",
    "guide_within",
    "injected_noise",
    "match_modules",
    "mean_ablated",
    "next_states",
    "record_generation",
    "record_pipeline",
    "reverse_clock",
    "sampling_steps",
    "shuffle_clock",
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
