"""One configuration of a sampler: what it refuses, and what follows from it."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest

from viz_diffusion.diffusion.sampler_config import SamplerConfig
from viz_diffusion.diffusion.timesteps import spaced_timesteps
from viz_diffusion.errors import VizdiffUsageError


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"sampler": "lms"}, "sampler must be one of ddpm, ddim, dpm-solver\\+\\+, euler, heun, found 'lms'"),
        ({"steps": 0}, "steps must be at least 1, found 0"),
        ({"guidance_scale": float("nan")}, "guidance_scale must be a finite number, found nan"),
        ({"guidance_scale": float("inf")}, "guidance_scale must be a finite number, found inf"),
        ({"variance": "learned"}, "variance must be beta or beta_tilde"),
        ({"sampler": "ddim", "eta": 1.5}, r"eta must lie in 0\.\.1"),
        ({"timestep_spacing": "leading"}, "timestep_spacing must be trailing or linspace"),
        ({"sampler": "ddim", "variance": "beta_tilde"}, "variance goes with sampler ddpm, not with ddim"),
        ({"eta": 0.5}, "eta goes with sampler ddim, not with ddpm"),
    ],
)
def test_what_is_impossible_is_refused(fields: dict[str, object], said: str) -> None:
    with pytest.raises(VizdiffUsageError, match=said):
        SamplerConfig(**fields)


@pytest.mark.parametrize("scale", [0.0, -1.0, 250.0])
def test_any_finite_guidance_scale_is_taken(scale: float) -> None:
    assert SamplerConfig(guidance_scale=scale).guidance_scale == scale


def test_it_cannot_be_changed_and_equals_its_like() -> None:
    config = SamplerConfig("ddim", 10)
    with pytest.raises(FrozenInstanceError):
        config.steps = 20
    assert config == SamplerConfig("ddim", 10)
    assert len({config, SamplerConfig("ddim", 10), SamplerConfig("ddim", 11)}) == 2


def test_its_timesteps_are_the_spaced_ones() -> None:
    assert SamplerConfig("ddim", 7, timestep_spacing="linspace").timesteps(1000).tolist() == (
        spaced_timesteps(1000, 7, "linspace").tolist()
    )
    assert SamplerConfig().timesteps(5).tolist() == [4, 3, 2, 1, 0]
    with pytest.raises(VizdiffUsageError, match=r"steps must lie in 1\.\.5, found 6"):
        SamplerConfig(steps=6).timesteps(5)


@pytest.mark.parametrize(
    ("sampler", "absent"), [("ddpm", {"eta"}), ("ddim", {"variance"}), ("dpm-solver++", {"eta", "variance"})]
)
def test_its_facts_are_the_samplers_own(sampler: str, absent: set[str]) -> None:
    every = {"sampler", "steps", "guidance_scale", "variance", "eta", "timestep_spacing", "clip"}
    assert set(SamplerConfig(sampler).facts()) == every - absent


def test_only_ddpm_has_a_variance_in_a_recording() -> None:
    assert SamplerConfig("ddpm", variance="beta_tilde").injected_variance == "beta_tilde"
    assert SamplerConfig("ddim").injected_variance == ""
