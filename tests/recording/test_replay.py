"""Recordings made again from seeds and recorded ε̂."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from sampler_arguments import with_config

from viz_diffusion.diffusion.sampler_config import SamplerConfig
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.recording.generation import record_generation
from viz_diffusion.recording.replay import injected_noise, next_states
from viz_diffusion.recording.trajectory import Trajectory

OPTIONS = {
    "ddpm": {},
    "ddpm beta_tilde, fewer steps": {"variance": "beta_tilde", "steps": 50},
    "ddpm without clipping, guided": {"clip": False, "guidance_scale": 3.0, "steps": 40},
    "ddim": {"sampler": "ddim", "steps": 60},
    "ddim eta": {"sampler": "ddim", "eta": 0.7, "steps": 60, "timestep_spacing": "linspace"},
    "ddim without clipping": {"sampler": "ddim", "clip": False, "steps": 25},
    "dpm-solver++": {"sampler": "dpm-solver++", "steps": 20},
    "dpm-solver++ of one step": {"sampler": "dpm-solver++", "steps": 1},
    "dpm-solver++ of two steps": {"sampler": "dpm-solver++", "steps": 2},
}


def make(unet: torch.nn.Module, linear: NoiseSchedule, **options: object) -> Trajectory:
    return record_generation(unet, linear, torch.tensor([3, 8]), [7, 9], **with_config(options, guidance_scale=1.5))


@pytest.mark.parametrize("case", OPTIONS)
def test_each_next_state_is_found_again(case: str, make_unet: Callable, linear: NoiseSchedule) -> None:
    recorded = make(make_unet(), linear, **OPTIONS[case])
    following = np.concatenate([recorded.x_t[:, 1:], recorded.x0[:, None]], axis=1)
    # within 1e-5, of the size of what is added up where nothing is clipped
    largest = max(1.0, float(np.abs(recorded.x0_pred).max()), float(np.abs(following).max()) / 5)
    np.testing.assert_allclose(next_states(recorded), following, rtol=0, atol=1e-5 * largest)


def test_the_bundled_network_within_1e_5(linear: NoiseSchedule) -> None:
    from viz_diffusion.training.run import Run

    recorded = make(Run.bundled().load_model()[0], linear, steps=100)
    following = np.concatenate([recorded.x_t[:, 1:], recorded.x0[:, None]], axis=1)
    assert np.abs(next_states(recorded) - following).max() <= 1e-5


def test_noise_is_what_the_sampler_drew(make_unet: Callable, linear: NoiseSchedule) -> None:
    drawn = []
    recorded = record_generation(
        make_unet(),
        linear,
        torch.tensor([3]),
        [7],
        SamplerConfig(steps=12, guidance_scale=1.0),
        on_step=lambda step: drawn.append(torch.zeros_like(step.x_t) if step.noise is None else step.noise),
    )
    np.testing.assert_array_equal(injected_noise(recorded), torch.stack(drawn, dim=1).numpy())
    assert not injected_noise(recorded)[:, -1].any()


def test_control_another_seed_is_noticed(make_unet: Callable, linear: NoiseSchedule) -> None:
    recorded = replace(make(make_unet(), linear, steps=12), seeds=np.array([7, 10]))
    away = np.abs(next_states(recorded)[:, :-1] - recorded.x_t[:, 1:]).max(axis=(1, 2, 3, 4))
    assert away[0] < 1e-5 < 0.1 < away[1]


def test_unknown_seeds_and_samplers_are_refused(make_unet: Callable, linear: NoiseSchedule) -> None:
    recorded = make(make_unet(), linear, steps=3)
    with pytest.raises(VizdiffUsageError, match="seeds"):
        injected_noise(replace(recorded, seeds=np.array([1, -1])))
    with pytest.raises(VizdiffUsageError, match="EulerDiscrete"):
        next_states(replace(recorded, sampler="EulerDiscrete"))


@pytest.mark.parametrize("prediction_type", ["v_prediction", "sample"])
@pytest.mark.parametrize("schedule", ["linear", "zero-snr"])
@pytest.mark.parametrize("sampler", ["ddpm", "ddim", "dpm-solver++"])
def test_networks_that_predict_otherwise_are_made_again(prediction_type: str, schedule: str, sampler: str) -> None:
    """Without a signal at the last timestep ε̂ implies no x̂_0, and the recording has it."""

    class Net(torch.nn.Module):
        null_label = 10

        def forward(self, x: torch.Tensor, t: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:  # noqa: ARG002
            return 0.3 * x + 0.01 * labels.view(-1, 1, 1, 1)

    net = Net()
    net.prediction_type = prediction_type
    options = with_config({"sampler": sampler, "steps": 6}, guidance_scale=1.5)
    recorded = record_generation(net, NoiseSchedule.named(schedule, 40), torch.tensor([3, 8]), [7, 9], **options)
    following = np.concatenate([recorded.x_t[:, 1:], recorded.x0[:, None]], axis=1)
    assert recorded.prediction_type == prediction_type
    np.testing.assert_allclose(next_states(recorded), following, rtol=0, atol=2e-5)
