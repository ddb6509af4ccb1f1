"""Noise predictions in batches: each image's own input, whatever the batch, and the forms that inputs may have."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from viz_diffusion.diffusion.oracles import GaussianOracle
from viz_diffusion.diffusion.prediction import device_of, predict_noise
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.diffusion.unet import SimpleUNet


class Weighted(nn.Module):
    """Predicts x + 1000 y + t, so that every image shows which t and label it met; y counts 100 where there is none."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.calls: list[tuple[int, int]] = []

    def forward(self, x: Tensor, timesteps: Tensor, *labels: Tensor) -> Tensor:
        self.calls.append((len(x), len(labels)))
        assert timesteps.shape == (len(x),)
        y = labels[0] if labels else torch.full_like(timesteps, 100)
        assert y.shape == (len(x),)
        return self.scale * x + (1000 * y + timesteps)[:, None, None, None]


@pytest.mark.parametrize(("batch_size", "sizes"), [(3, [3, 3, 1]), (7, [7]), (200, [7]), (1, [1] * 7)])
def test_each_image_meets_its_own_timestep_and_label_in_any_batch(batch_size: int, sizes: list[int]) -> None:
    denoiser, x = Weighted(), torch.arange(7.0)[:, None, None, None] / 8
    t, labels = torch.tensor([5, 0, 999, 3, 3, 7, 1]), torch.tensor([0, 9, 10, 1, 2, 3, 3])
    found = predict_noise(denoiser, x, t, labels, batch_size=batch_size)
    assert found.flatten().tolist() == [0 / 8 + 5, 9000.125, 10999.25, 1003.375, 2003.5, 3007.625, 3001.75]
    assert denoiser.calls == [(size, 1) for size in sizes]
    assert not found.requires_grad


def test_one_number_is_meant_for_all_and_no_label_is_no_argument() -> None:
    denoiser, x = Weighted(), torch.zeros(5, 1, 1, 1)
    assert predict_noise(denoiser, x, 7, 3, batch_size=2).flatten().tolist() == [3007.0] * 5
    assert predict_noise(denoiser, x, 7, batch_size=4).flatten().tolist() == [100_007.0] * 5
    assert denoiser.calls == [(2, 1), (2, 1), (1, 1), (4, 0), (1, 0)]


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_predictions_are_float32(dtype: torch.dtype) -> None:
    assert predict_noise(lambda x, t: x, torch.ones(2, 1, 2, 2, dtype=dtype), 0).dtype == torch.float32  # noqa: ARG005


def test_a_network_predicts_what_it_predicts_of_each_image(make_unet: Callable[..., SimpleUNet]) -> None:
    unet, generator = make_unet(), torch.Generator().manual_seed(0)
    x = torch.randn(5, 1, 28, 28, generator=generator)
    t, labels = torch.tensor([0, 999, 500, 3, 500]), torch.tensor([3, 10, 0, 9, 3])
    single = torch.cat([unet(x[k : k + 1], t[k : k + 1], labels[k : k + 1]) for k in range(5)])
    found = predict_noise(unet, x, t, labels, batch_size=2)
    torch.testing.assert_close(found, single, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(found, predict_noise(unet, x, t, labels.flip(0), batch_size=2), atol=1e-3)


def test_the_device_is_that_of_parameters_or_buffers_and_else_the_cpu(linear: NoiseSchedule) -> None:
    assert device_of(nn.Linear(2, 2, device="meta")) == torch.device("meta")
    oracle = GaussianOracle(linear, torch.zeros(4).numpy(), torch.eye(4).numpy())
    assert device_of(oracle.to("meta")) == torch.device("meta")  # it has buffers alone
    assert device_of(nn.ReLU()) == device_of(lambda x: x) == torch.device("cpu")
