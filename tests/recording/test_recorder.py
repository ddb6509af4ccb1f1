"""The Recorder observes and never alters, in our loops and in others'."""

from __future__ import annotations

import copy
import gc
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pytest
import torch
from sampler_arguments import with_config
from small_unet import small_unet
from torch import Tensor, nn

from viz_diffusion.diffusion.sampler_config import SamplerConfig
from viz_diffusion.diffusion.samplers import ImageNoise, Step
from viz_diffusion.diffusion.sampling import sampling_steps
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.diffusion.timesteps import spaced_timesteps
from viz_diffusion.diffusion.unet import SimpleUNet
from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.recording.generation import record_generation
from viz_diffusion.recording.recorder import Recorder
from viz_diffusion.recording.trajectory import Trajectory

SEEDS, LABELS = [11, 12, 13], torch.tensor([0, 5, 9])


@pytest.fixture
def unet(make_unet: Callable) -> SimpleUNet:
    return make_unet()


def hooks(module: nn.Module) -> int:
    return sum(
        len(part._forward_hooks) + len(part._forward_pre_hooks) + len(part._backward_hooks) for part in module.modules()
    )


def run_steps(unet: nn.Module, schedule: NoiseSchedule, **options: object) -> Iterator[Step]:
    return sampling_steps(unet, schedule, ImageNoise(SEEDS), LABELS, **with_config(options, steps=6))


def same(first: Trajectory, second: Trajectory, but: tuple[str, ...] = ()) -> None:
    for name in (field.name for field in fields(Trajectory) if field.name not in ("schedule", *but)):
        ours, theirs = getattr(first, name), getattr(second, name)
        assert (ours is None) == (theirs is None), name
        np.testing.assert_array_equal(ours, theirs, err_msg=name)


# -- observing -------------------------------------------------------------------------------------


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
@pytest.mark.parametrize(("sampler", "scale"), [("ddpm", 1.5), ("ddim", 1.0)])
def test_the_recorder_changes_nothing(
    training: bool, mode: Callable, sampler: str, scale: float, unet: SimpleUNet, linear: NoiseSchedule
) -> None:
    unet.train(training)
    options = {"sampler": sampler, "guidance_scale": scale}
    torch.manual_seed(3)
    with mode():
        plain = [step.x_prev for step in run_steps(unet, linear, **options)]
    state = torch.get_rng_state()
    torch.manual_seed(3)
    with mode(), Recorder(unet, linear, guidance_scale=scale) as recorder:
        watched = [step.x_prev for step in run_steps(unet, linear, **options)]
        recorder.finish(watched[-1])
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(plain, watched, strict=True))
    assert len(recorder.trajectory().timesteps) == 6
    assert unet.training is training
    assert not any(weight.requires_grad for weight in unet.parameters())


def test_the_global_generator_is_left_alone_in_a_loop_that_uses_it(unet: SimpleUNet, linear: NoiseSchedule) -> None:
    """A foreign loop that draws from the global generator gets the very same numbers under a Recorder."""

    def loop() -> Tensor:
        torch.manual_seed(0)
        x = torch.randn(2, 1, 28, 28)
        for t in (999, 500, 3):
            x = 0.9 * x - 0.1 * unet(x, torch.full((2,), t), torch.tensor([1, 2])) + 0.1 * torch.randn(x.shape)
        return x

    plain = loop()
    with Recorder(unet, linear):
        assert torch.equal(loop(), plain)


def test_what_is_recorded_does_not_change_when_the_loop_works_in_place(unet: SimpleUNet, linear: NoiseSchedule) -> None:
    x, seen = torch.randn(2, 1, 28, 28), []
    with Recorder(unet, linear) as recorder:
        for t in (999, 500, 3):
            seen.append(x.clone())
            eps = unet(x, torch.full((2,), t), torch.tensor([1, 2]))
            x.sub_(eps, alpha=0.1)
            eps.zero_()
        recorder.finish(x)
        final = x.clone()
        x.zero_()
    found = recorder.trajectory()
    np.testing.assert_array_equal(found.x_t, torch.stack(seen, dim=1).numpy())
    np.testing.assert_array_equal(found.x0, final.numpy())
    assert found.eps_pred.any()


# -- what is recorded is what was ------------------------------------------------------------------


@pytest.mark.parametrize("sampler", ["ddpm", "ddim"])
@pytest.mark.parametrize("scale", [0.0, 1.0, 3.0])
@pytest.mark.parametrize("clip", [True, False])
def test_recorded_equals_sampled(
    sampler: str, scale: float, clip: bool, unet: SimpleUNet, linear: NoiseSchedule
) -> None:
    steps: list[Step] = []
    found = record_generation(
        unet,
        linear,
        LABELS,
        SEEDS,
        SamplerConfig(sampler, 6, guidance_scale=scale, clip=clip),
        on_step=steps.append,
        weights_sha256="ab",
    )
    assert found.timesteps.tolist() == [step.t for step in steps] == spaced_timesteps(1000, 6).tolist()
    gain = 1 / np.sqrt(linear.alphas_cumprod[found.timesteps])
    for s, step in enumerate(steps):
        np.testing.assert_array_equal(found.x_t[:, s], step.x_t.numpy())
        np.testing.assert_allclose(found.eps_pred[:, s], step.eps_pred.numpy(), rtol=0, atol=1e-6)
        # errors of ε̂ of 1e-6 enter x̂_0 multiplied by √(1-ᾱ)/√ᾱ
        np.testing.assert_allclose(found.x0_pred[:, s], step.x0_pred.numpy(), rtol=1e-6, atol=2e-6 * gain[s])
        if scale == 1:
            assert found.eps_cond is None
            assert found.eps_uncond is None
        else:
            np.testing.assert_array_equal(found.eps_cond[:, s], step.eps_cond.numpy())
            np.testing.assert_array_equal(found.eps_uncond[:, s], step.eps_uncond.numpy())
            mixed = step.eps_uncond + scale * (step.eps_cond - step.eps_uncond)
            np.testing.assert_allclose(found.eps_pred[:, s], mixed.numpy(), rtol=0, atol=1e-6)
    np.testing.assert_array_equal(found.x0, steps[-1].x_prev.numpy())
    assert found.labels.tolist() == LABELS.tolist()
    assert found.seeds.tolist() == SEEDS
    assert (found.sampler, found.guidance_scale, found.clip) == (sampler, scale, clip)
    assert (found.variance, found.weights_sha256) == ("beta" if sampler == "ddpm" else "", "ab")
    assert (np.abs(found.x0_pred).max() == 1) == clip


class Elementwise(nn.Module):
    """A cheap denoiser whose answer depends on everything."""

    null_label = 10

    def forward(self, x: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        return 0.9 * x + torch.sin(7 * x + t[0] / 100) * (1 + labels[:, None, None, None]) / 20


@pytest.mark.parametrize("scale", [1.0, 1.5])
def test_the_next_state_recomputes_from_the_record(scale: float, linear: NoiseSchedule) -> None:
    """x_{t-1} = μ̃(x̂_0, x_t) + √β_t z, where z is drawn anew from the seeds; all 1000 steps."""
    found = record_generation(
        Elementwise(), linear, LABELS, SEEDS, SamplerConfig(guidance_scale=scale), image_shape=(1, 4, 4)
    )
    assert found.timesteps.tolist() == list(range(999, -1, -1))
    noise = ImageNoise(found.seeds.tolist(), (1, 4, 4))
    np.testing.assert_array_equal(found.x_t[:, 0], noise.draw().numpy())
    for s, t in enumerate(found.timesteps.tolist()):
        mean = linear.posterior_mean(found.x0_pred[:, s], found.x_t[:, s], t)
        z = noise.draw().numpy() if t else 0
        following = found.x_t[:, s + 1] if t else found.x0
        # ε̂ is known to 1e-6, x̂_0 to √(1-ᾱ)/√ᾱ times that, and the mean to √ᾱ_{t-1} β/(1-ᾱ) times that:
        # 3e-6 at t = 999 and less below, plus the rounding of states of size 4
        np.testing.assert_allclose(mean + np.sqrt(linear.betas[t]) * z, following, rtol=0, atol=5e-6)


# -- foreign loops ---------------------------------------------------------------------------------


@dataclass
class Output:
    sample: Tensor


class Wrapped(nn.Module):
    """Somebody else's denoiser: other argument names, another kind of answer."""

    null_label = 10

    def __init__(self, unet: SimpleUNet, wrap: Callable[[Tensor], object]) -> None:
        super().__init__()
        self.unet, self.wrap = unet, wrap

    def forward(
        self, noisy: Tensor, step: Tensor | int, class_labels: Tensor | None = None, return_dict: bool = True
    ) -> object:
        assert return_dict
        steps = torch.as_tensor(step).reshape(-1).expand(len(noisy))
        return self.wrap(self.unet(noisy, steps, class_labels))


class AnyKeywords(nn.Module):
    def __init__(self, unet: SimpleUNet) -> None:
        super().__init__()
        self.unet = unet

    def forward(self, *args: Tensor, **kwargs: Tensor) -> Tensor:
        x, t = args
        return self.unet(x, t, kwargs["y"])


def foreign_loop(ask: Callable[[Tensor, int, Tensor], Tensor], schedule: NoiseSchedule) -> Tensor:
    """Sample by DDIM from hand-written formulas, in which only ``ask`` knows the denoiser."""
    x = ImageNoise(SEEDS).draw()
    visited = spaced_timesteps(1000, 5).tolist()
    for t, before in zip(visited, [*visited[1:], None], strict=True):
        share = schedule.alphas_cumprod[t]
        share_before = 1.0 if before is None else schedule.alphas_cumprod[before]
        eps = ask(x, t, LABELS)
        x0 = ((x - (1 - share) ** 0.5 * eps) / share**0.5).clamp(-1, 1)
        direction = (x - share**0.5 * x0) / (1 - share) ** 0.5
        x = share_before**0.5 * x0 + (1 - share_before) ** 0.5 * direction
    return x


ANSWERS = {
    "tensor": (lambda eps: eps, lambda answer: answer),
    "dataclass": (Output, lambda answer: answer.sample),
    "tuple": (lambda eps: (eps, "more"), lambda answer: answer[0]),
    "list": (lambda eps: [eps], lambda answer: answer[0]),
    "dict": (lambda eps: {"other": 0 * eps, "sample": eps}, lambda answer: answer["sample"]),
}
CALLS = {
    "positions": lambda denoiser, x, t, y: denoiser(x, t, y),
    "keywords": lambda denoiser, x, t, y: denoiser(noisy=x, step=t, class_labels=y),
    "keywords in any order": lambda denoiser, x, t, y: denoiser(class_labels=y, return_dict=True, step=t, noisy=x),
    "mixed": lambda denoiser, x, t, y: denoiser(x, class_labels=y, step=t),
    "t for each image": lambda denoiser, x, t, y: denoiser(x, torch.full((3,), t), y),
    "t as a float tensor": lambda denoiser, x, t, y: denoiser(x, torch.tensor(float(t)), y),
}


@pytest.fixture(scope="module")
def reference(make_unet: Callable, linear: NoiseSchedule) -> Trajectory:
    return record_generation(make_unet(), linear, LABELS, SEEDS, SamplerConfig("ddim", 5, guidance_scale=1.0))


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("call", CALLS)
def test_other_peoples_loops(
    answer: str, call: str, unet: SimpleUNet, linear: NoiseSchedule, reference: Trajectory
) -> None:
    wrap, unwrap = ANSWERS[answer]
    denoiser = Wrapped(unet, wrap)
    with Recorder(denoiser, linear) as recorder:
        x0 = foreign_loop(lambda x, t, y: unwrap(CALLS[call](denoiser, x, t, y)), linear)
        recorder.finish(x0)
    found = recorder.trajectory(seeds=SEEDS)
    assert found.timesteps.tolist() == reference.timesteps.tolist()
    assert found.labels.tolist() == reference.labels.tolist()
    np.testing.assert_array_equal(found.x_t[:, 0], reference.x_t[:, 0])
    np.testing.assert_array_equal(found.eps_pred[:, 0], reference.eps_pred[:, 0])
    # later steps go through the loop's own rounding of the coefficients, with a gain of 157 at first
    np.testing.assert_allclose(found.x_t, reference.x_t, rtol=0, atol=1e-3)
    np.testing.assert_allclose(found.x0, x0.numpy(), rtol=0, atol=0)


def test_a_denoiser_of_args_and_kwargs(unet: SimpleUNet, linear: NoiseSchedule) -> None:
    denoiser = AnyKeywords(unet)
    with Recorder(denoiser, linear) as recorder:
        foreign_loop(lambda x, t, y: denoiser(x, torch.full((3,), t), y=y), linear)
    assert recorder.trajectory().labels.tolist() == LABELS.tolist()


def test_a_denoiser_without_labels(linear: NoiseSchedule) -> None:
    class Plain(nn.Module):
        def forward(self, x: Tensor, t: Tensor) -> Tensor:
            return 0.5 * x + t[0] / 1000

    denoiser = Plain()
    with Recorder(denoiser, linear) as recorder:
        for step in sampling_steps(denoiser, linear, ImageNoise(SEEDS), None, SamplerConfig(steps=4)):
            recorder.finish(step.x_prev)
    found = recorder.trajectory()
    assert found.labels.tolist() == [-1, -1, -1]
    assert found.seeds.tolist() == [-1, -1, -1]
    np.testing.assert_allclose(found.eps_pred[:, 0], 0.5 * found.x_t[:, 0] + 0.999, rtol=1e-6)


def test_a_diffusers_network(linear: NoiseSchedule) -> None:
    from diffusers import DDIMScheduler

    denoiser = small_unet()
    scheduler = DDIMScheduler(timestep_spacing="trailing", set_alpha_to_one=True)
    scheduler.set_timesteps(5)
    x, states, guesses = torch.randn(2, 1, 8, 8), [], []
    with torch.no_grad(), Recorder(denoiser, linear, prediction_type="epsilon") as recorder:
        for t in scheduler.timesteps:
            states.append(x)
            answer = scheduler.step(denoiser(x, t).sample, t, x)
            x = answer.prev_sample
            guesses.append(answer.pred_original_sample)
        recorder.finish(x)
    found = recorder.trajectory()
    assert found.timesteps.tolist() == [999, 799, 599, 399, 199]
    np.testing.assert_array_equal(found.x_t, torch.stack(states, dim=1).numpy())
    np.testing.assert_allclose(found.x0_pred, torch.stack(guesses, dim=1).numpy(), rtol=1e-3, atol=1e-3)


# -- guidance --------------------------------------------------------------------------------------


GUIDED_CALLS = {
    "doubled": lambda net, x, t, y, null: net(torch.cat([x, x]), torch.cat([t, t]), torch.cat([y, null])).chunk(2),
    "doubled, null first": lambda net, x, t, y, null: net(
        torch.cat([x, x]), torch.cat([t, t]), torch.cat([null, y])
    ).chunk(2)[::-1],
    "two calls": lambda net, x, t, y, null: (net(x, t, y), net(x, t, null)),
    "two calls, null first": lambda net, x, t, y, null: (net(x, t, null), net(x, t, y))[::-1],
    "two calls, null by leaving the labels out": lambda net, x, t, y, _: (net(x, t, y), net(x, t)),
}


@pytest.mark.parametrize("way", GUIDED_CALLS)
@pytest.mark.parametrize("scale", [0.0, 1.0, 3.0])
def test_every_way_of_guiding_gives_one_trajectory(
    way: str, scale: float, unet: SimpleUNet, linear: NoiseSchedule
) -> None:
    conds, unconds = [], []

    def ask(x: Tensor, t: int, labels: Tensor) -> Tensor:
        cond, uncond = GUIDED_CALLS[way](unet, x, torch.full((3,), t), labels, torch.full((3,), 10))
        conds.append(cond)
        unconds.append(uncond)
        return uncond + scale * (cond - uncond)

    with Recorder(unet, linear, guidance_scale=scale) as recorder:
        recorder.finish(foreign_loop(ask, linear))
    found = recorder.trajectory()
    assert found.x_t.shape == (3, 5, 1, 28, 28)
    assert found.labels.tolist() == LABELS.tolist()
    np.testing.assert_array_equal(found.eps_cond, torch.stack(conds, dim=1).numpy())
    np.testing.assert_array_equal(found.eps_uncond, torch.stack(unconds, dim=1).numpy())
    np.testing.assert_allclose(
        found.eps_pred, found.eps_uncond + scale * (found.eps_cond - found.eps_uncond), rtol=0, atol=1e-6
    )


def test_unknown_guidance_is_marked(unet: SimpleUNet, linear: NoiseSchedule) -> None:
    with Recorder(unet, linear) as recorder:
        recorder.finish([step.x_prev for step in run_steps(unet, linear, guidance_scale=2.0)][-1])
    found = recorder.trajectory()
    assert np.isnan(found.eps_pred).all()
    assert np.isnan(found.x0_pred).all()
    assert np.isnan(found.guidance_scale)
    assert np.isfinite(found.eps_cond).all()
    assert np.isfinite(found.eps_uncond).all()
    assert np.isfinite(found.x0).all()


def test_an_order_for_no_digit_is_no_label(unet: SimpleUNet, linear: NoiseSchedule) -> None:
    """Trajectory.labels says -1 where there was no label, and the null label means there was none."""
    with Recorder(unet, linear) as recorder:
        for _ in sampling_steps(unet, linear, ImageNoise(SEEDS), torch.full((3,), 10), SamplerConfig(steps=3)):
            pass
    assert recorder.trajectory().labels.tolist() == [-1, -1, -1]


def test_an_unfinished_sampling_is_marked(unet: SimpleUNet, linear: NoiseSchedule) -> None:
    with Recorder(unet, linear) as recorder:
        for _ in run_steps(unet, linear):
            pass
    found = recorder.trajectory()
    assert np.isnan(found.x0).all()
    assert np.isfinite(found.x0_pred).all()


# -- nothing stays behind --------------------------------------------------------------------------


class Fails(nn.Module):
    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error, self.calls = error, 0

    def forward(self, x: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        self.calls += 1
        if self.calls == 3:
            raise self.error
        return x * (t[0] + labels[0]) / 1000


@contextmanager
def counting(module: nn.Module) -> Iterator[None]:
    before = hooks(module)
    yield
    assert hooks(module) == before == 0


def test_no_hook_is_left_after_success(unet: SimpleUNet, linear: NoiseSchedule) -> None:
    with counting(unet):
        with Recorder(unet, linear):
            assert hooks(unet) == 2  # one before, one after
            list(run_steps(unet, linear))
        assert len(unet._forward_hooks) == 0
        record_generation(unet, linear, LABELS, SEEDS, SamplerConfig(steps=2, guidance_scale=1.5))


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt(), SystemExit(1)], ids=repr)
def test_no_hook_is_left_after_an_error_in_the_loop(
    error: BaseException, unet: SimpleUNet, linear: NoiseSchedule
) -> None:
    def stop(step: Step) -> None:
        if step.t < 900:
            raise error

    def loop() -> None:
        with Recorder(unet, linear):
            for step in run_steps(unet, linear):
                stop(step)

    with counting(unet), pytest.raises(type(error)):
        loop()
    with counting(unet), pytest.raises(type(error)):
        record_generation(unet, linear, LABELS, SEEDS, SamplerConfig(steps=4, guidance_scale=1.5), on_step=stop)


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt()], ids=repr)
def test_no_hook_is_left_after_an_error_in_the_network(error: BaseException, linear: NoiseSchedule) -> None:
    network = Fails(error)
    with counting(network), pytest.raises(type(error)):
        record_generation(network, linear, LABELS, SEEDS, SamplerConfig(steps=4, guidance_scale=1.0))
    assert network.calls == 3


def test_no_hook_is_left_after_an_error_in_the_hook(unet: SimpleUNet, linear: NoiseSchedule) -> None:
    with counting(unet), pytest.raises(VizdiffUsageError, match="several timesteps"), Recorder(unet, linear):
        unet(torch.zeros(2, 1, 28, 28), torch.tensor([3, 4]), torch.tensor([0, 1]))


def test_an_abandoned_loop_leaves_no_hook(unet: SimpleUNet, linear: NoiseSchedule) -> None:
    with counting(unet), Recorder(unet, linear) as recorder:
        steps = run_steps(unet, linear)
        next(steps)
        next(steps)
        del steps
    assert recorder.trajectory().num_steps == 2


def test_two_recorders_on_one_network(unet: SimpleUNet, linear: NoiseSchedule) -> None:
    with counting(unet), Recorder(unet, linear) as outer, Recorder(unet, linear) as inner:
        list(run_steps(unet, linear))
    same(outer.trajectory(), inner.trajectory())


def test_one_recorder_does_not_nest(unet: SimpleUNet, linear: NoiseSchedule) -> None:
    recorder = Recorder(unet, linear)
    with counting(unet), recorder, pytest.raises(VizdiffUsageError, match="already listening"), recorder:
        pass


def test_a_recorder_starts_afresh(unet: SimpleUNet, linear: NoiseSchedule) -> None:
    recorder = Recorder(unet, linear)
    with recorder:
        for step in run_steps(unet, linear, steps=2):
            recorder.finish(step.x_prev)
    with recorder:
        list(run_steps(unet, linear, steps=3))
    assert recorder.trajectory().num_steps == 3
    assert np.isnan(recorder.trajectory().x0).all()


@pytest.mark.parametrize("kept", ["trajectory", "recorder"])
def test_the_network_is_not_kept_alive(kept: str, make_unet: Callable, linear: NoiseSchedule) -> None:
    unet = make_unet()
    dies = weakref.ref(unet)
    with Recorder(unet, linear) as recorder:
        list(run_steps(unet, linear, steps=2))
    still_here = recorder.trajectory() if kept == "trajectory" else recorder
    del unet, recorder
    gc.collect()
    assert dies() is None
    assert still_here is not None


# -- one clear error -------------------------------------------------------------------------------


def test_nothing_recorded_is_said(unet: SimpleUNet, linear: NoiseSchedule) -> None:
    with Recorder(unet, linear) as recorder:
        pass
    with pytest.raises(VizdiffUsageError, match="nothing was recorded") as caught:
        recorder.trajectory()
    assert "\n" not in str(caught.value)
    with Recorder(unet, linear) as recorder:
        copy.deepcopy(unet)(torch.zeros(1, 1, 28, 28), torch.tensor([3]))
    with pytest.raises(VizdiffUsageError, match="nothing was recorded"):
        recorder.trajectory()


@pytest.mark.parametrize("steps", [(3, 3), (1, 1), (3, 1)])
def test_two_samplings_in_one_block_are_refused(
    steps: tuple[int, int], unet: SimpleUNet, linear: NoiseSchedule
) -> None:
    with Recorder(unet, linear) as recorder:
        for count in steps:
            list(run_steps(unet, linear, steps=count))
    with pytest.raises(VizdiffUsageError, match=r"one Recorder for each|visited 2 times"):
        recorder.trajectory()


def test_a_batch_that_changes_is_refused(unet: SimpleUNet, linear: NoiseSchedule) -> None:
    with Recorder(unet, linear) as recorder:
        for t, count in ((9, 2), (8, 3)):
            unet(torch.zeros(count, 1, 28, 28), torch.full((count,), t), torch.zeros(count, dtype=torch.long))
    with pytest.raises(VizdiffUsageError, match="batch changed"):
        recorder.trajectory()


def test_an_answer_without_a_tensor_is_refused(unet: SimpleUNet, linear: NoiseSchedule) -> None:
    denoiser = Wrapped(unet, lambda _: "nothing")
    with pytest.raises(VizdiffUsageError, match="found str"), Recorder(denoiser, linear):
        denoiser(torch.zeros(1, 1, 28, 28), 3)


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (torch.tensor([5]), r"labels must be 2 whole numbers in a tensor, one for each seed, found shape \(1,\)"),
        (torch.tensor([5.0, 6.0]), "found shape"),
        (5, "found 5"),
        (torch.tensor([5, 12]), r"labels must lie in 0\.\.10, 10 being none, found 5, 12"),
    ],
    ids=["one", "floats", "bare", "unknown"],
)
def test_labels_that_do_not_fit_are_refused_in_words(
    labels: Any, said: str, unet: SimpleUNet, linear: NoiseSchedule
) -> None:
    with pytest.raises(VizdiffUsageError, match=said):
        record_generation(unet, linear, labels, [0, 1], SamplerConfig(steps=2, guidance_scale=1.5))


def test_only_modules_can_be_listened_to(linear: NoiseSchedule) -> None:
    with pytest.raises(VizdiffUsageError, match=r"nn\.Module, found a function"):
        Recorder(lambda *_: None, linear)


def test_a_config_and_a_part_of_it_are_refused_together(unet: SimpleUNet, linear: NoiseSchedule) -> None:
    for given in ({"guidance_scale": 2.0}, {"clip": False}, {"sampler": "mine"}):
        with pytest.raises(VizdiffUsageError, match="either config, or guidance_scale, clip and sampler"):
            Recorder(unet, linear, SamplerConfig(), **given)


def test_a_config_gives_the_recording_its_facts(unet: SimpleUNet, linear: NoiseSchedule) -> None:
    config = SamplerConfig("ddim", 3, 2.0, eta=0.5, clip=False)
    with Recorder(unet, linear, config) as recorder:
        steps = list(sampling_steps(unet, linear, ImageNoise(SEEDS), LABELS, config))
        recorder.finish(steps[-1].x_prev)
    assert recorder.trajectory().sampler_config == config
