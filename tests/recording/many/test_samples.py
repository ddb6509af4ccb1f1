"""Stores of many samples: the same for any number of workers, whole after any end, readable by others."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from many_stores import CONFIG, SHAPE, sample_maker, store_of, work
from PIL import Image

from viz_diffusion.data import to_bytes
from viz_diffusion.diffusion.sampling import sample_images
from viz_diffusion.errors import VizdiffInputError, VizdiffUsageError
from viz_diffusion.recording.many.evaluator_files import write_evaluator_file
from viz_diffusion.recording.many.samples import SampleStore
from viz_diffusion.recording.many.workers import Worker
from viz_diffusion.recording.store.blocks import MARKS
from viz_diffusion.recording.store.places import StorePlace

COUNT = 47


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Return a store that one worker made, and its root hash."""
    path = tmp_path_factory.mktemp("many") / "whole.zarr"
    found = work(path, sample_maker())
    assert found is not None
    return path, found


def read_all(where: str | Path) -> list[np.ndarray]:
    return [np.concatenate(arrays) for arrays in zip(*SampleStore(where).chunks(), strict=True)]


def test_the_images_are_those_of_bulk_sampling(whole: tuple[Path, str]) -> None:
    images, labels, seeds = read_all(whole[0])
    maker = sample_maker()
    wanted = torch.tensor([3, 8, 1]).repeat(16)[:COUNT]
    plain = sample_images(maker.denoiser, maker.schedule, wanted, range(7, 54), CONFIG, image_shape=SHAPE, batch_size=5)
    np.testing.assert_array_equal(images[:, 0], to_bytes(torch.cat(list(plain))))
    np.testing.assert_array_equal(labels, wanted)
    np.testing.assert_array_equal(seeds, np.arange(7, 54))
    assert len(np.unique(images.reshape(COUNT, -1), axis=0)) == COUNT, "every image is another"


@pytest.mark.parametrize("count", [2, 3, 8])
def test_any_number_of_workers_makes_the_same_store(count: int, whole: tuple[Path, str], tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    roots = [work(path, sample_maker(), Worker(index, count)) for index in reversed(range(count))]
    assert roots[-1] == whole[1]
    assert roots[:-1] == [None] * (count - 1) or count > 5, "only who finds all blocks completes the store"
    files = {p.relative_to(path): p.read_bytes() for p in path.rglob("*") if p.is_file()}
    assert files == {p.relative_to(whole[0]): p.read_bytes() for p in whole[0].rglob("*") if p.is_file()}


def test_memory_stores_are_the_same(whole: tuple[Path, str]) -> None:
    where = "memory://many/a.zarr"
    assert work(where, sample_maker(), Worker(1, 2)) is None
    with pytest.raises(VizdiffInputError, match="is not complete; make the rest with resume of vizdiff sample"):
        SampleStore(where)
    assert work(where, sample_maker(), Worker(0, 2)) == whole[1]
    for found, wanted in zip(read_all(where), read_all(whole[0]), strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_a_resumed_store_gets_what_is_missing_or_damaged(whole: tuple[Path, str], tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    assert work(path, sample_maker()) == whole[1]
    damaged = path / "images" / "c.2.0.0.0"
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"\0")
    with pytest.raises(VizdiffInputError, match="is not what was written"):
        read_all(path)
    (path / "labels" / "c.1").unlink()
    (path / MARKS / "000004.json").write_text("{")
    assert store_of(path, sample_maker()).missing(range(5), check=True) == [1, 2, 4]
    assert work(path, sample_maker(), check=True) == whole[1]
    read_all(path)


def test_another_plan_or_another_thing_is_refused(whole: tuple[Path, str], tmp_path: Path) -> None:
    with pytest.raises(VizdiffInputError, match=r"holds something else: its count is 47, not 48; choose another"):
        store_of(whole[0], sample_maker(48))
    with pytest.raises(VizdiffInputError, match=r"exists, with 5 of 5 blocks; resume makes what is missing"):
        store_of(whole[0], sample_maker(), join=False)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(VizdiffInputError, match=r"holds other things \(notes.txt\)"):
        store_of(tmp_path, sample_maker())
    with pytest.raises(VizdiffUsageError, match="cannot be opened"):
        StorePlace("nosuch://bucket/a.zarr")


def test_the_estimate_of_bytes_is_within_five_percent(tmp_path: Path) -> None:
    maker = sample_maker(
        2000,
    )
    big = type(maker)(maker.denoiser, maker.schedule, CONFIG, maker.images, (1, 28, 28), 50)
    work(tmp_path / "a.zarr", big)
    taken = sum(p.stat().st_size for p in (tmp_path / "a.zarr").rglob("*") if p.is_file())
    assert big.num_bytes(20) == pytest.approx(taken, rel=0.05)


def test_evaluators_read_the_exported_files(whole: tuple[Path, str], tmp_path: Path) -> None:
    images, labels, _ = read_all(whole[0])
    for name in ("a.npz", "a.zip"):
        write_evaluator_file(SampleStore(whole[0]), tmp_path / name)
    with np.load(tmp_path / "a.npz") as arrays:
        assert list(arrays) == ["arr_0", "arr_1"]
        assert (arrays["arr_0"].dtype, arrays["arr_0"].shape) == (np.uint8, (COUNT, 6, 5, 3))
        np.testing.assert_array_equal(arrays["arr_0"], np.repeat(images[:, 0, :, :, None], 3, axis=-1))
        np.testing.assert_array_equal(arrays["arr_1"], labels)
    with zipfile.ZipFile(tmp_path / "a.zip") as archive, archive.open("00000/img00000046.png") as member:
        np.testing.assert_array_equal(np.asarray(Image.open(member))[..., 1], images[46, 0])
