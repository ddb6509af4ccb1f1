"""A store of many finished images: bytes, labels and seeds, block by block.

It knows nothing about runs or commands. Images are sampled in batches of one size, so that they are the same for any
number of workers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from viz_diffusion.data import to_bytes
from viz_diffusion.diffusion.latent_space import latent_space_of
from viz_diffusion.diffusion.prediction import device_of
from viz_diffusion.diffusion.sampler_config import SamplerConfig
from viz_diffusion.diffusion.samplers import Step
from viz_diffusion.diffusion.sampling import BATCH_SIZE, sample_images
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.errors import VizdiffInputError, VizdiffNonFiniteError
from viz_diffusion.recording.many.images import Images
from viz_diffusion.recording.many.opening import named_store, open_store
from viz_diffusion.recording.store.writer import StoreWriter

KIND = "samples"
CHUNK_IMAGES = 100
"""About how many images one chunk holds: a whole number of batches."""
_MEND = "vizdiff sample --out samples.zarr makes such a store"
_AXES = ("sample", "channel", "y", "x")
_REST = 4200
"""About how many bytes a block's mark and its share of the checksums take."""


@dataclass(frozen=True, eq=False)
class SampleMaker:
    """Makes the blocks of a store of samples."""

    denoiser: nn.Module
    schedule: NoiseSchedule
    config: SamplerConfig
    images: Images
    image_shape: tuple[int, ...]
    """(C, H, W) of an image."""
    batch_size: int = BATCH_SIZE
    """Images of one batch of the network."""

    @property
    def block(self) -> int:
        """Images in one block."""
        return self.batch_size * -(-CHUNK_IMAGES // self.batch_size)

    @property
    def steps(self) -> int:
        """Steps of each image."""
        return self.config.num_steps(self.schedule.num_train_timesteps)

    def num_runs(self, k: int) -> int:
        """Return how many batches block k takes."""
        return -(-min(self.block, self.images.count - k * self.block) // self.batch_size)

    def num_bytes(self, blocks: int) -> int:
        """Return how many bytes blocks take on disk."""
        return blocks * (self.block * (int(np.prod(self.image_shape)) + 16) + _REST)

    def run(self, steps: int) -> None:
        """Sample one batch with some number of steps, to measure its time."""
        self._sample(*self.images.block(0, self.batch_size), replace(self.config, steps=steps))

    def make(self, k: int, folder: Path) -> dict[str, Any]:
        """Write block k as a store; return the share of pixels of predicted x_0 outside [-1, 1], over its steps.

        The share is None for a network that works in latents, which are not clipped.

        Raises
        ------
        VizdiffNonFiniteError
            Where an image holds NaN or infinity.
        """
        labels, seeds = self.images.block(k, self.block)
        pixels, share = self._sample(labels, seeds, self.config)
        writer = StoreWriter(folder)
        writer.create("images", _AXES, (0, *pixels.shape[1:]), (self.block, *pixels.shape[1:]), np.uint8)
        writer.put("images", pixels)
        for name, values in (("labels", labels), ("seeds", seeds)):
            writer.create(name, ("sample",), (0,), (self.block,), np.int64)
            writer.put(name, values)
        writer.commit({"recorded": {}}, status="complete")
        return {"images": len(pixels), "x0_beyond_scale": share}

    def _sample(
        self, labels: NDArray[np.int64], seeds: NDArray[np.int64], config: SamplerConfig
    ) -> tuple[NDArray[np.uint8], float | None]:
        """Return (b, C, H, W) bytes, and the share of pixels of predicted x_0 outside [-1, 1]; None for latents."""
        shares: list[float] = []

        def observe(step: Step) -> None:
            shares.append(float(step.clipped_share.mean()))

        batches = sample_images(
            self.denoiser,
            self.schedule,
            torch.from_numpy(labels).to(device_of(self.denoiser)),
            seeds.tolist(),
            config,
            null_label=getattr(self.denoiser, "null_label", 10),
            image_shape=self.image_shape,
            on_step=observe,
            batch_size=self.batch_size,
        )
        made = torch.cat(list(batches))
        lost = int((~torch.isfinite(made)).flatten(1).any(dim=1).sum())
        if lost:
            raise VizdiffNonFiniteError(f"{lost} of {len(made)} samples hold NaN or infinity; they were not written")
        pixels = to_bytes(made)
        shaped = pixels[:, None] if pixels.ndim == 3 else np.ascontiguousarray(np.moveaxis(pixels, -1, 1))
        return shaped, None if latent_space_of(self.denoiser) else float(np.mean(shares))


class SampleStore:
    """The samples in a complete store, read a chunk at a time: memory does not grow with their number.

    Parameters
    ----------
    where
        A folder, or a URL that fsspec knows.

    Raises
    ------
    VizdiffInputError
        Where there is no store of samples, or it is not complete.
    """

    def __init__(self, where: str | Path) -> None:
        self.name = str(where)
        self._reader = open_store(where, KIND, _MEND)
        self.plan: dict[str, Any] = self._reader.attrs.get("plan") or {}
        """What it holds and how it was made; JSON values."""
        if self.plan.get("kind") != KIND:
            raise VizdiffInputError(f"{where} holds no samples; {_MEND}")
        if self._reader.attrs.get("status") != "complete":
            raise VizdiffInputError(f"{where} is not complete; make the rest with `resume` of vizdiff sample")
        self.root_hash = str(self._reader.attrs["root_sha256"])
        """The SHA-256 over all chunks."""

    def __len__(self) -> int:
        return int(self.plan["count"])

    def chunks(self) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]]:
        """Yield (b, C, H, W) uint8 images, (b,) labels and (b,) seeds, chunk after chunk; each is checked.

        Raises
        ------
        VizdiffInputError
            Where a chunk is missing or damaged.
        """
        for first in range(0, len(self), self.plan["block"]):
            rows = {"sample": slice(first, min(first + self.plan["block"], len(self)))}
            with named_store(self.name):
                images, labels, seeds = (self._reader.read(name, rows) for name in ("images", "labels", "seeds"))
            yield images, labels, seeds

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield (b, C, H, W) float32 images in [-1, 1] and (b,) int64 labels, chunk after chunk."""
        for images, labels, _ in self.chunks():
            yield torch.from_numpy(images.astype(np.float32) / 127.5 - 1), torch.from_numpy(labels)
