"""Comparison runs of a recording: the same noise with another label, guidance scale or sampler."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from sampler_arguments import with_config

from viz_diffusion.diffusion.sampler_config import SamplerConfig
from viz_diffusion.diffusion.samplers import ImageNoise, guided_eps
from viz_diffusion.diffusion.sampling import sampling_steps
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.diffusion.unet import ModelConfig, SimpleUNet
from viz_diffusion.errors import VizdiffInputError
from viz_diffusion.recording.comparison_runs import (
    ComparisonRuns,
    kept_steps_left,
    load_comparison_runs,
    save_comparison_runs,
    shown_steps_left,
)
from viz_diffusion.recording.comparison_sampling import sample_comparison_runs
from viz_diffusion.recording.generation import record_generation
from viz_diffusion.recording.trajectory import Trajectory

SCHEDULE = NoiseSchedule.named("linear", 120)


@pytest.fixture(scope="module")
def model() -> SimpleUNet:
    torch.manual_seed(0)
    model = SimpleUNet(ModelConfig(channels=(8, 16), embedding_dim=24)).eval()
    for weight in model.parameters():  # zero-initialised layers would make labels and guidance do nothing
        torch.nn.init.normal_(weight, std=0.15)
    return model


@pytest.fixture(scope="module")
def recorded(model: SimpleUNet) -> Trajectory:
    return record_generation(
        model, SCHEDULE, torch.tensor([5]), [7], SamplerConfig(guidance_scale=1.5), weights_sha256="ab"
    )


@pytest.fixture(scope="module")
def comparison_runs(model: SimpleUNet, recorded: Trajectory) -> ComparisonRuns:
    return sample_comparison_runs(model, recorded)


@pytest.mark.parametrize(("num_steps", "count"), [(1000, 50), (1000, 100), (120, 50), (50, 50), (50, 100), (7, 50)])
def test_kept_frames_are_as_many_as_asked_and_hold_the_shown_ones(num_steps: int, count: int) -> None:
    kept = kept_steps_left(num_steps, count)
    assert len(kept) == min(num_steps, count)
    assert np.all(np.diff(kept) < 0)
    assert kept[0] == num_steps
    assert set(shown_steps_left(num_steps)) <= set(kept)


def test_companions_are_nine_digits_two_guidances_and_the_other_sampler(comparison_runs: ComparisonRuns) -> None:
    assert [one.digit for one in comparison_runs.others] == [0, 1, 2, 3, 4, 6, 7, 8, 9]
    assert {(one.sampler, one.guidance_scale) for one in comparison_runs.others} == {("ddpm", 1.5)}
    assert [(one.digit, one.sampler, one.guidance_scale, one.num_steps) for one in comparison_runs.comparisons] == [
        (5, "ddpm", 1.0, 120),
        (5, "ddpm", 3.0, 120),
        (5, "ddim", 1.5, 100),
    ]
    assert {len(one.steps_left) for one in comparison_runs.others} == {50}
    assert {len(one.steps_left) for one in comparison_runs.comparisons} == {100}


def test_all_begin_with_the_recordings_noise_and_end_elsewhere(
    comparison_runs: ComparisonRuns, recorded: Trajectory
) -> None:
    for one in (*comparison_runs.others, *comparison_runs.comparisons):
        assert np.array_equal(one.x_t[0], recorded.x_t[0, 0, 0])
        assert np.abs(one.x_t[-1] - recorded.x0[0, 0]).max() > 1e-3


@pytest.mark.parametrize("index", [2, 9, 10, 11])
def test_a_companion_is_what_sampling_it_alone_gives(
    index: int, model: SimpleUNet, comparison_runs: ComparisonRuns
) -> None:
    one = (*comparison_runs.others, *comparison_runs.comparisons)[index]
    steps = list(
        sampling_steps(
            model,
            SCHEDULE,
            ImageNoise([7]),
            torch.tensor([one.digit]),
            SamplerConfig(one.sampler, one.num_steps, guidance_scale=one.guidance_scale),
        )
    )
    alone = np.stack([steps[one.num_steps - n].x_t[0, 0].numpy() for n in one.steps_left])
    assert np.allclose(one.x_t[:-1], alone, atol=2e-4)
    assert np.allclose(one.x_t[-1], steps[-1].x_prev[0, 0].numpy(), atol=2e-4)
    assert [steps[one.num_steps - n].t for n in one.steps_left] == one.timesteps.tolist()


@pytest.mark.parametrize(
    "asked",
    [
        {"sampler": "ddpm", "variance": "beta_tilde"},
        {"sampler": "ddim", "eta": 1.0},
        {"sampler": "dpm-solver++", "timestep_spacing": "linspace", "clip": False},
    ],
)
def test_the_other_digits_are_sampled_as_the_recording_was(model: SimpleUNet, asked: dict) -> None:
    """A digit recorded, and the same digit as the companion of another from that noise: one and the same."""
    schedule = NoiseSchedule.named("linear")

    def generate(digit: int) -> Trajectory:
        return record_generation(
            model, schedule, torch.tensor([digit]), [7], **with_config(asked, steps=9, guidance_scale=1.5)
        )

    others = sample_comparison_runs(model, generate(3), comparisons=False).others
    (found,) = (one for one in others if one.digit == 8)
    wanted = generate(8)
    assert found.timesteps.tolist() == wanted.timesteps.tolist()
    np.testing.assert_allclose(found.x_t[:-1], wanted.x_t[0, :, 0], rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(found.x_t[-1], wanted.x0[0, 0], rtol=1e-5, atol=1e-4)
    assert np.abs(generate(3).x0 - wanted.x0).max() > 1e-2


@pytest.mark.parametrize(
    ("own", "others"), [(1.0, [3.0, 1.5]), (3.0, [1.0, 1.5]), (1.5, [1.0, 3.0]), (2.0, [1.0, 3.0])]
)
def test_two_runs_have_another_guidance_and_all_others_the_recordings_own(
    own: float, others: list[float], model: SimpleUNet
) -> None:
    def generate(digit: int, scale: float, sampler: str = "ddim", steps: int = 6) -> Trajectory:
        label = torch.tensor([digit])
        return record_generation(model, SCHEDULE, label, [7], SamplerConfig(sampler, steps, scale))

    recorded = generate(5, own)
    runs = sample_comparison_runs(model, recorded)
    *rescaled, other_sampler = runs.comparisons
    assert [one.guidance_scale for one in rescaled] == others
    assert {one.guidance_scale for one in (*runs.others, other_sampler)} == {own}
    for one in rescaled:  # sampled with the scale that they name, which gives another picture
        np.testing.assert_allclose(one.x_t[-1], generate(5, one.guidance_scale).x0[0, 0], rtol=1e-5, atol=1e-4)
        assert np.abs(one.x_t[-1] - recorded.x0[0, 0]).max() > 1e-2
    for one in runs.others:
        np.testing.assert_allclose(one.x_t[-1], generate(one.digit, own).x0[0, 0], rtol=1e-5, atol=1e-4)
    wanted = generate(5, own, "ddpm", SCHEDULE.num_train_timesteps).x0[0, 0]
    np.testing.assert_allclose(other_sampler.x_t[-1], wanted, rtol=1e-5, atol=2e-4)


def test_every_image_may_have_its_own_guidance(model: SimpleUNet) -> None:
    x, labels = torch.randn(3, 1, 28, 28), torch.tensor([1, 2, 3])
    scales = torch.tensor([1.0, 3.0, 0.5]).reshape(-1, 1, 1, 1)
    with torch.no_grad():
        together = guided_eps(model, x, 50, labels, scales, 10)[0]
        for k, scale in enumerate((1.0, 3.0, 0.5)):
            alone = guided_eps(model, x[k : k + 1], 50, labels[k : k + 1], scale, 10)[0]
            assert torch.allclose(together[k : k + 1], alone, atol=1e-5)


def test_states_are_found_by_steps_left(comparison_runs: ComparisonRuns) -> None:
    one = comparison_runs.others[0]
    states = one.states_at(np.array([120, int(one.steps_left[3]), 0]))
    assert np.array_equal(states, one.x_t[[0, 3, -1]])
    missing = next(n for n in range(1, 120) if n not in one.steps_left)
    with pytest.raises(VizdiffInputError, match=f"{missing} steps left was not kept"):
        one.states_at(np.array([missing]))


def test_companions_are_kept_for_their_recording_alone(
    comparison_runs: ComparisonRuns, recorded: Trajectory, tmp_path: Path
) -> None:
    path = tmp_path / "companions.npz"
    assert load_comparison_runs(path, recorded) is None
    save_comparison_runs(comparison_runs, recorded, path)
    loaded = load_comparison_runs(path, recorded)
    assert loaded is not None
    for before, after in zip(comparison_runs.comparisons, loaded.comparisons, strict=True):
        assert np.array_equal(before.x_t, after.x_t)
        assert (before.sampler, before.guidance_scale) == (after.sampler, after.guidance_scale)
    assert len(loaded.others) == 9
    for change in ({"weights_sha256": "cd"}, {"seeds": np.array([8])}, {"clip": False}, {"guidance_scale": 2.0}):
        assert load_comparison_runs(path, dataclasses.replace(recorded, **change)) is None


@pytest.mark.parametrize("damage", ["cut", "text", "empty"])
def test_damaged_companions_are_named(
    damage: str, comparison_runs: ComparisonRuns, recorded: Trajectory, tmp_path: Path
) -> None:
    path = tmp_path / "companions.npz"
    save_comparison_runs(comparison_runs, recorded, path)
    whole = path.read_bytes()
    path.write_bytes({"cut": whole[: len(whole) // 2], "text": b"no archive", "empty": b""}[damage])
    with pytest.raises(VizdiffInputError, match=r"companions\.npz is damaged .*delete it"):
        load_comparison_runs(path, recorded)


def test_a_recording_without_seed_has_no_companions(model: SimpleUNet, recorded: Trajectory) -> None:
    with pytest.raises(VizdiffInputError, match="seed and digit"):
        sample_comparison_runs(model, dataclasses.replace(recorded, seeds=np.array([-1])))


def test_what_is_not_looked_at_is_not_sampled_and_is_added_later(
    model: SimpleUNet, recorded: Trajectory, comparison_runs: ComparisonRuns, tmp_path: Path
) -> None:
    asked = []
    few = sample_comparison_runs(model, recorded, comparisons=False, on_step=lambda *step: asked.append(step))
    assert (len(few.others), few.comparisons, few.complete) == (9, (), False)
    assert asked[-1] == (9 * recorded.num_steps,) * 2
    save_comparison_runs(few, recorded, tmp_path / "companions.npz")
    kept = load_comparison_runs(tmp_path / "companions.npz", recorded)
    assert kept is not None
    assert not kept.complete
    full = sample_comparison_runs(model, recorded, known=kept)
    assert full.complete
    assert full.others == kept.others
    for one, other in zip(full.comparisons, comparison_runs.comparisons, strict=True):
        assert np.allclose(one.x_t, other.x_t, atol=1e-4)
