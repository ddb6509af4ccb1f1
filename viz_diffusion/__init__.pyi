from .diffusion.interventions import (
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
from .diffusion.oracles import EmpiricalOracle, GaussianOracle, TruthOracle
from .diffusion.sampler_config import SamplerConfig
from .diffusion.samplers import ImageNoise, Step, ddim_steps, ddpm_steps, dpm_solver_steps
from .diffusion.sampling import sampling_steps
from .diffusion.schedule import NoiseSchedule
from .diffusion.unet import SimpleUNet
from .diffusion.unet_blocks import SinusoidalPositionEmbeddings
from .recording.generation import record_generation
from .recording.hooks import match_modules
from .recording.pipeline import record_pipeline
from .recording.recorder import Recorder
from .recording.replay import injected_noise, next_states
from .recording.trajectory import Trajectory
from .training.run import Run
from .views.feature_maps import draw_feature_maps
from .views.strip import draw_strip

__all__ = [
    "EmpiricalOracle",
    "ForkedNoise",
    "GaussianOracle",
    "ImageNoise",
    "NoiseSchedule",
    "Recorder",
    "Run",
    "SamplerConfig",
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

__version__: str
