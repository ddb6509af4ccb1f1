"""The Recorder: forward hooks on a denoiser that write down what enters and leaves it.

It observes and never alters: with and without it the images and the state of every random generator are
bit-identical. It knows nothing about samplers beyond what hooks see; what they cannot see (how guidance
mixes two predictions, which images came out at the end) it is told.
"""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.sample import ImageNoise, Step, sampling_steps
from viz_diffusion.schedule import NoiseSchedule
from viz_diffusion.timesteps import SPACINGS, VARIANCES
from viz_diffusion.trajectory import Float32, Trajectory

_LABEL_NAMES = ("labels", "label", "y", "class_labels")


@dataclass(frozen=True, eq=False)
class _Call:
    """One forward pass of the denoiser, copied to the CPU."""

    t: int
    x: Float32
    eps: Float32
    labels: NDArray[np.int64]


class Recorder:
    """Record every forward pass of a denoiser while the block lasts.

    Works around any sampling loop and any ``nn.Module`` called with (x, t) or (x, t, labels),
    positionally or by keyword, that returns a tensor, a tuple whose first entry is one, a mapping with
    ``"sample"`` or an object with ``.sample``. ``t`` is one timestep, or the same one for each image.

    Parameters
    ----------
    denoiser
        The network to listen to.
    schedule
        The forward process it was trained on; gives ᾱ and SNR, and x̂_0 from ε̂.
    guidance_scale
        How the loop mixes the conditional and the unconditional prediction, ε_∅ + s (ε_y - ε_∅). Hooks
        see both halves but not the mix: without it ``eps_pred`` and ``x0_pred`` of a guided loop are NaN.
    clip
        Whether the loop clips x̂_0 to [-1, 1]; decides what ``x0_pred`` holds.
    null_label
        The label that means "no order"; by default the denoiser's own ``null_label``, if it has one.

    Examples
    --------
    >>> with Recorder(unet, schedule) as recorder:  # doctest: +SKIP
    ...     recorder.finish(my_sampling_loop(unet))
    >>> recorder.trajectory().x_t.shape  # doctest: +SKIP
    (1, 1000, 1, 28, 28)
    """

    def __init__(
        self,
        denoiser: nn.Module,
        schedule: NoiseSchedule,
        *,
        guidance_scale: float | None = None,
        clip: bool = True,
        null_label: int | None = None,
    ) -> None:
        self._denoiser = weakref.ref(denoiser)  # a recording must not keep a network alive
        self._schedule = schedule
        self._guidance_scale = guidance_scale
        self._clip = clip
        self._null_label = getattr(denoiser, "null_label", None) if null_label is None else null_label
        self._handle: RemovableHandle | None = None
        self._calls: list[_Call] = []
        self._x0: Float32 | None = None

    def __enter__(self) -> Recorder:
        if self._handle is not None:
            raise VizdiffUsageError("this Recorder is already listening; use one Recorder for each block")
        denoiser = self._denoiser()
        if denoiser is None:
            raise VizdiffUsageError("the denoiser of this Recorder no longer exists")
        self._calls.clear()
        self._x0 = None
        self._handle = denoiser.register_forward_hook(self._hear, with_kwargs=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._handle is not None:
            self._handle.remove()
            self._handle = None

    def finish(self, x0: Tensor) -> None:
        """Tell the finished images, (B, C, H, W): no later forward pass shows them."""
        self._x0 = _to_numpy(x0)

    def _hear(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        x, t, labels = _arguments(module, args, kwargs)
        timesteps = np.unique(_to_numpy(torch.as_tensor(t)).astype(np.int64))
        if timesteps.size != 1:
            raise VizdiffUsageError(
                f"one forward pass was given several timesteps ({timesteps.min()}..{timesteps.max()}); "
                "the Recorder follows a sampling loop, in which all images share one"
            )
        known = labels is not None
        label_row = _to_numpy(torch.as_tensor(labels)).astype(np.int64) if known else np.full(len(x), -1)
        self._calls.append(
            _Call(
                int(timesteps[0]),
                _to_numpy(x),
                _to_numpy(_noise_of(output)),
                np.broadcast_to(label_row, len(x)),
            )
        )

    def trajectory(
        self,
        *,
        seeds: Sequence[int] | None = None,
        sampler: str = "",
        variance: str = "",
        eta: float = 0.0,
        weights_sha256: str = "",
        interventions: str = "",
    ) -> Trajectory:
        """Return what was recorded, with the facts that only the loop's author knows.

        Raises
        ------
        VizdiffUsageError
            Where nothing was recorded, more than one sampling was, or the batch changed on the way.
        """
        steps = list(self._steps())
        if not steps:
            raise VizdiffUsageError(
                "nothing was recorded: the sampling loop has to call the denoiser itself, inside the block"
            )
        timesteps = np.array([step[0].t for step in steps])
        if np.any(np.diff(timesteps) >= 0):
            raise VizdiffUsageError("the timesteps did not fall: use one Recorder for each sampling")
        if len({step[0].x.shape for step in steps}) != 1 or len({len(step) for step in steps}) != 1:
            raise VizdiffUsageError("the batch changed during sampling; use one Recorder for each sampling")
        x_t = np.stack([step[0].x for step in steps], axis=1)
        eps_cond = np.stack([step[0].eps for step in steps], axis=1)
        guided = len(steps[0]) == 2
        eps_uncond = np.stack([step[1].eps for step in steps], axis=1) if guided else None
        scale = 1.0 if not guided else np.nan if self._guidance_scale is None else self._guidance_scale
        eps_pred = eps_cond if eps_uncond is None else _mix(eps_cond, eps_uncond, scale)
        x0_pred = np.stack(
            [self._schedule.predict_x0(x_t[:, s], eps_pred[:, s], t) for s, t in enumerate(timesteps)], axis=1
        )
        if self._clip:
            x0_pred = x0_pred.clip(-1, 1)
        num_images = len(x_t)
        return Trajectory(
            schedule=self._schedule,
            timesteps=timesteps,
            x_t=x_t,
            eps_pred=eps_pred,
            x0_pred=x0_pred,
            x0=np.full_like(x_t[:, 0], np.nan) if self._x0 is None else self._x0,
            labels=self._asked(steps[0][0].labels),
            seeds=np.full(num_images, -1) if seeds is None else np.asarray(seeds, dtype=np.int64),
            eps_cond=eps_cond if guided else None,
            eps_uncond=eps_uncond,
            sampler=sampler,
            variance=variance,
            eta=eta,
            guidance_scale=float(scale),
            clip=self._clip,
            weights_sha256=weights_sha256,
            interventions=interventions,
        )

    def _asked(self, labels: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the labels with -1 in the place of the null label."""
        return labels.copy() if self._null_label is None else np.where(labels == self._null_label, -1, labels)

    def _steps(self) -> Iterator[tuple[_Call, ...]]:
        """Join what belongs to one step: (under the label,) or (under the label, under the null label)."""
        group: list[_Call] = []
        for call in self._calls:
            if group and call.t != group[0].t:
                yield self._halves(group)
                group = []
            group.append(call)
        if group:
            yield self._halves(group)

    def _halves(self, calls: list[_Call]) -> tuple[_Call, ...]:
        """Split one step's rows by whether they carry the null label."""
        joined = _Call(
            calls[0].t,
            np.concatenate([call.x for call in calls]),
            np.concatenate([call.eps for call in calls]),
            np.concatenate([call.labels for call in calls]),
        )
        null = joined.labels == -1  # called without labels: the null label, beside calls that have some
        if self._null_label is not None:
            null |= joined.labels == self._null_label
        if not null.any() or null.all():
            if len(calls) > 1:
                raise VizdiffUsageError(f"t = {joined.t} was visited {len(calls)} times under the same labels")
            return (joined,)
        if null.sum() * 2 != null.size:
            raise VizdiffUsageError(f"t = {joined.t}: labelled and unlabelled predictions are not as many")
        return tuple(_Call(joined.t, joined.x[rows], joined.eps[rows], joined.labels[rows]) for rows in (~null, null))


def record_generation(
    denoiser: nn.Module,
    schedule: NoiseSchedule,
    labels: Tensor,
    seeds: Sequence[int],
    *,
    sampler: str = "ddpm",
    steps: int | None = None,
    timestep_spacing: str = SPACINGS[0],
    variance: str = VARIANCES[0],
    eta: float = 0.0,
    guidance_scale: float = 1.5,
    clip: bool = True,
    image_shape: tuple[int, ...] = (1, 28, 28),
    weights_sha256: str = "",
    on_step: Callable[[Step], None] | None = None,
) -> Trajectory:
    """Sample one image per seed under a Recorder and return every step.

    Parameters
    ----------
    labels
        (B,) int64 on the denoiser's device: the digit each image should become.
    seeds
        One per image.
    sampler, steps, timestep_spacing, variance, eta, guidance_scale, clip
        As in :func:`~viz_diffusion.sample.sampling_steps`.
    on_step
        Called after each step, for progress bars; it observes only.
    """
    noise = ImageNoise(seeds, image_shape)
    with Recorder(denoiser, schedule, guidance_scale=guidance_scale, clip=clip) as recorder:
        for step in sampling_steps(
            denoiser, schedule, noise, labels,
            sampler=sampler, steps=steps, timestep_spacing=timestep_spacing, variance=variance, eta=eta,
            guidance_scale=guidance_scale, clip=clip, null_label=getattr(denoiser, "null_label", 10),
        ):  # fmt: skip
            if on_step is not None:
                on_step(step)
        recorder.finish(step.x_prev)
    return recorder.trajectory(
        seeds=seeds,
        sampler=sampler,
        variance=variance if sampler == "ddpm" else "",
        eta=eta,
        weights_sha256=weights_sha256,
        interventions=getattr(denoiser, "interventions", ""),
    )


def _mix(eps_cond: Float32, eps_uncond: Float32, scale: float) -> Float32:
    return eps_uncond + np.float32(scale) * (eps_cond - eps_uncond)


def _to_numpy(tensor: Tensor) -> Any:
    """Copy a tensor to a CPU array: float32 for what is floating, int64 for the rest."""
    dtype = torch.float32 if tensor.is_floating_point() else torch.int64
    return tensor.detach().to("cpu", dtype, copy=True).numpy()


def _arguments(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Tensor, Any, Any]:
    """Find x, t and the labels among a forward pass's arguments, by its signature."""
    bound = inspect.signature(module.forward).bind(*args, **kwargs).arguments
    given: dict[str, Any] = {}
    for name, value in bound.items():
        if name == "kwargs" and isinstance(value, dict):
            given.update(value)
        elif name == "args" and isinstance(value, tuple):
            given.update({f"args[{i}]": item for i, item in enumerate(value)})
        else:
            given[name] = value
    if len(given) < 2 or not isinstance(next(iter(given.values())), Tensor):
        raise VizdiffUsageError("the Recorder needs a denoiser that is called with (x, t) or (x, t, labels)")
    x, t, *rest = given.values()
    named = [given[name] for name in _LABEL_NAMES if name in given]
    labels = named[0] if named else rest[0] if rest else None
    if isinstance(labels, Tensor) and (labels.is_floating_point() or labels.ndim > 1):
        labels = None
    return x, t, labels if isinstance(labels, Tensor) else None


def _noise_of(output: Any) -> Tensor:
    """Return the predicted noise from whatever a denoiser returns."""
    if isinstance(output, (tuple, list)) and output:
        output = output[0]
    elif isinstance(output, Mapping):
        output = output.get("sample", output)
    else:
        output = getattr(output, "sample", output)
    if not isinstance(output, Tensor):
        raise VizdiffUsageError(
            f"the Recorder needs a denoiser that returns a tensor, a tuple or .sample, found {type(output).__name__}"
        )
    return output
