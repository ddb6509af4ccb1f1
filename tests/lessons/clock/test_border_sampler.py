"""DDIM with a timestep for each image: DDIM itself where it is the sampler's, and estimates that tell the truth."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from viz_diffusion.data import load_digits
from viz_diffusion.diffusion.oracles import TruthOracle
from viz_diffusion.diffusion.samplers import ImageNoise, ddim_steps
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.diffusion.timesteps import spaced_timesteps
from viz_diffusion.diffusion.unet import SimpleUNet
from viz_diffusion.lessons.clock import arms, border_sampler
from viz_diffusion.lessons.clock.border_estimate import estimate_from_border, estimate_timesteps
from viz_diffusion.lessons.clock.border_sampler import ddim_states, sample_by_border

SCHEDULE = NoiseSchedule.named("linear")


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_with_the_samplers_timestep_it_is_ddim_to_the_bit(eta: float, make_unet: Callable[..., SimpleUNet]) -> None:
    visited, labels, network = spaced_timesteps(1000, 7), torch.tensor([1, 4]), make_unet()
    given = iter(visited.tolist())
    states = ddim_states(
        network, SCHEDULE, ImageNoise([3, 4]), labels, visited, eta, lambda x: torch.full((len(x),), next(given))
    )
    steps = ddim_steps(network, SCHEDULE, ImageNoise([3, 4]), labels, timesteps=visited, eta=eta)
    for state, step in zip(states, steps, strict=True):
        assert torch.equal(state, step.x_prev)


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_an_estimate_below_the_next_timestep_counts_as_one_above_it(
    eta: float, make_unet: Callable[..., SimpleUNet]
) -> None:
    """No step adds noise that DDIM does not have; the coefficients stay real numbers."""
    visited, asked = np.array([900, 500, 100]), []

    def network(x: torch.Tensor, t: torch.Tensor, _labels: torch.Tensor) -> torch.Tensor:
        asked.append(t.tolist())
        return make_unet()(x, t)

    states = ddim_states(
        network, SCHEDULE, ImageNoise([1, 2]), torch.zeros(2, dtype=torch.int64), visited, eta,
        lambda _: torch.tensor([0, 999]),
    )  # fmt: skip
    assert all(torch.isfinite(state).all() for state in states)
    assert asked == [[501, 999], [101, 999], [0, 999]]


def test_noised_real_digits_tell_their_timestep_as_well_as_is_claimed() -> None:
    digits = load_digits("test").images[:400]
    black = (load_digits("train").images == -1).all(dim=0)
    assert black.sum() == 67
    timesteps = np.array([99, 499])
    promised, _, _ = estimate_from_border(SCHEDULE, int(black.sum()), timesteps, 2000)
    generator = torch.Generator().manual_seed(0)
    for t, error in zip(timesteps.tolist(), promised, strict=True):
        noise = torch.randn(digits.shape, generator=generator)
        x_t = SCHEDULE.add_noise(digits, noise, torch.full((400,), t))
        found = estimate_timesteps(x_t[:, black].numpy(), SCHEDULE)
        assert np.sqrt(np.square(found - t).mean()) == pytest.approx(error, rel=0.15)


class Asked(TruthOracle):
    """Keeps the timesteps that it gets."""

    def __init__(self, x0: torch.Tensor) -> None:
        super().__init__(SCHEDULE, x0)
        self.asked: list[torch.Tensor] = []

    def forward(self, x: torch.Tensor, timesteps: torch.Tensor, labels: torch.Tensor | None = None) -> torch.Tensor:
        self.asked.append(timesteps)
        return super().forward(x, timesteps, labels)


@pytest.mark.parametrize("sampler", arms.SAMPLERS)
def test_the_border_tells_the_sampler_where_it_is(sampler: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A denoiser that knows x_0 leads there, and on the way the estimates are near the timesteps of the sampler."""
    monkeypatch.setattr(border_sampler, "STEPS", 5)
    digits = load_digits("test").images[:20]
    black = (digits == -1).all(dim=0).numpy()
    oracle = Asked(digits)
    found = sample_by_border(oracle, SCHEDULE, black, sampler, 20)
    assert torch.allclose(found, digits, atol=1e-3)
    for asked, t, near in zip(oracle.asked[-3:], (599, 399, 199), (80, 40, 12), strict=True):
        assert float((asked - t).double().mean().abs()) < near
    grey = sample_by_border(other := Asked(digits), SCHEDULE, ~black, sampler, 20)
    assert torch.allclose(grey, digits, atol=1e-3)
    assert float((other.asked[-1] - 199).double().mean().abs()) > 50  # control: other pixels do not tell t
