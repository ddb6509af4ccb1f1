"""The Recorder: forward hooks on a denoiser that record its inputs and outputs while a user's loop samples.

It observes and never alters: with and without it the images and the state of every random generator are
bit-identical. What hooks cannot see (how guidance mixes two predictions, which images came out at the end) is given to
it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from torch import Tensor, nn

from viz_diffusion.diffusion.sampler_config import SamplerConfig
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.recording.async_writer import AsyncWriter
from viz_diffusion.recording.field_assembler import FieldAssembler
from viz_diffusion.recording.forward_pass import FinishedImages, ForwardPass, to_numpy
from viz_diffusion.recording.hooks import DenoiserHooks
from viz_diffusion.recording.step_grouper import NOTHING_RECORDED, RecordedStep, StepGrouper
from viz_diffusion.recording.store.layout import CHUNK_STEPS
from viz_diffusion.recording.trajectory import Float32, Trajectory


class Recorder:
    """Record every forward pass of a denoiser while the block lasts.

    Works around any sampling loop and any ``nn.Module`` called with (x, t) or (x, t, labels),
    positionally or by keyword, that returns a tensor, a tuple whose first entry is one, a mapping with
    ``"sample"`` or an object with ``.sample``. ``t`` is one timestep, or the same one for each image.
    A network that ``torch.compile`` wrapped is recorded as it is, without activations; the original is not
    observed through its compiled copy.

    Parameters
    ----------
    denoiser
        The network to listen to.
    schedule
        The forward process it was trained on; gives ᾱ and SNR, and x̂_0 from ε̂.
    config
        How the loop samples, where it is one of this package's samplers. Any other loop gives, as far as it can,
        the three parameters below instead.
    guidance_scale
        How the loop mixes the conditional and the unconditional prediction, ε_∅ + s (ε_y - ε_∅). Hooks
        see both halves but not the mix: without it ``eps_pred`` and ``x0_pred`` of a guided loop are NaN.
    clip
        Whether the loop clips x̂_0 to [-1, 1], as is assumed where nothing is said; decides what ``x0_pred`` holds.
    sampler
        The name of the loop's sampler, as captions write it.
    null_label
        The label that means "no order"; by default the denoiser's own ``null_label``, if it has one.
    activations
        Dotted names or globs of modules whose output is kept too, such as ``["time_mlp", "down.*"]`` (see
        :func:`~viz_diffusion.recording.hooks.match_modules`): (B, K, ...) float32, axes as the module gives them
        after its batch, which is (C, h, w) for convolutions; under guidance the half under the label.
    activations_at
        Timesteps at which they are kept; all of them by default.
    activation_norms
        Keep only the L2 norm of each image's activation, (B, K).
    store
        Where to write while recording (a zarr folder), instead of keeping everything in memory. Several
        samplings with the same timesteps are joined as further samples. After an error, Ctrl-C or a kill
        what was written stays beside it; see :meth:`Trajectory.open`.
    dtype, compress
        Of the store; see :meth:`Trajectory.save`.
    aim
        (samples, steps) that are meant to be recorded, so that a store that was cut off can say so.
    seeds
        The seed of each image's noise.
    weights_sha256
        SHA-256 of the weights file.

    Raises
    ------
    VizdiffUsageError
        Where ``config`` is given together with one of the three parameters that it holds.

    Examples
    --------
    >>> with Recorder(unet, schedule) as recorder:
    ...     recorder.finish(sample(unet))
    >>> recorder.trajectory().x_t.shape
    (1, 2, 1, 4, 4)
    """

    def __init__(
        self,
        denoiser: nn.Module,
        schedule: NoiseSchedule,
        config: SamplerConfig | None = None,
        *,
        guidance_scale: float | None = None,
        clip: bool | None = None,
        sampler: str = "",
        null_label: int | None = None,
        activations: Sequence[str] = (),
        activations_at: Collection[int] | None = None,
        activation_norms: bool = False,
        store: Path | None = None,
        dtype: str = "float32",
        compress: bool = False,
        aim: tuple[int, int] = (0, 0),
        seeds: Sequence[int] = (),
        weights_sha256: str = "",
    ) -> None:
        if config is not None:
            if guidance_scale is not None or clip is not None or sampler:
                raise VizdiffUsageError("give either `config`, or `guidance_scale`, `clip` and `sampler`")
            guidance_scale, clip, sampler = config.guidance_scale, config.clip, config.sampler
        clip = True if clip is None else clip
        null = getattr(denoiser, "null_label", None) if null_label is None else null_label
        self._hooks = DenoiserHooks(
            denoiser, self._take, activations=activations, activations_at=activations_at, norms=activation_norms
        )
        self._fields = FieldAssembler(schedule, guidance_scale, clip, null)
        self._seeds = seeds
        self._facts: dict[str, Any] = {
            "sampler": sampler,
            "variance": "" if config is None else config.injected_variance,
            "eta": 0.0 if config is None else config.eta,
            "clip": clip,
            "weights_sha256": weights_sha256,
            "interventions": getattr(denoiser, "interventions", ""),
        }
        self._store = None if store is None else Path(store)
        self._storing: dict[str, Any] = {
            "dtype": dtype,
            "compress": compress,
            "aim": aim,
            "kept_chunk": CHUNK_STEPS if activations_at is None else 1,
        }
        self._writer: AsyncWriter | None = None
        self._events: list[ForwardPass | FinishedImages] = []

    def __enter__(self) -> Recorder:
        self._hooks.start()
        self._events = []
        if self._store is not None:
            self._writer = AsyncWriter(self._store, self._fields, self._facts, self._seeds, **self._storing)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._hooks.stop()
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close(complete=kind is None)

    def finish(self, x0: Tensor) -> None:
        """Record the finished images, (B, C, H, W), of the last sampling: no forward pass shows them."""
        self._take(FinishedImages(to_numpy(x0)))

    def _take(self, event: ForwardPass | FinishedImages) -> None:
        if self._writer is not None:
            self._writer.put(event)
        else:
            self._events.append(event)

    def trajectory(self, *, seeds: Sequence[int] | None = None) -> Trajectory:
        """Return what was recorded.

        Parameters
        ----------
        seeds
            The seed of each image's noise, where the Recorder was not given them. A ``store`` has its own.

        Raises
        ------
        VizdiffUsageError
            Where nothing was recorded, more than one sampling was, or the batch changed on the way.
        """
        if self._store is not None:
            return Trajectory.open(self._store)
        found = self._samplings()
        if len(found) > 1:
            raise VizdiffUsageError(
                f"{len(found)} samplings were recorded (t rose again): call trajectories(), "
                "or use one Recorder for each"
            )
        return self._assemble(*found[0], self._seeds if seeds is None else seeds)

    def trajectories(self) -> list[Trajectory]:
        """Return one Trajectory for each sampling of the block, in order; ``seeds`` go to their images in order."""
        if self._store is not None:
            return [self.trajectory()]
        found, first = [], 0
        for steps, x0 in self._samplings():
            count = len(steps[0].cond.x)
            found.append(self._assemble(steps, x0, self._seeds[first : first + count]))
            first += count
        return found

    def _samplings(self) -> list[tuple[list[RecordedStep], Float32 | None]]:
        """Return each sampling's steps and, where they were given, its finished images."""
        steps: list[list[RecordedStep]] = []
        finished: list[Float32 | None] = []
        for item in StepGrouper(self._fields.null_label).group(self._events):
            if isinstance(item, FinishedImages):
                finished[-1:] = [item.x0] if steps else []
                continue
            if len(steps) == item.sampling:
                steps.append([])
                finished.append(None)
            steps[-1].append(item)
            finished[-1] = None
        if not steps:
            raise VizdiffUsageError(NOTHING_RECORDED)
        return list(zip(steps, finished, strict=True))

    def _assemble(self, steps: list[RecordedStep], x0: Float32 | None, seeds: Sequence[int]) -> Trajectory:
        guided = any(step.uncond is not None for step in steps)
        fields: dict[str, Any] = {
            name: np.ascontiguousarray(values) for name, values in self._fields.fields(steps, guided).items()
        }
        kept = [index for index, step in enumerate(steps) if step.cond.activations]
        names = steps[kept[0]].cond.activations if kept else ()
        return Trajectory(
            schedule=self._fields.schedule,
            timesteps=np.array([step.cond.t for step in steps]),
            **fields,
            x0=np.full_like(fields["x_t"][:, 0], np.nan) if x0 is None else x0,
            labels=self._fields.labels(steps[0]),
            seeds=np.asarray(seeds, dtype=np.int64) if len(seeds) else np.full(len(fields["x_t"]), -1),
            guidance_scale=self._fields.scale(guided),
            activations={name: np.stack([steps[k].cond.activations[name] for k in kept], axis=1) for name in names},
            activation_steps=np.array(kept) if kept else None,
            **self._facts,
        )
