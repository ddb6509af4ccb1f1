"""Fields of a recording, computed from the steps of a sampling.

It knows nothing about hooks or files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from viz_diffusion.diffusion.schedule import NoiseSchedule, predict_x0
from viz_diffusion.recording.step_grouper import RecordedStep
from viz_diffusion.recording.trajectory import Float32


@dataclass(frozen=True)
class FieldAssembler:
    """Computes the fields of a recording from its steps."""

    schedule: NoiseSchedule
    """The forward process; its ᾱ gives x̂_0 from x_t and ε̂."""
    guidance_scale: float | None
    """s of ε_∅ + s (ε_y - ε_∅); None where it is not known."""
    clip: bool
    """Whether the sampling loop clips x̂_0 to [-1, 1]."""
    null_label: int | None
    """The label of the unconditional prediction; None where the denoiser has none."""

    def scale(self, guided: bool) -> float:
        """Return the guidance scale of the recording: 1 unless ``guided``, NaN where it is not known."""
        return 1.0 if not guided else float("nan") if self.guidance_scale is None else float(self.guidance_scale)

    def fields(self, steps: Sequence[RecordedStep], guided: bool) -> dict[str, Float32]:
        """Return x_t, ε̂, x̂_0 and, where ``guided``, both predictions that ε̂ mixes: each (B, s, C, H, W) float32.

        A guided sampling may hold steps with one prediction only. That prediction is then ``eps_pred`` and
        ``eps_cond``, and ``eps_uncond`` is NaN.
        """
        timesteps = np.array([step.cond.t for step in steps])
        x_t = np.stack([step.cond.x for step in steps], axis=1)
        eps_cond = np.stack([step.cond.eps for step in steps], axis=1)
        both: dict[str, Float32] = {}
        eps_pred = eps_cond
        if guided:
            absent = np.full_like(steps[0].cond.eps, np.nan)
            rows = [absent if step.uncond is None else step.uncond.eps for step in steps]
            eps_uncond = np.stack(rows, axis=1)
            eps_pred = eps_uncond + np.float32(self.scale(True)) * (eps_cond - eps_uncond)
            unmixed = np.array([step.uncond is None for step in steps])
            eps_pred[:, unmixed] = eps_cond[:, unmixed]
            both = {"eps_cond": eps_cond, "eps_uncond": eps_uncond}
        x0_pred = self._predict_x0(x_t, eps_pred, timesteps)
        return {"x_t": x_t, "eps_pred": eps_pred, "x0_pred": x0_pred, **both}

    def _predict_x0(self, x_t: Float32, eps: Float32, timesteps: NDArray[np.int64]) -> Float32:
        """Return x̂_0 of (B, s, C, H, W) states at (s,) timesteps, clipped where the loop clips."""
        x0 = predict_x0(x_t, eps, self.schedule.alphas_cumprod[timesteps][None])
        return x0.clip(-1, 1, out=x0) if self.clip else x0

    def labels(self, step: RecordedStep) -> NDArray[np.int64]:
        """Return a step's labels, (B,) int64, with -1 in place of the null label."""
        labels = step.cond.labels
        return labels.copy() if self.null_label is None else np.where(labels == self.null_label, -1, labels)
