"""Recordings that were written before the package's modules moved to folders: every value opens as it was."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cheap_denoiser import CheapDenoiser

from viz_diffusion.errors import VizdiffInputError
from viz_diffusion.recording.trajectory import Trajectory

FOLDER = Path(__file__).parents[1] / "data" / "before_second_house"
EXPECTED = json.loads((FOLDER / "expected.json").read_text("utf-8"))


def described(value: Any) -> Any:
    """Return an array as its dtype, shape and SHA-256, and anything else as it is; NaN as None."""
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {value.shape} {sha256(value.tobytes()).hexdigest()}"
    return None if isinstance(value, float) and np.isnan(value) else value


def stored(trajectory: Trajectory, name: str) -> Any:
    if name == "betas":
        return trajectory.schedule.betas
    group, _, module = name.partition("/")
    return trajectory.activations[module] if module else getattr(trajectory, group)


@pytest.mark.parametrize("name", EXPECTED)
def test_every_value_opens_as_it_was(name: str) -> None:
    found = Trajectory.open(FOLDER / name, allow_partial=True)
    assert {field: described(stored(found, field)) for field in EXPECTED[name]} == EXPECTED[name]
    assert len(EXPECTED[name]) >= 20, "control: the list of fields is whole"


def test_one_that_was_cut_off_is_refused_unless_allowed() -> None:
    with pytest.raises(VizdiffInputError, match=r"cut off after 4 of 6 steps of samples 0\.\.1 of 2"):
        Trajectory.open(FOLDER / "cut_off.zarr")


def test_fields_mean_what_they_meant() -> None:
    """The denoiser's predictions follow from the recorded states, timesteps and labels, to float32's precision."""
    found = Trajectory.open(FOLDER / "recording.zarr")
    denoiser = CheapDenoiser()
    for step, t in enumerate(found.timesteps.tolist()):
        x, at = torch.from_numpy(found.x_t[:, step]), torch.tensor([t, t])
        cond = denoiser(x, at, torch.from_numpy(found.labels)).numpy()
        uncond = denoiser(x, at, torch.full((2,), denoiser.null_label)).numpy()
        np.testing.assert_allclose(found.eps_cond[:, step], cond, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(found.eps_uncond[:, step], uncond, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(found.eps_pred[:, step], uncond + 1.5 * (cond - uncond), rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(found.activations["inner"][:, step], found.eps_cond[:, step])
