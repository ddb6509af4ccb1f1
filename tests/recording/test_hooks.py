"""What a Recorder records: activations, several samplings, autocast, compiled networks; and that hooks go."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from sampler_arguments import with_config
from torch import Tensor, nn

from viz_diffusion.diffusion.sampler_config import SamplerConfig
from viz_diffusion.diffusion.samplers import ImageNoise
from viz_diffusion.diffusion.sampling import sampling_steps
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.diffusion.unet import ModelConfig, SimpleUNet
from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.recording.generation import record_generation
from viz_diffusion.recording.hooks import match_modules
from viz_diffusion.recording.recorder import Recorder

LABELS = torch.tensor([0, 5, 9])


@pytest.fixture
def unet(make_unet: Callable) -> SimpleUNet:
    return make_unet()


def hooks(module: nn.Module) -> int:
    return sum(len(part._forward_hooks) + len(part._forward_pre_hooks) for part in module.modules())


def sample(unet: nn.Module, schedule: NoiseSchedule, count: int = 3, **options: object) -> Tensor:
    noise = ImageNoise(range(count))
    labels = torch.arange(count) % 10
    return [s.x_prev for s in sampling_steps(unet, schedule, noise, labels, **with_config(options, steps=5))][-1]


# -- activations -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("patterns", "found"),
    [
        (["time_mlp", "label_emb"], ["time_mlp", "label_emb"]),
        (["down.*"], ["down_outer.0", "down_inner.0"]),
        (["mid.attention"], ["mid_attention"]),
        (
            ["*.conv1"],
            [
                "down_outer.0.conv1",
                "down_inner.0.conv1",
                "mid1.conv1",
                "mid2.conv1",
                "up_inner.0.conv1",
                "up_outer.0.conv1",
            ],
        ),
        (["down_outer.0.conv1", "down_outer.0"], ["down_outer.0", "down_outer.0.conv1"]),
        (["conv_out", "conv_in"], ["conv_in", "conv_out"]),
    ],
)
def test_names_and_globs(patterns: list[str], found: list[str], unet: SimpleUNet) -> None:
    assert list(match_modules(unet, patterns)) == found


def test_a_star_gives_each_part_once(unet: SimpleUNet) -> None:
    names = list(match_modules(unet, ["*"]))
    assert {"time_mlp", "label_emb", "down_outer.0", "mid_attention", "up_outer.0", "conv_out"} <= set(names)
    assert not any(one.startswith(f"{other}.") for one in names for other in names)


def test_an_unknown_name_lists_what_there_is(unet: SimpleUNet) -> None:
    with pytest.raises(VizdiffUsageError, match=r"no module is called 'attn\*'; there are time_mlp, label_emb"):
        match_modules(unet, ["attn*"])


@pytest.mark.parametrize("scale", [1.0, 1.5])
def test_activations_are_what_the_modules_gave(scale: float, unet: SimpleUNet, linear: NoiseSchedule) -> None:
    found = record_generation(
        unet,
        linear,
        LABELS,
        [1, 2, 3],
        SamplerConfig(steps=5, guidance_scale=scale),
        activations=["time_mlp", "label_emb", "down.*", "mid.attention"],
    )
    assert found.activation_steps.tolist() == [0, 1, 2, 3, 4]
    assert list(found.activations) == ["time_mlp", "label_emb", "down_outer.0", "down_inner.0", "mid_attention"]
    assert found.activations["time_mlp"].shape == (3, 5, 16)
    assert found.activations["down_outer.0"].shape == (3, 5, 8, 14, 14)
    for k, t in enumerate(found.timesteps.tolist()):
        times = unet.time_mlp(torch.full((3,), t))
        np.testing.assert_allclose(found.activations["time_mlp"][:, k], times.numpy(), rtol=1e-4, atol=1e-6)
        np.testing.assert_array_equal(found.activations["label_emb"][:, k], unet.label_emb(LABELS).numpy())
        kept = {}
        handle = unet.mid_attention.register_forward_hook(lambda _, __, out, kept=kept: kept.update(out=out))
        unet(torch.from_numpy(found.x_t[:, k]), torch.full((3,), t), LABELS)
        handle.remove()
        np.testing.assert_allclose(found.activations["mid_attention"][:, k], kept["out"], rtol=1e-4, atol=1e-5)


def test_norms_at_chosen_timesteps(unet: SimpleUNet, linear: NoiseSchedule) -> None:
    options = {"config": SamplerConfig(steps=5, guidance_scale=1.5), "activations": ["mid1", "time_mlp"]}
    whole = record_generation(unet, linear, LABELS, [1, 2, 3], **options)
    norms = record_generation(
        unet, linear, LABELS, [1, 2, 3], **options, activations_at=whole.timesteps[[1, 4]], activation_norms=True
    )
    assert norms.activation_steps.tolist() == [1, 4]
    for name, values in whole.activations.items():
        expected = np.linalg.norm(values[:, [1, 4]].reshape(3, 2, -1).astype(np.float64), axis=-1)
        np.testing.assert_allclose(norms.activations[name], expected, rtol=1e-6)


@pytest.mark.parametrize("store", [False, True])
def test_images_are_the_same_with_activations(
    store: bool, unet: SimpleUNet, linear: NoiseSchedule, tmp_path: object
) -> None:
    plain = sample(unet, linear)
    place = tmp_path / "a.zarr" if store else None
    with Recorder(unet, linear, activations=["*"], store=place):
        assert hooks(unet) > 10
        assert torch.equal(sample(unet, linear), plain)
    assert hooks(unet) == 0


class Odd(nn.Module):
    """Modules that are never run, run twice, or mix the images of a batch."""

    def __init__(self) -> None:
        super().__init__()
        self.idle, self.twice, self.mixing = nn.Identity(), nn.Identity(), nn.Flatten(0)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        self.mixing(x)
        return self.twice(self.twice(x)) * t[0] / 1000


@pytest.mark.parametrize(("name", "words"), [("idle", "did not run"), ("twice", "ran twice"), ("mixing", "rows for")])
def test_modules_that_cannot_be_kept(name: str, words: str, linear: NoiseSchedule) -> None:
    network = Odd()
    with pytest.raises(VizdiffUsageError, match=words), Recorder(network, linear, activations=[name]):
        network(torch.ones(2, 1, 4, 4), torch.tensor([5, 5]))
    assert hooks(network) == 0


def test_a_module_called_outside_the_forward_pass_is_not_recorded(unet: SimpleUNet, linear: NoiseSchedule) -> None:
    with Recorder(unet, linear, activations=["time_mlp"]) as recorder:
        unet.embed(torch.tensor([3]))
        sample(unet, linear, count=2)
    assert recorder.trajectory().activations["time_mlp"].shape == (2, 5, 16)


# -- several samplings in one block ----------------------------------------------------------------


@pytest.mark.parametrize("steps", [(3, 3), (1, 1), (3, 1), (1, 4), (2, 5, 2)])
@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_each_sampling_is_its_own(
    steps: tuple[int, ...], scale: float, unet: SimpleUNet, linear: NoiseSchedule
) -> None:
    finished = []
    with Recorder(unet, linear, guidance_scale=scale, seeds=range(100, 120)) as recorder:
        for index, count in enumerate(steps):
            finished.append(sample(unet, linear, count=index + 1, steps=count, guidance_scale=scale))
            recorder.finish(finished[-1])
    found = recorder.trajectories()
    assert [one.num_steps for one in found] == list(steps)
    assert np.concatenate([one.seeds for one in found]).tolist() == list(range(100, 100 + sum(range(len(steps) + 1))))
    for one, x0 in zip(found, finished, strict=True):
        np.testing.assert_array_equal(one.x0, x0.numpy())
    with pytest.raises(VizdiffUsageError, match=f"{len(steps)} samplings were recorded"):
        recorder.trajectory()


def test_only_what_was_finished_has_an_end(unet: SimpleUNet, linear: NoiseSchedule) -> None:
    with Recorder(unet, linear) as recorder:
        recorder.finish(sample(unet, linear))
        sample(unet, linear)
    first, second = recorder.trajectories()
    assert np.isfinite(first.x0).all()
    assert np.isnan(second.x0).all()


def test_of_a_timestep_evaluated_twice_the_last_is_the_steps_own(unet: SimpleUNet, linear: NoiseSchedule) -> None:
    with Recorder(unet, linear) as recorder:
        for number, t in enumerate((9, 8, 8, 7)):
            unet(torch.full((1, 1, 28, 28), float(number)), torch.tensor([t]), torch.tensor([1]))
    found = recorder.trajectory()
    assert found.timesteps.tolist() == [9, 8, 7]
    assert found.x_t[0, :, 0, 0, 0].tolist() == [0, 2, 3]
    assert found.inner_x_t is not None
    assert found.inner_steps is not None
    assert found.inner_x_t[0, :, 0, 0, 0].tolist() == [1]
    assert found.inner_steps.tolist() == [0]


@pytest.mark.parametrize("doubled", [False, True])
def test_guidance_with_an_unknown_null_label_names_the_mend(
    doubled: bool, unet: SimpleUNet, linear: NoiseSchedule
) -> None:
    """A network that does not say which of its labels stands for none: the message names null_label, which mends it."""

    class Foreign(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = unet

        def forward(self, x: Tensor, t: Tensor, labels: Tensor) -> Tensor:
            return self.inner(x, t, labels)

    def loop(net: nn.Module) -> Tensor:
        x, labels, none = torch.zeros(2, 1, 28, 28), torch.tensor([3, 4]), torch.tensor([10, 10])
        for t in (9, 8, 7):
            at = torch.full((2,), t)
            if doubled:
                net(torch.cat([x, x]), torch.cat([at, at]), torch.cat([labels, none]))
            else:
                net(x, at, labels)
                net(x, at, none)
        return x

    net = Foreign()
    with Recorder(net, linear, guidance_scale=3.0) as recorder:
        recorder.finish(loop(net))
    with pytest.raises(VizdiffUsageError, match=r"null_label=…"):
        recorder.trajectory()
    with Recorder(net, linear, guidance_scale=3.0, null_label=10) as recorder:
        recorder.finish(loop(net))
    found = recorder.trajectory()
    assert found.labels.tolist() == [3, 4]
    assert found.eps_uncond is not None


def test_between_two_timesteps_the_log_snr_is_interpolated(unet: SimpleUNet, linear: NoiseSchedule) -> None:
    with Recorder(unet, linear) as recorder:
        for t in (3.5, 2.0):
            unet(torch.zeros(1, 1, 28, 28), torch.tensor([t]), torch.tensor([1]))
    found = recorder.trajectory()
    assert found.timesteps.tolist() == [3.5, 2.0]
    np.testing.assert_allclose(found.log_snr, [linear.log_snr[3:5].mean(), linear.log_snr[2]], rtol=1e-12)


# -- modes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_under_autocast(
    dtype: torch.dtype, make_unet: Callable, tiny_config: ModelConfig, linear: NoiseSchedule
) -> None:
    """The bare network, since the last line of the other gives float32 back."""
    unet = make_unet(0, replace(tiny_config, schedule=None))
    seen = []

    def loop() -> Tensor:
        x = ImageNoise([1, 2]).draw()
        with torch.autocast("cpu", dtype=dtype):
            for t in (999, 500, 3):
                eps = unet(x, torch.full((2,), t), torch.tensor([1, 2]))
                seen.append(eps)
                x = 0.9 * x - 0.1 * eps.float()
        return x

    plain = loop()
    seen.clear()
    with Recorder(unet, linear, prediction_type="epsilon", activations=["mid1"]) as recorder:
        assert torch.equal(loop(), plain)
    found = recorder.trajectory()
    assert seen[0].dtype == dtype
    assert found.eps_pred.dtype == found.activations["mid1"].dtype == np.float32
    np.testing.assert_array_equal(found.eps_pred, torch.stack(seen, dim=1).float().numpy())


@pytest.fixture
def fresh_compiler() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.mark.usefixtures("fresh_compiler")
@pytest.mark.filterwarnings("ignore")  # of the compiler, about itself
class TestCompiled:
    """Either equal to eager within tolerance, or refused in one sentence; never silently empty."""

    def test_the_compiled_network_is_recorded(self, unet: SimpleUNet, linear: NoiseSchedule) -> None:
        eager = record_generation(unet, linear, LABELS, [1, 2, 3], SamplerConfig(steps=3, guidance_scale=1.5))
        compiled = torch.compile(unet, backend="aot_eager")
        for _ in range(2):  # compiling, and compiled
            found = record_generation(compiled, linear, LABELS, [1, 2, 3], SamplerConfig(steps=3, guidance_scale=1.5))
            assert found.labels.tolist() == LABELS.tolist()
            np.testing.assert_allclose(found.x_t, eager.x_t, rtol=1e-4, atol=1e-4)
            np.testing.assert_allclose(found.eps_pred, eager.eps_pred, rtol=1e-4, atol=1e-4)
        assert hooks(compiled) == 0

    @pytest.mark.parametrize("warm", [False, True])
    def test_the_original_is_not_recorded_through_its_copy(
        self, warm: bool, unet: SimpleUNet, linear: NoiseSchedule
    ) -> None:
        compiled = torch.compile(unet, backend="aot_eager")
        if warm:
            sample(compiled, linear)
        with Recorder(unet, linear) as recorder:
            sample(compiled, linear)
        with pytest.raises(VizdiffUsageError, match="nothing was recorded"):
            recorder.trajectory()
        assert hooks(unet) == 0
        sample(compiled, linear)  # nothing of the hook was compiled in
        with Recorder(unet, linear) as recorder:
            sample(unet, linear)
        assert recorder.trajectory().num_steps == 5

    def test_what_hooks_do_not_reach_is_refused(self, unet: SimpleUNet, linear: NoiseSchedule) -> None:
        with pytest.raises(VizdiffUsageError, match="hooks do not reach into a compiled network"):
            Recorder(torch.compile(unet, backend="aot_eager"), linear, activations=["mid1"])
        unet.compile(backend="aot_eager")
        with pytest.raises(VizdiffUsageError, match="compiled in place") as caught, Recorder(unet, linear):
            pass
        assert "\n" not in str(caught.value)
        assert hooks(unet) == 0


# -- nothing stays behind --------------------------------------------------------------------------


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt()], ids=repr)
def test_hooks_on_modules_go_after_an_error(error: BaseException, unet: SimpleUNet, linear: NoiseSchedule) -> None:
    def loop() -> None:
        with Recorder(unet, linear, activations=["*"]), Recorder(unet, linear, activations=["mid1"]):
            for step in sampling_steps(unet, linear, ImageNoise([1]), torch.tensor([1]), SamplerConfig(steps=5)):
                if step.t < 500:
                    raise error

    with pytest.raises(type(error)):
        loop()
    assert hooks(unet) == 0


def test_an_abandoned_generator_leaves_no_hook(unet: SimpleUNet, linear: NoiseSchedule) -> None:
    def steps() -> Iterator[object]:
        with Recorder(unet, linear, activations=["*"]):
            yield from sampling_steps(unet, linear, ImageNoise([1]), torch.tensor([1]), SamplerConfig(steps=5))

    running = steps()
    next(running)
    assert hooks(unet) > 0
    del running
    gc.collect()
    assert hooks(unet) == 0


def test_a_recorder_with_activations_keeps_no_network_alive(make_unet: Callable, linear: NoiseSchedule) -> None:
    unet = make_unet()
    dies = weakref.ref(unet)
    with Recorder(unet, linear, activations=["*"]) as recorder:
        sample(unet, linear, steps=2)
    del unet
    gc.collect()
    assert dies() is None
    assert recorder.trajectory().num_steps == 2
