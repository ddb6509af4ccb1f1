"""Arguments of other programs' networks: their roles, found by name and shape, or said."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from foreign_networks import Y, full, make, record
from torch import Tensor, nn

from viz_diffusion.errors import VizdiffUsageError

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


BESIDES: dict[str, tuple[str, Callable[..., Tensor], str]] = {
    "a condition called image": ("latents, t, image", lambda net, x, t, beside: net(x, t, beside), "latents"),
    "one called img": ("noisy, time, img", lambda net, x, t, beside: net(x, t, img=beside), "noisy"),
    "by keyword": ("latents, timestep, image", lambda net, x, t, b: net(image=b, timestep=t, latents=x), "latents"),
    "x called img": ("img, t, guide", lambda net, x, t, beside: net(x, t, beside), "img"),
    "x called image behind a condition": ("guide, image, t", lambda net, x, t, beside: net(beside, x, t), "image"),
    "x called image behind t": ("t, image", lambda net, x, t, beside: net(t, x), "image"),  # noqa: ARG005
    "an embedding before": ("emb, t, img", lambda net, x, t, beside: net(beside[:, 0, 0], t, x), "img"),
}


@pytest.mark.parametrize("name", BESIDES)
def test_an_image_may_be_x_or_a_condition(name: str) -> None:
    """A name that x and a condition share decides only where the order of the arguments does not speak against it."""
    names, call, state = BESIDES[name]
    net, states, beside = make(names), [], torch.rand(2, 1, 8, 8)
    net.forward = _of_state(names, state, net.conv)  # type: ignore[assignment, arg-type]

    def ask(x: Tensor, t: int) -> Tensor:
        states.append(x)
        return call(net, x, full(t), beside)

    if name == "by keyword":  # the condition comes first: nothing tells, until the next step
        with pytest.raises(VizdiffUsageError, match=r"taken for x is the same .* latents changed: .*arguments="):
            record(net, ask)
        states.clear()
    options = {"arguments": {"x": state}} if name == "by keyword" else {}
    found = record(net, ask, **options)
    assert found.conventions["x"] == state
    assert found.x_t.tolist() == torch.stack(states, dim=1).tolist()


def _of_state(names: str, state: str, conv: nn.Module) -> Callable[..., Tensor]:
    space: dict[str, Any] = {"conv": conv}
    exec(f"def forward({names}):\n    return conv({state})\n", space)
    forward: Callable[..., Tensor] = space["forward"]
    return forward


@pytest.mark.parametrize("names", ["img, noisy, t", "x, latents, t", "sample, latent, t"])
def test_a_condition_taken_for_x_is_seen_at_the_next_step(names: str) -> None:
    first, state = names.split(", ")[:2]
    net, beside = make(names), torch.rand(2, 1, 8, 8)
    net.forward = _of_state(names, state, net.conv)  # type: ignore[assignment, arg-type]
    with pytest.raises(VizdiffUsageError, match=rf"taken for x is the same .* {state} changed: .*arguments="):
        record(net, lambda x, t: net(beside, x, full(t)))
    assert record(net, lambda x, t: net(beside, x, full(t)), arguments={"x": state}).conventions["x"] == state
    assert first != state


@pytest.mark.parametrize("place", [-4, -9, 3, 100])
def test_a_position_outside_of_the_call_is_refused(place: int) -> None:
    net = make("x, t, y")
    with pytest.raises(VizdiffUsageError, match=rf"says that x is {place}, and the denoiser was called with x, t, y"):
        record(net, lambda x, t: net(x, full(t), Y), arguments={"x": place})


def test_a_position_may_be_counted_from_the_end() -> None:
    net = make("x, y, s, step")
    found = record(net, lambda x, t: net(x, Y, full(0), full(t)), arguments={"t": -1, "labels": -3})
    assert found.conventions["t"] == "step"
    assert found.labels.tolist() == [3, 4]
