"""What a Recorder cannot see in the arguments: conditions elsewhere, states that are none, changes while it listens."""

from __future__ import annotations

import copy
import pickle
import threading
from collections.abc import Callable
from functools import wraps
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
Y, N = torch.tensor([3, 4]), torch.tensor([10, 10])


def full(t: int, count: int = 2) -> Tensor:
    return torch.full((count,), t)


class Net(nn.Module):
    """A convolution whose answer a label, a nested condition or a switch of its own shifts."""

    def __init__(self, channels: int = 1, out: int | None = None) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, out or channels, 3, padding=1)
        self.shift = 0.0

    def forward(self, x: Tensor, t: Tensor, y: Any = None, cond: Any = None) -> Tensor:  # noqa: ARG002
        shift = torch.full((len(x),), self.shift) if y is None else y.float()
        if cond is not None:
            shift = shift + cond["c_crossattn"][0].mean(dim=(1, 2))
        return self.conv(x) + 0.1 * shift.view(-1, 1, 1, 1)


def record(net: nn.Module, call: Callable[[Tensor, int], Tensor], channels: int = 1, **options: Any) -> Trajectory:
    x = torch.randn(2, channels, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), Recorder(net, S, **options) as recorder:
        for t in range(19, -1, -1):
            x = 0.9 * x - 0.1 * call(x, t)
    return recorder.trajectory()


# -- conditions ------------------------------------------------------------------------------------

TEXT, NO_TEXT = torch.ones(2, 7, 4), torch.zeros(2, 7, 4)


def nested_twice(net: Net, x: Tensor, t: int) -> tuple[Tensor, Tensor]:
    free, told = (net(x, full(t), cond={"c_crossattn": [text]}) for text in (NO_TEXT, TEXT))
    return free, told


def nested_shared(net: Net, x: Tensor, t: int) -> tuple[Tensor, Tensor]:
    free, told = (net(x, full(t), cond={"c_crossattn": [text[:1]]}) for text in (NO_TEXT, TEXT))
    return free, told


def nested_doubled(net: Net, x: Tensor, t: int) -> tuple[Tensor, Tensor]:
    text = [torch.cat([NO_TEXT, TEXT])]
    free, told = net(torch.cat([x, x]), full(t, 4), cond={"c_crossattn": text}).chunk(2)
    return free, told


def switched(net: Net, x: Tensor, t: int) -> tuple[Tensor, Tensor]:
    found = []
    for net.shift in (0.0, 1.0):
        found.append(net(x, full(t)))
    return found[0], found[1]


@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize("ask", [nested_twice, nested_shared, nested_doubled, switched])
def test_halves_whose_condition_is_no_plain_argument(ask: Any, stored: bool, tmp_path: Path) -> None:
    net, answers = Net(), []

    def call(x: Tensor, t: int) -> Tensor:
        free, told = ask(net, x, t)
        answers.append(free + 3 * (told - free))
        return answers[-1]

    with pytest.raises(VizdiffUsageError, match=r"evaluated twice for the same images, with .*guidance_order=…"):
        record(net, call, guidance_scale=3.0)
    answers.clear()
    options: dict[str, Any] = {"store": tmp_path / "a.zarr"} if stored else {}
    found = record(net, call, guidance_scale=3.0, guidance_order="unconditional_first", **options)
    np.testing.assert_allclose(found.eps_pred, torch.stack(answers, dim=1).numpy(), atol=1e-6)


def batch_of(*labels: int) -> Callable[[Net, Tensor, int], Tensor]:
    def ask(net: Net, x: Tensor, t: int) -> Tensor:
        count = len(labels)
        rows = torch.tensor(labels).repeat_interleave(2)
        return net(torch.cat([x] * count), full(t, 2 * count), rows).chunk(count)[0]

    return ask


def calls_of(*labels: int) -> Callable[[Net, Tensor, int], Tensor]:
    return lambda net, x, t: [net(x, full(t), full(label)) for label in labels].pop()


@pytest.mark.parametrize(
    ("ask", "null_label"), [(batch_of(3, 10), None), (batch_of(3, 5, 10), 10), (calls_of(3, 10, 5, 10), 10)]
)
def test_one_image_under_several_conditions_is_no_batch(ask: Any, null_label: int | None) -> None:
    net = Net()
    with pytest.raises(VizdiffUsageError, match=r"one image under guidance; .*null_label=….*forward mixes them"):
        record(net, lambda x, t: ask(net, x, t), null_label=null_label)


def test_three_calls_are_no_two_halves() -> None:
    net = Net()
    with pytest.raises(VizdiffUsageError, match=r"of more than two, record an nn\.Module whose forward mixes them"):
        record(net, lambda x, t: calls_of(3, 10, 5)(net, x, t), null_label=10)


@pytest.mark.parametrize("stored", [False, True])
def test_guidance_by_a_second_network_is_refused(stored: bool, tmp_path: Path) -> None:
    net, weak = Net(), Net()
    options: dict[str, Any] = {"store": tmp_path / "a.zarr"} if stored else {}
    with pytest.raises(VizdiffUsageError, match="forward calls both"):
        record(net, lambda x, t: 2 * net(x, full(t)) - weak(x, full(t)), guidance_scale=2.0, **options)

    class Both(nn.Module):
        def forward(self, x: Tensor, t: Tensor) -> Tensor:
            return 2 * net(x, t) - weak(x, t)

    both = Both()
    assert record(both, lambda x, t: both(x, full(t))).num_steps == 20


def test_a_network_that_mixes_its_own_predictions_answers_with_the_mix() -> None:
    class Mixes(Net):
        def forward(self, x: Tensor, t: Tensor, y: Tensor, strength: float = 1.0) -> Tensor:  # type: ignore[override]
            if strength != 1:
                told, free = self.forward(x, t, y), self.forward(x, t, N)
                return free + strength * (told - free)
            return super().forward(x, t, y)

    net, answers = Mixes(), []

    def call(x: Tensor, t: int) -> Tensor:
        answers.append(net(x, full(t), Y, strength=3.0))
        return answers[-1]

    found = record(net, call)
    np.testing.assert_allclose(found.eps_pred, torch.stack(answers, dim=1).numpy(), atol=1e-6)
    assert found.labels.tolist() == [3, 4]


@pytest.mark.parametrize("mix", [lambda cond, uncond: cond.mean(), lambda cond, uncond: cond.numpy()])  # noqa: ARG005
def test_a_mix_of_another_shape_is_refused(mix: Any) -> None:
    net = Net()
    with pytest.raises(VizdiffUsageError, match=r"`?guidance_mix`? must return a tensor of the predictions' shape"):
        record(net, lambda x, t: calls_of(3, 10)(net, x, t), null_label=10, guidance_mix=mix)


# -- states ----------------------------------------------------------------------------------------


def test_channels_that_stay_the_same_are_a_condition() -> None:
    """A condition joined to x, and a learned variance, have as many channels as the answer."""
    net, beside = Net(6, 6), torch.randn(2, 3, 8, 8)

    def call(x: Tensor, t: int) -> Tensor:
        return net(torch.cat([x, beside], dim=1), full(t))[:, :3]

    with pytest.raises(VizdiffUsageError, match=r"channels 3, 4, 5 of x are the same .*state_channels=slice"):
        record(net, call, channels=3)
    assert record(net, call, channels=3, state_channels=slice(0, 3)).x_t.shape == (2, 20, 3, 8, 8)


@pytest.mark.parametrize("count", [2, 20])
def test_correctors_are_no_images_of_a_batch(count: int) -> None:
    net = Net()

    def sample(**options: Any) -> Trajectory:
        x = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
        with torch.no_grad(), Recorder(net, S, **options) as recorder:
            for t in (19, 12, 6, 0):
                for _ in range(count):
                    x = x - 0.02 * net(x, full(t)) + 0.1 * torch.randn_like(x)
            recorder.finish(x)
        return recorder.trajectory()

    with pytest.raises(VizdiffUsageError, match=rf"follow from each other .*evaluations_per_step={count}"):
        sample()
    found = sample(evaluations_per_step=count)
    assert found.timesteps.tolist() == [19, 12, 6, 0]
    assert found.inner_steps is not None
    assert len(found.inner_steps) == 4 * (count - 1)


def test_a_network_that_changes_x_in_place() -> None:
    class InPlace(Net):
        def forward(self, x: Tensor, t: Tensor) -> Tensor:  # type: ignore[override]  # noqa: ARG002
            x += 1
            return self.conv(x)

    net, states = InPlace(), []

    def call(x: Tensor, t: int) -> Tensor:
        states.append(x.clone())
        return net(x, full(t))

    np.testing.assert_array_equal(record(net, call).x_t, torch.stack(states, dim=1).numpy())


def test_noise_levels_and_scaled_states_need_their_schedule_and_module() -> None:
    class Scaled(nn.Module):
        def forward(self, x: Tensor, sigma: Tensor) -> Tensor:  # noqa: ARG002
            return 0.3 * x

    net, x = Scaled(), torch.randn(2, 1, 8, 8)
    with pytest.raises(VizdiffUsageError, match=r"sigma is 14\.6, no timestep .*from_sigmas"):
        record_one(net, NoiseSchedule.named("linear"), 14.6 * x, 14.6)
    levels = NoiseSchedule.from_sigmas(np.geomspace(0.01, 80, 100))
    with pytest.raises(VizdiffUsageError, match=r"at σ = 80 .* root mean square of .* scaled before"):
        record_one(net, levels, x, 80.0)
    with pytest.raises(VizdiffUsageError, match=r"t = -0\.2, and noise levels σ are above 0"):
        record_one(net, levels, x, -0.2)
    record_one(net, levels, 80 * x, 80.0)


def record_one(net: nn.Module, schedule: NoiseSchedule, x: Tensor, t: float) -> None:
    with torch.no_grad(), Recorder(net, schedule, prediction_type="sample"):
        net(x, torch.tensor(t))


@pytest.mark.parametrize("spread", [1.0, 8.0, 20.0])
def test_noise_in_data_of_any_power_is_recorded_unsaid(spread: float) -> None:
    """Points and latents need not be normalised: the exact network of points that are N(0, spread²)."""
    schedule = NoiseSchedule.named("linear")

    class Points(nn.Module):
        def forward(self, x: Tensor, t: Tensor) -> Tensor:
            a, b = (float(values[int(t)]) for values in (schedule.signal_scale, schedule.noise_scale))
            return b / (a**2 * spread**2 + b**2) * x

    net, x = Points(), torch.randn(500, 2, generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), Recorder(net, schedule) as recorder:
        for t in range(999, -1, -20):
            eps = net(x, torch.tensor(t))
            share, after = schedule.alphas_cumprod[t], schedule.alphas_cumprod[t - 20] if t > 20 else 1.0
            x = after**0.5 * (x - (1 - share) ** 0.5 * eps) / share**0.5 + (1 - after) ** 0.5 * eps
    assert recorder.trajectory().prediction_type == "epsilon"


# -- arguments -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "time", [np.int64, np.float32, lambda t: [t, t], lambda t: np.array([t, t]), lambda t: np.array(t)]
)
@pytest.mark.parametrize("labels", [Y, Y[:, None], [3, 4], np.array([3, 4])])
def test_numbers_of_any_kind(time: Any, labels: Any) -> None:
    class Plain(Net):
        def forward(self, x: Tensor, t: Any, y: Any) -> Tensor:  # type: ignore[override]  # noqa: ARG002
            return self.conv(x)

    net = Plain()
    found = record(net, lambda x, t: net(x, time(t), labels))
    assert found.timesteps.tolist() == list(range(19, -1, -1))
    assert found.labels.tolist() == [3, 4]


@pytest.mark.parametrize("name", ["mask", "batch", "lengths"])
def test_whole_numbers_that_are_no_labels(name: str) -> None:
    net = Net()
    net.forward = _forward_with(name, net.conv)  # type: ignore[method-assign]
    assert record(net, lambda x, t: net(x, full(t), torch.tensor([0, 1]))).labels.tolist() == [-1, -1]


def _forward_with(name: str, conv: nn.Module) -> Any:
    space: dict[str, Any] = {"conv": conv}
    exec(f"def forward(x, t, {name}):\n    return conv(x)\n", space)
    return space["forward"]


def test_what_is_no_schedule_and_no_slice_is_refused() -> None:
    with pytest.raises(VizdiffUsageError, match=r"`?schedule`? must be a NoiseSchedule, .* found Tensor"):
        Recorder(Net(), torch.linspace(1e-4, 0.02, 20))  # type: ignore[arg-type]
    with pytest.raises(VizdiffUsageError, match=r"`?state_channels`? must be a slice, .* found list"):
        Recorder(Net(), S, state_channels=[0])  # type: ignore[arg-type]


# -- what happens to the network inside the block ----------------------------------------------------


def traces(net: nn.Module) -> list[str]:
    """Return what of a Recorder a module holds."""
    names = [name for name in ("forward", "__reduce_ex__", "__deepcopy__") if name in vars(net)]
    return names + [str(key) for one in net.modules() for key in (*one._forward_hooks, *one._forward_pre_hooks)]


@pytest.mark.parametrize("first_ends_first", [False, True])
def test_two_recorders_end_in_any_order(first_ends_first: bool) -> None:
    net, x = Net(), torch.randn(2, 1, 8, 8)
    one, other = Recorder(net, S), Recorder(net, S)
    with torch.no_grad():
        one.__enter__()
        other.__enter__()
        net(x, full(19))
        assert traces(copy.deepcopy(net)) == []
        for recorder in (one, other) if first_ends_first else (other, one):
            recorder.__exit__(None, None, None)
            assert traces(pickle.loads(pickle.dumps(net))) == []
            net.forward(x, full(10))
    steps = [recorder.trajectory().num_steps for recorder in (one, other)]
    assert steps == ([1, 2] if first_ends_first else [2, 1])
    assert traces(net) == []


def test_a_forward_that_the_program_replaces_stays_and_is_not_recorded_later() -> None:
    net, x = Net(), torch.randn(2, 1, 8, 8)
    with torch.no_grad(), Recorder(net, S) as recorder:
        before = net.forward

        @wraps(before)
        def twice(*args: Any, **kwargs: Any) -> Tensor:
            return 2 * before(*args, **kwargs)

        net.forward = twice  # type: ignore[method-assign]
        answer = net(x, full(19))
    assert net.forward is twice
    np.testing.assert_array_equal(recorder.trajectory().eps_pred[:, 0], answer.numpy())
    with torch.no_grad():
        assert torch.equal(net.forward(x, full(19)), answer)
    assert recorder.trajectory().num_steps == 1


def test_modules_that_copy_themselves() -> None:
    """A parametrized module and a traced graph have a ``__deepcopy__`` of their own, which copies hooks."""
    net = Net()
    nn.utils.parametrizations.weight_norm(net.conv)
    graph = torch.fx.symbolic_trace(_Plain())
    x = torch.randn(2, 1, 8, 8)
    with torch.no_grad(), Recorder(net, S, activations=["conv"]) as recorder, Recorder(graph, S) as other:
        net(x, full(19))
        graph(x, full(19))
        copied, copied_graph = copy.deepcopy(net), copy.deepcopy(nn.Sequential(graph))[0]
        copied_graph(x, full(3))
        assert torch.equal(copied(x, full(3)), net.conv(x))
    assert traces(copied) == traces(copied_graph) == traces(copied.conv) == []
    assert traces(net) == traces(net.conv) == traces(graph) == []
    assert recorder.trajectory().num_steps == other.trajectory().num_steps == 1


class _Plain(nn.Module):
    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return 0.3 * x + 0 * t.sum()


def test_threads_record_each_pass_once() -> None:
    """The passes of threads that meet inside the network: each is recorded once, not twice and not never."""
    meeting = threading.Barrier(2, timeout=20)

    class Meets(Net):
        def forward(self, x: Tensor, t: Tensor) -> Tensor:  # type: ignore[override]  # noqa: ARG002
            meeting.wait()
            return self.conv(x)

    net = Meets()
    with Recorder(net, S, prediction_type="epsilon") as recorder:
        threads = [threading.Thread(target=net, args=(torch.randn(1, 1, 8, 8), full(19, 1))) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [one.num_images for one in recorder.trajectories()] == [1, 1]
