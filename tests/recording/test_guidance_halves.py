"""The two halves of guidance in other programs' loops: doubled batches, two calls, masks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from foreign_networks import S, Y, full, record
from torch import Tensor, nn

from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.recording.recorder import Recorder


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


def _first_half_only(cond: Tensor, uncond: Tensor) -> Tensor:
    cond[:, :, :4] = uncond[:, :, :4] + 3 * (cond[:, :, :4] - uncond[:, :, :4])
    return cond


def _in_uncond(cond: Tensor, uncond: Tensor) -> Tensor:
    return uncond.mul_(-1).add_(cond.mul_(2))


@pytest.mark.parametrize("mix", [_first_half_only, _in_uncond])
@pytest.mark.parametrize("stored", [False, True])
def test_a_mix_that_is_made_in_place_changes_neither_half(mix: Any, stored: bool, tmp_path: Path) -> None:
    net, options = Guided(), dict[str, Any](store=tmp_path / "a.zarr") if stored else {}
    answers: list[list[Tensor]] = []

    def call(x: Tensor, t: int) -> Tensor:
        cond, uncond = net(x, full(t), Y, drop=ZEROS), net(x, full(t), Y, drop=ONES)
        answers.append([cond, uncond, mix(cond.clone(), uncond.clone())])
        return answers[-1][2]

    found = record(net, call, guidance_mix=mix, prediction_type="epsilon", clip=False, **options)
    for number, values in enumerate((found.eps_cond, found.eps_uncond, found.eps_pred)):
        np.testing.assert_array_equal(values, torch.stack([one[number] for one in answers], dim=1).numpy())


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
