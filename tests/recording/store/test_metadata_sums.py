"""A changed number in a recording's metadata is named; recordings without such sums are read as before."""

from __future__ import annotations

import json
import random
import zipfile
from pathlib import Path

import pytest
from small_trajectory import assert_same, make_trajectory

from viz_diffusion.errors import VizdiffInputError
from viz_diffusion.recording.store.metadata_sums import ATTRIBUTE
from viz_diffusion.recording.trajectory import Trajectory


def values(path: Path) -> list[object]:
    """Return the JSON values of all metadata, without the sums."""
    found = []
    for file in sorted(path.rglob("zarr.json")):
        value = json.loads(file.read_text())
        value["attributes"].pop(ATTRIBUTE, None)
        found.append(value)
    return found


def test_single_changed_bytes_of_the_metadata_are_named(tmp_path: Path) -> None:
    path, rng = tmp_path / "a.zarr", random.Random(5)
    make_trajectory().save(path)
    before = values(path)
    files = [file for file in sorted(path.rglob("zarr.json")) if "activations" not in file.parent.name]
    named = 0
    for trial in range(240):
        file = path / "zarr.json" if trial % 2 else rng.choice(files)
        good = file.read_bytes()
        changed = bytearray(good)
        place = rng.randrange(len(good))
        changed[place] = ord(str(9 - int(chr(good[place])))) if chr(good[place]).isdigit() else changed[place] ^ 1
        file.write_bytes(changed)
        try:
            Trajectory.open(path)
        except VizdiffInputError as error:
            named += "\n" not in str(error)
        else:
            assert values(path) == before or ATTRIBUTE.encode() not in changed, (file, place)
        file.write_bytes(good)
    assert named > 220  # the others changed the spaces between values, or the sums' own name
    assert_same(Trajectory.open(path), make_trajectory())


@pytest.mark.parametrize(
    ("field", "value"), [("guidance_scale", 1.25), ("eta", 0.5), ("weights_sha256", "1" * 64), ("clip", 1)]
)
def test_a_changed_fact_is_named(field: str, value: object, tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    make_trajectory().save(path)
    meta = json.loads((path / "zarr.json").read_text())
    assert meta["attributes"].get(field) != value
    meta["attributes"][field] = value
    (path / "zarr.json").write_text(json.dumps(meta))
    with pytest.raises(VizdiffInputError, match=r"a\.zarr is damaged \(zarr\.json is not what was written"):
        Trajectory.open(path)
    del meta["attributes"][ATTRIBUTE]  # as a recording of an earlier version
    (path / "zarr.json").write_text(json.dumps(meta))
    Trajectory.open(path)


def test_another_layout_of_the_same_values_is_no_damage(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    make_trajectory().save(path)
    for file in path.rglob("zarr.json"):
        file.write_text(json.dumps(json.loads(file.read_text()), indent=3, sort_keys=True))
    assert_same(Trajectory.open(path), make_trajectory())


def test_a_zip_file_and_a_missing_array(tmp_path: Path) -> None:
    path, packed = tmp_path / "a.zarr", tmp_path / "a.zip"
    make_trajectory().save(path)
    make_trajectory().save(packed)
    assert_same(Trajectory.open(packed), make_trajectory())
    with zipfile.ZipFile(packed) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    meta = json.loads(members["x0/zarr.json"])
    meta["fill_value"] = 0.5
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        for name, data in (members | {"x0/zarr.json": json.dumps(meta).encode()}).items():
            archive.writestr(name, data)
    with pytest.raises(VizdiffInputError, match=r"x0/zarr\.json is not what was written"):
        Trajectory.open(tmp_path / "b.zip")
    optional = next(name for name in ("eps_cond", "step_alphas_cumprod", "seeds") if (path / name).is_dir())
    (path / optional / "zarr.json").unlink()
    with pytest.raises(VizdiffInputError, match=rf"{optional}/zarr\.json is missing"):
        Trajectory.open(path)
