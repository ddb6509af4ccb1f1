"""Two worker processes fill one store, and a store survives any number of kills."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from viz_diffusion.errors import VizdiffInputError
from viz_diffusion.recording.store.blocks import BlockPlan, BlockStore
from viz_diffusion.recording.store.places import StorePlace

DRIVER = Path(__file__).parents[2] / "helpers" / "many_driver.py"


def test_two_processes_and_ten_kills_leave_one_root_hash(tmp_path: Path) -> None:
    said = subprocess.run(
        [sys.executable, str(DRIVER), str(tmp_path), "10", "3"], capture_output=True, text=True, check=False
    )
    assert said.returncode == 0, said.stderr
    found = json.loads(said.stdout)
    assert found["one"] == found["two"] == found["killed"]
    assert found["blocks"] == sorted(found["blocks"]), "what was written stays"
    assert any(0 < count < 13 for count in found["blocks"]), "kills came while the store was being filled"
    assert found["left"] == [], "what killed processes left is removed"


def test_a_running_workers_block_is_not_swept(tmp_path: Path) -> None:
    place = StorePlace(tmp_path / "a.zarr")
    with place.block_folder() as folder:
        (tmp_path / "a.zarr" / ".block-dead").mkdir()
        place.sweep()
        assert folder.is_dir()
    assert list((tmp_path / "a.zarr").iterdir()) == []


@pytest.mark.parametrize("where", ["{}/a.zarr", "memory://at_once{}/a.zarr"])
def test_of_two_workers_that_begin_at_once_one_writes_the_plan(where: str, tmp_path: Path) -> None:
    """The other takes over its number of threads: their images would differ otherwise."""
    path = where.format(tmp_path)

    def store(place: StorePlace, threads: int) -> BlockStore:
        return BlockStore(place, BlockPlan(20, 10, {"threads": threads}))

    class Late(StorePlace):
        """Another worker begins the store just before this one does."""

        def create(self, key: str, data: bytes) -> bool:
            assert store(StorePlace(path), 2).begin(join=True)["threads"] == 2
            return super().create(key, data)

    assert store(Late(path), 1).begin(join=True)["threads"] == 2
    assert store(StorePlace(path), 1).begin(join=True)["threads"] == 2
    StorePlace(path).remove()
    with pytest.raises(VizdiffInputError, match="exists, with 0 of 2 blocks"):
        store(Late(path), 1).begin(join=False)


def test_old_temporary_files_are_swept(tmp_path: Path) -> None:
    names = ("images/.SHA256SUMS.5a1a744c.tmp", ".zarr.json.0123abcd.tmp", "images/.c.0.89abcdef.tmp")
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    for name in names[:2]:
        os.utime(tmp_path / name, (0, time.time() - 7200))
    StorePlace(tmp_path).sweep()
    assert [path.name for path in tmp_path.rglob(".*")] == [".c.0.89abcdef.tmp"], "it may be of a running process"
