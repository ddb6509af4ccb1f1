"""Timesteps at which blocks of the network matter, with bootstrap intervals, and their facts."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from viz_diffusion.evaluation.intervals import Share, half_of_mean
from viz_diffusion.lessons.layers.block_probes import BlockProbes
from viz_diffusion.lessons.layers.figures import Span
from viz_diffusion.lessons.layers.label_geometry import LabelGeometry

Float64 = NDArray[np.float64]
RESAMPLED = 400
"""Bootstrap resamples of the digits."""


@dataclass(frozen=True)
class BlockFacts:
    """What texts and JSON files say of one block."""

    number: int
    """From 1, from the input to the output."""
    name: str
    """Its dotted name."""
    size: int
    """Height and width of its output."""
    channels: int
    """Channels of its output."""
    change: float
    """The largest relative change of its output between two steps."""
    change_at: int
    """The t of that."""
    probe: float
    """The largest accuracy of a linear probe."""
    probe_at: int
    """The t of that."""
    probe_interval: tuple[float, float]
    """Its 95% interval."""
    ratio: float
    """The largest ratio of the loss without its output to the loss with it."""
    ratio_at: int
    """The t of that."""
    ratio_interval: tuple[float, float]
    """Its 95% interval."""
    centre: int | None
    """The mean t at which its ablation raises the loss; None where that does not."""
    centre_interval: tuple[int, int] | None
    """Its 95% interval."""


@dataclass(frozen=True, eq=False)
class Layers:
    """Probes of the blocks, and the geometry of the labels."""

    blocks: BlockProbes
    """Probes of L blocks at K timesteps."""
    labels: LabelGeometry
    """The geometry of the label embedding."""
    num_train_timesteps: int
    """T."""

    @cached_property
    def ratio(self) -> tuple[Float64, Float64, Float64]:
        """(K, L) each: the loss without a block's output over that with it, and its 95% bootstrap interval."""
        low, high = np.quantile(self._draws, (0.025, 0.975), axis=0)
        return self._ratio(np.ones((1, self.blocks.loss.shape[1])))[0], low, high

    @cached_property
    def acting(self) -> NDArray[np.int64]:
        """Indices of the blocks whose ablation raises the loss: the mean log ratio over t is above 0 with 97.5%."""
        return np.flatnonzero(np.quantile(np.log(self._draws).mean(axis=1), 0.025, axis=0) > 0)

    @cached_property
    def centres(self) -> tuple[Float64, Float64]:
        """(L,) the mean t at which ablation of a block raises the loss, and (B, L) the same of resampled digits.

        The weights are the log of the loss ratio, where that is above 0; NaN where it never is.
        """
        return self._centre(self.ratio[0][None])[0], self._centre(self._draws)

    def spans(self) -> list[Span | None]:
        """Return the centre of each block with its 95% interval; None for blocks that are not in ``acting``."""
        centre, draws = self.centres
        known: dict[int, Span] = {}
        for block in self.acting.tolist():
            low, high = np.nanquantile(draws[:, block], (0.025, 0.975))
            known[block] = (float(centre[block]), float(low), float(high))
        return [known.get(block) for block in range(len(self.blocks.names))]

    @cached_property
    def _draws(self) -> Float64:
        """(B, K, L) loss ratios of resampled digits."""
        count = self.blocks.loss.shape[1]
        return self._ratio(np.random.default_rng(18).multinomial(count, np.full(count, 1 / count), RESAMPLED))

    def _ratio(self, weights: NDArray[Any]) -> Float64:
        weighted = np.einsum("bn,kln->bkl", weights, self.blocks.ablated.astype(np.float64))
        return np.asarray(weighted / (weights @ self.blocks.loss.T.astype(np.float64))[:, :, None])

    def _centre(self, ratio: Float64) -> Float64:
        weight = np.maximum(np.log(ratio), 0)
        total = weight.sum(axis=1)
        moment = (weight * self.blocks.timesteps[:, None]).sum(axis=1)
        return np.asarray(np.divide(moment, total, out=np.full_like(total, np.nan), where=total > 0))

    def block_facts(self) -> tuple[BlockFacts, ...]:
        """Return L facts."""
        blocks, change = self.blocks, mean_change(self.blocks)[0]
        (probe, low, high), (ratio, ratio_low, ratio_high) = probe_accuracy(blocks, blocks.hits), self.ratio
        best, most, fastest = (values.argmax(axis=0) for values in (probe, ratio, change))
        return tuple(
            BlockFacts(
                number=i + 1,
                name=name,
                size=blocks.sizes[i],
                channels=blocks.channels[i],
                change=float(change[fastest[i], i]),
                change_at=int(blocks.change_timesteps[fastest[i]]),
                probe=float(probe[best[i], i]),
                probe_at=int(blocks.timesteps[best[i]]),
                probe_interval=(float(low[best[i], i]), float(high[best[i], i])),
                ratio=float(ratio[most[i], i]),
                ratio_at=int(blocks.timesteps[most[i]]),
                ratio_interval=(float(ratio_low[most[i], i]), float(ratio_high[most[i], i])),
                centre=None if span is None else round(span[0]),
                centre_interval=None if span is None else (round(span[1]), round(span[2])),
            )
            for i, (name, span) in enumerate(zip(blocks.names, self.spans(), strict=True))
        )


def probe_accuracy(blocks: BlockProbes, hits: NDArray[np.int64]) -> tuple[Float64, Float64, Float64]:
    """Return (K, L) shares of the probed digits with their 95% Wilson intervals."""
    shares = [[Share(int(n), blocks.probed) for n in row] for row in hits]
    spans = np.array([[one.interval for one in row] for row in shares])
    return hits / blocks.probed, spans[:, :, 0], spans[:, :, 1]


def mean_change(blocks: BlockProbes) -> tuple[Float64, Float64, Float64]:
    """Return (S, L) the mean change between successive steps, with its 95% interval over generations."""
    change = blocks.change.astype(np.float64)
    mean, half = change.mean(axis=2), half_of_mean(change)
    return mean, mean - half, mean + half
