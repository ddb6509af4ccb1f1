"""Interventions: other inputs for the network than those the sampler gives it.

Each is a :class:`Change`, a named function of (x, t, y) that stands between sampler and network;
:class:`WithInterventions` puts some of them around a denoiser, and is a denoiser itself. The sampler does not know of
them: it keeps its own t and label, and a Recorder around :class:`WithInterventions` records those, with the network's
answer. Knows nothing about recording or figures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from viz_diffusion.diffusion.latent_space import LatentSpace
from viz_diffusion.diffusion.network_inputs import NetworkInputs
from viz_diffusion.diffusion.samplers import Noise
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.errors import VizdiffUsageError

DenoiserInputs = tuple[Tensor, Tensor, Tensor | None]
"""x (B, C, H, W), timesteps (B,) and labels (B,), or None without labels."""


@dataclass(frozen=True)
class Change:
    """A named function from the sampler's inputs to those that the network gets."""

    name: str
    """As the command line spells it: ``switch 8@500``."""
    apply: Callable[[Tensor, Tensor, Tensor | None], DenoiserInputs]
    """(x, timesteps, labels) -> the same three, changed; never in place."""


class WithInterventions(nn.Module):
    """A denoiser whose network gets other inputs than the sampler gives.

    Parameters
    ----------
    denoiser
        Any module called with (x, timesteps) or (x, timesteps, labels).
    changes
        Applied in this order, each to the result of the one before it; without any, nothing changes, to the bit.

    Examples
    --------
    >>> other = WithInterventions(unet, switch_label(8, at=500))
    >>> record_generation(other, schedule, torch.tensor([3]), seeds=[0]).interventions
    'switch 8@500'
    """

    def __init__(self, denoiser: nn.Module, *changes: Change) -> None:
        super().__init__()
        self.denoiser = denoiser
        self.changes = changes
        self.null_label: int = getattr(denoiser, "null_label", 10)
        self.prediction_type: str = getattr(denoiser, "prediction_type", "epsilon")
        self.prompts: tuple[str, ...] = getattr(denoiser, "prompts", ())
        self.latent_space: LatentSpace | None = getattr(denoiser, "latent_space", None)
        inner = getattr(denoiser, "interventions", "")
        self.interventions: str = ", ".join([*(change.name for change in changes), *([inner] if inner else [])])
        """The names of all changes, outermost first."""

    def changed(self, x: Tensor, timesteps: Tensor, labels: Tensor | None = None) -> DenoiserInputs:
        """Return what the network gets where the sampler gives ``x``, ``timesteps`` and ``labels``."""
        for change in self.changes:
            x, timesteps, labels = change.apply(x, timesteps, labels)
        return x, timesteps, labels

    def forward(self, x: Tensor, timesteps: Tensor, labels: Tensor | None = None) -> Any:
        """Return the denoiser's output for the changed inputs."""
        x, timesteps, labels = self.changed(x, timesteps, labels)
        return self.denoiser(x, timesteps) if labels is None else self.denoiser(x, timesteps, labels)


def switch_label(label: int, at: int, null_label: int = 10) -> Change:
    """Give ``label`` in place of every other from timestep ``at`` on down, that is at t <= ``at``.

    With ``at`` = T-1 this is a run with the label ``label``, with -1 the run as it was. The null label, which
    guidance evaluates too, stays.
    """

    def apply(x: Tensor, timesteps: Tensor, labels: Tensor | None) -> DenoiserInputs:
        if labels is None:
            return x, timesteps, None
        switched = (timesteps <= at) & (labels != null_label)
        return x, timesteps, torch.where(switched, label, labels)

    return Change(f"switch {label}@{at}", apply)


def drop_label(null_label: int = 10) -> Change:
    """Give the null label at every step: the network works without a label."""

    def apply(x: Tensor, timesteps: Tensor, labels: Tensor | None) -> DenoiserInputs:
        return x, timesteps, None if labels is None else torch.full_like(labels, null_label)

    return Change("drop-label", apply)


def guide_within(first: int, last: int, null_label: int = 10) -> Change:
    """Let guidance work at ``first`` <= t <= ``last`` only (Kynkäänniemi et al. 2024).

    Outside, the unconditional half of a doubled batch (labels first, null labels after) gets the labels too:
    both halves are then the same, and ε_y + s (ε_y - ε_y) is ε_y. Other batches stay as they are.
    """

    def apply(x: Tensor, timesteps: Tensor, labels: Tensor | None) -> DenoiserInputs:
        if labels is None or len(labels) % 2:
            return x, timesteps, labels
        conditional, nulls = labels.chunk(2)
        if (conditional == null_label).any() or not (nulls == null_label).all():
            return x, timesteps, labels
        outside = (timesteps < first) | (timesteps > last)
        return x, timesteps, torch.where(outside, conditional.repeat(2), labels)

    return Change(f"guide-within {first}:{last}", apply)


def freeze_timestep(t: int) -> Change:
    """Give the same ``t`` at every step."""
    return _change_timestep(f"frozen:{t}", lambda timesteps: torch.full_like(timesteps, t))


def reverse_timestep(num_train_timesteps: int) -> Change:
    """Give T-1-t in place of t."""
    return _change_timestep("reversed", lambda timesteps: num_train_timesteps - 1 - timesteps)


def shuffle_timestep(num_train_timesteps: int, seed: int = 0) -> Change:
    """Give another t in place of each, by one permutation of all T that ``seed`` decides."""
    generator = torch.Generator().manual_seed(seed)
    permutation = torch.randperm(num_train_timesteps, generator=generator, device="cpu")
    return _change_timestep(f"shuffled:{seed}", lambda timesteps: permutation.to(timesteps.device)[timesteps])


def _change_timestep(kind: str, reading: Callable[[Tensor], Tensor]) -> Change:
    return Change(f"clock {kind}", lambda x, timesteps, labels: (x, reading(timesteps), labels))


class ForkedNoise:
    """Noise for finishing one frozen state several times.

    Its first draw, in the place of x_T, is the state, once for each image; then come the images' own draws. At
    ``timesteps`` from the state's own t on down, any sampler then continues from it (DPM-Solver++ with a step of
    first order, since the previous prediction is not known).

    Parameters
    ----------
    x_t
        (C, H, W) the frozen state.
    noise
        What each of the K images continues with; its first draw, the images' own x_T, is not used.

    Examples
    --------
    >>> noise = ForkedNoise(torch.zeros(1, 4, 4), ImageNoise([1, 2, 3], (1, 4, 4)))
    >>> steps = ddpm_steps(unet, schedule, noise, torch.tensor([5, 5, 5]), timesteps=np.array([0]))
    >>> next(steps).x_t.shape
    torch.Size([3, 1, 4, 4])
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
    """Return a block's mean output over noised ``images``, at each of some timesteps.

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
    means: list[Tensor] = []
    handle = _block(denoiser, block).register_forward_hook(lambda _, __, output: means.append(output.mean(dim=0)))
    try:
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn(images.shape, generator=generator, dtype=torch.float32, device="cpu").to(images)
        for t in timesteps:
            steps = torch.full((len(images),), t, device=images.device)
            x_t = schedule.add_noise(images, noise, t)
            _ = denoiser(x_t, steps) if labels is None else denoiser(x_t, steps, labels)
    finally:
        handle.remove()
    return dict(zip(timesteps, means, strict=True))


@contextmanager
def mean_ablated(denoiser: nn.Module, block: str, means: Mapping[int, Tensor]) -> Iterator[None]:
    """Replace a block's output by ``means[t]``, at the timesteps that ``means`` holds, within a ``with`` statement.

    What the block knows of the image at hand is lost; at other timesteps nothing changes.

    Parameters
    ----------
    denoiser, block
        The network, called with (x, timesteps, …), and the dotted name of a module in it.
    means
        From :func:`block_means`.
    """
    current: list[int] = []

    def note_timestep(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        given = [*args, *kwargs.values()][1]
        timesteps = torch.unique(given) if isinstance(given, Tensor) else torch.tensor([given], device="cpu")
        if timesteps.numel() != 1:
            raise VizdiffUsageError("a block is ablated at one t for all images; this pass has several")
        current[:] = [int(timesteps)]

    def replace(_: nn.Module, __: Any, output: Tensor) -> Tensor | None:
        mean = means.get(current[0])
        return None if mean is None else mean.to(output).expand_as(output)

    handles = [denoiser.register_forward_pre_hook(note_timestep, with_kwargs=True)]
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


def network_inputs(
    denoiser: WithInterventions, label: int, timesteps: Sequence[int], guidance_scale: float
) -> NetworkInputs:
    """Return what an intervened network gets along a generation; the network itself is not evaluated.

    Parameters
    ----------
    label, timesteps, guidance_scale
        What the sampler gives: the label, the S timesteps, and the scale.
    """
    guided = guidance_scale != 1
    given = torch.tensor([label, denoiser.null_label] if guided else [label], device="cpu")
    labels: list[int | None] = []
    changed_timesteps, guidance = [], []
    for t in timesteps:
        _, times, changed = denoiser.changed(given.float(), torch.full_like(given, t), given)
        got = given.tolist() if changed is None else changed.tolist()
        labels.append(None if got[0] == denoiser.null_label else got[0])
        changed_timesteps.append(int(times[0]))
        guidance.append(1.0 if guided and got[1] != denoiser.null_label else guidance_scale)
    return NetworkInputs(tuple(labels), tuple(changed_timesteps), tuple(guidance))
