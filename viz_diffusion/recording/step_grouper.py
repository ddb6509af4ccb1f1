"""Forward passes of a denoiser, put in order: which belong to one step, and which steps to one sampling.

Knows nothing about hooks, files or samplers; tensors come in, arrays go out.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from viz_diffusion.diffusion.schedule import NoiseSchedule, predict_x0
from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.recording.trajectory import Float32

_LABEL_NAMES = ("labels", "label", "y", "class_labels")


@dataclass(frozen=True, eq=False)
class ForwardPass:
    """One call of the denoiser with n images, copied to the CPU."""

    t: int
    """The timestep they share."""
    x: Float32
    """(n, C, H, W) float32: what entered."""
    eps: Float32
    """(n, C, H, W) float32: what came out."""
    labels: NDArray[np.int64]
    """(n,) int64; -1 where none were given."""
    activations: Mapping[str, Float32] = field(default_factory=dict)
    """(n, ...) float32 by module."""


@dataclass(frozen=True, eq=False)
class Finished:
    """The loop said what came out at the end."""

    x0: Float32
    """(B, C, H, W) float32."""


@dataclass(frozen=True, eq=False)
class RecordedStep:
    """All forward passes of one step, their halves told apart."""

    sampling: int
    """Number of the sampling within its block, from 0."""
    cond: ForwardPass
    """Under the labels, or all there was."""
    uncond: ForwardPass | None
    """Under the null label, where both were asked for."""


NULL_LABEL = "say which label stands for none: Recorder(…, null_label=…)"
"""How a message tells what a Recorder has to know of guidance."""


class StepSorter:
    """Turns events, one after another, into steps; a step is given once it is known to be over.

    Passes at one timestep are one step: a doubled batch or two calls are split by whether rows carry the
    null label. Where t rises again, or is as large again after a sampling of one step, a new sampling begins.
    """

    def __init__(self, null_label: int | None) -> None:
        self._null_label = null_label
        self._group: list[ForwardPass] = []
        self._sampling = 0
        self._last: RecordedStep | None = None
        self._length = 0
        self._finished = False

    def sort(self, events: Iterable[ForwardPass | Finished]) -> Iterator[RecordedStep | Finished]:
        """Give steps, and between them what the loop said was finished."""
        for event in events:
            if isinstance(event, Finished):
                yield from self._close()
                self._check_count(len(event.x0))
                self._finished = True
                yield event
                continue
            if self._group and (event.t != self._group[0].t or self._is_whole(event)):
                yield from self._close()
            self._group.append(event)
        yield from self._close()

    def _check_count(self, finished: int) -> None:
        """Refuse as many finished images as are not those of the last step."""
        rows = finished if self._last is None else len(self._last.cond.x)
        if finished != rows:
            doubled = f"; if a pass holds both halves of guidance, {NULL_LABEL}" if rows == 2 * finished else ""
            raise VizdiffUsageError(f"{finished} images were finished, and a forward pass had {rows}{doubled}")

    def _is_whole(self, event: ForwardPass) -> bool:
        """Whether a pass at the group's own t cannot be its other half, and may begin a new sampling."""
        kinds = [self._kind(one) for one in self._group]
        return self._kind(event) in kinds or "both" in kinds or len(kinds) > 1

    def _kind(self, one: ForwardPass) -> str:
        null = self._null(one)
        return "null" if null.all() else "both" if null.any() else "labelled"

    def _null(self, one: ForwardPass) -> NDArray[np.bool_]:
        null = one.labels == -1  # called without labels
        return null if self._null_label is None else null | (one.labels == self._null_label)

    def _close(self) -> Iterator[RecordedStep]:
        if not self._group:
            return
        group, self._group = self._group, []
        t, last = group[0].t, self._last
        if last is not None and t >= last.cond.t:
            if t == last.cond.t and self._length > 1 and not self._finished:
                raise VizdiffUsageError(f"t = {t} was visited 2 times under {_two_labels(last.cond, group[0])}")
            self._sampling, self._length, last = self._sampling + 1, 0, None
        step = self._halves(group)
        if last is not None and step.cond.x.shape != last.cond.x.shape:
            raise VizdiffUsageError("the batch changed during sampling; use one Recorder for each sampling")
        self._last, self._finished = step, False
        self._length += 1
        yield step

    def _halves(self, group: Sequence[ForwardPass]) -> RecordedStep:
        """Split one step's rows by whether they carry the null label."""
        joined = group[0] if len(group) == 1 else _join(group)
        null = self._null(joined)
        if not null.any() or null.all():
            return RecordedStep(self._sampling, joined, None)
        if null.sum() * 2 != null.size:
            raise VizdiffUsageError(f"t = {joined.t}: labelled and unlabelled predictions are not as many")
        return RecordedStep(self._sampling, _rows(joined, ~null), _rows(joined, null))


def _two_labels(first: ForwardPass, second: ForwardPass) -> str:
    """Say which labels two passes were told, and what to do where they differ."""
    told = [", ".join(map(str, np.unique(one.labels))) for one in (first, second)]
    if told[0] == told[1]:
        return "the same labels"
    return f"labels {told[0]} and {told[1]}; under guidance, {NULL_LABEL}"


def _join(group: Sequence[ForwardPass]) -> ForwardPass:
    return ForwardPass(
        group[0].t,
        np.concatenate([one.x for one in group]),
        np.concatenate([one.eps for one in group]),
        np.concatenate([one.labels for one in group]),
        {name: np.concatenate([one.activations[name] for one in group]) for name in group[0].activations},
    )


def _rows(one: ForwardPass, rows: NDArray[np.bool_]) -> ForwardPass:
    return ForwardPass(
        one.t,
        one.x[rows],
        one.eps[rows],
        one.labels[rows],
        {name: values[rows] for name, values in one.activations.items()},
    )


@dataclass(frozen=True)
class Assembly:
    """How steps become the fields of a recording."""

    schedule: NoiseSchedule
    """The forward process; gives x̂_0 from ε̂."""
    guidance_scale: float | None
    """s of ε_∅ + s (ε_y - ε_∅); None where it is not known."""
    clip: bool
    """Whether the loop clips x̂_0 to [-1, 1]."""
    null_label: int | None
    """The label that means "no order"."""

    def scale(self, guided: bool) -> float:
        """Return the guidance that a recording is said to have had."""
        return 1.0 if not guided else float("nan") if self.guidance_scale is None else float(self.guidance_scale)

    def fields(self, steps: Sequence[RecordedStep], guided: bool) -> dict[str, Float32]:
        """Return x_t, ε̂, x̂_0 and, where ``guided``, both halves of ε̂: each (B, s, C, H, W) float32.

        A step that asked for one half only, in a sampling that mixes two, used that half as it was; its
        ``eps_uncond`` is NaN.
        """
        timesteps = np.array([step.cond.t for step in steps])
        x_t = np.stack([step.cond.x for step in steps], axis=1)
        eps_cond = np.stack([step.cond.eps for step in steps], axis=1)
        halves: dict[str, Float32] = {}
        eps_pred = eps_cond
        if guided:
            absent = np.full_like(steps[0].cond.eps, np.nan)
            rows = [absent if step.uncond is None else step.uncond.eps for step in steps]
            eps_uncond = np.stack(rows, axis=1)
            mixed = eps_uncond + np.float32(self.scale(True)) * (eps_cond - eps_uncond)
            alone = np.array([step.uncond is None for step in steps])
            mixed[:, alone] = eps_cond[:, alone]
            eps_pred = mixed
            halves = {"eps_cond": eps_cond, "eps_uncond": eps_uncond}
        x0_pred = self._guesses(x_t, eps_pred, timesteps)
        return {"x_t": x_t, "eps_pred": eps_pred, "x0_pred": x0_pred, **halves}

    def _guesses(self, x_t: Float32, eps: Float32, timesteps: NDArray[np.int64]) -> Float32:
        """Return x̂_0 of (B, s, C, H, W) states at (s,) timesteps, clipped where the loop does."""
        x0 = predict_x0(x_t, eps, self.schedule.alphas_cumprod[timesteps][None])
        return x0.clip(-1, 1, out=x0) if self.clip else x0

    def labels(self, step: RecordedStep) -> NDArray[np.int64]:
        """Return the labels of a step with -1 in the place of the null label."""
        labels = step.cond.labels
        return labels.copy() if self.null_label is None else np.where(labels == self.null_label, -1, labels)


def to_numpy(tensor: Tensor) -> Any:
    """Copy a tensor to a CPU array: float32 for what is floating, int64 for the rest."""
    dtype = torch.float32 if tensor.is_floating_point() else torch.int64
    return tensor.detach().to("cpu", dtype, copy=True).numpy()


def tensor_of(output: Any) -> Tensor:
    """Return the tensor in whatever a module returns: itself, a tuple's first, ``.sample`` or ``["sample"]``."""
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


def arguments(
    signature: inspect.Signature, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Tensor, int, NDArray[np.int64]]:
    """Find x, t and the labels (-1 where there are none) among a forward pass's arguments, by its signature.

    Raises
    ------
    VizdiffUsageError
        Where they are not there, or images of one pass have different or fractional timesteps.
    """
    bound = signature.bind(*args, **kwargs).arguments
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
    if not isinstance(labels, Tensor) or labels.is_floating_point() or labels.ndim > 1:
        row = np.full(len(x), -1)
    else:
        row = np.broadcast_to(to_numpy(labels), len(x))
    return x, _shared(to_numpy(torch.as_tensor(t)).reshape(-1)), row


def _shared(timesteps: NDArray[Any]) -> int:
    """Return the one whole timestep that all images of a pass have."""
    if not timesteps.size or (timesteps != timesteps[0]).any():
        raise VizdiffUsageError(
            f"one forward pass was given several timesteps ({timesteps.min()}..{timesteps.max()}); "
            "the Recorder follows a sampling loop, in which all images share one"
        )
    if timesteps[0] != int(timesteps[0]):
        raise VizdiffUsageError(
            f"a forward pass was given t = {timesteps[0]:g}, between the schedule's timesteps; "
            "record a diffusers pipeline with record_pipeline()"
        )
    return int(timesteps[0])


def forward_signature(module: nn.Module) -> inspect.Signature:
    """Return the signature of a module's ``forward``, of the original's where it was compiled."""
    return inspect.signature(getattr(module, "_orig_mod", module).forward)
