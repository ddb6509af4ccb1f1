"""What a Recorder cannot see in the arguments: conditions elsewhere, and whole numbers that are no labels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conditioned_network import Net, S, full, record
from torch import Tensor, nn

from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.recording.recorder import Recorder

Y, N = torch.tensor([3, 4]), torch.tensor([10, 10])

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


class Weak(Net):
    """A network whose hidden condition changes the answer by a share that falls with t, to nothing at the end."""

    def forward(self, x: Tensor, t: Tensor) -> Tensor:  # type: ignore[override]
        shares = torch.where(t >= 16, 0.3, torch.where(t >= 8, 5e-3, torch.where(t >= 2, 3e-4, 0.0)))
        return x + self.shift * shares.view(-1, 1, 1, 1) * x.flip(-1)


@pytest.mark.parametrize("order", [(1.0, 0.0), (0.0, 1.0)])
@pytest.mark.parametrize("stored", [False, True])
def test_halves_that_hardly_differ_are_both_recorded(order: tuple[float, float], stored: bool, tmp_path: Path) -> None:
    net, used = Weak(), []

    def call(x: Tensor, t: int) -> Tensor:
        found = {}
        for net.shift in order:
            found[net.shift] = net(x, full(t))
        used.append(found[0.0] + 7.5 * (found[1.0] - found[0.0]))
        return used[-1]

    options: dict[str, Any] = {"guidance_order": "conditional_first" if order[0] else "unconditional_first"}
    options |= {"store": tmp_path / "a.zarr"} if stored else {}
    found = record(net, call, guidance_scale=7.5, prediction_type="epsilon", clip=False, **options)
    assert found.inner_steps is None
    assert found.eps_uncond is not None
    np.testing.assert_allclose(found.eps_pred, torch.stack(used, dim=1).numpy(), atol=1e-5)


@pytest.mark.parametrize("share", [0.3, 5e-3, 3e-4])
def test_halves_that_hardly_differ_are_asked_for(share: float) -> None:
    """Nothing was said of guidance, and the answers of float32 differ by more than rounding."""
    net = Net()

    def call(x: Tensor, t: int) -> Tensor:
        free, told = net(x, full(t)), net(x, full(t), cond={"c_crossattn": [share * TEXT]})
        return free + 7.5 * (told - free)

    def hidden_call(x: Tensor, t: int) -> Tensor:
        for net.shift in (0.0, 10 * share):
            answer = net(x, full(t))
        return answer

    for one in (call, hidden_call):
        with pytest.raises(VizdiffUsageError, match=r"evaluated twice for the same images.*guidance_order=…"):
            record(net, one, prediction_type="epsilon")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_an_evaluation_that_rounds_otherwise_is_the_same(dtype: torch.dtype) -> None:
    class Rounds(Net):
        passes = 0

        def forward(self, x: Tensor, t: Tensor) -> Tensor:  # type: ignore[override]  # noqa: ARG002
            self.passes += 1
            noise = torch.finfo(dtype).eps / 4 * (self.passes % 2)
            return (self.conv(x) * (1 + noise)).to(dtype)

    net = Rounds()
    found = record(net, lambda x, t: (net(x, full(t)), net(x, full(t)))[1].float(), prediction_type="epsilon")
    assert found.eps_uncond is None
    assert found.inner_steps is not None


def test_a_doubled_batch_evaluated_again_is_no_half() -> None:
    net = Net()
    text = [torch.cat([NO_TEXT, TEXT])]
    calls = [1]

    def call(x: Tensor, t: int) -> Tensor:
        for _ in calls:
            free, told = net(torch.cat([x, x]), full(t, 4), cond={"c_crossattn": text}).chunk(2)
        return free + 3 * (told - free)

    options: dict[str, Any] = {"guidance_scale": 3.0, "guidance_order": "unconditional_first"}
    once = record(net, call, **options)
    calls.append(2)
    np.testing.assert_array_equal(record(net, call, **options).eps_pred, once.eps_pred)


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


def embedded(*values: float) -> Callable[[Net, Tensor, int], Tensor]:
    return lambda net, x, t: [net(x, full(t), cond={"c_crossattn": [value * TEXT]}) for value in values].pop()


def hidden(*values: float) -> Callable[[Net, Tensor, int], Tensor]:
    def ask(net: Net, x: Tensor, t: int) -> Tensor:
        for net.shift in values:
            answer = net(x, full(t))
        return answer

    return ask


@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize("options", [{}, {"guidance_scale": 1.5}])
@pytest.mark.parametrize("ask", [embedded(0, 1, 2), embedded(0, 1, 0, 2), hidden(0, 1, 2), hidden(0, 1, 2, 3)])
def test_more_than_two_conditions_that_are_no_labels_are_refused_in_any_order(
    ask: Any, options: dict[str, Any], stored: bool, tmp_path: Path
) -> None:
    """Two guidances at once, as of InstructPix2Pix, by separate calls: the order that we ask for does not tell them."""
    net, options = Net(), {**options, **({"store": tmp_path / "a.zarr"} if stored else {})}
    with pytest.raises(
        VizdiffUsageError, match=r"more than twice for the same images.* record an nn\.Module whose forward mixes"
    ):
        record(net, lambda x, t: ask(net, x, t), guidance_order="unconditional_first", **options)


@pytest.mark.parametrize("again", [(3, 10, 3), (3, 10, 3, 10)])
def test_halves_evaluated_again_are_the_same_halves_or_refused(again: tuple[int, ...]) -> None:
    """A further conditional pass, such as for a preview, makes no unguided step of a guided one."""
    net = Net()
    options: dict[str, Any] = {"null_label": 10, "guidance_scale": 2.0}
    if len(again) % 2:
        with pytest.raises(VizdiffUsageError, match="more than twice"):
            record(net, lambda x, t: calls_of(*again)(net, x, t), **options)
    else:
        found = record(net, lambda x, t: calls_of(*again)(net, x, t), **options)
        assert found.eps_uncond is not None
        np.testing.assert_allclose(found.eps_cond - found.eps_uncond, 0.1 * (3 - 10), atol=1e-5)


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
