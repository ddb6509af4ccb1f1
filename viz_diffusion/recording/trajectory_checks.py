"""Checks of a trajectory's arrays: shapes that agree, timesteps that fall."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from viz_diffusion.errors import VizdiffInputError
from viz_diffusion.recording.store.fields import FIELDS, OPTIONAL_FIELDS

if TYPE_CHECKING:
    from viz_diffusion.recording.trajectory import Trajectory


def check_trajectory(trajectory: Trajectory) -> None:
    """Refuse a trajectory whose arrays do not go together.

    Raises
    ------
    VizdiffInputError
        Where shapes disagree or the timesteps do not fall.
    """
    shape, timesteps = trajectory.x_t.shape, trajectory.timesteps
    if len(shape) != 5 or timesteps.shape != shape[1:2]:
        raise VizdiffInputError(
            f"a trajectory needs x_t of shape (B,S,C,H,W) and S timesteps, found {shape} and {timesteps.shape}"
        )
    expected: dict[str, tuple[int, ...]] = dict.fromkeys(FIELDS, shape)
    expected |= {"x0": shape[:1] + shape[2:], "labels": shape[:1], "seeds": shape[:1]}
    for name, want in expected.items():
        array = getattr(trajectory, name)
        if array is None and name in OPTIONAL_FIELDS:
            continue
        if array.shape != want:
            raise VizdiffInputError(f"a trajectory's {name} must have shape {want}, found {array.shape}")
    if not np.all(np.diff(timesteps) < 0):
        raise VizdiffInputError("a trajectory's timesteps must fall strictly")
    _check_extras(trajectory, shape[0])
    # a flow's t = T σ - 1 lies between -1 and 0 at a σ below 1/T
    least = -1 if timesteps.dtype.kind == "f" else 0
    count = trajectory.schedule.num_train_timesteps
    if shape[1] and not least <= timesteps[-1] <= timesteps[0] < count:
        raise VizdiffInputError(f"a trajectory's timesteps must lie below {count}")
    shares = trajectory.step_alphas_cumprod
    if shares is None and timesteps.dtype.kind != "i":
        raise VizdiffInputError("a trajectory's fractional timesteps need step_alphas_cumprod")
    if shares is not None and shares.shape != timesteps.shape:
        raise VizdiffInputError(f"a trajectory's step_alphas_cumprod must have shape {timesteps.shape}")


def _check_extras(trajectory: Trajectory, samples: int) -> None:
    """Refuse activations, decoded images and inner evaluations that do not begin with (samples, their steps)."""
    extras = [(name, values, trajectory.activation_steps) for name, values in trajectory.activations.items()]
    if trajectory.decoded is not None:
        extras.append(("decoded", trajectory.decoded, trajectory.decoded_steps))
    for name in ("inner_x_t", "inner_eps_pred"):
        values = getattr(trajectory, name)
        if values is not None:
            extras.append((name, values, trajectory.inner_steps))
    for name, values, steps in extras:
        if steps is None or values.shape[:2] != (samples, len(steps)):
            raise VizdiffInputError(f"a trajectory's {name} must begin with its samples and its steps")
