"""One generation under a Recorder: sampled, and every step of it kept, in memory or on disk."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from viz_diffusion.diffusion.latent_space import LatentSpace, latent_space_of
from viz_diffusion.diffusion.sampler_config import SamplerConfig
from viz_diffusion.diffusion.samplers import ImageNoise, Step
from viz_diffusion.diffusion.sampling import sampled_as, sampling_steps
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.recording.recorder import Recorder
from viz_diffusion.recording.store.fields import recording_bytes
from viz_diffusion.recording.store.layout import CHUNK_SAMPLES
from viz_diffusion.recording.store.writer import require_space
from viz_diffusion.recording.trajectory import Trajectory

DEFAULT_CONFIG = SamplerConfig(guidance_scale=1.5)


def record_generation(
    denoiser: nn.Module,
    schedule: NoiseSchedule,
    labels: Tensor,
    seeds: Sequence[int],
    config: SamplerConfig = DEFAULT_CONFIG,
    *,
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
    denoiser, schedule
        What is sampled. The denoiser predicts ε, or what its ``prediction_type`` says.
    labels, seeds
        (B,) int64 on the denoiser's device, and B seeds: one of each for each image.
    config
        How to sample; by default DDPM over all timesteps with guidance scale 1.5.
    image_shape, on_step
        (C, H, W) of one image, where it is no latent; called after each step, for progress bars, and observes only.
    store, dtype, compress, activations, activations_at, activation_norms
        As of :class:`Recorder`. With a ``store``, the first batch of 16 images is read back and returned. Latents are
        always one batch, and are recorded with the pictures of x̂_0 at every step (:attr:`Trajectory.decoded`).

    Raises
    ------
    VizdiffUsageError, VizdiffIOError
        Where labels are not one for each seed or unknown to the denoiser; where the disk has no room for the recording.
    """
    config, space = sampled_as(denoiser, config), latent_space_of(denoiser)
    shape, place = (image_shape, store) if space is None else (space.latent_shape, None)
    aim = (len(seeds), config.num_steps(schedule.num_train_timesteps))
    _check(denoiser, labels, aim, shape, config, store, dtype)
    recorder = generation_recorder(
        denoiser,
        schedule,
        seeds,
        config,
        weights_sha256=weights_sha256,
        activations=activations,
        activations_at=activations_at,
        activation_norms=activation_norms,
        store=place,
        dtype=dtype,
        compress=compress,
    )
    found = _recorded(recorder, denoiser, schedule, labels, seeds, config, shape, on_step, place)
    return found if space is None else _kept_with_pictures(found, space, store, dtype, compress)


def generation_recorder(
    denoiser: nn.Module, schedule: NoiseSchedule, seeds: Sequence[int], config: SamplerConfig, **options: Any
) -> Recorder:
    """Return a Recorder of generations by this package's samplers, which tell it everything; ``options`` are its."""
    return Recorder(
        denoiser,
        schedule,
        config,
        aim=(len(seeds), config.num_steps(schedule.num_train_timesteps)),
        seeds=seeds,
        prediction_type=getattr(denoiser, "prediction_type", "epsilon"),
        timesteps="index",
        **options,
    )


def _kept_with_pictures(
    trajectory: Trajectory, space: LatentSpace, store: Path | None, dtype: str, compress: bool
) -> Trajectory:
    """Return a recording of latents with its pictures; where it is to be kept, its first batch, read back."""
    decoded = with_pictures(trajectory, space)
    if store is None:
        return decoded
    decoded.save(store, dtype=dtype, compress=compress)
    return Trajectory.open(store, samples=slice(0, CHUNK_SAMPLES))


def with_pictures(trajectory: Trajectory, space: LatentSpace) -> Trajectory:
    """Return a recording of latents with the pictures that the decoder makes of x̂_0 at every step, and of x_0."""
    latents = np.concatenate([trajectory.x0_pred, trajectory.x0[:, None]], axis=1)
    pictures = space.decode(torch.from_numpy(latents.reshape(-1, *latents.shape[2:]))).numpy()
    return replace(
        trajectory,
        decoded=pictures.reshape(*latents.shape[:2], *pictures.shape[1:]),
        decoded_steps=np.arange(latents.shape[1]),
    )


def _recorded(
    recorder: Recorder,
    denoiser: nn.Module,
    schedule: NoiseSchedule,
    labels: Tensor,
    seeds: Sequence[int],
    config: SamplerConfig,
    image_shape: tuple[int, ...],
    on_step: Callable[[Step], None] | None,
    store: Path | None,
) -> Trajectory:
    """Sample batch by batch under the recorder, and return the recording; of a store, its first batch."""
    count = len(seeds)
    batch = count if store is None else CHUNK_SAMPLES
    with recorder:
        for first in range(0, count, batch):
            part = slice(first, first + batch)
            noise = ImageNoise(seeds[part], image_shape)
            recorder.finish(sample_steps(denoiser, schedule, noise, labels[part], config, on_step))
    return recorder.trajectory() if store is None else Trajectory.open(store, samples=slice(0, batch))


def sample_steps(
    denoiser: nn.Module,
    schedule: NoiseSchedule,
    noise: ImageNoise,
    labels: Tensor,
    config: SamplerConfig,
    on_step: Callable[[Step], None] | None,
) -> Tensor:
    """Return the finished (B, C, H, W) images of one batch."""
    null_label = getattr(denoiser, "null_label", 10)
    for step in sampling_steps(denoiser, schedule, noise, labels, config, null_label=null_label):
        if on_step is not None:
            on_step(step)
    return step.x_prev


def _check(
    denoiser: nn.Module,
    labels: Tensor,
    aim: tuple[int, int],
    image_shape: tuple[int, ...],
    config: SamplerConfig,
    store: Path | None,
    dtype: str,
) -> None:
    """Refuse labels that do not fit, and a recording of ``aim`` images and steps that the disk has no room for."""
    _check_labels(labels, aim[0], getattr(denoiser, "null_label", None))
    _check_room(store, *aim, image_shape, config, dtype)


def _check_labels(labels: Tensor, count: int, null_label: int | None) -> None:
    """Refuse labels that are not one for each of ``count`` seeds, or beyond the denoiser's own."""
    if not isinstance(labels, Tensor) or labels.is_floating_point() or labels.shape != (count,):
        found = f"shape {tuple(labels.shape)}, {labels.dtype}" if isinstance(labels, Tensor) else repr(labels)
        raise VizdiffUsageError(f"`labels` must be {count} whole numbers in a tensor, one for each seed, found {found}")
    if null_label is not None and count and not 0 <= int(labels.min()) <= int(labels.max()) <= null_label:
        given = ", ".join(map(str, sorted(set(labels.tolist()))))
        raise VizdiffUsageError(f"`labels` must lie in 0..{null_label}, {null_label} being none, found {given}")


def _check_room(
    store: Path | None, count: int, num_steps: int, image_shape: tuple[int, ...], config: SamplerConfig, dtype: str
) -> None:
    """Refuse a store that the disk has no room for."""
    if store is not None:
        fields = 3 if config.guidance_scale == 1 else 5
        require_space(store, recording_bytes(count, num_steps, image_shape, fields, dtype))
