"""Statistics over the trajectories of a store, read batch by batch: memory does not grow with their number.

Knows nothing about networks.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from viz_diffusion.errors import VizdiffInputError
from viz_diffusion.recording.latent_pictures import pictured
from viz_diffusion.recording.many.trajectories import TrajectoryStore
from viz_diffusion.recording.path_length import straightness
from viz_diffusion.recording.trajectory import Trajectory

Float64 = NDArray[np.float64]


@dataclass(eq=False)
class RunningMean:
    """Mean and variance of arrays that come in batches (Chan, Golub & LeVeque 1979, eq. 2.1)."""

    count: int = 0
    """Arrays so far."""
    mean: Any = 0.0
    """(...) float64: their mean."""
    _squares: Any = field(default=0.0, repr=False)
    """Sum of squared deviations from the mean."""

    def add(self, values: NDArray[Any]) -> None:
        """Take in (b, ...) further arrays."""
        values = values.astype(np.float64)
        added, mean = len(values), values.mean(axis=0)
        delta, total = mean - self.mean, self.count + added
        self._squares = self._squares + ((values - mean) ** 2).sum(axis=0) + delta**2 * self.count * added / total
        self.mean = self.mean + delta * added / total
        self.count = total

    @property
    def deviation(self) -> Any:
        """(...) float64: the standard deviation of the arrays, N - 1 in the denominator."""
        return np.sqrt(self._squares / max(self.count - 1, 1))

    @property
    def standard_error(self) -> Any:
        """(...) float64: the standard error of the mean."""
        return self.deviation / np.sqrt(self.count)


@dataclass(frozen=True, eq=False)
class TrajectoryStatistics:
    """Statistics over N trajectories of S steps."""

    count: int
    """N."""
    timesteps: NDArray[Any]
    """(S,) the timesteps."""
    x0_error: RunningMean
    """(S,) RMS over the pixels of predicted x_0 less the finished image; lesson ``guess`` measures it of one."""
    noise: RunningMean
    """(S,) RMS over the pixels of the predicted noise; 1 for noise itself."""
    straightness: RunningMean
    """The chord from beginning to end of x_t over the length of its path, as in lesson ``samplers``."""
    length: RunningMean
    """The length of the path, in pixels of x_t."""


def trajectory_statistics(store: TrajectoryStore) -> TrajectoryStatistics:
    """Return the statistics of a store; of latents, predicted x_0 and finished image are the decoded pictures.

    Raises
    ------
    VizdiffInputError
        Where the store is empty, or a chunk is missing or damaged.
    """
    error, noise, straight, length = (RunningMean() for _ in range(4))
    timesteps: NDArray[Any] | None = None
    for batch in store.batches():
        timesteps = batch.timesteps
        shown = pictured(batch)
        error.add(_rms(shown.x0_pred - shown.x0[:, None]))
        noise.add(_rms(batch.eps_pred))
        chords, lengths = straightness(_paths(batch))
        straight.add(chords)
        length.add(lengths)
    if timesteps is None:
        raise VizdiffInputError(f"{store.name} holds no trajectory")
    return TrajectoryStatistics(error.count, timesteps, error, noise, straight, length)


def _paths(batch: Trajectory) -> Float64:
    """Return the (b, S + 1, D) float64 states of trajectories, the finished image last."""
    states = np.concatenate([batch.x_t, batch.x0[:, None]], axis=1)
    return states.reshape(*states.shape[:2], -1).astype(np.float64)


def _rms(values: NDArray[np.float32]) -> Float64:
    """Return (b, S) root mean squares over the pixels of (b, S, C, H, W)."""
    return np.sqrt((values.astype(np.float64) ** 2).mean(axis=(2, 3, 4)))
