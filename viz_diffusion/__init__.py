"""See how a diffusion model works: train it, record every step, measure, draw, report.

Importing the package loads nothing heavy; each public name loads its module when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from viz_diffusion.diffusers import record_pipeline
    from viz_diffusion.model import SimpleUNet, SinusoidalPositionEmbeddings
    from viz_diffusion.record import Recorder, record_generation
    from viz_diffusion.replay import injected_noise, next_states
    from viz_diffusion.run import Run
    from viz_diffusion.sample import Step, ddim_steps, ddpm_steps
    from viz_diffusion.schedule import NoiseSchedule
    from viz_diffusion.trajectory import Trajectory

__version__ = "0.1.0"

_HOMES = {
    "NoiseSchedule": "schedule",
    "Recorder": "record",
    "Run": "run",
    "SimpleUNet": "model",
    "SinusoidalPositionEmbeddings": "model",
    "Step": "sample",
    "Trajectory": "trajectory",
    "ddim_steps": "sample",
    "ddpm_steps": "sample",
    "injected_noise": "replay",
    "next_states": "replay",
    "record_generation": "record",
    "record_pipeline": "diffusers",
}

__all__ = [
    "NoiseSchedule",
    "Recorder",
    "Run",
    "SimpleUNet",
    "SinusoidalPositionEmbeddings",
    "Step",
    "Trajectory",
    "__version__",
    "ddim_steps",
    "ddpm_steps",
    "injected_noise",
    "next_states",
    "record_generation",
    "record_pipeline",
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
