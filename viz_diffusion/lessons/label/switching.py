"""Generations whose label is switched on the way: until which timestep they follow the new label.

Takes any denoiser; knows nothing about figures or texts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import permutations

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
"""DDIM steps of a generation, and the number of steps between two timesteps of a switch."""
SEED = 70_000
"""Seed of the first generation; each has noise of its own, so that outcomes are independent."""
SHOWN = ((0, 1), (4, 9), (3, 8), (7, 2))
"""Pairs whose first generation is drawn."""
SHUFFLES = 2000
"""Permutations of the labels, for the test whether similar digits can be switched later."""
LEVEL = 0.05


@dataclass(frozen=True)
class SwitchFacts:
    """What texts and JSON files say of switched labels, at J timesteps."""

    switch_steps: int
    """DDIM steps of each generation."""
    switch_count: int
    """Generations."""
    switch_each: int
    """Generations of each pair of labels."""
    switch_timesteps: tuple[int, ...]
    """(J,) at which the label is switched, falling; -1 is never."""
    switch_new: tuple[float, ...]
    """(J,) share of generations that end as the new label."""
    switch_new_interval: tuple[tuple[float, float], ...]
    """(J, 2) its 95% interval."""
    switch_old: tuple[float, ...]
    """(J,) share of generations that end as the old label."""
    switch_half: int | None
    """The t at which half end as the new label; None where more do at all t."""
    switch_lasts: tuple[tuple[float | None, ...], ...]
    """(10, 10) the mean t down to which a generation follows a switch from one label to another."""
    switch_lasts_interval: float
    """Half the 95% interval of one of these."""
    switch_latest: tuple[int, int]
    """The pair that can be switched latest."""
    switch_latest_t: float
    """Its mean t."""
    switch_earliest: tuple[int, int]
    """The pair that can only be switched early."""
    switch_earliest_t: float
    """Its mean t."""
    switch_shown: tuple[tuple[int, int], ...]
    """Pairs that are drawn."""
    switch_likeness: float
    """Correlation of ``switch_lasts`` with the distance of the digits' mean images."""
    switch_likeness_p: float
    """Its p."""


@dataclass(frozen=True, eq=False)
class LabelSwitches:
    """How N = K P generations of P pairs of labels a -> b are classified, for each of J timesteps of the switch."""

    timesteps: NDArray[np.int64]
    """(J,) int64, falling: up to this t the label is b, before it a. T-1: b from the start; -1: a to the end."""
    num_train_timesteps: int
    """T."""
    steps: int
    """DDIM steps of each generation."""
    pairs: NDArray[np.int64]
    """(P, 2) int64: a and b."""
    read: NDArray[np.int8]
    """(J, K, P) int8: the digit that the classifier sees."""
    distances: Float64
    """(10, 10) float64: between the mean real images of two digits, in units of the pixels' -1 .. 1."""
    shown: NDArray[np.int64]
    """(R,) int64: which pairs are drawn."""
    images: NDArray[np.float32]
    """(R, J, 28, 28) float32: the finished images of their first generation."""

    def old_shares(self) -> list[Share]:
        """Return J shares of generations that end as the old label."""
        return self._shares(self.pairs[:, 0])

    def new_shares(self) -> list[Share]:
        """Return J shares of generations that end as the new label."""
        return self._shares(self.pairs[:, 1])

    def _shares(self, labels: NDArray[np.int64]) -> list[Share]:
        return [Share(int(hits), self.read[0].size) for hits in (self.read == labels).sum(axis=(1, 2))]

    @property
    def half(self) -> float | None:
        """The t of the switch at which half of all end as the new label; None where more do at all t."""
        values = np.array([share.value for share in self.new_shares()])
        below = np.flatnonzero(values < 0.5)
        if not len(below) or below[0] == 0:
            return None
        span = slice(below[0] - 1, below[0] + 1)
        return float(np.interp(-0.5, -values[span], self.timesteps[span]))

    def lasts(self) -> Float64:
        """Return (K, P) the t down to which each generation can be switched: T-1 less the span of t where it does."""
        follows = (self.read == self.pairs[:, 1]).astype(np.float64)
        spans = -np.diff(self.timesteps)[:, None, None] * (follows[1:] + follows[:-1]) / 2
        return np.asarray(self.num_train_timesteps - 1 - spans.sum(axis=0))

    def matrix(self) -> Float64:
        """Return (10, 10) means of :meth:`lasts`, from a (row) to b (column); NaN on the diagonal."""
        table = np.full((NUM_LABELS, NUM_LABELS), np.nan)
        table[self.pairs[:, 0], self.pairs[:, 1]] = self.lasts().mean(axis=0)
        return table

    def likeness(self) -> tuple[float, float]:
        """Return the correlation of :meth:`matrix`, either way averaged, with the distances; and its p (Mantel 1967).

        p is the share of permutations of the labels that correlate as much, in either direction.
        """
        table = self.matrix()
        upper = np.triu_indices(NUM_LABELS, 1)
        lasts = ((table + table.T) / 2)[upper]
        if np.ptp(lasts) == 0:
            return 0.0, 1.0
        rng = np.random.default_rng(SEED)
        permutations_ = [np.arange(NUM_LABELS), *(rng.permutation(NUM_LABELS) for _ in range(SHUFFLES))]
        found = [np.corrcoef(lasts, self.distances[np.ix_(one, one)][upper])[0, 1] for one in permutations_]
        return float(found[0]), float(np.mean(np.abs(found) >= abs(found[0])))

    def facts(self) -> SwitchFacts:
        """Return the numbers that captions and answers are filled with."""
        new, lasts, half = self.new_shares(), self.lasts(), self.half
        means = lasts.mean(axis=0)
        latest, earliest = int(means.argmin()), int(means.argmax())
        r, p = self.likeness()
        pairs: list[tuple[int, int]] = [(int(old), int(new)) for old, new in self.pairs]
        return SwitchFacts(
            switch_steps=self.steps,
            switch_count=new[0].count,
            switch_each=len(lasts),
            switch_timesteps=tuple(self.timesteps.tolist()),
            switch_new=tuple(share.value for share in new),
            switch_new_interval=tuple(share.interval for share in new),
            switch_old=tuple(share.value for share in self.old_shares()),
            switch_half=None if half is None else round(half),
            switch_lasts=tuple(tuple(None if np.isnan(v) else float(v) for v in row) for row in self.matrix()),
            switch_lasts_interval=float(Z_95 * np.sqrt(lasts.var(axis=0, ddof=1).mean() / len(lasts))),
            switch_latest=pairs[latest],
            switch_latest_t=float(means[latest]),
            switch_earliest=pairs[earliest],
            switch_earliest_t=float(means[earliest]),
            switch_shown=tuple(pairs[row] for row in self.shown),
            switch_likeness=r,
            switch_likeness_p=p,
        )

    def claims(self) -> tuple[Claim, ...]:
        """Decide whether early switches are followed, late ones are not, and similar digits can be switched later."""
        new = self.new_shares()
        surely = [share.interval[0] > 0.5 for share in new]
        hardly = [share.interval[1] < 0.5 for share in new]
        last = len(new) - 2  # the last switch that there is: after it comes a to the end
        early = 1 if not all(surely[:2]) else int(np.argmin([*surely, False])) - 1
        late = last if not hardly[last] else len(new) - int(np.argmin([*hardly[::-1], False]))
        r, p = self.likeness()
        return (
            self._claim("obeyed", all(surely[:2]), hardly[1], early),
            self._claim("ignored", hardly[last], surely[last], min(late, last)),
            Claim("alike_later", r > 0 and p < LEVEL, {"level": LEVEL, "shuffles": SHUFFLES}),
        )

    def _claim(self, name: str, holds: bool, fails: bool, at: int) -> Claim:
        share, old = self.new_shares()[at], self.old_shares()
        later = min(at + 1, len(old) - 2)
        low, high = share.interval
        facts = {"at": int(self.timesteps[at]), "share": share.value, "low": low, "high": high}
        facts |= {"old": old[at].value, "neither": 1 - share.value - old[at].value}
        facts |= {"later": int(self.timesteps[later]), "later_old": old[later].value}
        return Claim(name, True if holds else False if fails else None, facts)


class BegunState:
    """A state from which a sampler without fresh noise continues, in the place of x_T."""

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
) -> LabelSwitches:
    """Switch the label in the middle of generations, for every pair of labels and at J timesteps.

    DDIM without guidance: noise, labels and weights determine the result. The steps before the switch are shared: each
    generation is begun once under a, and from its states finished under b. An ideal denoiser follows the switch at
    every t, for E[x_0 | x_t, b] is a mean of digits b only; where a switch comes too late, the network gives more
    weight to the image than to the label.

    Parameters
    ----------
    digits
        Real ones, with all labels 0 .. 9 among them; the distance of two labels is that of their mean images.
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
        states = [x_T, *(step.x_prev for step in _continue(denoiser, schedule, x_T, old, visited))]
        for j, begin in enumerate(begins):
            x = states[begin]
            for step in _continue(denoiser, schedule, x, new, visited[begin:]):
                x = step.x_prev
            read[j, k] = classifier.read(x).numpy()
            if k == 0:
                kept.append(x[shown, 0].cpu().numpy())
            progress(k * len(begins) + j + 1, repeats * len(begins), "the order changed on the way")
    means = torch.stack([digits.images[digits.labels == label].double().mean(dim=0) for label in range(NUM_LABELS)])
    return LabelSwitches(
        timesteps=np.append(visited, -1)[begins],
        num_train_timesteps=schedule.num_train_timesteps,
        steps=len(visited),
        pairs=pairs,
        read=read,
        distances=torch.cdist(means.flatten(1), means.flatten(1)).numpy(),
        shown=np.array(shown),
        images=np.stack(kept, axis=1),
    )


def _continue(
    denoiser: nn.Module, schedule: NoiseSchedule, x: Tensor, labels: Tensor, timesteps: NDArray[np.int64]
) -> Iterator[Step]:
    """Sample by DDIM from a state on; no steps where no timesteps are left."""
    if not len(timesteps):
        return iter(())
    null_label = getattr(denoiser, "null_label", NUM_LABELS)
    return sampling_steps(
        denoiser, schedule, BegunState(x), labels, SamplerConfig("ddim"), timesteps=timesteps, null_label=null_label
    )
