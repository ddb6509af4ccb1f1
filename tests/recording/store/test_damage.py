"""Damaged, hostile and foreign files: every one is noticed when a recording is read."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from long_recording import chunk, long
from small_trajectory import make_trajectory

from viz_diffusion.errors import VizdiffInputError
from viz_diffusion.recording.trajectory import Trajectory


def flip(file: Path, at: int) -> None:
    data = bytearray(file.read_bytes())
    data[at % len(data)] ^= 1 << (at % 8)
    file.write_bytes(data)


def swap(one: Path, other: Path) -> None:
    data = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(data)


@pytest.mark.parametrize("compress", [False, True])
def test_every_flipped_bit_is_noticed(compress: bool, tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    long().save(path, compress=compress)
    rng = np.random.default_rng(0)
    files = [entry for entry in sorted(path.rglob("*")) if entry.name.startswith("c.")]
    for at in rng.integers(0, 2**31, 60).tolist():
        file = files[at % len(files)]
        whole = file.read_bytes()
        flip(file, at)
        with pytest.raises(VizdiffInputError, match="is not what was written"):
            Trajectory.open(path)
        file.write_bytes(whole)
    Trajectory.open(path)


def test_swapped_chunks_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    long().save(path)
    swap(chunk(path, 0, 0), chunk(path, 0, 1))
    named = r"x_t, samples 0..15, steps 0..49 \(a.zarr/x_t/c.0.0.0.0.0\) holds what belongs in x_t/c.0.1.0.0.0"
    with pytest.raises(VizdiffInputError, match=named):
        Trajectory.open(path)


def edit(path: Path, change: Callable[[dict], object]) -> None:
    meta = json.loads(path.read_text())
    change(meta)
    path.write_text(json.dumps(meta))


def test_a_stale_count_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    long().save(path)

    def count_one_more(meta: dict) -> None:
        recorded = json.loads(meta["attributes"]["recorded"])
        meta["attributes"]["recorded"] = json.dumps(recorded | {"steps": 121})
        del meta["attributes"]["metadata_sha256"]  # else the change itself is noticed

    edit(path / "zarr.json", count_one_more)
    with pytest.raises(VizdiffInputError, match="holds 120 steps, and 121 were recorded"):
        Trajectory.open(path)


def test_a_rewritten_sum_does_not_hide_damage(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    long().save(path)
    flip(chunk(path, 0, 0), 7)
    sums = path / "x_t" / "SHA256SUMS"
    lines = subprocess.run(
        ["sha256sum", "c.0.0.0.0.0"], cwd=path / "x_t", capture_output=True, text=True, check=True
    ).stdout
    sums.write_text(lines + "".join(sums.read_text().splitlines(keepends=True)[1:]))
    with pytest.raises(VizdiffInputError, match="x_t/SHA256SUMS is not what was written"):
        Trajectory.open(path)


def test_a_chunk_that_is_a_link_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    long().save(path)
    chunk(path, 0, 0).rename(tmp_path / "elsewhere")
    os.symlink(tmp_path / "elsewhere", chunk(path, 0, 0))
    with pytest.raises(VizdiffInputError, match="is a link"):
        Trajectory.open(path)


HOSTILE: dict[str, Callable[[dict], object]] = {
    "a pickle codec": lambda m: m["codecs"].append({"name": "numcodecs.pickle", "configuration": {}}),
    "objects": lambda m: m.update(data_type="string"),
    "zarr v2": lambda m: m.update(zarr_format=2),
    "a shape beyond all memory": lambda m: m.update(shape=[2**40, 2**20, 1, 4, 4]),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_arrays_are_refused(case: str, tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    make_trajectory().save(path)
    edit(path / "x_t" / "zarr.json", HOSTILE[case])
    with pytest.raises(VizdiffInputError, match=r"a\.zarr"):
        Trajectory.open(path)


@pytest.mark.parametrize("data", [b"", b"PK\x05\x06" + bytes(18), b"PK\x03\x04 rubbish"])
def test_files_that_are_no_store_are_refused(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(data)
    with pytest.raises(VizdiffInputError, match=r"a\.zip"):
        Trajectory.open(tmp_path / "a.zip")
