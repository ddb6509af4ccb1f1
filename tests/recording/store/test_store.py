"""Recordings on disk: narrowed, compressed, zipped, and of an older version."""

from __future__ import annotations

import json
import subprocess
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import zarr
from long_recording import long
from small_trajectory import ARRAYS, assert_same, make_trajectory

from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.errors import VizdiffInputError, VizdiffIOError, VizdiffUsageError
from viz_diffusion.recording import trajectory_files
from viz_diffusion.recording.store.fields import recording_bytes
from viz_diffusion.recording.store.writer import StoreWriter, require_space
from viz_diffusion.recording.trajectory import Trajectory

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
    with pytest.raises(VizdiffInputError, match=r"overflow/x_t/0/zarr\.json is missing"):
        Trajectory.open(tmp_path / "a.zarr")


@pytest.mark.parametrize("dtype", ["bfloat16", "int8", ""])
def test_other_dtypes_are_refused(dtype: str, tmp_path: Path) -> None:
    with pytest.raises(VizdiffUsageError, match="float32 or float16"):
        make_trajectory().save(tmp_path / "a.zarr", dtype=dtype)
    assert not (tmp_path / "a.zarr").exists()


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
