"""Loops of other programs: arguments, timesteps, guidance, samplers of order 2, shapes, copies of the network."""

from __future__ import annotations

import copy
import functools
import io
import itertools
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.recording.recorder import Recorder
from viz_diffusion.recording.trajectory import Trajectory

S = NoiseSchedule.named("linear", 20)
"""Short, so that x_t is never nearly all noise, and any network can be recorded without saying what it predicts."""


class Net(nn.Module):
    """A convolution; subclasses have other arguments."""

    def __init__(self, channels: int = 1, out: int | None = None) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, out or channels, 3, padding=1)

    def forward(self, x: Tensor, t: Any) -> Tensor:  # noqa: ARG002
        return self.conv(x)


def make(names: str) -> nn.Module:
    """Return a network whose ``forward`` has arguments of these names."""
    space: dict[str, Any] = {"Net": Net}
    first = names.split(",")[0].strip(" *")
    body = f"{first}[0]" if names.startswith("*") else first
    exec(f"class Made(Net):\n    def forward(self, {names}):\n        return self.conv({body})\n", space)
    made: nn.Module = space["Made"]()
    return made


def record(
    net: nn.Module,
    call: Callable[[Tensor, int], Tensor],
    *,
    batch: int = 2,
    schedule: NoiseSchedule = S,
    timesteps: Any = range(19, -1, -1),
    **options: Any,
) -> Trajectory:
    x = torch.randn(batch, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), Recorder(net, schedule, **options) as recorder:
        for t in timesteps:
            x = 0.9 * x - 0.1 * call(x, t)
        recorder.finish(x)
    return recorder.trajectory()


# -- roles -----------------------------------------------------------------------------------------

Y = torch.tensor([3, 4])


def full(t: int) -> Tensor:
    return torch.full((2,), t)


CALLS: dict[str, tuple[str, Callable[[nn.Module, Tensor, int], Tensor], list[int]]] = {
    "x, t, y": ("x, t, y", lambda net, x, t: net(x, full(t), Y), [3, 4]),
    "labels before t": ("x, c, t, context_mask", lambda net, x, t: net(x, Y, full(t), torch.zeros(2)), [3, 4]),
    "equal labels before t": ("x, c, t, m", lambda net, x, t: net(x, full(7), full(t), torch.zeros(2)), [7, 7]),
    "a mask third": (
        "x, t, context_mask=None",
        lambda net, x, t: net(x, full(t), torch.tensor([0, 0]).bool()),
        [-1, -1],
    ),
    "by keyword": ("x, t, **kw", lambda net, x, t: net(x, full(t), y=Y), [3, 4]),
    "nameless": ("*inputs", lambda net, x, t: net(x, full(t), Y), [3, 4]),
    "t first": ("t, x", lambda net, x, t: nn.Module.__call__(net, full(t), x), [-1, -1]),
    "other names": ("img, time, classes", lambda net, x, t: net(img=x, classes=Y, time=full(t)), [3, 4]),
    "one-hot": ("x, t, class_labels", lambda net, x, t: net(x, full(t), nn.functional.one_hot(Y, 10).float()), [3, 4]),
    "a number": ("x, t, y", lambda net, x, t: net(x, t, Y), [3, 4]),
    "t of four axes": ("x, t, y", lambda net, x, t: net(x, full(t).view(2, 1, 1, 1), Y), [3, 4]),
    "None for no label": ("x, t, y=None", lambda net, x, t: net(x, full(t), None), [-1, -1]),
    "an embedding": ("x, t, encoder_hidden_states", lambda net, x, t: net(x, full(t), torch.randn(2, 4)), [-1, -1]),
}


@pytest.mark.parametrize("name", CALLS)
def test_roles_are_found_by_name_and_shape(name: str) -> None:
    names, call, labels = CALLS[name]
    net = make("t, x" if name == "t first" else names)
    if name == "t first":
        net.forward = lambda t, x: net.conv(x)  # type: ignore[assignment, operator, misc] # noqa: ARG005
    found = record(net, functools.partial(call, net))
    assert found.labels.tolist() == labels
    assert found.timesteps.tolist() == list(range(19, -1, -1))
    assert set(found.conventions) >= {"x", "t", "timesteps"}


def test_what_misleads_is_told() -> None:
    """A second image before the noisy one, the label called t, and the timestep called step."""
    net = make("guide, noisy, t, step")
    net.forward = lambda guide, noisy, t, step: net.conv(noisy)  # type: ignore[assignment, operator, misc] # noqa: ARG005
    roles = {"x": "noisy", "t": 3, "labels": "t"}
    found = record(net, lambda x, t: net(torch.zeros_like(x), x, Y, full(t)), arguments=roles)
    assert found.labels.tolist() == [3, 4]
    assert found.timesteps[0] == 19
    assert found.conventions["t"] == "step"


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"image": 0}, "`?arguments`? has the roles x, t, labels, drop, keep, found 'image'"),
        ({"t": "sigma"}, "says that t is 'sigma', and the denoiser was called with x, t, y"),
        ({"x": "t"}, r"argument t was taken for x and is a tensor of shape \(2,\), int64"),
        ({"drop": "y"}, r"argument y was said to be a mask and is a tensor of shape \(2,\), int64"),
    ],
)
def test_a_wrong_role_is_refused(arguments: dict[str, Any], match: str) -> None:
    net = make("x, t, y")
    with pytest.raises(VizdiffUsageError, match=match):
        record(net, lambda x, t: net(x, full(t), Y), arguments=arguments)


@pytest.mark.parametrize("wrap", [nn.DataParallel, torch.compile])
def test_wrappers_are_seen_through(wrap: Callable[[nn.Module], nn.Module]) -> None:
    net = wrap(make("x, c, t")) if wrap is nn.DataParallel else wrap(make("x, c, t"), backend="eager")
    assert record(net, lambda x, t: net(x, Y, full(t))).labels.tolist() == [3, 4]


# -- timesteps -------------------------------------------------------------------------------------

COUNTS = {
    "0 .. T-1": lambda t: full(t),
    "1 .. T": lambda t: full(t + 1),
    "(t+1)/T": lambda t: torch.full((2,), (t + 1) / 20),
    "t/T": lambda t: torch.full((2,), t / 20),
    "t/(T-1)": lambda t: torch.full((2, 1, 1, 1), t / 19),
    "float64": lambda t: torch.tensor(float(t), dtype=torch.float64),
    "bfloat16 below 256": lambda t: full(t).bfloat16(),
}


@pytest.mark.parametrize("name", COUNTS)
def test_timesteps_are_counted_in_any_usual_way(name: str) -> None:
    net = Net()
    found = record(net, lambda x, t: net(x, COUNTS[name](t)))
    assert found.timesteps.tolist() == list(range(19, -1, -1))
    assert found.step_alphas_cumprod is None


def test_a_count_that_is_said_needs_no_guess() -> None:
    """Three steps of 1 .. T that begin below T look like 0 .. T-1."""
    net = Net()
    found = record(net, lambda x, t: net(x, full(t)), timesteps=(15, 8, 1))
    assert found.timesteps.tolist() == [15, 8, 1]
    with torch.no_grad(), Recorder(net, S, timesteps="count") as recorder:
        for t in (15, 8, 1):
            net(torch.randn(2, 1, 8, 8), full(t))
    assert recorder.trajectory().timesteps.tolist() == [14, 7, 0]


def test_the_log_snr_may_be_the_time() -> None:
    net = Net()
    with torch.no_grad(), Recorder(net, S, timesteps="log_snr") as recorder:
        for t in (19, 7, 0):
            net(torch.randn(2, 1, 8, 8), torch.tensor(S.log_snr[t], dtype=torch.float32))
    assert recorder.trajectory().timesteps.tolist() == [19, 7, 0]


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ([torch.full((2,), 999).bfloat16()], "bfloat16, which cannot tell t = 1000 from its neighbours"),
        ([torch.tensor([0.95, 0.95]).half()], "float16, which cannot tell"),
        ([full(20), full(0)], r"t = 0, .* counted as 1 \.\. 20"),
        ([full(25)], "t = 25, which does not lie on the schedule's 0..19"),
        ([torch.tensor([3, 4])], r"several timesteps \(3..4\)"),
        ([torch.tensor(float("nan"))], "t = nan"),
    ],
)
def test_a_time_that_cannot_be_read_is_refused(values: list[Tensor], match: str) -> None:
    net, schedule = Net(), NoiseSchedule.named("linear", 1000 if values[0].dtype == torch.bfloat16 else 20)
    with torch.no_grad(), pytest.raises(VizdiffUsageError, match=match), Recorder(net, schedule):
        [net(torch.randn(2, 1, 8, 8), value) for value in values]


def test_noise_levels_beyond_the_schedule_are_refused() -> None:
    net, schedule = make("x, sigma"), NoiseSchedule.from_sigmas(np.geomspace(0.1, 10, 20))
    with pytest.raises(VizdiffUsageError, match=r"σ = 80, beyond the schedule's"), Recorder(net, schedule):
        net(torch.randn(2, 1, 8, 8), torch.tensor(80.0))


# -- guidance --------------------------------------------------------------------------------------


class Guided(nn.Module):
    """Shifts the image by its label, unless a mask drops it; keeps what it answered."""

    def forward(self, x: Tensor, t: Tensor, labels: Tensor, drop: Any = 0.0, keep: Any = 1.0) -> Tensor:  # noqa: ARG002
        kept = torch.as_tensor(keep, dtype=torch.float32) * (1 - torch.as_tensor(drop, dtype=torch.float32))
        label = torch.where(labels == 10, 0, labels) * kept.reshape(-1)
        return 0.3 * x + 0.1 * label.view(-1, 1, 1, 1)


N = torch.tensor([10, 10])
ZEROS, ONES = torch.zeros(2), torch.ones(2)


def both(x: Tensor) -> Tensor:
    return torch.cat([x, x])


def at(t: int) -> Tensor:
    return torch.full((4,), t)


GUIDED: dict[str, tuple[Callable[[nn.Module, Tensor, int], Any], dict[str, Any]]] = {
    "doubled": (lambda net, x, t: net(both(x), at(t), torch.cat([Y, N])), {"null_label": 10}),
    "doubled, unconditional first": (lambda net, x, t: net(both(x), at(t), torch.cat([N, Y])), {"null_label": 10}),
    "interleaved": (
        lambda net, x, t: net(x.repeat_interleave(2, 0), at(t), torch.tensor([3, 10, 4, 10])),
        {"null_label": 10},
    ),
    "two calls": (lambda net, x, t: (net(x, full(t), Y), net(x, full(t), N)), {"null_label": 10}),
    "two calls, unconditional first": (lambda net, x, t: (net(x, full(t), N), net(x, full(t), Y)), {"null_label": 10}),
    "a mask": (lambda net, x, t: net(both(x), at(t), torch.cat([Y, Y]), drop=torch.cat([ZEROS, ONES])), {}),
    "a mask of booleans": (
        lambda net, x, t: net(both(x), at(t), torch.cat([Y, Y]), drop=torch.cat([ONES, ZEROS]).bool()),
        {},
    ),
    "a mask that keeps": (
        lambda net, x, t: net(both(x), at(t), torch.cat([Y, Y]), keep=torch.cat([ONES, ZEROS])),
        {"arguments": {"keep": "keep"}},
    ),
    "a mask in two calls": (lambda net, x, t: (net(x, full(t), Y, ZEROS), net(x, full(t), Y, ONES)), {}),
    "a probability": (lambda net, x, t: (net(x, full(t), Y, drop=0.0), net(x, full(t), Y, drop=1.0)), {}),
    "an order": (
        lambda net, x, t: (net(x, full(t), Y, keep=ZEROS), net(x, full(t), Y, keep=ONES)),
        {"guidance_order": "unconditional_first"},
    ),
    "labels in an order": (
        lambda net, x, t: net(both(x), at(t), torch.cat([Y, N])),
        {"guidance_order": "conditional_first", "guidance_scale": 2.0},
    ),
}


@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize("name", GUIDED)
def test_the_halves_of_guidance_are_found(name: str, stored: bool, tmp_path: Path) -> None:
    call, options = GUIDED[name]
    net, x = Guided(), torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    options = {"guidance_scale": 2.0, "prediction_type": "epsilon", **options}
    if stored:
        options["store"] = tmp_path / "a.zarr"
    states = []
    with torch.no_grad(), Recorder(net, S, **options) as recorder:
        for t in range(19, -1, -1):
            states.append(x)
            call(net, x, t)
            x = 0.9 * x + 0.01 * Y.view(-1, 1, 1, 1)
        recorder.finish(x)
    found = recorder.trajectory()
    stacked = torch.stack(states, dim=1).numpy()
    shift = 0.1 * Y.view(-1, 1, 1, 1, 1).numpy()
    assert found.labels.tolist() == [3, 4]
    np.testing.assert_array_equal(found.x_t, stacked)
    assert found.eps_cond is not None
    assert found.eps_uncond is not None
    np.testing.assert_allclose(found.eps_uncond, 0.3 * stacked, atol=1e-6)
    np.testing.assert_allclose(found.eps_cond, 0.3 * stacked + shift, atol=1e-6)
    np.testing.assert_allclose(found.eps_pred, 0.3 * stacked + 2 * shift, atol=1e-6)


@pytest.mark.parametrize("stored", [False, True])
def test_guidance_that_is_no_plain_sum_is_told_as_a_function(stored: bool, tmp_path: Path) -> None:
    net, options = Guided(), dict[str, Any](store=tmp_path / "a.zarr") if stored else {}
    found = record(
        net,
        lambda x, t: (net(x, full(t), Y, ZEROS), net(x, full(t), Y, ONES))[1],
        guidance_mix=lambda cond, uncond: torch.maximum(cond, uncond) - 0.25,
        **options,
    )
    assert found.eps_cond is not None
    assert found.eps_uncond is not None
    np.testing.assert_array_equal(found.eps_pred, np.maximum(found.eps_cond, found.eps_uncond) - np.float32(0.25))
    assert np.isnan(found.guidance_scale)


def test_halves_that_nothing_tells_apart_are_refused_with_a_mend_that_works() -> None:
    net = Guided()
    with pytest.raises(VizdiffUsageError, match=r"different keep; under guidance, .*guidance_order=…"):
        record(net, lambda x, t: (net(x, full(t), Y, keep=ZEROS), net(x, full(t), Y, keep=ONES))[1])


def test_labelled_and_unlabelled_images_in_one_batch_are_no_guidance() -> None:
    """Half of the images have the null label, and their states are their own."""
    net = Guided()
    found = record(net, lambda x, t: net(x, full(t), torch.tensor([3, 10])), null_label=10)
    assert found.eps_uncond is None
    assert found.labels.tolist() == [3, -1]


def test_the_same_noise_under_two_labels_is_no_guidance() -> None:
    net, x = Guided(), torch.randn(1, 1, 8, 8).repeat(2, 1, 1, 1)
    with torch.no_grad(), Recorder(net, S) as recorder:
        for t in (19, 10, 0):
            x = 0.9 * x - 0.1 * net(x, full(t), Y)
    assert recorder.trajectory().labels.tolist() == [3, 4]


# -- several evaluations a step --------------------------------------------------------------------


def heun(net: nn.Module, x: Tensor, levels: list[int]) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    own, inner = [], []
    for t, after in itertools.pairwise([*levels, -1]):
        own.append(x)
        slope = net(x, torch.tensor(t))
        guess = x - 0.1 * slope
        if after >= 0:
            inner.append(guess)
            slope = (slope + net(guess, torch.tensor(after))) / 2
        x = x - 0.1 * slope
    return x, own, inner


@pytest.mark.parametrize("stored", [False, True])
def test_heun_keeps_every_evaluation_and_marks_the_steps_own(stored: bool, tmp_path: Path) -> None:
    net = Net()
    options: dict[str, Any] = {"store": tmp_path / "heun.zarr"} if stored else {}
    with torch.no_grad(), Recorder(net, S, **options) as recorder:
        for number in range(2 if stored else 1):  # further samplings are joined
            start = torch.randn(16, 1, 8, 8, generator=torch.Generator().manual_seed(number))
            x, own, inner = heun(net, start, [19, 12, 6, 1])
            recorder.finish(x)
    found = recorder.trajectory()
    assert found.timesteps.tolist() == [19, 12, 6, 1]
    assert found.inner_x_t is not None
    assert found.inner_eps_pred is not None
    assert found.inner_steps is not None
    assert found.inner_steps.tolist() == [0, 1, 2]
    assert found.inner_timesteps is not None
    assert found.inner_timesteps.tolist() == [12, 6, 1]
    np.testing.assert_array_equal(found.x_t[-16:], torch.stack(own, dim=1).numpy())
    np.testing.assert_array_equal(found.inner_x_t[-16:], torch.stack(inner, dim=1).numpy())
    with torch.no_grad():
        expected = torch.stack([net.conv(one) for one in inner], dim=1).numpy()
    np.testing.assert_allclose(found.inner_eps_pred[-16:], expected, atol=1e-6)


def test_an_evaluation_between_two_steps_is_told(tmp_path: Path) -> None:
    """The midpoint method evaluates at a timestep of its own."""
    net, x = Net(), torch.randn(2, 1, 8, 8)
    with torch.no_grad(), Recorder(net, S, evaluations_per_step=2) as recorder:
        for t in (18, 12, 6):
            middle = x - 0.05 * net(x, full(t))
            x = x - 0.1 * net(middle, full(t - 3))
        recorder.finish(x - 0.1 * net(x, full(0)))
    found = recorder.trajectory()
    assert found.timesteps.tolist() == [18, 12, 6, 0]
    assert found.inner_timesteps is not None
    assert found.inner_timesteps.tolist() == [15, 9, 3]
    found.save(tmp_path / "a.zip")
    again = Trajectory.open(tmp_path / "a.zip")
    np.testing.assert_array_equal(again.inner_x_t, found.inner_x_t)


def test_a_loop_that_takes_images_one_by_one() -> None:
    net = Net()
    start = torch.randn(3, 1, 8, 8)
    with torch.no_grad(), Recorder(net, S) as recorder:
        x = start
        for t in (19, 10, 0):
            x = torch.cat([one[None] - 0.1 * net(one[None], torch.tensor([t])) for one in x])
        recorder.finish(x)
    found = recorder.trajectory()
    assert found.x_t.shape == (3, 3, 1, 8, 8)
    np.testing.assert_array_equal(found.x_t[:, 0], start.numpy())


def test_an_inversion_is_called_one() -> None:
    net = Net()
    with pytest.raises(VizdiffUsageError, match=r"t rises at every step \(2, then 3\): .* inversion"):
        record(net, lambda x, t: net(x, full(t)), timesteps=range(20))


# -- shapes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "recorded"), [((5, 2), (5, 1, 1, 2)), ((3, 8, 8), (3, 1, 8, 8)), ((2, 4, 8, 8), (2, 4, 8, 8))]
)
def test_points_and_images_without_channels(shape: tuple[int, ...], recorded: tuple[int, ...], tmp_path: Path) -> None:
    class Pointwise(nn.Module):
        def forward(self, x: Tensor, t: Tensor) -> Tensor:
            return 0.1 * x + t.reshape(-1)[0] / 20

    net, x = Pointwise(), torch.randn(shape)
    with torch.no_grad(), Recorder(net, S, store=tmp_path / "a.zarr") as recorder:
        for t in (19, 10, 0):
            x = 0.9 * x - 0.1 * net(x, torch.full((len(x),), t))
        recorder.finish(x)
    found = recorder.trajectory()
    assert (found.x_t.shape[0], *found.x_t.shape[2:]) == recorded
    np.testing.assert_array_equal(found.x0.reshape(shape), x.numpy())


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("stored", [False, True])
def test_a_learned_variance_is_left_out(channels: int, stored: bool, tmp_path: Path) -> None:
    net, x = Net(channels, 2 * channels), torch.randn(2, channels, 8, 8)
    options: dict[str, Any] = {"store": tmp_path / "a.zarr"} if stored else {}
    answers = []
    with torch.no_grad(), Recorder(net, S, **options) as recorder:
        for t in (19, 10, 0):
            answers.append(net(x, full(t))[:, :channels])
            x = 0.9 * x - 0.1 * answers[-1]
        recorder.finish(x)
    np.testing.assert_array_equal(recorder.trajectory().eps_pred, torch.stack(answers, dim=1).numpy())


def test_channels_of_a_condition_are_told() -> None:
    net, x = Net(3, 1), torch.randn(2, 1, 8, 8)
    beside = torch.randn(2, 2, 8, 8)
    with (
        torch.no_grad(),
        pytest.raises(VizdiffUsageError, match=r"takes 3 channels and returns 1: .*state_channels=slice\(0, 1\)"),
        Recorder(net, S),
    ):
        net(torch.cat([beside, x], 1), full(19))
    with torch.no_grad(), Recorder(net, S, state_channels=slice(2, 3)) as recorder:
        net(torch.cat([beside, x], 1), full(19))
    found = recorder.trajectory()
    np.testing.assert_array_equal(found.x_t[:, 0], x.numpy())
    assert found.conventions["state_channels"] == "2 .. 2 of 3"


@pytest.mark.parametrize("out", [3, 5])
def test_other_channels_are_refused_at_the_first_pass(out: int) -> None:
    net, passes = Net(2, out), list[Tensor]()
    with torch.no_grad(), pytest.raises(VizdiffUsageError, match="as many channels"), Recorder(net, S):
        passes += [net(torch.randn(2, 2, 8, 8), full(t)) for t in (19, 10)]
    assert not passes


# -- copies of the network -------------------------------------------------------------------------


def saved(net: nn.Module) -> nn.Module:
    file = io.BytesIO()
    torch.save(net, file)
    file.seek(0)
    loaded: nn.Module = torch.load(file, weights_only=False)
    return loaded


COPIES: list[Callable[[nn.Module], nn.Module]] = [
    copy.deepcopy,
    lambda net: pickle.loads(pickle.dumps(net)),
    saved,
    lambda net: copy.deepcopy(nn.Sequential(net))[0],
]


@pytest.fixture(params=[False, True])
def stored(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    return {"store": tmp_path / "a.zarr", "activations": ["conv"]} if request.param else {"activations": ["conv"]}


def all_hooks(net: nn.Module) -> int:
    return sum(len(one._forward_hooks) + len(one._forward_pre_hooks) for one in net.modules())


@pytest.mark.parametrize("make_copy", COPIES)
def test_a_copy_made_inside_the_block_has_none_of_its_hooks(
    make_copy: Callable[[nn.Module], nn.Module], stored: dict[str, Any]
) -> None:
    net, x = Net(), torch.randn(2, 1, 8, 8)
    net.register_forward_hook(_own_hook)
    with torch.no_grad(), Recorder(net, S, **stored) as recorder:
        for t in (19, 10, 0):
            x = 0.9 * x - 0.1 * net(x, full(t))
        made = make_copy(net)
        assert all_hooks(made) == 1  # the network's own
        assert torch.equal(made(x, full(0)), net.conv(x))
        recorder.finish(x)
    found = recorder.trajectory()
    assert found.num_steps == 3
    assert all_hooks(net) == 1
    assert "__reduce_ex__" not in vars(net)
    assert "__reduce_ex__" not in vars(made)


def _own_hook(module: nn.Module, args: Any, output: Tensor) -> Tensor:  # noqa: ARG001
    return output


# -- out of reach ----------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning")
@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_networks_that_hooks_do_not_reach_are_refused_before_the_first_step() -> None:
    net = Net()
    traced = torch.jit.trace(Net().requires_grad_(False), (torch.randn(2, 1, 8, 8), full(3)))
    for refused in (torch.jit.script(TypedNet()), traced):
        with pytest.raises(VizdiffUsageError, match="TorchScript"):
            Recorder(refused, S)
    each = torch.func.vmap(lambda x, t: net(x[None], t[None])[0])
    with pytest.raises(VizdiffUsageError, match=r"torch\.vmap"), torch.no_grad(), Recorder(net, S):
        each(torch.randn(2, 1, 8, 8), full(3))
    with pytest.raises(VizdiffUsageError, match="found a function"):
        Recorder(lambda x, t: x, S)  # type: ignore[arg-type] # noqa: ARG005


class TypedNet(Net):
    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return self.conv(x) + t.sum() * 0


# -- programs that skip hooks ----------------------------------------------------------------------


@pytest.mark.parametrize("activations", [(), ("conv",)])
def test_a_program_that_calls_forward_itself_is_recorded(activations: tuple[str, ...]) -> None:
    """Guidance inside the network calls ``self.forward`` with and without the condition, past all hooks."""

    class Scaled(Net):
        def forward(self, x: Tensor, time: Tensor, classes: Tensor, cond_drop_prob: float = 0.5) -> Tensor:  # type: ignore[override]  # noqa: ARG002
            return self.conv(x) + 0.1 * classes.view(-1, 1, 1, 1) * (1 - cond_drop_prob)

        def forward_with_cond_scale(self, *args: Any, cond_scale: float, **kwargs: Any) -> Tensor:
            told = self.forward(*args, cond_drop_prob=0.0, **kwargs)
            free = self.forward(*args, cond_drop_prob=1.0, **kwargs)
            return free + cond_scale * (told - free)

    net, answers = Scaled(), []

    def call(x: Tensor, t: int) -> Tensor:
        answers.append(net.forward_with_cond_scale(x, full(t), Y, cond_scale=3.0))
        return answers[-1]

    found = record(net, call, guidance_scale=3.0, activations=activations)
    assert found.labels.tolist() == [3, 4]
    assert found.eps_uncond is not None
    np.testing.assert_allclose(found.eps_pred, torch.stack(answers, dim=1).numpy(), atol=1e-6)
    assert set(found.activations) == set(activations)
    assert "forward" not in vars(net)
    assert all_hooks(net) == 0


def test_a_call_and_a_forward_in_it_are_one_pass() -> None:
    net = Net()
    seen = record(net, lambda x, t: net(x, full(t)) + 0 * net.forward(x, full(t)))
    assert seen.num_steps == 20
    assert seen.inner_steps is not None
    assert seen.inner_steps.tolist() == list(range(20))  # the first evaluation of each step, at the same state
