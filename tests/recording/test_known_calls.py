"""What a loop passes unchanged is read once, and whatever changed is seen, however it was changed."""

from __future__ import annotations

import gc
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.recording import arguments
from viz_diffusion.recording.conditions import condition_numbers
from viz_diffusion.recording.known_calls import KnownCalls
from viz_diffusion.recording.recorder import Recorder

SCHEDULE = NoiseSchedule.named("linear", 10)
X = torch.arange(8.0).reshape(2, 1, 2, 2)
T = torch.tensor([3, 3])


class Net(nn.Module):
    def forward(self, x: Tensor, t: Tensor, emb: Tensor | None = None, **_: Any) -> Tensor:  # noqa: ARG002
        return x if emb is None else x + 1e-3 * emb.reshape(2, 1, 1, -1).mean(dim=3, keepdim=True)


def known(*args: Any, **kwargs: Any) -> KnownCalls[str]:
    calls: KnownCalls[str] = KnownCalls()
    calls.add(args, kwargs, (0, 1), "read")
    return calls


def test_a_call_is_known_whatever_x_and_t_hold() -> None:
    calls = known(X, T, c=torch.ones(2, 3), scale=2.0, name="a", none=None)
    same = {"c": torch.ones(2, 3), "scale": 2.0, "name": "a", "none": None}
    assert calls.find((X * 7, T - 1), same) == "read"


@pytest.mark.parametrize(
    "other",
    [
        ((X, T), {}),
        ((X, T), {"c": torch.ones(2, 3).double()}),
        ((X, T), {"c": torch.ones(2, 1)}),
        ((X, T), {"c": torch.tensor([[1, 1, 1], [1, 1, 0.0]])}),
        ((X, T), {"d": torch.ones(2, 3)}),
        ((X, T), {"c": 1.0}),
        ((X, T, torch.ones(2, 3)), {}),
        ((X[:1], T), {"c": torch.ones(2, 3)}),
        ((X, T[0]), {"c": torch.ones(2, 3)}),
        ((X, 3), {"c": torch.ones(2, 3)}),
    ],
)
def test_any_other_difference_is_read_anew(other: tuple[tuple[Any, ...], dict[str, Any]]) -> None:
    assert known(X, T, c=torch.ones(2, 3)).find(*other) is None


@pytest.mark.parametrize("value", [float("nan"), torch.full((2,), float("nan")), [1, 2], {"a": 1}, np.ones(2)])
def test_values_that_cannot_be_compared_are_read_each_time(value: Any) -> None:
    assert known(X, T, c=value).find((X, T), {"c": value}) is None


def test_numbers_of_another_type_differ() -> None:
    assert known(X, T, c=1).find((X, T), {"c": True}) is None
    assert known(X, T, c=1).find((X, T), {"c": 1.0}) is None


def test_the_latest_four_calls_are_known() -> None:
    calls = known(X, T, c=0)
    for number in range(1, 5):
        calls.add((X, T), {"c": number}, (0, 1), str(number))
    assert [calls.find((X, T), {"c": number}) for number in range(5)] == [None, "1", "2", "3", "4"]


CHANGES: dict[str, Callable[[Tensor], object]] = {
    "in place": lambda emb: emb.add_(1),
    "through .data": lambda emb: emb.data.add_(1),  # no version counter shows it
    "through NumPy": lambda emb: np.add(emb.numpy(), 1, out=emb.numpy()),  # nor this
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_condition_changed_in_one_tensor_tells_the_halves_of_guidance_apart(
    change: Callable[[Tensor], object],
) -> None:
    net, emb = Net(), torch.zeros(2, 3)
    options: dict[str, Any] = {"guidance_order": "conditional_first", "guidance_scale": 2.0}
    with Recorder(net, SCHEDULE, prediction_type="epsilon", **options) as rec:
        for t in (3, 2, 1, 0):
            x = X + t**2 * torch.arange(8.0).reshape(2, 1, 2, 2).flip(0)
            emb.zero_()
            net(x, torch.tensor([t, t]), emb)
            change(emb)
            net(x, torch.tensor([t, t]), emb)
    found = rec.trajectory()
    assert found.eps_cond is not None
    assert found.eps_uncond is not None
    assert np.allclose(found.eps_uncond, found.eps_cond + 1e-3, rtol=0, atol=1e-5)  # too like to tell them apart


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_labels_changed_in_one_tensor_are_recorded(change: Callable[[Tensor], object]) -> None:
    net, labels = Net(), torch.tensor([4, 5])
    with Recorder(net, SCHEDULE, prediction_type="epsilon") as rec:
        for sampling in range(2):
            for t in (3, 2, 1):
                net(X * (t + sampling) + t, torch.tensor([t, t]), labels=labels)
            change(labels)
    assert [one.labels.tolist() for one in rec.trajectories()] == [[4, 5], [5, 6]]


def test_a_network_that_changes_its_labels_does_not_change_what_is_recorded() -> None:
    class Changing(Net):
        def forward(self, x: Tensor, t: Tensor, labels: Tensor) -> Tensor:  # type: ignore[override]
            labels.data.fill_(9)
            t.data.fill_(0)
            return x * 1

    net = Changing()
    with Recorder(net, SCHEDULE, prediction_type="epsilon") as rec:
        for t in (3, 2, 1):
            net(X * t + t, torch.tensor([t, t]), torch.tensor([4, 5]))
    assert rec.trajectory().labels.tolist() == [4, 5]
    assert rec.trajectory().timesteps.tolist() == [3, 2, 1]


def test_a_mask_that_becomes_a_probability_is_no_mask() -> None:
    net = Net()
    with Recorder(net, SCHEDULE, prediction_type="epsilon") as rec:
        for t, drop in ((3, 0.0), (2, 1.0), (1, 0.5)):
            net(X * t + t, torch.tensor([t, t]), cond_drop_prob=drop)
    dropped = [one.dropped for one in rec._events]  # type: ignore[union-attr]
    assert [None if one is None else one.tolist() for one in dropped] == [[False, False], [True, True], None]


def test_an_argument_with_two_roles_is_read_each_time() -> None:
    net = Net()
    roles = {"t": "c", "labels": "c"}
    with Recorder(net, SCHEDULE, prediction_type="epsilon", arguments=roles) as rec:
        for t in (3, 2, 1):
            net(X * t + t, None, c=torch.tensor([t, t]))
    assert [one.labels.tolist() for one in rec._events] == [[3, 3], [2, 2], [1, 1]]  # type: ignore[union-attr]


@pytest.mark.parametrize(("num_embeddings", "times"), [(1, 1), (2, 2)])
def test_conditions_are_numbered_once_for_all_steps(
    num_embeddings: int, times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cost of a pass does not hold the reading of what every pass is given."""
    counted: list[int] = []

    def counting(others: Any, count: int) -> Any:
        counted.append(count)
        return condition_numbers(others, count)

    monkeypatch.setattr(arguments, "condition_numbers", counting)
    net = Net()
    with Recorder(net, SCHEDULE, guidance_order="conditional_first", guidance_scale=2.0, prediction_type="epsilon"):
        for t in range(9, -1, -1):
            for number in range(num_embeddings):
                net(X * t + t, torch.tensor([t, t]), emb=torch.full((2, 3), float(number)))
    assert len(counted) == times


def test_a_zero_of_either_sign_is_one_condition() -> None:
    plus, minus = (condition_numbers({"c": torch.tensor([zero, 1.0])}, 2)["c"] for zero in (0.0, -0.0))
    assert np.array_equal(plus, minus)


def _nested(*lengths: int, value: float = 1.0, layout: torch.layout = torch.jagged) -> Tensor:
    rows = [torch.full((length, 3), value) for length in lengths]
    return torch.nested.nested_tensor(rows, layout=layout)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning")
@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support:UserWarning")
@pytest.mark.parametrize("told", ["alone", "in a mapping"])
@pytest.mark.parametrize(
    "make",
    [
        lambda value: _nested(3, 2, value=value),
        lambda value: _nested(3, 2, value=value, layout=torch.strided),
        lambda value: torch.full((2, 3), value).to_sparse(),
        lambda value: torch.full((2, 3), value).to_sparse_csr(),
    ],
    ids=["nested", "nested and strided", "sparse", "sparse rows"],
)
def test_conditions_of_any_layout(make: Callable[[float], Tensor], told: str) -> None:
    """Texts of different lengths come as a nested tensor, which has no shape; they tell the halves apart."""

    class Told(nn.Module):
        def forward(self, x: Tensor, t: Tensor, context: Any, shift: float) -> Tensor:  # noqa: ARG002
            return x + shift

    net = Told()
    options: dict[str, Any] = {"guidance_order": "conditional_first", "guidance_scale": 2.0}
    with Recorder(net, SCHEDULE, prediction_type="epsilon", clip=False, **options) as rec:
        for t in (3, 2, 1):
            x = X + t**2 * torch.arange(8.0).reshape(2, 1, 2, 2).flip(0)
            for value in (1.0, 0.0):
                context = make(value + 1)
                net(x, torch.tensor([t, t]), context if told == "alone" else {"text": context}, shift=value)
    found = rec.trajectory()
    assert found.eps_uncond is not None
    np.testing.assert_allclose(found.eps_pred - found.eps_uncond, 2.0)
    assert found.labels.tolist() == [-1, -1]


@pytest.mark.parametrize("fails", [False, True])
def test_nothing_of_the_calls_is_kept_after_the_block(fails: bool) -> None:
    net, shapes = Net(), (2, 1, 1237)

    def copies() -> int:
        gc.collect()
        return sum(type(one) is Tensor and one.shape == shapes for one in gc.get_objects())

    recorder = Recorder(net, SCHEDULE, prediction_type="epsilon")
    with suppress(ZeroDivisionError), recorder:
        for t in (3, 2, 1):
            net(X * t + t, torch.tensor([t, t]), emb=torch.zeros(shapes))
        assert copies() == 1
        if fails:
            raise ZeroDivisionError
    assert copies() == 0
    assert recorder.trajectory().num_steps == 3
