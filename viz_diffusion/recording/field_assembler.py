"""Fields of a recording, computed from the steps of a sampling.

It knows nothing about hooks or files.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from viz_diffusion.diffusion.parameterizations import to_x0_and_eps
from viz_diffusion.diffusion.scaling import scales
from viz_diffusion.diffusion.schedule import NoiseSchedule, predict_x0
from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.recording.guidance_halves import GuidanceHalves
from viz_diffusion.recording.prediction_check import check_ending, check_updates
from viz_diffusion.recording.step_grouper import InnerEvaluation, RecordedStep, StepGrouper
from viz_diffusion.recording.tensor_values import to_numpy
from viz_diffusion.recording.trajectory import Float32


@dataclass(frozen=True)
class FieldAssembler:
    """Computes the fields of a recording from its steps."""

    schedule: NoiseSchedule
    """The forward process; its ᾱ and scaling give x̂_0 and ε̂ from x_t and what was predicted."""
    halves: GuidanceHalves
    """Recognises the two halves of guidance; holds its scale and the null label."""
    clip: bool
    """Whether the sampling loop clips x̂_0 to [-1, 1]."""
    prediction_type: str = "epsilon"
    """What the denoiser predicts, one of ``PREDICTION_TYPES``."""
    is_checked: bool = False
    """Whether nobody said what is predicted, so that it is checked."""
    evaluations_per_step: int | None = None
    """How often the sampler evaluates the denoiser in a step; None where the passes show it."""
    guidance_mix: Callable[[Tensor, Tensor], Tensor] | None = None
    """How the loop mixes the conditional and the unconditional prediction, where it is not the plain weighted sum."""
    is_guided: bool = False
    """Whether it was told that the loop uses guidance."""
    velocity_sign: Callable[[], int] = lambda: 1
    """Returns what the denoiser's answers were multiplied by so that as velocities they are ε - x_0."""

    def __post_init__(self) -> None:
        count = self.evaluations_per_step
        if count is not None and (isinstance(count, bool) or not isinstance(count, (int, np.integer)) or count < 1):
            raise VizdiffUsageError(f"`evaluations_per_step` must be a whole number from 1, found {count!r}")

    def grouper(self) -> StepGrouper:
        """Return a new grouper of forward passes into steps."""
        return StepGrouper(self.halves, self.evaluations_per_step, self.schedule.scaling)

    def scale(self, guided: bool) -> float:
        """Return the guidance scale of the recording: 1 unless ``guided``, NaN where it is not known."""
        return 1.0 if not guided else float("nan") if self.halves.guidance_scale is None else self.halves.guidance_scale

    def fields(self, steps: Sequence[RecordedStep | InnerEvaluation], guided: bool) -> dict[str, Float32]:
        """Return x_t, ε̂, x̂_0 and, where ``guided``, both predictions that ε̂ mixes: each (B, s, C, H, W) float32.

        Guidance mixes predictions of any type alike, for ε̂ is a weighted sum of x_t and of each. A guided sampling may
        hold steps with one prediction only. That prediction is then ``eps_pred`` and ``eps_cond``, and ``eps_uncond``
        is NaN.
        """
        shares = self.alphas_cumprod(steps)
        x_t = np.stack([step.cond.x for step in steps], axis=1)
        cond = np.stack([step.cond.prediction for step in steps], axis=1)
        both: dict[str, Float32] = {}
        used = cond
        if guided:
            absent = np.full_like(steps[0].cond.prediction, np.nan)
            rows = [absent if step.uncond is None else step.uncond.prediction for step in steps]
            uncond = np.stack(rows, axis=1)
            used = self._mixed(cond, uncond)
            unmixed = np.array([step.uncond is None for step in steps])
            used[:, unmixed] = cond[:, unmixed]
            both = {
                "eps_cond": self._convert(cond, x_t, shares)[1],
                "eps_uncond": self._convert(uncond, x_t, shares)[1],
            }
        x0_pred, eps_pred = self._convert(used, x_t, shares)
        if self.clip:
            x0_pred = x0_pred.clip(-1, 1)
        return {"x_t": x_t, "eps_pred": eps_pred, "x0_pred": x0_pred, **both}

    def alphas_cumprod(self, steps: Sequence[RecordedStep | InnerEvaluation]) -> NDArray[np.float64]:
        """Return (s,) float64 ᾱ at each step."""
        return np.array([step.cond.alphas_cumprod for step in steps])

    def timesteps(self, steps: Sequence[RecordedStep | InnerEvaluation]) -> NDArray[Any]:
        """Return (s,) timesteps: int64 where all of them are whole, else float64; a flow's data are at -1.0."""
        values = np.array([step.cond.t for step in steps], dtype=np.float64)
        whole = values.astype(np.int64)
        return whole if np.all((whole == values) & (whole >= 0)) else values

    def _mixed(self, cond: Float32, uncond: Float32) -> Float32:
        """Return the predictions under guidance, (B, s, C, H, W)."""
        if self.guidance_mix is None:
            return uncond + np.float32(self.scale(True)) * (cond - uncond)
        mixed = [
            self.guidance_mix(*(torch.from_numpy(half[:, step].copy()) for half in (cond, uncond)))
            for step in range(cond.shape[1])
        ]
        for one in mixed:
            if not isinstance(one, Tensor) or one.shape != cond[:, 0].shape:
                found = tuple(one.shape) if isinstance(one, Tensor) else type(one).__name__
                raise VizdiffUsageError(
                    f"`guidance_mix` must return a tensor of the predictions' shape {cond[:, 0].shape}, found {found}"
                )
        return np.stack([to_numpy(one) for one in mixed], axis=1).astype(np.float32, copy=False)

    def check(
        self, steps: Sequence[RecordedStep], inner: Sequence[InnerEvaluation] = (), x0: Float32 | None = None
    ) -> None:
        """Check consecutive steps of a sampling, evaluations within them, and the images that the last one ends with.

        Raises
        ------
        VizdiffUsageError
            As of :func:`check_updates`, where nobody said what is predicted.
        """
        if not self.is_checked or not steps:
            return
        facts = (self.schedule, self.halves.guidance_scale, self.prediction_type, self.velocity_sign())
        check_updates(((one, after.cond) for one, after in itertools.pairwise(steps)), *facts)
        check_updates(((steps[one.step], one.cond) for one in inner if one.step < len(steps)), *facts)
        check_ending(steps[-1], x0, *facts)

    def require_guidance(self, guided: bool) -> None:
        """Refuse a recording without guidance whose guidance was told.

        Raises
        ------
        VizdiffUsageError
            Where :attr:`is_guided` and no step held two predictions.
        """
        if self.is_guided and not guided:
            raise VizdiffUsageError(
                "`guidance_scale` or `guidance_mix` was given, and each state was evaluated once, so that the other "
                "half of guidance is missing: leave it out if the denoiser mixes both halves itself; if another "
                "network gives the other half, record an nn.Module whose forward calls both"
            )

    def _convert(
        self, prediction: Float32, x_t: Float32, alphas_cumprod: NDArray[np.float64]
    ) -> tuple[Float32, Float32]:
        """Return x̂_0, unclipped, and ε̂ that (B, s, C, H, W) predictions imply."""
        if self.prediction_type == "epsilon":
            return predict_x0(x_t, prediction, alphas_cumprod[None], self.schedule.scaling), prediction
        scaled = [values[None] for values in scales(alphas_cumprod, self.schedule.scaling)]
        return to_x0_and_eps(prediction, x_t, self.prediction_type, *scaled)

    def has_own_alphas(self, timesteps: NDArray[Any], alphas_cumprod: NDArray[np.float64]) -> bool:
        """Return whether ᾱ does not follow from the timesteps and the schedule."""
        if timesteps.dtype.kind != "i":
            return True
        return not np.allclose(self.schedule.alphas_cumprod[timesteps], alphas_cumprod, rtol=1e-6, atol=0)

    def inner(self, evaluations: Sequence[InnerEvaluation], guided: bool) -> dict[str, Any]:
        """Return the further evaluations within steps, as the fields ``inner_…`` of a Trajectory."""
        if not evaluations:
            return {}
        fields = self.fields(evaluations, guided)
        return {
            "inner_x_t": np.ascontiguousarray(fields["x_t"]),
            "inner_eps_pred": np.ascontiguousarray(fields["eps_pred"]),
            "inner_steps": np.array([one.step for one in evaluations], dtype=np.int64),
            "inner_timesteps": np.array([one.cond.t for one in evaluations], dtype=np.float64),
        }

    def changed_labels(self, first: RecordedStep, later: RecordedStep) -> NDArray[np.bool_]:
        """Return which images have another label at a later step of their sampling, (B,) bool; none is no other."""
        before, now = self.labels(first), self.labels(later)
        return (before != now) & (before >= 0) & (now >= 0)

    def labels(self, step: RecordedStep) -> NDArray[np.int64]:
        """Return a step's labels, (B,) int64, with -1 in place of the null label and where a mask drops the label."""
        labels, null = step.cond.labels.copy(), self.halves.null_label
        if null is not None:
            labels[labels == null] = -1
        if step.uncond is None and step.cond.dropped is not None:
            labels[step.cond.dropped] = -1
        return labels
