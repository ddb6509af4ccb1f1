"""The timesteps of a sampler: by arithmetic, and compared with those of diffusers."""

from __future__ import annotations

import numpy as np
import pytest
from diffusers import DDIMScheduler

from viz_diffusion.diffusion.timesteps import SPACINGS, spaced_timesteps
from viz_diffusion.errors import VizdiffUsageError

EVERY = pytest.mark.parametrize("num_timesteps", [1, 2, 10, 257, 1000])


@EVERY
@pytest.mark.parametrize("spacing", SPACINGS)
def test_any_number_of_steps_begins_in_noise_and_falls(num_timesteps: int, spacing: str) -> None:
    for steps in range(1, num_timesteps + 1):
        visited = spaced_timesteps(num_timesteps, steps, spacing)
        assert visited.dtype == np.int64
        assert len(visited) == steps
        assert visited[0] == num_timesteps - 1
        assert np.all(np.diff(visited) < 0)
        assert visited[-1] >= 0


@EVERY
def test_trailing_strides_are_alike_the_last_one_included(num_timesteps: int) -> None:
    """The stride from the last visited timestep to the finished image (t = -1) counts too."""
    for steps in range(1, num_timesteps + 1):
        strides = -np.diff(np.append(spaced_timesteps(num_timesteps, steps), -1))
        assert np.abs(strides - num_timesteps / steps).max() <= 1


@EVERY
def test_linspace_ends_at_zero_in_even_strides(num_timesteps: int) -> None:
    for steps in range(2, num_timesteps + 1):
        visited = spaced_timesteps(num_timesteps, steps, "linspace")
        assert visited[-1] == 0
        assert np.abs(np.diff(visited) + (num_timesteps - 1) / (steps - 1)).max() <= 1


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("steps", [2, 3, 5, 6, 7, 10, 20, 25, 30, 50, 100, 250, 300, 333, 600, 999, 1000])
def test_they_are_diffusers_timesteps(steps: int, spacing: str) -> None:
    theirs = DDIMScheduler(timestep_spacing=spacing)
    theirs.set_timesteps(steps)
    assert spaced_timesteps(1000, steps, spacing).tolist() == theirs.timesteps.tolist()


def test_known_lists() -> None:
    assert spaced_timesteps(1000, 5).tolist() == [999, 799, 599, 399, 199]
    assert spaced_timesteps(1000, 7).tolist() == [999, 856, 713, 570, 428, 285, 142]
    assert spaced_timesteps(1000, 5, "linspace").tolist() == [999, 749, 500, 250, 0]
    for spacing in SPACINGS:
        assert spaced_timesteps(1000, 1, spacing).tolist() == [999]
        assert spaced_timesteps(1000, 1000, spacing).tolist() == list(range(999, -1, -1))


@pytest.mark.parametrize("steps", [-1, 0, 1001])
def test_impossible_step_counts_are_refused(steps: int) -> None:
    with pytest.raises(VizdiffUsageError, match=rf"1\.\.1000, found {steps}"):
        spaced_timesteps(1000, steps)


def test_leading_is_refused() -> None:
    """It never visits T-1, where the noise is drawn."""
    with pytest.raises(VizdiffUsageError, match="trailing or linspace, found 'leading'"):
        spaced_timesteps(1000, 5, "leading")
