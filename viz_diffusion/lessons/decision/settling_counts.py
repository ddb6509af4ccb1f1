"""When the class is settled in each trajectory of a store, counted chunk by chunk, in memory of one size.

The rule is that of lesson ``decision``. Knows nothing about commands or figures.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from viz_diffusion.evaluation.intervals import Share
from viz_diffusion.lessons.context import Progress, silent
from viz_diffusion.lessons.decision.figures import Quartiles
from viz_diffusion.lessons.decision.forks import settling_steps
from viz_diffusion.lessons.decision.settling import FEW, LATE, median_ranks
from viz_diffusion.recording.many.trajectories import TrajectoryStore

Int64 = NDArray[np.int64]


class Reader(Protocol):
    """Reads images as classes."""

    def __call__(self, images: Tensor) -> Tensor:
        """Return (N, L) probabilities of the classes of (N, C, H, W) images."""
        ...


@dataclass(frozen=True, eq=False)
class SettlingCounts:
    """How many of N trajectories are settled at each recorded step, by the class of their finished image."""

    counts: Int64
    """(L, S + 2): settled from step 0 .. S-1 on; only in the finished image; never, not even there."""
    timesteps: Int64
    """(S,) falling."""
    num_train_timesteps: int
    """T."""

    @property
    def late(self) -> int:
        """The t below which it is the end: the last tenth of all timesteps."""
        return LATE * self.num_train_timesteps // 1000

    @property
    def count(self) -> int:
        """N."""
        return int(self.counts.sum())

    def of(self, label: int) -> SettlingCounts:
        """Return the counts of the trajectories whose finished image is classified as a label."""
        return SettlingCounts(self.counts[label : label + 1], self.timesteps, self.num_train_timesteps)

    @property
    def _on_the_way(self) -> tuple[Int64, Int64]:
        """The t, rising, at which classes are settled neither from the start nor at the end, and how many are."""
        at = (self.timesteps >= self.late) & (np.arange(len(self.timesteps)) > 0)
        return self.timesteps[at][::-1], self.counts[:, :-2].sum(axis=0)[at][::-1]

    @property
    def settled(self) -> Share:
        """Trajectories whose class is settled neither from the start nor at the end."""
        return Share(int(self._on_the_way[1].sum()), self.count)

    @property
    def from_start(self) -> int:
        """Trajectories whose class is settled at the first step."""
        return int(self.counts[:, 0].sum())

    @property
    def never(self) -> int:
        """Trajectories whose finished image has no class with enough probability."""
        return int(self.counts[:, -1].sum())

    @property
    def at_the_end(self) -> int:
        """Trajectories whose class is settled at the end only."""
        return self.count - self.settled.hits - self.from_start - self.never

    def quartiles(self) -> Quartiles | None:
        """Return the median of the settled t, its 95% interval, and the quartiles; None for few."""
        at, counts = self._on_the_way
        total, last_ranks = int(counts.sum()), np.cumsum(counts)
        if total < FEW:
            return None

        def ranked(rank: int) -> float:
            return float(at[np.searchsorted(last_ranks, rank, side="right")])

        def quantile(share: float) -> float:  # as np.quantile does, between two neighbours
            place = share * (total - 1)
            low, high = int(np.floor(place)), int(np.ceil(place))
            return ranked(low) + (place - low) * (ranked(high) - ranked(low))

        low, high = median_ranks(total)
        return Quartiles(quantile(0.5), quantile(0.25), quantile(0.75), ranked(low), ranked(high))

    def settled_by(self) -> tuple[Share, ...]:
        """Return for each step, and for the finished image, the share that is settled there, or was before."""
        return tuple(Share(int(hits), self.count) for hits in np.cumsum(self.counts[:, :-1].sum(axis=0)))


@torch.no_grad()
def count_settling(store: TrajectoryStore, reader: Reader, progress: Progress = silent) -> SettlingCounts:
    """Classify predicted x_0 of every step of every trajectory, and count from which step on its class is settled.

    Raises
    ------
    VizdiffInputError
        Where a chunk is missing or damaged.
    """
    counts, done = None, 0
    for predicted, finished in store.pictures():
        number, steps = predicted.shape[:2]
        images = torch.from_numpy(np.ascontiguousarray(predicted.reshape(-1, *predicted.shape[2:])))
        ends = reader(torch.from_numpy(np.ascontiguousarray(finished)))
        settled = settling_steps(reader(images).reshape(number, steps, -1), ends)
        if counts is None:
            counts = np.zeros((ends.shape[1], steps + 2), np.int64)
        np.add.at(counts, (ends.argmax(dim=1).numpy(), settled), 1)
        done += number
        progress(done, len(store), "trajectories classified")
    assert counts is not None  # a complete recording holds at least one trajectory
    return SettlingCounts(counts, store.timesteps, store.num_train_timesteps)
