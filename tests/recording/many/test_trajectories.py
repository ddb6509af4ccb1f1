"""Stores of many trajectories: recordings like any other, the same for any number of workers."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from many_stores import CONFIG, SHAPE, trajectory_maker, work

from viz_diffusion.diffusion.sampler_config import SamplerConfig
from viz_diffusion.errors import VizdiffInputError
from viz_diffusion.recording.generation import record_generation
from viz_diffusion.recording.many.statistics import trajectory_statistics
from viz_diffusion.recording.many.trajectories import TrajectoryStore
from viz_diffusion.recording.many.workers import Worker
from viz_diffusion.recording.trajectory import Trajectory

COUNT = 53


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    path = tmp_path_factory.mktemp("many") / "whole.zarr"
    found = work(path, trajectory_maker())
    assert found is not None
    return path, found


def test_it_is_the_recording_of_the_same_generations(whole: tuple[Path, str]) -> None:
    maker = trajectory_maker()
    labels = torch.tensor([3, 8, 1]).repeat(18)[:COUNT]
    found = Trajectory.open(whole[0])
    for first in (0, 32):
        part = slice(first, first + 16)
        plain = record_generation(
            maker.denoiser, maker.schedule, labels[part], range(7, 60)[part], CONFIG, image_shape=SHAPE
        )
        for name in ("x_t", "eps_pred", "x0_pred", "eps_cond", "eps_uncond", "x0", "labels", "seeds"):
            np.testing.assert_array_equal(getattr(found, name)[part], getattr(plain, name), err_msg=name)
        np.testing.assert_array_equal(found.timesteps, plain.timesteps)
    assert (found.num_images, found.num_steps, found.guidance_scale, found.stopped) == (COUNT, 4, 1.5, "")


@pytest.mark.parametrize("count", [2, 3, 8])
def test_any_number_of_workers_records_the_same(count: int, whole: tuple[Path, str], tmp_path: Path) -> None:
    roots = [work(tmp_path / "a.zarr", trajectory_maker(), Worker(index, count)) for index in range(count)]
    assert roots[-1] == whole[1]


def test_it_is_read_in_batches_also_from_memory(whole: tuple[Path, str]) -> None:
    assert work("memory://many/t.zarr", trajectory_maker()) == whole[1]
    for where in (whole[0], "memory://many/t.zarr"):
        store = TrajectoryStore(where)
        batches = list(store.batches())
        assert [batch.num_images for batch in batches] == [16, 16, 16, 5]
        assert (len(store), store.num_steps, store.root_hash) == (COUNT, 4, whole[1])
        np.testing.assert_array_equal(
            np.concatenate([batch.x0_pred[:, 2:3] for batch in batches]),
            np.concatenate(list(store.arrays("x0_pred", slice(2, 3)))),
        )


def test_an_unfinished_one_says_how_to_go_on(tmp_path: Path) -> None:
    work(tmp_path / "a.zarr", trajectory_maker(), Worker(0, 2))
    with pytest.raises(VizdiffInputError, match="is not complete; make the rest with resume of vizdiff trajectory"):
        TrajectoryStore(tmp_path / "a.zarr")
    with pytest.raises(VizdiffInputError, match=r"cut off after 0 of 53 .*that began it makes the rest: resume"):
        Trajectory.open(tmp_path / "a.zarr")


def test_xarray_opens_it_lazily(whole: tuple[Path, str]) -> None:
    xarray = pytest.importorskip("xarray")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with xarray.open_zarr(whole[0], consolidated=False, chunks=None) as data:
            assert data["x_t"].dims == ("sample", "step", "channel", "y", "x")
            assert data["x_t"].shape == (COUNT, 4, *SHAPE)
            one = data["x0_pred"].isel(sample=50, step=1)
            assert one.variable._in_memory is False, "nothing is read yet"
            np.testing.assert_array_equal(one.values, Trajectory.open(whole[0]).x0_pred[50, 1])


@pytest.mark.parametrize(
    "config",
    [SamplerConfig("ddpm", 7), SamplerConfig("heun", 6), SamplerConfig("ddim", 61, 2.0)],
    ids=lambda c: c.sampler,
)
def test_the_estimate_of_bytes_is_within_five_percent(config: SamplerConfig, tmp_path: Path) -> None:
    maker = trajectory_maker(40, config=config)
    maker = type(maker)(maker.denoiser, maker.schedule, config, maker.images, (1, 28, 28), dtype="float16")
    work(tmp_path / "a.zarr", maker)
    taken = sum(p.stat().st_size for p in (tmp_path / "a.zarr").rglob("*") if p.is_file())
    assert maker.num_bytes(3) == pytest.approx(taken, rel=0.05)


def test_statistics_are_those_of_all_at_once(whole: tuple[Path, str]) -> None:
    found, every = trajectory_statistics(TrajectoryStore(whole[0])), Trajectory.open(whole[0])
    errors = np.sqrt(((every.x0_pred - every.x0[:, None]).astype(np.float64) ** 2).mean(axis=(2, 3, 4)))
    assert found.count == COUNT
    np.testing.assert_allclose(found.x0_error.mean, errors.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(found.x0_error.standard_error, errors.std(axis=0, ddof=1) / np.sqrt(COUNT), rtol=1e-10)
    path = np.concatenate([every.x_t, every.x0[:, None]], axis=1).reshape(COUNT, 5, -1).astype(np.float64)
    lengths = np.linalg.norm(np.diff(path, axis=1), axis=2).sum(axis=1)
    assert found.length.mean == pytest.approx(lengths.mean())
    assert found.straightness.mean == pytest.approx((np.linalg.norm(path[:, -1] - path[:, 0], axis=1) / lengths).mean())
