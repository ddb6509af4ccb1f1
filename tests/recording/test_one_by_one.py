"""Several evaluations at each timestep: images that a loop takes one by one, or one image that it resamples."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.recording.recorder import Recorder

S = NoiseSchedule.named("linear")


class Exact(nn.Module):
    """The exact ε-network of data that are some known images."""

    def __init__(self, images: Tensor) -> None:
        super().__init__()
        self.images = images

    def forward(self, x: Tensor, t: Tensor, rows: slice = slice(None)) -> Tensor:
        share = torch.tensor(S.alphas_cumprod)[t].float()[:, None, None, None]
        return (x - share.sqrt() * self.images[rows]) / (1 - share).sqrt()


class Ancestral:
    """A DDPM loop with long strides, whose steps hardly resemble each other."""

    def __init__(self, shape: tuple[int, ...], stride: int, *, redraws: bool = False) -> None:
        self.random = torch.Generator().manual_seed(0)
        self.net = Exact(2 * torch.rand(shape, generator=self.random) - 1)
        self.times = [*range(999, 0, -stride), -1]
        self.redraws = redraws
        self.start = self.noise(shape)

    def noise(self, shape: tuple[int, ...]) -> Tensor:
        return torch.randn(shape, generator=self.random)

    def step(self, x: Tensor, t: int, after: int, rows: slice = slice(None)) -> Tensor:
        eps, share, next_share = self.net(x, torch.full((len(x),), t), rows), S.alphas_cumprod[t], self.share(after)
        x0 = (x - (1 - share) ** 0.5 * eps) / share**0.5
        if self.redraws:
            return next_share**0.5 * x0 + (1 - next_share) ** 0.5 * self.noise(x.shape)
        beta = 1 - share / next_share
        mean = next_share**0.5 * beta / (1 - share) * x0 + (1 - beta) ** 0.5 * (1 - next_share) / (1 - share) * x
        return mean + (beta * (1 - next_share) / (1 - share)) ** 0.5 * self.noise(x.shape)

    def back(self, x: Tensor, t: int, after: int) -> Tensor:
        share = S.alphas_cumprod[t] / self.share(after)
        return share**0.5 * x + (1 - share) ** 0.5 * self.noise(x.shape)

    @staticmethod
    def share(t: int) -> float:
        return 1.0 if t < 0 else float(S.alphas_cumprod[t])


def repaint(loop: Ancestral, resamplings: int, **options: Any) -> Recorder:
    x = loop.start
    with torch.no_grad(), Recorder(loop.net, S, prediction_type="epsilon", **options) as recorder:
        for t, after in itertools.pairwise(loop.times):
            for number in range(resamplings):
                x = loop.step(x, t, after)
                if number < resamplings - 1 and after >= 0:
                    x = loop.back(x, t, after)
    return recorder


@pytest.mark.parametrize("stride", [250, 100, 20])
@pytest.mark.parametrize("resamplings", [2, 5])
@pytest.mark.parametrize("count", [1, 3])
def test_the_states_of_repaint_are_no_images_of_a_batch(
    stride: int, resamplings: int, count: int, tmp_path: Path
) -> None:
    shape = (count, 1, 28, 28)
    for options in ({}, {"store": tmp_path / "a.zarr"}):
        with pytest.raises(VizdiffUsageError, match=rf"resampling of RePaint.*evaluations_per_step={resamplings}"):
            repaint(Ancestral(shape, stride), resamplings, **options).trajectory()
    loop = Ancestral(shape, stride)
    found = repaint(loop, resamplings, evaluations_per_step=resamplings).trajectory()
    assert found.timesteps.tolist() == loop.times[:-1]
    assert found.num_images == count


@pytest.mark.parametrize("redraws", [False, True])
@pytest.mark.parametrize("same_image", [False, True])
@pytest.mark.parametrize("shape", [(4, 1, 1, 2), (4, 1, 4, 4), (4, 1, 12, 12)])
@pytest.mark.parametrize("rows_at_once", [1, 2])
def test_images_one_by_one_are_recorded_however_the_loop_steps(
    shape: tuple[int, ...], same_image: bool, redraws: bool, rows_at_once: int
) -> None:
    """Long strides, noise that is drawn anew at each step, images that all end the same."""
    loop, states = Ancestral(shape, 50, redraws=redraws), []
    if same_image:
        loop.net.images[:] = loop.net.images[0]
    x, rows = loop.start, [slice(first, first + rows_at_once) for first in range(0, 4, rows_at_once)]
    with torch.no_grad(), Recorder(loop.net, S, prediction_type="epsilon", clip=False) as recorder:
        for t, after in itertools.pairwise(loop.times):
            states.append(x)
            x = torch.cat([loop.step(x[row], t, after, row) for row in rows])
    np.testing.assert_array_equal(recorder.trajectory().x_t, torch.stack(states, dim=1).numpy())


def test_a_sampling_that_diverges_is_recorded() -> None:
    net, x = nn.Conv2d(1, 1, 1), torch.randn(2, 1, 8, 8)

    class Net(nn.Module):
        def forward(self, x: Tensor, t: Tensor) -> Tensor:
            return net(x) if int(t) > 500 else torch.full_like(x, torch.nan)

    one = Net()
    with torch.no_grad(), Recorder(one, S, prediction_type="epsilon", clip=False) as recorder:
        for t in (900, 600, 300, 100):
            x = torch.cat([row[None] - one(row[None], torch.tensor([t])) for row in x])
    assert np.isnan(recorder.trajectory().eps_pred[:, 2]).all()
