"""Small stores of many samples or trajectories, of a denoiser that costs nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from cheap_denoiser import CheapDenoiser

from viz_diffusion.diffusion.sampler_config import SamplerConfig
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.recording.many.filling import fill, own_missing
from viz_diffusion.recording.many.images import Images
from viz_diffusion.recording.many.samples import SampleMaker
from viz_diffusion.recording.many.trajectories import TrajectoryMaker
from viz_diffusion.recording.many.workers import Worker
from viz_diffusion.recording.store.blocks import BlockPlan, BlockStore
from viz_diffusion.recording.store.places import StorePlace

SHAPE = (1, 6, 5)
CONFIG = SamplerConfig("ddpm", 4, guidance_scale=1.5)


def sample_maker(count: int = 47, **options: Any) -> SampleMaker:
    """Return the maker of a store of samples in blocks of 10: two batches of 5."""
    images = Images(np.arange(7, 7 + count), [3, 8, 1])
    return SmallBlocks(CheapDenoiser(), NoiseSchedule.named("linear"), CONFIG, images, SHAPE, 5, **options)


class SmallBlocks(SampleMaker):
    """Samples in blocks of two batches."""

    block = property(lambda self: 2 * self.batch_size)


def trajectory_maker(count: int = 53, **options: Any) -> TrajectoryMaker:
    """Return the maker of a store of trajectories in blocks of 16."""
    images = Images(np.arange(7, 7 + count), [3, 8, 1])
    config = options.pop("config", CONFIG)
    return TrajectoryMaker(CheapDenoiser(), NoiseSchedule.named("linear"), config, images, SHAPE, "ab" * 32, **options)


def store_of(where: str | Path, maker: SampleMaker | TrajectoryMaker, *, join: bool = True) -> BlockStore:
    """Begin or join the store of a maker."""
    kind = "samples" if isinstance(maker, SampleMaker) else "trajectories"
    facts = {"kind": kind, "steps": maker.steps, "threads": 1, **maker.images.facts()}
    store = BlockStore(StorePlace(where), BlockPlan(maker.images.count, maker.block, facts))
    store.begin(join=join)
    return store


def work(
    where: str | Path,
    maker: SampleMaker | TrajectoryMaker,
    worker: Worker | None = None,
    *,
    check: bool = False,
    on_block: Callable[[int], None] = lambda _: None,
) -> str | None:
    """Do one worker's part; return the root hash where the store is complete then."""
    store = store_of(where, maker)
    fill(store, own_missing(store, worker or Worker(), check=check), maker.make, on_block)
    return store.finish()
