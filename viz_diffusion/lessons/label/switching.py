"""Until when does the order count? A generation that is asked for one digit, and from some t on for another.

Part of the lesson on the label; asks any denoiser, knows nothing about figures' words.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from viz_diffusion.data import NUM_LABELS, Digits
from viz_diffusion.diffusion.prediction import device_of
from viz_diffusion.diffusion.sampler_config import SamplerConfig
from viz_diffusion.diffusion.samplers import ImageNoise, Step
from viz_diffusion.diffusion.sampling import sampling_steps
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.diffusion.timesteps import spaced_timesteps
from viz_diffusion.evaluation.classifier import DigitClassifier
from viz_diffusion.evaluation.intervals import Z_95, Share
from viz_diffusion.lessons.base import Claim
from viz_diffusion.lessons.context import Progress, silent

Float64 = NDArray[np.float64]
SIZES = (2, 10)
"""Generations of each pair of digits; quick and full."""
STEPS, EVERY = 20, 2
"""DDIM steps of a generation, and after how many of them each the order is changed."""
SEED = 70_000
"""Of the first generation: each has noise of its own, so that their outcomes are independent."""
SHOWN = ((0, 1), (4, 9), (3, 8), (7, 2))
"""Pairs whose first generation is kept to be drawn."""
SHUFFLES = 2000
"""Of the digits' names, for the test whether alike digits are changed later."""
LEVEL = 0.05


@dataclass(frozen=True, eq=False)
class Switches:
    """What is read in N = K P generations of P pairs a -> b, each finished after J changes of the order."""

    timesteps: NDArray[np.int64]
    """(J,) int64, falling: b is told at every t up to it, a before. T-1 is b from the start, -1 is a to the end."""
    num_train_timesteps: int
    """T."""
    steps: int
    """DDIM steps of each generation."""
    pairs: NDArray[np.int64]
    """(P, 2) int64: a and b."""
    read: NDArray[np.int8]
    """(J, K, P) int8: the digit that the classifier reads."""
    distances: Float64
    """(10, 10) float64: between the mean real images of two digits, in units of the pixels' -1 .. 1."""
    shown: NDArray[np.int64]
    """(R,) int64: which pairs are drawn."""
    images: NDArray[np.float32]
    """(R, J, 28, 28) float32: what came of their first generation."""

    def shares(self, order: int) -> list[Share]:
        """Return J shares of generations that end as the old order (0) or the new one (1)."""
        hits = (self.read == self.pairs[:, order]).sum(axis=(1, 2))
        return [Share(int(one), self.read[0].size) for one in hits]

    @property
    def half(self) -> float | None:
        """The t of the change at which half of all end as the new order; None where it never sinks below half."""
        values = np.array([share.value for share in self.shares(1)])
        below = np.flatnonzero(values < 0.5)
        if not len(below) or below[0] == 0:
            return None
        span = slice(below[0] - 1, below[0] + 1)
        return float(np.interp(-0.5, -values[span], self.timesteps[span]))

    def lasts(self) -> Float64:
        """Return (K, P) the t down to which each generation may be changed: T-1 less the span over which it obeys."""
        obeys = (self.read == self.pairs[:, 1]).astype(np.float64)
        spans = -np.diff(self.timesteps)[:, None, None] * (obeys[1:] + obeys[:-1]) / 2
        return np.asarray(self.num_train_timesteps - 1 - spans.sum(axis=0))

    def matrix(self) -> Float64:
        """Return (10, 10) means of :meth:`lasts`, from a (row) to b (column); NaN on the diagonal."""
        table = np.full((NUM_LABELS, NUM_LABELS), np.nan)
        table[self.pairs[:, 0], self.pairs[:, 1]] = self.lasts().mean(axis=0)
        return table

    def likeness(self) -> tuple[float, float]:
        """Return the correlation of :meth:`matrix`, either way averaged, with the distances; and its p (Mantel 1967).

        p is the share of shuffles of the digits' names that correlate as much, in either direction.
        """
        table = self.matrix()
        upper = np.triu_indices(NUM_LABELS, 1)
        lasts = ((table + table.T) / 2)[upper]
        if np.ptp(lasts) == 0:
            return 0.0, 1.0
        rng = np.random.default_rng(SEED)
        orders = [np.arange(NUM_LABELS), *(rng.permutation(NUM_LABELS) for _ in range(SHUFFLES))]
        found = [np.corrcoef(lasts, self.distances[np.ix_(order, order)][upper])[0, 1] for order in orders]
        return float(found[0]), float(np.mean(np.abs(found) >= abs(found[0])))

    def facts(self) -> dict[str, Any]:
        """Return the numbers."""
        new, lasts, half = self.shares(1), self.lasts(), self.half
        means = lasts.mean(axis=0)
        latest, earliest = int(means.argmin()), int(means.argmax())
        r, p = self.likeness()
        return {
            "switch_steps": self.steps,
            "switch_count": new[0].count,
            "switch_each": len(lasts),
            "switch_timesteps": [int(t) for t in self.timesteps],
            "switch_new": [share.value for share in new],
            "switch_new_interval": [list(share.interval) for share in new],
            "switch_old": [share.value for share in self.shares(0)],
            "switch_half": None if half is None else round(half),
            "switch_lasts": [[None if np.isnan(v) else float(v) for v in row] for row in self.matrix()],
            "switch_lasts_interval": float(Z_95 * np.sqrt(lasts.var(axis=0, ddof=1).mean() / len(lasts))),
            "switch_latest": [int(k) for k in self.pairs[latest]],
            "switch_latest_t": float(means[latest]),
            "switch_earliest": [int(k) for k in self.pairs[earliest]],
            "switch_earliest_t": float(means[earliest]),
            "switch_shown": [[int(k) for k in self.pairs[row]] for row in self.shown],
            "switch_likeness": r,
            "switch_likeness_p": p,
        }

    def claims(self) -> tuple[Claim, ...]:
        """Say whether an early change is obeyed, whether a late one is not, and whether alike digits change later."""
        new = self.shares(1)
        surely = [share.interval[0] > 0.5 for share in new]
        hardly = [share.interval[1] < 0.5 for share in new]
        last = len(new) - 2  # the last change that there is: after it comes a to the end
        early = 1 if not all(surely[:2]) else int(np.argmin([*surely, False])) - 1
        late = last if not hardly[last] else len(new) - int(np.argmin([*hardly[::-1], False]))
        r, p = self.likeness()
        return (
            self._claim("obeyed", all(surely[:2]), hardly[1], early),
            self._claim("ignored", hardly[last], surely[last], min(late, last)),
            Claim("alike_later", r > 0 and p < LEVEL, {"level": LEVEL, "shuffles": SHUFFLES}),
        )

    def _claim(self, name: str, holds: bool, fails: bool, at: int) -> Claim:
        share = self.shares(1)[at]
        low, high = share.interval
        facts = {"at": int(self.timesteps[at]), "share": share.value, "low": low, "high": high}
        return Claim(name, True if holds else False if fails else None, facts)


class Begun:
    """What a sampler without fresh noise goes on from: a state in the place of x_T."""

    def __init__(self, state: Tensor) -> None:
        self.state = state

    def draw(self, device: torch.device | str = "cpu") -> Tensor:
        """Return the (B, C, H, W) state."""
        return self.state.to(device)


def switch_labels(
    denoiser: nn.Module,
    schedule: NoiseSchedule,
    digits: Digits,
    repeats: int = SIZES[0],
    progress: Progress = silent,
) -> Switches:
    """Change the order in the middle of generations, at every pair of digits and at J timesteps.

    DDIM without guidance: noise, orders and weights fix the result. What is told before the change is shared: each
    generation is begun once under a, and from its states finished under b. An ideal denoiser obeys at every t, for
    E[x_0 | x_t, b] is a mean of digits b alone; so where a change comes too late, the network trusts the picture more
    than the order.

    Parameters
    ----------
    digits
        Real ones, whose means say how alike two labels look; all of 0 .. 9 among them.
    repeats
        K, at least 2: generations of each pair.
    """
    visited = spaced_timesteps(schedule.num_train_timesteps, min(STEPS, schedule.num_train_timesteps))
    begins = [*range(0, len(visited), EVERY), len(visited)]
    pairs = np.array(list(permutations(range(NUM_LABELS), 2)))
    old, new = torch.from_numpy(pairs.T).to(device_of(denoiser))
    shown = [pairs.tolist().index(list(pair)) for pair in SHOWN]
    classifier, _ = DigitClassifier.bundled()
    read = np.empty((len(begins), repeats, len(pairs)), np.int8)
    kept = []
    for k in range(repeats):
        first = SEED + k * len(pairs)
        x_T = ImageNoise(range(first, first + len(pairs))).draw(old.device)
        states = [x_T, *(step.x_prev for step in _go_on(denoiser, schedule, x_T, old, visited))]
        for j, begin in enumerate(begins):
            x = states[begin]
            for step in _go_on(denoiser, schedule, x, new, visited[begin:]):
                x = step.x_prev
            read[j, k] = classifier.read(x).numpy()
            if k == 0:
                kept.append(x[shown, 0].cpu().numpy())
            progress(k * len(begins) + j + 1, repeats * len(begins), "the order changed on the way")
    means = torch.stack([digits.images[digits.labels == label].double().mean(dim=0) for label in range(NUM_LABELS)])
    return Switches(
        timesteps=np.append(visited, -1)[begins],
        num_train_timesteps=schedule.num_train_timesteps,
        steps=len(visited),
        pairs=pairs,
        read=read,
        distances=torch.cdist(means.flatten(1), means.flatten(1)).numpy(),
        shown=np.array(shown),
        images=np.stack(kept, axis=1),
    )


def _go_on(
    denoiser: nn.Module, schedule: NoiseSchedule, x: Tensor, labels: Tensor, timesteps: NDArray[np.int64]
) -> Iterator[Step]:
    """Sample by DDIM from a state on; nothing where no timesteps are left."""
    if not len(timesteps):
        return iter(())
    null_label = getattr(denoiser, "null_label", NUM_LABELS)
    return sampling_steps(
        denoiser, schedule, Begun(x), labels, SamplerConfig("ddim"), timesteps=timesteps, null_label=null_label
    )
