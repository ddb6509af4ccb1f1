"""Recordings on disk: narrowed, compressed, zipped, damaged, and of an older version."""

from __future__ import annotations

import json
import os
import subprocess
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import zarr
from small_trajectory import ARRAYS, assert_same, make_trajectory

from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.errors import VizdiffInputError, VizdiffIOError, VizdiffUsageError
from viz_diffusion.recording import trajectory_files
from viz_diffusion.recording.store.fields import recording_bytes
from viz_diffusion.recording.store.writer import StoreWriter, require_space
from viz_diffusion.recording.trajectory import Trajectory


def long(samples: int = 18, steps: int = 120) -> Trajectory:
    """Make a recording of two chunks of samples and three of steps."""
    rng = np.random.default_rng(5)
    images = rng.standard_normal((samples, steps, 1, 4, 4)).astype(np.float32)
    return Trajectory(
        schedule=NoiseSchedule.named("linear"),
        timesteps=np.arange(steps)[::-1].copy(),
        x_t=images,
        eps_pred=images + 1,
        x0_pred=images + 2,
        x0=images[:, 0],
        labels=np.arange(samples),
        seeds=np.arange(samples),
        activations={
            "mid": rng.standard_normal((samples, 3, 2, 4, 4)).astype(np.float32),
            "time_mlp": rng.standard_normal((samples, 3, 7)).astype(np.float32),
        },
        activation_steps=np.array([0, 60, 119]),
        decoded=rng.standard_normal((samples, 2, 3, 8, 8)).astype(np.float32),
        decoded_steps=np.array([0, 120]),
    )


# -- kinds of stores -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.zarr", "a.zarr.zip"])
@pytest.mark.parametrize("compress", [False, True])
def test_everything_survives(name: str, compress: bool, tmp_path: Path) -> None:
    kept = long()
    kept.save(tmp_path / name, compress=compress)
    found = Trajectory.open(tmp_path / name)
    for part in ("activations", "decoded", "activation_steps", "decoded_steps"):
        ours, theirs = getattr(found, part), getattr(kept, part)
        if part == "activations":
            assert list(ours) == sorted(theirs)
            assert all(np.array_equal(ours[module], theirs[module]) for module in theirs)
        else:
            np.testing.assert_array_equal(ours, theirs)
    assert_same(replace(found, activations={}), replace(kept, activations={}))
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


def test_compressing_makes_it_smaller(tmp_path: Path) -> None:
    def size(path: Path) -> int:
        return sum(entry.stat().st_size for entry in path.rglob("*") if entry.is_file())

    long().save(tmp_path / "plain.zarr")
    long().save(tmp_path / "small.zarr", compress=True)
    assert size(tmp_path / "small.zarr") < 0.95 * size(tmp_path / "plain.zarr")


def test_chunks_hold_at_most_16_samples_and_50_steps(tmp_path: Path) -> None:
    long().save(tmp_path / "a.zarr")
    group = zarr.open_group(str(tmp_path / "a.zarr"), mode="r")
    assert group["x_t"].chunks == (16, 50, 1, 4, 4)
    assert group["activations/mid"].chunks == (16, 50, 2, 4, 4)


def test_some_samples_are_read_alone(tmp_path: Path) -> None:
    kept = long()
    kept.save(tmp_path / "a.zarr")
    spoil = tmp_path / "a.zarr" / "x_t" / "c.1.0.0.0.0"
    spoil.unlink()  # of samples 16 and 17: the others do not need it
    found = Trajectory.open(tmp_path / "a.zarr", samples=slice(3, 5))
    np.testing.assert_array_equal(found.x_t, kept.x_t[3:5])
    np.testing.assert_array_equal(found.activations["mid"], kept.activations["mid"][3:5])
    with pytest.raises(VizdiffInputError, match=r"x_t, samples 16..17, steps 0..49 .* is missing"):
        Trajectory.open(tmp_path / "a.zarr")


def test_xarray_opens_it_with_names(tmp_path: Path) -> None:
    xarray = pytest.importorskip("xarray")
    kept = long()
    kept.save(tmp_path / "a.zarr")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with xarray.open_zarr(tmp_path / "a.zarr", consolidated=False, chunks=None) as data:
            assert data["x_t"].dims == ("sample", "step", "channel", "y", "x")
            assert data["snr"].dims == ("step",)
            assert dict(data.sizes)["sample"] == 18
            np.testing.assert_array_equal(data["x_t"].isel(step=60).values, kept.x_t[:, 60])
            assert data.attrs["status"] == "complete"


def test_coreutils_check_the_sums(tmp_path: Path) -> None:
    """The sums are in the form that ``sha256sum`` reads, so that they can be checked without this program."""
    long().save(tmp_path / "a.zarr")

    def check() -> int:
        command = ["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"]
        return subprocess.run(command, cwd=tmp_path / "a.zarr" / "x_t", capture_output=True, check=False).returncode

    assert check() == 0
    chunk = tmp_path / "a.zarr" / "x_t" / "c.0.1.0.0.0"
    chunk.write_bytes(bytes(chunk.stat().st_size))
    assert check() != 0


# -- float16 ---------------------------------------------------------------------------------------


def test_float16_halves_the_fields_and_rounds_to_nearest(tmp_path: Path) -> None:
    kept = long()
    kept.save(tmp_path / "a.zarr", dtype="float16")
    group = zarr.open_group(str(tmp_path / "a.zarr"), mode="r")
    assert group["x_t"].dtype == group["x0_pred"].dtype == np.float16
    assert group["x0"].dtype == np.float32
    found = Trajectory.open(tmp_path / "a.zarr")
    assert found.x_t.dtype == found.x0_pred.dtype == np.float32
    for name in ("x_t", "eps_pred", "x0_pred"):
        np.testing.assert_allclose(getattr(found, name), getattr(kept, name), rtol=2**-11, atol=2**-25)
    np.testing.assert_array_equal(found.x0, kept.x0)


def test_float16_keeps_the_guess_that_could_not_be_derived(tmp_path: Path) -> None:
    """At t = 999 rounding ε̂ to float16 moves a derived x̂_0 by up to 0.15 and more: it is stored instead."""
    rng = np.random.default_rng(0)
    eps = rng.standard_normal((1, 1, 1, 28, 28)).astype(np.float32)
    x0 = np.clip(rng.standard_normal(eps.shape), -1, 1).astype(np.float32)
    schedule, t = NoiseSchedule.named("linear"), np.array([999])
    x_t = schedule.add_noise(x0[:, 0], eps[:, 0], t)[:, None]
    kept = Trajectory(
        schedule=schedule,
        timesteps=t,
        x_t=x_t,
        eps_pred=eps,
        x0_pred=x0,
        x0=x0[:, 0],
        labels=np.array([-1]),
        seeds=np.array([-1]),
    )
    kept.save(tmp_path / "a.zarr", dtype="float16")
    found = Trajectory.open(tmp_path / "a.zarr")
    assert np.abs(found.x0_pred - x0).max() < 5e-4
    derived = schedule.predict_x0(found.x_t[:, 0], found.eps_pred[:, 0], t)
    assert np.abs(derived - x0[:, 0]).max() > 0.1


def test_what_float16_cannot_hold_is_counted_and_kept(tmp_path: Path) -> None:
    kept = long()
    kept.x_t[17, 119, 0, 3, 2] = 123456.0
    kept.x_t[2, 3, 0, 0, 0] = -70000.5
    kept.eps_pred[0, 60, 0, 1, 1] = np.inf  # no number in float32 either: stays
    kept.save(tmp_path / "a.zarr", dtype="float16")
    attrs = json.loads((tmp_path / "a.zarr" / "zarr.json").read_text())["attributes"]
    assert json.loads(attrs["overflowed"]) == {"x_t": 2}
    found = Trajectory.open(tmp_path / "a.zarr")
    assert found.x_t[17, 119, 0, 3, 2] == 123456.0
    assert found.x_t[2, 3, 0, 0, 0] == -70000.5
    assert np.isfinite(found.x_t).all()
    assert np.isposinf(found.eps_pred[0, 60, 0, 1, 1])
    part = Trajectory.open(tmp_path / "a.zarr", samples=slice(17, 18))
    assert part.x_t[0, 119, 0, 3, 2] == 123456.0


def test_lost_overflow_is_named(tmp_path: Path) -> None:
    kept = long()
    kept.x_t[2, 3, 0, 0, 0] = 1e6
    kept.save(tmp_path / "a.zarr", dtype="float16")
    (tmp_path / "a.zarr" / "overflow" / "x_t" / "0" / "zarr.json").unlink()
    with pytest.raises(VizdiffInputError, match="x_t: some of the values beyond float16 are missing"):
        Trajectory.open(tmp_path / "a.zarr")


@pytest.mark.parametrize("dtype", ["bfloat16", "int8", ""])
def test_other_dtypes_are_refused(dtype: str, tmp_path: Path) -> None:
    with pytest.raises(VizdiffUsageError, match="float32 or float16"):
        make_trajectory().save(tmp_path / "a.zarr", dtype=dtype)
    assert not (tmp_path / "a.zarr").exists()


# -- damage ----------------------------------------------------------------------------------------


def chunk(path: Path, *numbers: int, name: str = "x_t") -> Path:
    return path / name / ".".join(["c", *map(str, (*numbers, 0, 0, 0))])


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


# -- the version before ----------------------------------------------------------------------------


def save_as_version_1(kept: Trajectory, path: Path) -> None:
    """Write a store as the first version did: one go, no checksums, labels and x0 in one chunk."""
    group = zarr.create_group(str(path))
    images = ("sample", "step", "channel", "y", "x")
    for name in (*ARRAYS, "snr", "betas"):
        data = kept.schedule.betas if name == "betas" else getattr(kept, name)
        axes = images if data.ndim == 5 else tuple(f"axis{i}" for i in range(data.ndim))
        sizes = (16, 50, *data.shape[2:]) if data.ndim == 5 else data.shape
        array = group.create_array(
            name,
            shape=data.shape,
            dtype=data.dtype,
            chunks=tuple(map(min, sizes, data.shape)),
            compressors=None,
            fill_value=np.nan if data.dtype.kind == "f" else 0,
            dimension_names=axes,
            config={"write_empty_chunks": True},
        )
        array[...] = data
    facts = {name: getattr(kept, name) for name in ("sampler", "variance", "guidance_scale", "clip", "weights_sha256")}
    group.attrs.update({"schema_version": 1, "schedule": kept.schedule.name, **facts, "status": "complete"})


def test_a_store_of_the_first_version_opens(tmp_path: Path) -> None:
    save_as_version_1(make_trajectory(), tmp_path / "a.zarr")
    assert_same(Trajectory.open(tmp_path / "a.zarr"), make_trajectory())
    (tmp_path / "a.zarr" / "x_t" / "c" / "0" / "0" / "0" / "0" / "0").unlink()
    with pytest.raises(VizdiffInputError, match="is missing"):
        Trajectory.open(tmp_path / "a.zarr")


# -- room ------------------------------------------------------------------------------------------


def test_the_estimate_is_what_is_written(tmp_path: Path) -> None:
    kept = long()
    (tmp_path / "a").mkdir()
    writer = StoreWriter(tmp_path / "a")
    plain = replace(kept, activations={}, activation_steps=None, decoded=None, decoded_steps=None)
    trajectory_files.write_to(plain, writer)
    assert writer.bytes_written == pytest.approx(recording_bytes(18, 120, (1, 4, 4), 3, "float32"), rel=0.05)


def test_the_estimate_of_ten_thousand_images() -> None:
    """94 GB for 10,000 images of three float32 fields at 1000 steps; half as much as float16."""
    assert recording_bytes(10_000, 1000, (1, 28, 28), 3, "float32") == 10_000 * 1000 * 784 * 3 * 4
    assert recording_bytes(10_000, 1000, (1, 28, 28), 3, "float16") == 10_000 * 1000 * 784 * 3 * 2


def test_a_recording_without_room_is_refused_with_its_bytes(tmp_path: Path) -> None:
    with pytest.raises(VizdiffIOError, match=r"needs 94,080,000,000,000 bytes and [\d,]+ are free") as caught:
        require_space(tmp_path / "no" / "such" / "a.zarr", 94_080_000_000_000)
    assert caught.value.exit_code == 4
    require_space(tmp_path / "a.zarr", 1000)
