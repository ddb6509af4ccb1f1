"""A recording survives the disk exactly, and damage is told by name."""

from __future__ import annotations

import errno
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import zarr
from small_trajectory import B, C, H, S, W, assert_same, make_trajectory

from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.errors import VizdiffInputError, VizdiffIOError
from viz_diffusion.recording.trajectory import Trajectory

# -- round trip ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"eps_cond": None, "eps_uncond": None},
        {"labels": np.zeros(B, np.int64), "seeds": np.zeros(B, np.int64)},
        {"sampler": "", "variance": "", "guidance_scale": 1.0, "clip": True, "weights_sha256": ""},
        {"x0": np.full((B, C, H, W), np.nan, np.float32)},
        {"schedule": NoiseSchedule(np.linspace(0.001, 0.03, 1000))},
        {"guidance_scale": float("nan"), "eps_pred": np.full((B, S, C, H, W), np.nan, np.float32)},
    ],
    ids=["all", "unguided", "zeros", "plain", "unfinished", "custom", "unknown guidance"],
)
def test_round_trip(changes: dict[str, object], tmp_path: Path) -> None:
    kept = make_trajectory(**changes)
    kept.save(tmp_path / "a.zarr")
    assert_same(Trajectory.open(tmp_path / "a.zarr"), kept)


def test_round_trip_over_several_chunks(tmp_path: Path) -> None:
    """More samples and steps than one chunk holds (16 and 50), in no multiple of it."""
    rng = np.random.default_rng(1)
    images = rng.standard_normal((17, 101, 1, 2, 2)).astype(np.float32)
    kept = make_trajectory(
        timesteps=np.arange(101)[::-1].copy(),
        x_t=images,
        eps_pred=images + 1,
        x0_pred=images + 2,
        x0=images[:, 0],
        labels=np.arange(17),
        seeds=np.arange(17),
        eps_cond=None,
        eps_uncond=None,
    )
    kept.save(tmp_path / "a.zarr")
    assert_same(Trajectory.open(tmp_path / "a.zarr"), kept)


def test_zarr_itself_reads_the_store(tmp_path: Path) -> None:
    kept = make_trajectory()
    kept.save(tmp_path / "a.zarr")
    group = zarr.open_group(str(tmp_path / "a.zarr"), mode="r", zarr_format=3)
    for name in ("x_t", "eps_pred", "x0_pred", "eps_cond", "eps_uncond"):
        array = group[name]
        assert array.shape == (B, S, C, H, W)
        assert array.metadata.dimension_names == ("sample", "step", "channel", "y", "x")
        assert array.dtype == np.float32
        np.testing.assert_array_equal(array[...], getattr(kept, name))
    assert group["x0"].metadata.dimension_names == ("sample", "channel", "y", "x")
    assert group["labels"].metadata.dimension_names == ("sample",)
    assert group["timesteps"].metadata.dimension_names == ("step",)
    np.testing.assert_allclose(group["snr"][...], kept.schedule.snr[kept.timesteps])
    assert group.attrs["guidance_scale"] == 1.5


@pytest.mark.parametrize("scale", [1.5, float("nan")])
def test_the_stores_own_json_is_strict(scale: float, tmp_path: Path) -> None:
    """JSON knows no NaN: other readers (Node, jq) stop at it."""

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    make_trajectory(guidance_scale=scale).save(tmp_path / "a.zarr")
    attributes = json.loads((tmp_path / "a.zarr" / "zarr.json").read_text(), parse_constant=refuse)
    assert attributes["attributes"]["status"] == "complete"


def test_what_follows_from_the_timesteps() -> None:
    kept = make_trajectory()
    np.testing.assert_array_equal(kept.snr, kept.schedule.snr[[999, 500, 259, 7, 0]])
    np.testing.assert_array_equal(kept.alphas_cumprod, kept.schedule.alphas_cumprod[[999, 500, 259, 7, 0]])
    assert kept.steps_left.tolist() == [5, 4, 3, 2, 1]
    assert (kept.num_images, kept.num_steps) == (3, 5)


# -- whole or not there ----------------------------------------------------------------------------


def fail_after(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    create, made = zarr.Group.create_array, []

    def create_or_fail(self: zarr.Group, *args: object, **kwargs: object) -> object:
        made.append(1)
        if len(made) > count:
            raise OSError(errno.ENOSPC, "No space left on device")
        return create(self, *args, **kwargs)

    monkeypatch.setattr(zarr.Group, "create_array", create_or_fail)


@pytest.mark.parametrize("count", [0, 1, 5, 9])
def test_a_failed_save_keeps_the_old_store(count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, old = tmp_path / "a.zarr", make_trajectory(labels=np.array([1, 2, 3]))
    old.save(path)
    fail_after(count, monkeypatch)
    with pytest.raises(VizdiffIOError, match=r"cannot write .*a\.zarr.*: No space left"):
        make_trajectory().save(path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.zarr"]
    assert_same(Trajectory.open(path), old)


def test_a_failed_first_save_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_after(3, monkeypatch)
    with pytest.raises(VizdiffIOError):
        make_trajectory().save(tmp_path / "a.zarr")
    assert list(tmp_path.iterdir()) == []


def test_saving_again_replaces_the_store(tmp_path: Path) -> None:
    path, new = tmp_path / "a.zarr", make_trajectory(eps_cond=None, eps_uncond=None)
    make_trajectory().save(path)
    new.save(path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.zarr"]
    assert_same(Trajectory.open(path), new)


def test_saving_does_not_delete_what_is_no_recording(tmp_path: Path) -> None:
    """``save(some folder)`` by mistake must not take the folder's contents away."""
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "only-copy.png").write_bytes(b"x")
    with pytest.raises(VizdiffInputError):
        make_trajectory().save(tmp_path / "photos")
    assert (tmp_path / "photos" / "only-copy.png").read_bytes() == b"x"


# -- damage ----------------------------------------------------------------------------------------


def chunk(path: Path, name: str) -> Path:
    return next(entry for entry in sorted((path / name).rglob("c*")) if entry.is_file())


def edit(path: Path, change: Callable[[dict], object]) -> None:
    meta = json.loads(path.read_text())
    change(meta)
    path.write_text(json.dumps(meta))


def overwrite(path: Path, name: str, values: np.ndarray) -> None:
    zarr.open_group(str(path), mode="r+")[name][...] = values


DAMAGE: dict[str, Callable[[Path], object]] = {
    "not there": lambda path: shutil.rmtree(path),
    "empty folder": lambda path: (shutil.rmtree(path), path.mkdir()),
    "a file": lambda path: (shutil.rmtree(path), path.write_bytes(b"PK")),
    "no root": lambda path: (path / "zarr.json").unlink(),
    "empty root": lambda path: (path / "zarr.json").write_bytes(b""),
    "cut root": lambda path: (path / "zarr.json").write_bytes((path / "zarr.json").read_bytes()[:40]),
    "root is no object": lambda path: (path / "zarr.json").write_text("[]"),
    "root is an array": lambda path: shutil.copy(path / "x0" / "zarr.json", path / "zarr.json"),
    "other schema": lambda path: edit(path / "zarr.json", lambda m: m["attributes"].update(schema_version=99)),
    "no schema": lambda path: edit(path / "zarr.json", lambda m: m["attributes"].pop("schema_version")),
    "incomplete": lambda path: edit(path / "zarr.json", lambda m: m["attributes"].pop("status")),
    "no sampler": lambda path: edit(path / "zarr.json", lambda m: m["attributes"].pop("sampler")),
    "no schedule": lambda path: edit(path / "zarr.json", lambda m: m["attributes"].pop("schedule")),
    "field gone": lambda path: shutil.rmtree(path / "x0_pred"),
    "labels gone": lambda path: shutil.rmtree(path / "labels"),
    "chunk gone": lambda path: chunk(path, "x_t").unlink(),
    "label chunk gone": lambda path: chunk(path, "labels").unlink(),
    "chunk cut": lambda path: chunk(path, "x_t").write_bytes(chunk(path, "x_t").read_bytes()[:-4]),
    "chunk empty": lambda path: chunk(path, "x_t").write_bytes(b""),
    "chunk too long": lambda path: chunk(path, "x_t").write_bytes(chunk(path, "x_t").read_bytes() + bytes(4)),
    "field's meta cut": lambda path: (path / "x_t" / "zarr.json").write_bytes(b'{"zarr_format": 3'),
    "field's meta empty": lambda path: (path / "x_t" / "zarr.json").write_bytes(b"{}"),
    "field is a group": lambda path: (shutil.rmtree(path / "x_t"), zarr.create_group(str(path / "x_t"))),
    "other shape": lambda path: edit(path / "labels" / "zarr.json", lambda m: m.update(shape=[2])),
    "timesteps rise": lambda path: overwrite(path, "timesteps", np.arange(S)),
    "timesteps too large": lambda path: overwrite(path, "timesteps", np.arange(2000, 2000 - S, -1)),
    "betas of no schedule": lambda path: overwrite(path, "betas", np.zeros(1000)),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_damaged_stores_are_refused_by_name(case: str, tmp_path: Path) -> None:
    path = tmp_path / "spoilt.zarr"
    make_trajectory().save(path)
    DAMAGE[case](path)
    with pytest.raises(VizdiffInputError, match=r"spoilt\.zarr") as caught:
        Trajectory.open(path)
    assert caught.value.exit_code == 3


def test_a_missing_chunk_is_named(tmp_path: Path) -> None:
    make_trajectory().save(tmp_path / "a.zarr")
    chunk(tmp_path / "a.zarr", "eps_cond").unlink()
    with pytest.raises(
        VizdiffInputError, match=r"eps_cond, samples 0..2, steps 0..4 \(a.zarr/eps_cond/c.0.0.0.0.0\) is missing"
    ):
        Trajectory.open(tmp_path / "a.zarr")


# -- shapes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"x_t": np.zeros((B, S, H, W), np.float32)}, "B,S,C,H,W"),
        ({"timesteps": np.array([3, 2, 1])}, "timesteps"),
        ({"timesteps": np.array([4, 3, 2, 1, 1])}, "fall"),
        ({"timesteps": np.array([0, 1, 2, 3, 4])}, "fall"),
        ({"timesteps": np.array([1000, 3, 2, 1, 0])}, "below 1000"),
        ({"timesteps": np.array([9, 3, 2, 1, -1])}, "1000"),
        ({"eps_pred": np.zeros((B, S, C, H, W + 1), np.float32)}, "eps_pred"),
        ({"x0_pred": np.zeros((S, B, C, H, W), np.float32)}, "x0_pred"),
        ({"eps_cond": np.zeros((B, C, H, W), np.float32)}, "eps_cond"),
        ({"eps_uncond": np.zeros((1, S, C, H, W), np.float32)}, "eps_uncond"),
        ({"x0": np.zeros((B, S, C, H, W), np.float32)}, "x0"),
        ({"labels": np.zeros(B + 1, np.int64)}, "labels"),
        ({"seeds": np.zeros((B, 1), np.int64)}, "seeds"),
    ],
    ids=lambda value: value if isinstance(value, str) else next(iter(value)),
)
def test_bad_shapes_are_refused(changes: dict[str, object], named: str) -> None:
    with pytest.raises(VizdiffInputError, match=named):
        make_trajectory(**changes)


# -- no torch --------------------------------------------------------------------------------------


def test_a_recording_is_read_without_torch(tmp_path: Path) -> None:
    make_trajectory().save(tmp_path / "a.zarr")
    code = (
        "import sys; from pathlib import Path; from viz_diffusion.recording.trajectory import Trajectory;"
        "shape = Trajectory.open(Path(sys.argv[1])).x_t.shape;"
        "print(shape, 'torch' in sys.modules)"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "a.zarr")],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == f"{(B, S, C, H, W)} False", done.stderr


def test_it_says_in_one_line_what_it_is() -> None:
    said = repr(make_trajectory())
    assert len(said) < 200
    assert "\n" not in said
    assert said.startswith("Trajectory(3 × 5 steps × (1 × 4 × 6), DDPM")
