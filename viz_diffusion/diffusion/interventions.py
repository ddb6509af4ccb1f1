"""Interventions: what happens if the network is told something else than the sampler means.

Each is a :class:`Change`, a named function of (x, t, y) that stands between sampler and network;
:class:`WithInterventions` puts some of them around a denoiser, and is a denoiser itself. The sampler does not know of
them: it keeps its own t and label, and a Recorder around :class:`WithInterventions` records those, with the network's
answer. Knows nothing about samplers or figures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.errors import VizdiffUsageError

NarratedLesson = tuple[Tensor, Tensor, Tensor | None]
"""What a network is told: x (B, C, H, W), timesteps (B,) and labels (B,), or None for none."""


@dataclass(frozen=True)
class Change:
    """A named function from what the sampler means to what the network is told."""

    name: str
    """As the command line spells it: ``switch 8@500``."""
    apply: Callable[[Tensor, Tensor, Tensor | None], NarratedLesson]
    """(x, timesteps, labels) -> the same three, changed; never in place."""


class WithInterventions(nn.Module):
    """A denoiser that is told something else than it is asked.

    Parameters
    ----------
    denoiser
        Any module called with (x, timesteps) or (x, timesteps, labels).
    changes
        Applied in this order, each to what the one before it leaves; without any, nothing changes, to the bit.

    Examples
    --------
    >>> other = Intervened(unet, switch_label(8, at=500))  # doctest: +SKIP
    >>> record_generation(other, schedule, torch.tensor([3]), seeds=[0]).interventions  # doctest: +SKIP
    'switch 8@500'
    """

    def __init__(self, denoiser: nn.Module, *changes: Change) -> None:
        super().__init__()
        self.denoiser = denoiser
        self.changes = changes
        self.null_label: int = getattr(denoiser, "null_label", 10)
        inner = getattr(denoiser, "interventions", "")
        self.interventions: str = ", ".join([*(change.name for change in changes), *([inner] if inner else [])])
        """The names of all changes, outermost first."""

    def told(self, x: Tensor, timesteps: Tensor, labels: Tensor | None = None) -> NarratedLesson:
        """Return what the network is told where the sampler means ``x``, ``timesteps`` and ``labels``."""
        for change in self.changes:
            x, timesteps, labels = change.apply(x, timesteps, labels)
        return x, timesteps, labels

    def forward(self, x: Tensor, timesteps: Tensor, labels: Tensor | None = None) -> Any:
        """Return what the denoiser answers to what it is told."""
        x, timesteps, labels = self.told(x, timesteps, labels)
        return self.denoiser(x, timesteps) if labels is None else self.denoiser(x, timesteps, labels)


def switch_label(label: int, at: int, null_label: int = 10) -> Change:
    """Tell ``label`` in the place of every other from timestep ``at`` on down, that is at t <= ``at``.

    With ``at`` = T-1 this is the run that was asked for ``label``, with -1 the run as it was. The null label, which
    guidance asks beside, stays.
    """

    def apply(x: Tensor, timesteps: Tensor, labels: Tensor | None) -> NarratedLesson:
        if labels is None:
            return x, timesteps, None
        switched = (timesteps <= at) & (labels != null_label)
        return x, timesteps, torch.where(switched, label, labels)

    return Change(f"switch {label}@{at}", apply)


def drop_label(null_label: int = 10) -> Change:
    """Tell the null label always: the network works without an order."""

    def apply(x: Tensor, timesteps: Tensor, labels: Tensor | None) -> NarratedLesson:
        return x, timesteps, None if labels is None else torch.full_like(labels, null_label)

    return Change("drop-label", apply)


def guide_within(first: int, last: int, null_label: int = 10) -> Change:
    """Let guidance work at ``first`` <= t <= ``last`` only (Kynkäänniemi et al. 2024).

    Outside, the unconditional half of a doubled batch (labels first, null labels after) is told the labels too:
    both halves are then the same, and ε_y + s (ε_y - ε_y) is ε_y. Other batches stay as they are.
    """

    def apply(x: Tensor, timesteps: Tensor, labels: Tensor | None) -> NarratedLesson:
        if labels is None or len(labels) % 2:
            return x, timesteps, labels
        ordered, nulls = labels.chunk(2)
        if (ordered == null_label).any() or not (nulls == null_label).all():
            return x, timesteps, labels
        outside = (timesteps < first) | (timesteps > last)
        return x, timesteps, torch.where(outside, ordered.repeat(2), labels)

    return Change(f"guide-within {first}:{last}", apply)


def freeze_timestep(t: int) -> Change:
    """Tell the same ``t`` always."""
    return _clock(f"frozen:{t}", lambda timesteps: torch.full_like(timesteps, t))


def reverse_timestep(num_train_timesteps: int) -> Change:
    """Tell T-1-t in the place of t."""
    return _clock("reversed", lambda timesteps: num_train_timesteps - 1 - timesteps)


def shuffle_timestep(num_train_timesteps: int, seed: int = 0) -> Change:
    """Tell each t another one, by one shuffle of all T that ``seed`` decides."""
    order = torch.randperm(num_train_timesteps, generator=torch.Generator().manual_seed(seed))
    return _clock(f"shuffled:{seed}", lambda timesteps: order.to(timesteps.device)[timesteps])


def _clock(kind: str, reading: Callable[[Tensor], Tensor]) -> Change:
    return Change(f"clock {kind}", lambda x, timesteps, labels: (x, reading(timesteps), labels))


class Noise(Protocol):
    """Where a sampler takes its noise from; see :class:`viz_diffusion.diffusion.samplers.Noise`."""

    def draw(self, device: torch.device | str = "cpu") -> Tensor:
        """Return the next (B, C, H, W) draw."""


class ForkedNoise:
    """Noise for finishing one frozen state several times over.

    Its first draw, in the place of x_T, is the state, once for each image; then come the images' own draws. At
    ``timesteps`` from the state's own t on down, any sampler then goes on from it (DPM-Solver++ with a step of
    first order, for the guess before is gone).

    Parameters
    ----------
    x_t
        (C, H, W) the frozen state.
    noise
        What each of the K images goes on with; its first draw would be the images' own x_T, and is passed over.

    Examples
    --------
    >>> noise = Fork(step.x_prev[0], ImageNoise([1, 2, 3]))  # doctest: +SKIP
    >>> ddpm_steps(unet, schedule, noise, labels, timesteps=np.arange(step.t)[::-1])  # doctest: +SKIP
    """

    def __init__(self, x_t: Tensor, noise: Noise) -> None:
        self._x_t: Tensor | None = x_t
        self._noise = noise

    def draw(self, device: torch.device | str = "cpu") -> Tensor:
        """Return the next (K, C, H, W) draw."""
        drawn = self._noise.draw(device)
        if self._x_t is None:
            return drawn
        frozen, self._x_t = self._x_t, None
        return frozen.to(device).expand_as(drawn)


@torch.no_grad()
def block_means(
    denoiser: nn.Module,
    block: str,
    schedule: NoiseSchedule,
    images: Tensor,
    labels: Tensor | None,
    timesteps: list[int],
    seed: int = 0,
) -> dict[int, Tensor]:
    """Return what a block of a network gives on average over noised ``images``, at each of some timesteps.

    Parameters
    ----------
    denoiser, block
        The network, and the dotted name of a module in it that returns one tensor.
    images, labels
        (N, C, H, W) clean images, on the network's device, and (N,) labels, or None.
    timesteps
        Where to measure.
    seed
        Of the noise, the same at every t.

    Returns
    -------
    dict
        From t to the (…) mean of the block's (N, …) output.
    """
    found: list[Tensor] = []
    handle = _block(denoiser, block).register_forward_hook(lambda _, __, output: found.append(output.mean(dim=0)))
    try:
        noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(seed)).to(images)
        for t in timesteps:
            steps = torch.full((len(images),), t, device=images.device)
            x_t = schedule.add_noise(images, noise, t)
            _ = denoiser(x_t, steps) if labels is None else denoiser(x_t, steps, labels)
    finally:
        handle.remove()
    return dict(zip(timesteps, found, strict=True))


@contextmanager
def mean_ablated(denoiser: nn.Module, block: str, means: Mapping[int, Tensor]) -> Iterator[None]:
    """Replace what a block gives by ``means[t]``, at the timesteps that ``means`` holds, while the block lasts.

    What the block knows of this very image is lost; elsewhere, and without any means, nothing changes.

    Parameters
    ----------
    denoiser, block
        The network that is asked with (x, timesteps, …), and the dotted name of a module in it.
    means
        From :func:`block_means`.
    """
    asked: list[int] = []

    def listen(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        timesteps = torch.unique(torch.as_tensor([*args, *kwargs.values()][1]))
        if timesteps.numel() != 1:
            raise VizdiffUsageError("a block is ablated at one t for all images; this pass has several")
        asked[:] = [int(timesteps)]

    def replace(_: nn.Module, __: Any, output: Tensor) -> Tensor | None:
        mean = means.get(asked[0])
        return None if mean is None else mean.to(output).expand_as(output)

    handles = [denoiser.register_forward_pre_hook(listen, with_kwargs=True)]
    try:
        handles.append(_block(denoiser, block).register_forward_hook(replace))
        yield
    finally:
        for handle in handles:
            handle.remove()


def _block(denoiser: nn.Module, name: str) -> nn.Module:
    """Return a module of a network by its dotted name."""
    names = dict(denoiser.named_modules())
    if not name or name not in names:
        known = ", ".join(child for child, _ in denoiser.named_children())
        raise VizdiffUsageError(f"the network has no block {name!r}; it has {known} and what is inside them")
    return names[name]
