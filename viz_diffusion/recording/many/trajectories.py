"""A store of many trajectories: the recordings of blocks of 16 generations, as one recording.

It knows nothing about runs or commands. A complete store is a recording like any other, and ``Trajectory.open`` reads
it; :class:`TrajectoryStore` reads it chunk by chunk, and at URLs too.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from viz_diffusion.diffusion.latent_space import latent_space_of
from viz_diffusion.diffusion.prediction import device_of
from viz_diffusion.diffusion.sampler_config import SamplerConfig
from viz_diffusion.diffusion.samplers import ImageNoise, Step
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.errors import VizdiffInputError
from viz_diffusion.files import read_json
from viz_diffusion.recording.generation import generation_recorder, sample_steps, with_pictures
from viz_diffusion.recording.many.images import Images, padded
from viz_diffusion.recording.many.opening import named_store, open_store
from viz_diffusion.recording.store.layout import CHUNK_SAMPLES, WIDE, from_attributes, steps_chunk
from viz_diffusion.recording.trajectory import Trajectory
from viz_diffusion.recording.trajectory_files import read_fields

KIND = "trajectories"
_MEND = "vizdiff trajectory --count 100 records some"
_A_CHUNK, _AN_ARRAY = 190, 700
"""About how many bytes of marks and checksums each chunk takes, and each array of a block."""


@dataclass(frozen=True, eq=False)
class TrajectoryMaker:
    """Makes the blocks of a store of trajectories."""

    denoiser: nn.Module
    schedule: NoiseSchedule
    config: SamplerConfig
    images: Images
    image_shape: tuple[int, ...]
    """(C, H, W) of the network's x; of pictures, where it works in latents."""
    weights_sha256: str = ""
    dtype: str = WIDE
    compress: bool = False

    @property
    def block(self) -> int:
        """Generations in one block."""
        return CHUNK_SAMPLES

    @property
    def steps(self) -> int:
        """Steps of each generation."""
        return self.config.num_steps(self.schedule.num_train_timesteps)

    def num_runs(self, _: int) -> int:
        """Return how many batches a block takes."""
        return 1

    def num_bytes(self, blocks: int) -> int:
        """Return how many bytes blocks take on disk, before any compression."""
        space, steps, item = latent_space_of(self.denoiser), self.steps, np.dtype(self.dtype).itemsize
        shape = self.image_shape if space is None else space.latent_shape
        fields = 3 if self.config.guidance_scale == 1 else 5
        inner = self.config.num_evaluations(self.schedule.num_train_timesteps) - steps
        pixels, chunks, arrays = int(np.prod(shape)), 5, 3
        size = 16 + pixels * 4
        for length, count in ((steps, fields), (inner, 2)):
            if length:
                size += _whole(length) * pixels * count * item
                chunks, arrays = chunks + _whole(length) // steps_chunk(length) * count, arrays + count
        if space is not None:
            size += _whole(steps + 1) * int(np.prod(self.image_shape)) * item
        return blocks * (self.block * size + chunks * _A_CHUNK + arrays * _AN_ARRAY)

    def run(self, steps: int) -> None:
        """Record one block with some number of steps and throw it away, to measure its time."""
        with tempfile.TemporaryDirectory(prefix="vizdiff-block-") as folder:
            replace(self, config=replace(self.config, steps=steps)).make(0, Path(folder) / "store")

    def make(self, k: int, folder: Path) -> dict[str, Any]:
        """Record block k as a store; return the share of pixels of predicted x_0 outside [-1, 1], over its steps.

        The last block is filled up with further generations, so that all are sampled in batches of one size.

        Raises
        ------
        VizdiffInputError
            Where values lie beyond float16.
        """
        labels, seeds = self.images.block(k, self.block)
        shares: list[float] = []

        def observe(step: Step) -> None:
            shares.append(float(step.clipped_share[: len(labels)].mean()))

        space = latent_space_of(self.denoiser)
        chosen = padded(seeds, self.block).tolist()
        storage: dict[str, Any] = {"dtype": self.dtype, "compress": self.compress}
        recorder = generation_recorder(
            self.denoiser,
            self.schedule,
            chosen,
            self.config,
            weights_sha256=self.weights_sha256,
            **({"store": folder, **storage} if space is None else {}),
        )
        noise = ImageNoise(chosen, self.image_shape if space is None else space.latent_shape)
        given = torch.from_numpy(padded(labels, self.block)).to(device_of(self.denoiser))
        with recorder:
            recorder.finish(sample_steps(self.denoiser, self.schedule, noise, given, self.config, observe))
        if space is not None:
            with_pictures(recorder.trajectory(), space).save(folder, **storage)
        self._refuse_overflow(folder)
        return {"images": len(labels), "x0_beyond_scale": None if space is not None else float(np.mean(shares))}

    def _refuse_overflow(self, folder: Path) -> None:
        lost = from_attributes(read_json(folder / "zarr.json")["attributes"])["overflowed"]
        if lost:
            raise VizdiffInputError(
                f"{sum(lost.values()):,} values lie beyond float16; record them with `dtype` {WIDE}"
            )


class TrajectoryStore:
    """The trajectories in a complete store, read a chunk at a time: memory does not grow with their number.

    Parameters
    ----------
    where
        A folder, a ``.zip`` of one, or a URL that fsspec knows; any recording will do.

    Raises
    ------
    VizdiffInputError
        Where there is no recording, or it is not complete.
    """

    def __init__(self, where: str | Path) -> None:
        self.name = str(where)
        self._reader = open_store(where, KIND, _MEND)
        with named_store(self.name):
            self._extent = self._reader.extent
        self.plan: Mapping[str, Any] = self._reader.attrs.get("plan") or {}
        """How a store made in blocks was made; empty of other recordings."""
        if "x_t" not in self._reader.names() and self._extent.complete:
            raise VizdiffInputError(f"{where} holds no trajectories; {_MEND}")
        if not self._extent.complete:
            raise VizdiffInputError(f"{where} is not complete; make the rest with `resume` of vizdiff trajectory")
        self.root_hash = self._reader.attrs.get("root_sha256")
        """The SHA-256 over all chunks; None of recordings that were not made in blocks."""

    def __len__(self) -> int:
        return self._extent.samples

    @property
    def num_steps(self) -> int:
        """Steps of each trajectory."""
        return self._extent.steps

    def batches(self) -> Iterator[Trajectory]:
        """Yield up to 16 trajectories at a time, in order; every chunk is checked.

        Raises
        ------
        VizdiffInputError
            Where a chunk is missing or damaged.
        """
        for first in range(0, len(self), CHUNK_SAMPLES):
            part = slice(first, min(first + CHUNK_SAMPLES, len(self)))
            with named_store(self.name):
                batch = Trajectory(**read_fields(self._reader, self._extent, part))
            yield batch

    @property
    def timesteps(self) -> NDArray[np.int64]:
        """(S,) the timesteps, falling."""
        with named_store(self.name):
            return np.asarray(self._reader.read("timesteps", {"step": slice(0, self.num_steps)}), np.int64)

    @property
    def num_train_timesteps(self) -> int:
        """T of the schedule."""
        with named_store(self.name):
            return len(self._reader.read("betas"))

    def fact(self, name: str) -> Any:
        """Return a fact of the recording, such as ``weights_sha256``; None where it is not known."""
        return self._reader.attrs.get(name)

    def pictures(self) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
        """Yield predicted x_0, (b, S, C, H, W) float32, and finished images, (b, C, H, W), of up to 16 trajectories.

        Of latents they are the decoded pictures. No other field is read.
        """
        if "decoded" in self._reader.names():
            for decoded in self.arrays("decoded"):
                yield decoded[:, :-1], decoded[:, -1]
        else:
            yield from zip(self.arrays("x0_pred"), self.arrays("x0"), strict=True)

    def arrays(self, name: str, steps: slice = slice(None)) -> Iterator[NDArray[Any]]:
        """Yield one array for up to 16 trajectories at a time, (b, s, C, H, W) float32 for a field; chunks are checked.

        Parameters
        ----------
        name
            The field: ``x_t``, ``eps_pred``, ``x0_pred``; ``x0``, ``labels`` or ``seeds``, which have no steps.
        steps
            Which steps.
        """
        for first in range(0, len(self), CHUNK_SAMPLES):
            part = {"sample": slice(first, min(first + CHUNK_SAMPLES, len(self))), "step": steps}
            with named_store(self.name):
                values = self._reader.read(name, part)
            yield values


def _whole(length: int) -> int:
    """Return a number of steps rounded up to whole chunks."""
    return -(-length // steps_chunk(length)) * steps_chunk(length)
