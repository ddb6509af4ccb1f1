"""Interventions: the inputs they change, those they keep, and that no hook remains."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from viz_diffusion.diffusion.interventions import (
    Change,
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
from viz_diffusion.diffusion.sampler_config import SamplerConfig
from viz_diffusion.diffusion.samplers import ImageNoise, Step, ddpm_steps, dpm_solver_steps
from viz_diffusion.diffusion.sampling import sampling_steps
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.diffusion.timesteps import spaced_timesteps
from viz_diffusion.diffusion.unet import SimpleUNet
from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.recording.generation import record_generation
from viz_diffusion.recording.recorder import Recorder
from viz_diffusion.recording.trajectory import Trajectory

SEEDS = [4, 5]


class InputLog(nn.Module):
    """A denoiser that keeps its timesteps and labels."""

    null_label = 10

    def __init__(self) -> None:
        super().__init__()
        self.inputs: list[tuple[int, list[int] | None]] = []

    def forward(self, x: Tensor, timesteps: Tensor, labels: Tensor | None = None) -> Tensor:
        assert len(timesteps.unique()) == 1
        self.inputs.append((int(timesteps[0]), None if labels is None else labels.tolist()))
        return 0.1 * x


def inputs_of(linear: NoiseSchedule, *changes: Change, guidance: float = 1.0, steps: int = 10) -> list[tuple]:
    inner = InputLog()
    config = SamplerConfig("ddim", steps, guidance)
    noise = ImageNoise(SEEDS, (1, 4, 4))
    visited = [
        s.t for s in sampling_steps(WithInterventions(inner, *changes), linear, noise, torch.tensor([3, 3]), config)
    ]
    assert visited == spaced_timesteps(1000, steps).tolist()  # the sampler keeps its own time
    return inner.inputs


def record(denoiser: nn.Module, linear: NoiseSchedule, label: int = 3, guidance: float = 1.5) -> Trajectory:
    labels = torch.tensor([label] * len(SEEDS))
    return record_generation(denoiser, linear, labels, SEEDS, SamplerConfig("ddim", 10, guidance_scale=guidance))


def same(found: Trajectory, wanted: Trajectory) -> bool:
    names = ("timesteps", "x_t", "eps_pred", "x0_pred", "x0", "eps_cond", "eps_uncond")
    return all(np.array_equal(getattr(found, name), getattr(wanted, name)) for name in names)


# -- the inputs of the network --------------------------------------------------------------------


def test_the_label_is_switched_from_t_on_down_and_the_null_label_stays(linear: NoiseSchedule) -> None:
    for t, labels in inputs_of(linear, switch_label(8, at=499), guidance=2.0):
        assert labels == ([8, 8, 10, 10] if t <= 499 else [3, 3, 10, 10])


def test_a_dropped_label_is_the_null_label(linear: NoiseSchedule) -> None:
    assert {tuple(labels) for _, labels in inputs_of(linear, drop_label())} == {(10, 10)}


def test_guidance_works_only_within_its_interval(linear: NoiseSchedule) -> None:
    for t, labels in inputs_of(linear, guide_within(299, 599), guidance=2.0):
        assert labels == ([3, 3, 10, 10] if 299 <= t <= 599 else [3, 3, 3, 3])
    assert {tuple(labels) for _, labels in inputs_of(linear, guide_within(299, 599))} == {(3, 3)}


def test_changed_timesteps(linear: NoiseSchedule) -> None:
    plain = [t for t, _ in inputs_of(linear)]
    assert [t for t, _ in inputs_of(linear, freeze_timestep(500))] == [500] * 10
    assert [t for t, _ in inputs_of(linear, reverse_timestep(1000))] == [999 - t for t in plain]
    every = [t for t, _ in inputs_of(linear, shuffle_timestep(1000, seed=3), steps=1000)]
    assert sorted(every) == list(range(1000))
    assert sum(t == 999 - k for k, t in enumerate(every)) < 10
    again, other = (inputs_of(linear, shuffle_timestep(1000, seed=s), steps=1000) for s in (3, 4))
    assert [t for t, _ in again] == every != [t for t, _ in other]


def test_changes_apply_in_order_and_wrappers_nest(linear: NoiseSchedule) -> None:
    at_the_samplers_timestep = inputs_of(linear, switch_label(8, at=499), freeze_timestep(0))
    assert at_the_samplers_timestep[0] == (0, [3, 3])
    assert at_the_samplers_timestep[-1] == (0, [8, 8])
    assert inputs_of(linear, freeze_timestep(0), switch_label(8, at=499))[0] == (0, [8, 8])
    nested = WithInterventions(WithInterventions(InputLog(), freeze_timestep(7)), switch_label(8, at=499), drop_label())
    assert nested.interventions == "switch 8@499, drop-label, clock frozen:7"


def test_without_labels_there_is_nothing_to_switch() -> None:
    inner = InputLog()
    WithInterventions(inner, switch_label(8, 999), drop_label(), guide_within(1, 2))(
        torch.zeros(2, 1), torch.tensor([5, 5])
    )
    assert inner.inputs == [(5, None)]


# -- no-op settings --------------------------------------------------------------------------------

NOTHING = {
    "no change": (),
    "switched never": (switch_label(8, at=-1),),
    "switched to itself": (switch_label(3, at=500),),
    "guided throughout": (guide_within(0, 999),),
    "reversed twice": (reverse_timestep(1000), reverse_timestep(1000)),
}


@pytest.mark.parametrize("changes", NOTHING.values(), ids=NOTHING)
@pytest.mark.parametrize("guidance", [1.0, 1.5])
def test_what_changes_nothing_changes_nothing_to_the_bit(
    changes: tuple[Change, ...], guidance: float, make_unet: Callable, linear: NoiseSchedule
) -> None:
    unet = make_unet()
    before = torch.get_rng_state()
    assert same(
        record(WithInterventions(unet, *changes), linear, guidance=guidance), record(unet, linear, guidance=guidance)
    )
    assert torch.equal(torch.get_rng_state(), before)


def test_switched_from_the_start_is_the_other_label_to_the_bit(make_unet: Callable, linear: NoiseSchedule) -> None:
    unet = make_unet()
    found, other = record(WithInterventions(unet, switch_label(8, at=999)), linear), record(unet, linear, label=8)
    assert same(found, other)
    assert found.labels.tolist() == [3, 3]
    assert found.interventions == "switch 8@999"
    assert other.interventions == ""


@pytest.mark.parametrize(
    "change",
    [switch_label(8, 500), drop_label(), guide_within(400, 600), freeze_timestep(500), reverse_timestep(1000)],
    ids=lambda change: change.name,
)
def test_control_what_changes_something_is_seen(change: Change, make_unet: Callable, linear: NoiseSchedule) -> None:
    unet = make_unet()
    assert not same(record(WithInterventions(unet, change), linear), record(unet, linear))


def test_outside_its_interval_guidance_is_none(make_unet: Callable, linear: NoiseSchedule) -> None:
    unet = make_unet()
    plain = record(unet, linear, guidance=1.0)
    found = record(WithInterventions(unet, guide_within(0, 400)), linear, guidance=3.0)
    outside = found.timesteps > 400
    np.testing.assert_allclose(found.x_t[:, outside], plain.x_t[:, outside], atol=1e-4)
    np.testing.assert_allclose(found.eps_uncond[:, outside], found.eps_cond[:, outside], atol=1e-5)
    assert np.abs(found.x0 - plain.x0).max() > 1e-3


# -- what is recorded ------------------------------------------------------------------------------


def test_a_recorder_around_it_records_the_samplers_inputs(make_unet: Callable, linear: NoiseSchedule) -> None:
    unet = make_unet()
    outer = WithInterventions(unet, switch_label(8, at=499), reverse_timestep(1000))
    noise = ImageNoise(SEEDS)
    with Recorder(outer, linear, prediction_type="epsilon") as recorder:
        steps = list(sampling_steps(outer, linear, noise, torch.tensor([3, 3]), SamplerConfig("ddim", 4)))
    found = recorder.trajectory()
    assert found.timesteps.tolist() == [999, 749, 499, 249]
    assert found.labels.tolist() == [3, 3]
    for k, step in enumerate(steps):
        np.testing.assert_array_equal(found.eps_pred[:, k], step.eps_pred.numpy())
    x, t, y = outer.changed(steps[2].x_t, torch.tensor([499, 499]), torch.tensor([3, 3]))
    assert (t.tolist(), y.tolist()) == ([500, 500], [8, 8])
    assert torch.equal(unet(x, t, y), steps[2].eps_pred)


# -- fork ------------------------------------------------------------------------------------------


def test_a_fork_that_goes_on_with_the_same_noise_is_the_same_run(make_unet: Callable, linear: NoiseSchedule) -> None:
    unet, labels, visited = make_unet(), torch.tensor([3]), spaced_timesteps(1000, 8)
    whole = list(ddpm_steps(unet, linear, ImageNoise([9]), labels, timesteps=visited))
    noise = ImageNoise([9])
    for _ in range(4):  # x_T and the fresh noise of three steps; the fourth is passed over by the fork itself
        noise.draw()
    noise = Resumed(whole[4].x_t, noise)
    forked = list(ddpm_steps(unet, linear, ForkedNoise(whole[4].x_t[0], noise), labels, timesteps=visited[4:]))
    for found, wanted in zip(forked, whole[4:], strict=True):
        assert found.t == wanted.t
        torch.testing.assert_close(found.x_prev, wanted.x_prev, rtol=0, atol=1e-5)  # respaced anew: other rounding


class Resumed:
    """Passes one draw over without drawing, so that a fork goes on where the run stood."""

    def __init__(self, like: Tensor, noise: ImageNoise) -> None:
        self.like: Tensor | None = like
        self.noise = noise
        self.noise.draw()

    def draw(self, device: object = "cpu") -> Tensor:
        if self.like is not None:
            like, self.like = self.like, None
            return like
        return self.noise.draw(device)


@pytest.mark.parametrize("sampler", [ddpm_steps, dpm_solver_steps])
def test_a_fork_begins_alike_and_ends_apart_only_with_fresh_noise(
    sampler: Callable[..., list[Step]], make_unet: Callable, linear: NoiseSchedule
) -> None:
    frozen, visited = torch.randn(1, 28, 28, generator=torch.Generator().manual_seed(0)), spaced_timesteps(1000, 8)[3:]
    noise = ForkedNoise(frozen, ImageNoise([1, 2, 3]))
    steps = list(sampler(make_unet(), linear, noise, torch.tensor([3, 3, 3]), timesteps=visited))
    assert all(torch.equal(image, frozen) for image in steps[0].x_t)
    apart = (steps[-1].x_prev[1:] - steps[-1].x_prev[:1]).abs().amax(dim=(1, 2, 3))
    if sampler is ddpm_steps:
        assert apart.min() > 0.05
    else:
        assert apart.max() < 1e-4  # the statue is in the stone


# -- ablation --------------------------------------------------------------------------------------


def forward(unet: SimpleUNet, t: int, images: Tensor) -> Tensor:
    return unet(images, torch.full((len(images),), t), torch.arange(len(images)))


def test_a_blocks_mean_takes_its_place_at_the_chosen_t(make_unet: Callable, linear: NoiseSchedule) -> None:
    unet = make_unet()
    images = torch.randn(6, 1, 28, 28, generator=torch.Generator().manual_seed(1))
    means = block_means(unet, "mid_attention", linear, images, torch.arange(6), [100, 700], seed=2)
    assert {t: tuple(mean.shape) for t, mean in means.items()} == {100: (8, 7, 7), 700: (8, 7, 7)}

    given: list[Tensor] = []
    handle = unet.mid_attention.register_forward_hook(lambda *args: given.append(args[2]))
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(2))
    forward(unet, 700, linear.add_noise(images, noise, 700))
    torch.testing.assert_close(means[700], given[-1].mean(dim=0))
    handle.remove()

    wanted = {t: forward(unet, t, images) for t in (100, 300, 700)}
    seen: list[Tensor] = []
    with mean_ablated(unet, "mid_attention", {700: means[700]}):
        after = unet.mid2.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
        found = {t: forward(unet, t, images) for t in (100, 300, 700)}
        after.remove()
    assert torch.equal(seen[2], means[700].expand_as(seen[2]))
    for t in (100, 300):
        assert torch.equal(found[t], wanted[t])
    assert not torch.equal(found[700], wanted[700])
    assert torch.equal(forward(unet, 700, images), wanted[700])


def hooks(module: nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in module.modules())


def test_no_hook_stays_whatever_happens(make_unet: Callable, linear: NoiseSchedule) -> None:
    unet, images = make_unet(), torch.zeros(1, 1, 28, 28)
    with mean_ablated(unet, "mid1", {}):
        assert hooks(unet) == 2
    assert hooks(unet) == 0
    for error in (RuntimeError, KeyboardInterrupt):
        with pytest.raises(error), mean_ablated(unet, "mid1", {}):
            raise error
    with (
        pytest.raises(VizdiffUsageError, match="no block 'mid9'; it has time_mlp, label_emb"),
        mean_ablated(unet, "mid9", {}),
    ):
        pass
    with pytest.raises(VizdiffUsageError, match="several"), mean_ablated(unet, "mid1", {}):
        unet(torch.zeros(2, 1, 28, 28), torch.tensor([1, 2]), torch.tensor([0, 0]))
    with pytest.raises(RuntimeError):
        block_means(unet, "mid1", linear, torch.zeros(1, 3, 28, 28), None, [5])
    assert hooks(unet) == 0
    assert len(block_means(unet, "mid1", linear, images, None, [5])) == 1
