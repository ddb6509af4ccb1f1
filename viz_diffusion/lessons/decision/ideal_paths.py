"""The timestep at which the ideal denoiser's class is settled, of generated states and of its own generations.

Needs no network. Knows nothing about figures or texts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from viz_diffusion.data import Digits
from viz_diffusion.diffusion.oracles import EmpiricalOracle
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.lessons.context import Progress, silent

SURE = 0.9
"""Probability from which on a class counts as settled."""
SEED = 690_000
"""Seed of the ideal denoiser's own generations."""


Reader = Callable[[Tensor], Tensor]
"""Returns (N, L) probabilities of the labels in (N, C, H, W) images."""


@dataclass(frozen=True, eq=False)
class IdealPaths:
    """The t at which the class of I generations is settled, where the ideal denoiser has a part in it.

    0 where it is settled in the finished image only, T-1 where it is from the start.
    """

    by_posterior: NDArray[np.int64]
    """(I,) int64: of the network's generations, by the ideal denoiser's p(y | x_t) of the generated states."""
    own: NDArray[np.int64]
    """(I,) int64: of the ideal denoiser's own generations, by its p(y | x_t)."""
    held_out: NDArray[np.int64]
    """(I,) int64: control, of held-out digits that are noised step by step, by the same p(y | x_t): like generated
    images they are none of the ideal denoiser's digits."""
    own_read: NDArray[np.int64] | None
    """(I,) int64: of these, by the classifier's probabilities of the ideal denoiser's x̂_0; None without one."""


def settle_ideal(
    schedule: NoiseSchedule,
    training: Digits,
    heldout: Digits,
    x_t: Tensor,
    grid: NDArray[np.int64],
    reader: Reader | None,
    progress: Progress = silent,
) -> IdealPaths:
    """Find the t at which classes are settled, in generated states and in the ideal denoiser's own generations.

    The reverse process of the ideal denoiser has the law of the forward process, read backwards: so its own generations
    are training digits that are noised step by step.

    Parameters
    ----------
    training, heldout
        The ideal denoiser's digits, and others.
    x_t
        (S, I, C, H, W) generated states, at each of the visited timesteps.
    grid
        (S,) int64, falling: these timesteps.
    reader
        The classifier's probabilities, if there is one.
    """
    oracle = EmpiricalOracle(schedule, training.images, training.labels, training.num_labels)
    generator = torch.Generator().manual_seed(SEED)
    rows = torch.randperm(len(training), generator=generator)[: x_t.shape[1]]
    rising = grid[::-1].tolist()
    own = list(noised_stepwise(schedule, training.images[rows], rising, generator))
    rows = torch.randperm(len(heldout), generator=generator)[: x_t.shape[1]]
    others = list(noised_stepwise(schedule, heldout.images[rows], rising, generator))

    def posterior(x: Tensor, t: int) -> Tensor:
        return oracle.posterior(x, torch.tensor(t))

    def read(x: Tensor, t: int) -> Tensor:
        assert reader is not None
        return reader(oracle.predict_x0(x, torch.tensor(t)))

    return IdealPaths(
        settled_from_the_end(posterior, list(zip(rising, x_t.flip(0), strict=True)), progress),
        settled_from_the_end(posterior, own, progress),
        settled_from_the_end(posterior, others, progress),
        None if reader is None else settled_from_the_end(read, own, progress),
    )


def noised_stepwise(
    schedule: NoiseSchedule, x0: Tensor, rising: Iterable[int], generator: torch.Generator
) -> Iterator[tuple[int, Tensor]]:
    """Yield t and (I, C, H, W) states of one forward process for each image, at rising timesteps."""
    x, share = x0, 1.0
    for t in rising:
        kept = float(schedule.alphas_cumprod[t]) / share
        share = float(schedule.alphas_cumprod[t])
        x = kept**0.5 * x + (1 - kept) ** 0.5 * torch.randn(x.shape, generator=generator)
        yield t, x


def settled_from_the_end(
    probability: Callable[[Tensor, int], Tensor], rising: Sequence[tuple[int, Tensor]], progress: Progress = silent
) -> NDArray[np.int64]:
    """Return (I,) the largest t from which on the final class is at least 0.9 likely; 0 where it never is.

    Parameters
    ----------
    probability
        Returns (n, L) probabilities of the classes for n states at t.
    rising
        t and all I states, from the smallest t on; the final class is the most likely one there.
    """
    t, x = rising[0]
    final = probability(x, t).argmax(dim=1)
    commit, still = np.zeros(len(x), dtype=np.int64), torch.arange(len(x))
    for done, (t, x) in enumerate(rising):
        likely = probability(x[still], t)[torch.arange(len(still)), final[still]]
        still = still[likely >= SURE]
        commit[still.numpy()] = t
        progress(done + 1, len(rising), "the ideal denoiser's class")
        if not len(still):
            break
    return commit
