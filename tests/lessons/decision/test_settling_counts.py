"""When classes are settled over a whole store: as counted by hand with numpy, and in memory of one size."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from math import sqrt
from pathlib import Path

import numpy as np
import pytest
import torch
import zarr
from many_stores import trajectory_maker, work

from viz_diffusion.diffusion.sampler_config import SamplerConfig
from viz_diffusion.lessons.decision.settling import quartiles_of
from viz_diffusion.lessons.decision.settling_counts import SettlingCounts, count_settling
from viz_diffusion.recording.many.trajectories import TrajectoryStore

CONFIG = SamplerConfig("ddpm", 12)
WEIGHTS = np.random.default_rng(3).normal(0, 1.6, (30, 3)).astype(np.float32)


def read(images: torch.Tensor) -> torch.Tensor:
    """Return (N, 3) probabilities of three classes."""
    return torch.softmax(images.flatten(1) @ torch.from_numpy(WEIGHTS), dim=1)


def numpy_read(images: np.ndarray) -> np.ndarray:
    logits = images.reshape(len(images), -1).astype(np.float64) @ WEIGHTS.astype(np.float64)
    return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("many") / "a.zarr"
    assert work(path, trajectory_maker(53, config=CONFIG)) is not None
    return path


def test_counts_are_those_made_by_hand(path: Path) -> None:
    raw = zarr.open_group(path, mode="r")
    predicted, finished, timesteps = (np.asarray(raw[name]) for name in ("x0_pred", "x0", "timesteps"))
    by_hand: Counter[tuple[int, int]] = Counter()
    for images, image in zip(predicted, finished, strict=True):
        likely = np.concatenate([numpy_read(images), numpy_read(image[None])])
        final = int(likely[-1].argmax())
        sure = likely[:, final] >= 0.9
        step = next((first for first in range(len(sure)) if sure[first:].all()), len(sure))
        by_hand[final, step] += 1
    found = count_settling(TrajectoryStore(path), read)
    assert {key: int(found.counts[key]) for key in np.ndindex(found.counts.shape) if found.counts[key]} == by_hand
    assert len({step for _, step in by_hand}) > 4, "a control: they are settled at different steps"
    assert found.count == 53
    assert found.timesteps.tolist() == timesteps.tolist()

    on_the_way = sorted(
        int(timesteps[step])
        for (_, step), number in by_hand.items()
        for _ in range(number)
        if 0 < step < 12 and timesteps[step] >= 100
    )
    p, n, z = len(on_the_way) / 53, 53, 1.959963984540054
    centre, half = p + z * z / 2 / n, z * sqrt(p * (1 - p) / n + z * z / 4 / n / n)
    assert found.settled.hits == len(on_the_way)
    assert found.settled.interval == pytest.approx(
        ((centre - half) / (1 + z * z / n), (centre + half) / (1 + z * z / n))
    )
    assert found.from_start == sum(number for (_, step), number in by_hand.items() if step == 0)
    assert found.never == sum(number for (_, step), number in by_hand.items() if step == 13)
    assert found.from_start + found.settled.hits + found.at_the_end + found.never == 53
    shares = [sum(number for (_, step), number in by_hand.items() if step <= last) / 53 for last in range(13)]
    assert [share.value for share in found.settled_by()] == pytest.approx(shares)
    assert sum(found.of(label).count for label in range(3)) == 53


@pytest.mark.parametrize("number", [9, 10, 11, 200, 1001])
def test_quartiles_from_counts_are_those_of_all_values(number: int) -> None:
    drawn = np.random.default_rng(number).integers(1, 8, number)
    counts = np.zeros((1, 12), np.int64)
    np.add.at(counts[0], drawn, 1)
    timesteps = np.arange(999, -1, -100)
    found = SettlingCounts(counts, timesteps, 1000).quartiles()
    assert found == quartiles_of(np.sort(timesteps[drawn]))


def test_memory_does_not_grow_with_the_number_of_trajectories(path: Path, tmp_path: Path) -> None:
    large = tmp_path / "large.zarr"
    work(large, trajectory_maker(530, config=CONFIG))

    def peak(where: Path) -> int:
        store = TrajectoryStore(where)
        tracemalloc.start()
        counted = count_settling(store, read)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert counted.count == len(store)
        return most

    peak(path)  # what is loaded once
    recorded = np.float32().nbytes * 12 * 28 * 28  # of one trajectory's predicted x₀
    assert (peak(large) - peak(path)) / (530 - 53) < recorded / 20, "only what is counted of a trajectory is kept"
