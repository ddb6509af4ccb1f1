"""The Recorder: forward hooks on a denoiser that write down what enters and leaves it.

It observes and never alters: with and without it the images and the state of every random generator are
bit-identical. It knows nothing about samplers beyond what hooks see; what they cannot see (how guidance
mixes two predictions, which images came out at the end) it is told.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from torch import Tensor, nn

from viz_diffusion.diffusion.samplers import ImageNoise, Step, sampling_steps
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.diffusion.timesteps import SPACINGS, VARIANCES
from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.recording.async_writer import AsyncWriter
from viz_diffusion.recording.field_assembler import FieldAssembler
from viz_diffusion.recording.forward_pass import FinishedImages, ForwardPass, to_numpy
from viz_diffusion.recording.hooks import DenoiserHooks
from viz_diffusion.recording.step_grouper import NOTHING_RECORDED, RecordedStep, StepGrouper
from viz_diffusion.recording.store.fields import recording_bytes
from viz_diffusion.recording.store.layout import CHUNK_SAMPLES, CHUNK_STEPS
from viz_diffusion.recording.store.writer import require_space
from viz_diffusion.recording.trajectory import Float32, Trajectory


class Recorder:
    """Record every forward pass of a denoiser while the block lasts.

    Works around any sampling loop and any ``nn.Module`` called with (x, t) or (x, t, labels),
    positionally or by keyword, that returns a tensor, a tuple whose first entry is one, a mapping with
    ``"sample"`` or an object with ``.sample``. ``t`` is one timestep, or the same one for each image.
    A network that ``torch.compile`` wrapped is recorded as it is, without activations; the original is not
    heard through its compiled copy.

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
    seeds, sampler, variance, eta, weights_sha256
        Facts that only the loop's author knows.

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
        activations: Sequence[str] = (),
        activations_at: Collection[int] | None = None,
        activation_norms: bool = False,
        store: Path | None = None,
        dtype: str = "float32",
        compress: bool = False,
        aim: tuple[int, int] = (0, 0),
        seeds: Sequence[int] = (),
        sampler: str = "",
        variance: str = "",
        eta: float = 0.0,
        weights_sha256: str = "",
    ) -> None:
        null = getattr(denoiser, "null_label", None) if null_label is None else null_label
        self._listener = DenoiserHooks(
            denoiser, self._take, activations=activations, activations_at=activations_at, norms=activation_norms
        )
        self._assembly = FieldAssembler(schedule, guidance_scale, clip, null)
        self._seeds = seeds
        self._facts: dict[str, Any] = {
            "sampler": sampler,
            "variance": variance,
            "eta": eta,
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
        self._spool: AsyncWriter | None = None
        self._events: list[ForwardPass | FinishedImages] = []

    def __enter__(self) -> Recorder:
        self._listener.start()
        self._events = []
        if self._store is not None:
            self._spool = AsyncWriter(self._store, self._assembly, self._facts, self._seeds, **self._storing)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._listener.stop()
        spool, self._spool = self._spool, None
        if spool is not None:
            spool.close(complete=kind is None)

    def finish(self, x0: Tensor) -> None:
        """Tell the finished images, (B, C, H, W), of the sampling heard last: no forward pass shows them."""
        self._take(FinishedImages(to_numpy(x0)))

    def _take(self, event: ForwardPass | FinishedImages) -> None:
        if self._spool is not None:
            self._spool.put(event)
        else:
            self._events.append(event)

    def trajectory(
        self,
        *,
        seeds: Sequence[int] | None = None,
        sampler: str | None = None,
        variance: str | None = None,
        eta: float | None = None,
        weights_sha256: str | None = None,
    ) -> Trajectory:
        """Return what was recorded, with the facts that only the loop's author knows.

        With a ``store`` everything is read back from there, with the facts it was given at first.

        Raises
        ------
        VizdiffUsageError
            Where nothing was recorded, more than one sampling was, or the batch changed on the way.
        """
        if self._store is not None:
            return Trajectory.open(self._store)
        told = {"sampler": sampler, "variance": variance, "eta": eta, "weights_sha256": weights_sha256}
        facts = self._facts | {name: value for name, value in told.items() if value is not None}
        found = self._samplings()
        if len(found) > 1:
            raise VizdiffUsageError(
                f"{len(found)} samplings were heard (t rose again): ask for trajectories(), "
                "or use one Recorder for each"
            )
        return self._assemble(*found[0], self._seeds if seeds is None else seeds, facts)

    def trajectories(self) -> list[Trajectory]:
        """Return one Trajectory for each sampling of the block, in order; ``seeds`` go to their images in order."""
        if self._store is not None:
            return [self.trajectory()]
        found, first = [], 0
        for steps, x0 in self._samplings():
            count = len(steps[0].cond.x)
            found.append(self._assemble(steps, x0, self._seeds[first : first + count], self._facts))
            first += count
        return found

    def _samplings(self) -> list[tuple[list[RecordedStep], Float32 | None]]:
        """Return each sampling's steps and, where it was told, what it finished with."""
        steps: list[list[RecordedStep]] = []
        finished: list[Float32 | None] = []
        for item in StepGrouper(self._assembly.null_label).group(self._events):
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

    def _assemble(
        self, steps: list[RecordedStep], x0: Float32 | None, seeds: Sequence[int], facts: dict[str, Any]
    ) -> Trajectory:
        guided = any(step.uncond is not None for step in steps)
        fields: dict[str, Any] = {
            name: np.ascontiguousarray(values) for name, values in self._assembly.fields(steps, guided).items()
        }
        kept = [index for index, step in enumerate(steps) if step.cond.activations]
        names = steps[kept[0]].cond.activations if kept else ()
        return Trajectory(
            schedule=self._assembly.schedule,
            timesteps=np.array([step.cond.t for step in steps]),
            **fields,
            x0=np.full_like(fields["x_t"][:, 0], np.nan) if x0 is None else x0,
            labels=self._assembly.labels(steps[0]),
            seeds=np.asarray(seeds, dtype=np.int64) if len(seeds) else np.full(len(fields["x_t"]), -1),
            guidance_scale=self._assembly.scale(guided),
            activations={name: np.stack([steps[k].cond.activations[name] for k in kept], axis=1) for name in names},
            activation_steps=np.array(kept) if kept else None,
            **facts,
        )


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
    store: Path | None = None,
    dtype: str = "float32",
    compress: bool = False,
    activations: Sequence[str] = (),
    activations_at: Collection[int] | None = None,
    activation_norms: bool = False,
) -> Trajectory:
    """Sample one image per seed under a Recorder and return every step.

    Parameters
    ----------
    labels
        (B,) int64 on the denoiser's device: the digit each image should become.
    seeds
        One per image.
    sampler, steps, timestep_spacing, variance, eta, guidance_scale, clip
        As in :func:`~viz_diffusion.diffusion.samplers.sampling_steps`.
    on_step
        Called after each step, for progress bars; it observes only.
    store, dtype, compress
        Where and how to write while sampling, in batches of 16 images, so that memory does not grow with their
        number; the first batch is read back and returned. Without, all images are one batch in memory.
    activations, activations_at, activation_norms
        As of :class:`Recorder`.

    Raises
    ------
    VizdiffUsageError
        Where the labels are not one for each seed, or none that the denoiser knows.
    VizdiffIOError
        Where the disk has no room for the recording; nothing is sampled then.
    """
    count = len(seeds)
    _check_labels(labels, count, getattr(denoiser, "null_label", None))
    batch = count if store is None else CHUNK_SAMPLES
    num_steps = schedule.num_train_timesteps if steps is None else steps
    if store is not None:
        fields = 3 if guidance_scale == 1 else 5
        require_space(store, recording_bytes(count, num_steps, image_shape, fields, dtype))
    recorder = Recorder(
        denoiser,
        schedule,
        guidance_scale=guidance_scale,
        clip=clip,
        activations=activations,
        activations_at=activations_at,
        activation_norms=activation_norms,
        store=store,
        dtype=dtype,
        compress=compress,
        aim=(count, num_steps),
        seeds=seeds,
        sampler=sampler,
        variance=variance if sampler == "ddpm" else "",
        eta=eta,
        weights_sha256=weights_sha256,
    )
    with recorder:
        for first in range(0, count, batch):
            part = slice(first, first + batch)
            for step in sampling_steps(
                denoiser,
                schedule,
                ImageNoise(seeds[part], image_shape),
                labels[part],
                sampler=sampler,
                steps=steps,
                timestep_spacing=timestep_spacing,
                variance=variance,
                eta=eta,
                guidance_scale=guidance_scale,
                clip=clip,
                null_label=getattr(denoiser, "null_label", 10),
            ):
                if on_step is not None:
                    on_step(step)
            recorder.finish(step.x_prev)
    return recorder.trajectory() if store is None else Trajectory.open(store, samples=slice(0, batch))


def _check_labels(labels: Tensor, count: int, null_label: int | None) -> None:
    """Refuse labels that are not one for each of ``count`` seeds, or beyond the denoiser's own."""
    if not isinstance(labels, Tensor) or labels.is_floating_point() or labels.shape != (count,):
        found = f"shape {tuple(labels.shape)}, {labels.dtype}" if isinstance(labels, Tensor) else repr(labels)
        raise VizdiffUsageError(f"labels must be {count} whole numbers in a tensor, one for each seed, found {found}")
    if null_label is not None and count and not 0 <= int(labels.min()) <= int(labels.max()) <= null_label:
        told = ", ".join(map(str, sorted(set(labels.tolist()))))
        raise VizdiffUsageError(f"labels must lie in 0..{null_label}, {null_label} being none, found {told}")
