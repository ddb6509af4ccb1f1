"""A recording converts to netCDF: its attributes are numbers and text, and its arrays of dtypes that netCDF has."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray
import zarr
from small_trajectory import assert_same, make_trajectory

from viz_diffusion import NoiseSchedule, SamplerConfig, Trajectory, record_generation

NETCDF_DTYPES = {"int64", "float32", "float64"}


def as_netcdf(path: Path, target: Path) -> xarray.Dataset:
    """Convert a recording with the one line of the documentation; return what netCDF gives back."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        xarray.open_zarr(path, consolidated=False, chunks=None).to_netcdf(target, engine="scipy")
        return xarray.load_dataset(target, engine="scipy")


VARIANTS = {
    "all known": {},
    "guidance not known": {"guidance_scale": float("nan")},
    "not clipped, fractional": {
        "clip": True,
        "timesteps": np.array([999.0, 500.5, 259.0, 7.0, 0.0]),
        "step_alphas_cumprod": np.linspace(0.1, 0.9, 5),
    },
    "with conventions": {"prediction_type": "v_prediction", "conventions": {"x": "the first argument", "t": "0..T-1"}},
    "without labels": {"labels": np.array([-1, -1, -1]), "eps_cond": None, "eps_uncond": None},
    "cut off": {"stopped": "4 of 5 steps"},
}


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS.keys())
def test_a_recording_converts(changes: dict, tmp_path: Path) -> None:
    kept = make_trajectory(seeds=np.array([0, 2**31 - 1, -1]), **changes)
    kept.save(tmp_path / "a.zarr")
    found = as_netcdf(tmp_path / "a.zarr", tmp_path / "a.nc")
    for name in ("x_t", "eps_pred", "x0_pred", "x0", "labels", "seeds", "timesteps"):
        np.testing.assert_array_equal(found[name].values, getattr(kept, name))
    assert found["x_t"].dims == ("sample", "step", "channel", "y", "x")
    assert found.attrs["sampler"] == kept.sampler
    assert found.attrs["clip"] == kept.clip
    assert json.loads(found.attrs["recorded"])["samples"] == 3
    assert ("guidance_scale" in found.attrs) == np.isfinite(kept.guidance_scale)
    if not kept.stopped:
        assert_same(Trajectory.open(tmp_path / "a.zarr"), kept)


@pytest.mark.parametrize("options", [{}, {"compress": True}, {"activations": True}])
def test_every_attribute_and_dtype_is_one_that_netcdf_has(options: dict, tmp_path: Path) -> None:
    """netCDF-4 knows numbers and text: neither true and false, nor null, nor objects; and no float16."""
    extra = {}
    if options.pop("activations", False):
        extra = {
            "activations": {"down.0": np.ones((3, 2, 4), np.float32)},
            "activation_steps": np.array([0, 3]),
            "decoded": np.ones((3, 1, 3, 8, 8), np.float32),
            "decoded_steps": np.array([5]),
        }
    make_trajectory(**extra).save(tmp_path / "a.zarr", **options)
    group = zarr.open_group(str(tmp_path / "a.zarr"), mode="r")
    nodes = [("", group), *group.members(max_depth=None)]
    assert len(nodes) > 10
    for name, node in nodes:
        assert {type(value) for value in node.attrs.values()} <= {str, int, float}, name
        if isinstance(node, zarr.Array):
            assert node.dtype.name in NETCDF_DTYPES, name


def test_a_generation_recorded_to_disk_converts(tmp_path: Path, make_unet: object) -> None:
    record_generation(
        make_unet(),
        NoiseSchedule.named("linear"),
        torch.tensor([3, 4]),
        [0, 1],
        SamplerConfig("ddim", 3, guidance_scale=2.0),
    ).save(tmp_path / "a.zarr")
    found = as_netcdf(tmp_path / "a.zarr", tmp_path / "a.nc")
    assert found.attrs["guidance_scale"] == 2.0
    assert found.attrs["clip"] == 1


def test_float16_converts_after_it_is_saved_as_float32(tmp_path: Path) -> None:
    kept = make_trajectory(seeds=np.array([0, 1, 2]))
    kept.x_t[0, 1, 0, 2, 2] = 123456.0
    kept.save(tmp_path / "narrow.zarr", dtype="float16")
    Trajectory.open(tmp_path / "narrow.zarr").save(tmp_path / "wide.zarr")
    assert as_netcdf(tmp_path / "wide.zarr", tmp_path / "a.nc")["x_t"].values[0, 1, 0, 2, 2] == 123456.0


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("format", [2, 3])
def test_zarrs_own_defaults_do_not_matter(format: int, order: str, tmp_path: Path) -> None:
    kept = make_trajectory()
    kept.save(tmp_path / "plain.zarr", compress=True)
    with zarr.config.set({"default_zarr_format": format, "array.order": order}):
        kept.save(tmp_path / "a.zarr", compress=True)
        kept.save(tmp_path / "a.zip")
        for name in ("plain.zarr", "a.zarr", "a.zip"):
            assert_same(Trajectory.open(tmp_path / name), kept)
    files = [path.relative_to(tmp_path / "plain.zarr") for path in (tmp_path / "plain.zarr").rglob("*")]
    for name in files:
        if (tmp_path / "plain.zarr" / name).is_file():
            assert (tmp_path / "a.zarr" / name).read_bytes() == (tmp_path / "plain.zarr" / name).read_bytes()
