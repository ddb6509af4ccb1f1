"""Arrays of a recording, written block by block: steps within a batch of samples, batch after batch.

It knows the fields' names and axes, and nothing about networks or samplers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.recording.store.layout import CHUNK_SAMPLES, CHUNK_STEPS, steps_chunk
from viz_diffusion.recording.store.writer import StoreWriter

FIELDS = ("x_t", "eps_pred", "x0_pred", "eps_cond", "eps_uncond")
OPTIONAL_FIELDS = ("eps_cond", "eps_uncond")
IMAGES = ("sample", "step", "channel", "y", "x")
INNER_FIELDS = ("inner_x_t", "inner_eps_pred", "inner_steps", "inner_timesteps")
"""The arrays of further evaluations within steps, where a sampler makes some."""
ACTIVATIONS = "activations"
"""The group of the modules' outputs: one array a module, with the module's dotted name."""


class RecordingWriter:
    """Writes a recording into a store.

    Parameters
    ----------
    writer
        The store.
    betas
        (T,) float64: β of the forward process.
    facts
        The recording's JSON attributes: schedule, sampler, weights and so on.
    aim_samples, aim_steps
        How many are meant to be recorded; 0 where that is not known.
    kept_chunk
        Number of steps in one chunk of activations; 1 where only some steps have activations.
    """

    def __init__(
        self,
        writer: StoreWriter,
        betas: NDArray[np.float64],
        facts: Mapping[str, Any],
        *,
        aim_samples: int = 0,
        aim_steps: int = 0,
        kept_chunk: int = CHUNK_STEPS,
    ) -> None:
        self._writer = writer
        self.facts = dict(facts)
        """The attributes that the next commit writes."""
        self._aim = (aim_samples, aim_steps)
        self._kept_chunk = min(kept_chunk, steps_chunk(aim_steps))
        self._timesteps: list[float] = []  # of the first batch
        self._samples = 0  # of finished batches
        self._steps = 0  # of each
        self._begun = (0, 0)  # samples and steps of the current batch
        self._kept = 0  # steps with activations of the current batch
        writer.create("betas", ("timestep",), betas.shape, betas.shape, np.float64)
        writer.put("betas", betas)

    @property
    def begun(self) -> tuple[int, int]:
        """Samples and steps of the current batch so far."""
        return self._begun

    @property
    def finished_samples(self) -> int:
        """Samples of all batches before the current one."""
        return self._samples

    def put_steps(
        self,
        fields: Mapping[str, NDArray[np.float32]],
        timesteps: NDArray[Any],
        alphas_cumprod: NDArray[np.float64],
        *,
        own_alphas: bool = False,
    ) -> None:
        """Append s steps to the current batch.

        Parameters
        ----------
        fields
            (b, s, C, H, W) float32 by name.
        timesteps, alphas_cumprod
            (s,): t, int64 or float64, and ᾱ.
        own_alphas
            Whether ᾱ does not follow from the timesteps and the schedule, so that it has to be stored.

        Raises
        ------
        VizdiffUsageError
            Where the timesteps differ from those of the first batch, or the batch before had a number of samples
            that is no multiple of the chunk's.
        """
        first = fields["x_t"]
        samples, steps = len(first), self._begun[1]
        self._check_grid(samples)
        if not steps:
            self._create_fields(fields, first.shape, timesteps.dtype, own_alphas)
        for name, values in fields.items():
            self._writer.put(name, values, (self._samples, steps))
        if not self._samples:
            self._writer.put("timesteps", timesteps, (steps,))
            self._writer.put("snr", alphas_cumprod / (1 - alphas_cumprod), (steps,))
            if own_alphas:
                self._writer.put("step_alphas_cumprod", alphas_cumprod, (steps,))
            self._timesteps += timesteps.tolist()
        elif self._timesteps[steps : steps + len(timesteps)] != timesteps.tolist():
            raise VizdiffUsageError("a store holds samplings with the same timesteps, and this one has others")
        self._begun = (samples, steps + len(timesteps))

    def put_labels(self, labels: NDArray[np.int64], seeds: NDArray[np.int64]) -> None:
        """Write the labels and seeds, (b,) int64, of the current batch."""
        for name, values in (("labels", labels), ("seeds", seeds)):
            if name not in self._writer:
                self._writer.create(name, ("sample",), (0,), self._chunk(len(values)), np.int64)
            self._writer.put(name, values, (self._samples,))

    def put_activations(self, values: Mapping[str, NDArray[np.float32]], steps: NDArray[np.int64]) -> None:
        """Append the modules' outputs at K more of the current batch's steps.

        Parameters
        ----------
        values
            (b, K, ...) float32 by module.
        steps
            (K,) int64: which steps of the batch these are, from 0.
        """
        for name, array in values.items():
            label = f"{ACTIVATIONS}/{name}"
            rest = array.shape[2:]
            if label not in self._writer:
                axes = ("sample", "kept", *(f"{name}[{axis}]" for axis in range(len(rest))))
                chunks = (*self._chunk(len(array)), self._kept_chunk, *rest)
                self._writer.create(label, axes, (0, 0, *rest), chunks)
            self._writer.put(label, array, (self._samples, self._kept))
        if "activation_steps" not in self._writer:
            self._writer.create("activation_steps", ("kept",), (0,), (self._kept_chunk,), np.int64)
        if not self._samples:
            self._writer.put("activation_steps", steps, (self._kept,))
        self._kept += len(steps)

    def put_inner(self, fields: Mapping[str, NDArray[Any]]) -> None:
        """Write the current batch's E evaluations within steps: the fields ``inner_…`` of a Trajectory by name."""
        for name, values in fields.items():
            images = values.ndim > 1
            if name not in self._writer:
                if images:
                    axes, rest = ("sample", "inner", *IMAGES[2:]), values.shape[2:]
                    chunks = (*self._chunk(len(values)), min(CHUNK_STEPS, values.shape[1]), *rest)
                    self._writer.create(name, axes, (0, 0, *rest), chunks)
                else:
                    self._writer.create(name, ("inner",), (0,), values.shape, values.dtype)
            if images:
                self._writer.put(name, values, (self._samples, 0))
            elif not self._samples:
                self._writer.put(name, values, (0,))

    def put_decoded(self, images: NDArray[np.float32], steps: NDArray[np.int64]) -> None:
        """Write x̂_0 decoded to images, (B, F, C, H, W) float32, and which steps these are from, (F,) int64."""
        axes = ("sample", "frame", "decoded_channel", "decoded_y", "decoded_x")
        chunks = (*self._chunk(len(images)), steps_chunk(len(steps)), *images.shape[2:])
        self._writer.create("decoded", axes, (0, 0, *images.shape[2:]), chunks)
        self._writer.put("decoded", images)
        self._writer.create("decoded_steps", ("frame",), steps.shape, steps.shape, np.int64)
        self._writer.put("decoded_steps", steps)

    def finish_batch(self, x0: NDArray[np.float32]) -> None:
        """End the current batch with its finished images, (b, C, H, W) float32.

        Raises
        ------
        VizdiffUsageError
            Where the batch does not have as many steps as those before.
        """
        samples, steps = self._begun
        if self._samples and steps != self._steps:
            raise VizdiffUsageError(f"a store holds samplings of as many steps; one has {self._steps}, another {steps}")
        if "x0" not in self._writer:
            chunks = (*self._chunk(samples), *x0.shape[1:])
            self._writer.create("x0", ("sample", *IMAGES[2:]), (0, *x0.shape[1:]), chunks, np.float32)
        self._writer.put("x0", x0, (self._samples,))
        self._samples, self._steps = self._samples + samples, steps
        self._begun, self._kept = (0, 0), 0

    def commit(self, *, complete: bool = False) -> None:
        """Make everything written so far readable; ``complete`` marks the recording as finished."""
        recorded = {
            "samples": self._samples,
            "steps": self._steps,
            "begun_samples": self._begun[0],
            "begun_steps": self._begun[1],
            "aim_samples": self._aim[0],
            "aim_steps": self._aim[1],
        }
        status = "complete" if complete else "recording"
        self._writer.commit({**self.facts, "recorded": recorded}, status=status)

    def _create_fields(
        self, fields: Mapping[str, Any], shape: tuple[int, ...], times: np.dtype[Any], own_alphas: bool
    ) -> None:
        if "x_t" in self._writer:
            return
        samples, image = shape[0], shape[2:]
        steps = steps_chunk(self._aim[1])
        for name in fields:
            self._writer.create(name, IMAGES, (0, 0, *image), (*self._chunk(samples), steps, *image))
        extra = ("step_alphas_cumprod",) if own_alphas else ()
        for name in ("timesteps", "snr", *extra):
            self._writer.create(name, ("step",), (0,), (steps,), times if name == "timesteps" else np.float64)

    def _chunk(self, samples: int) -> tuple[int]:
        return (max(1, min(CHUNK_SAMPLES, samples)),)

    def _check_grid(self, samples: int) -> None:
        if self._samples % CHUNK_SAMPLES and self._begun == (0, 0) and samples:
            raise VizdiffUsageError(
                f"several samplings in one store need batches of a multiple of {CHUNK_SAMPLES} images "
                f"(the last may be smaller), found {self._samples} before another"
            )


def recording_bytes(samples: int, steps: int, image: tuple[int, ...], fields: int, dtype: str) -> int:
    """Return the size in bytes of the fields over steps: whole chunks, uncompressed, without activations."""
    rows, columns = min(CHUNK_SAMPLES, samples), steps_chunk(steps)
    chunks = -(-samples // rows) * -(-steps // columns)
    return chunks * rows * columns * math.prod(image) * fields * np.dtype(dtype).itemsize
