"""Files from outside that are damaged, hostile or no files at all: one line that names the file, and no waiting."""

from __future__ import annotations

import io
import json
import os
import shutil
import socket
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mutations import mutants
from small_trajectory import make_trajectory
from training_runs import begin, first_digits, small_config

from viz_diffusion.deck.template import SlideTemplate
from viz_diffusion.errors import VizdiffError, VizdiffInputError
from viz_diffusion.files import boundary, parse_json, read_arrays, read_json, read_regular
from viz_diffusion.lessons.training.history import read_history
from viz_diffusion.recording.trajectory import Trajectory
from viz_diffusion.training.run import Run
from viz_diffusion.training.thumbnails import Thumbnails
from viz_diffusion.training.trainer import Trainer


@pytest.fixture(scope="module")
def trained_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a finished run of four steps."""
    path, digits = tmp_path_factory.mktemp("runs") / "run", first_digits(9)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Thumbnails, "STEPS", 1)
        list(Trainer(*begin(path, small_config(4)), digits, digits).run())
    return path


POSIX = pytest.mark.skipif(sys.platform == "win32", reason="pipes and devices in folders are POSIX's")


@POSIX
def test_a_pipe_a_device_and_a_folder_are_refused_at_once(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path, kind in ((pipe, "a pipe"), (Path("/dev/zero"), "a device"), (tmp_path, "a folder")):
        with pytest.raises(VizdiffInputError, match=f"must be a file, found {kind}"):
            read_regular(path)
        with pytest.raises(VizdiffInputError, match=f"must be a file, found {kind}"):
            read_json(path)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        with pytest.raises(VizdiffError):
            read_regular(tmp_path / "socket")


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    large = tmp_path / "large.json"
    with large.open("wb") as handle:
        handle.truncate(boundary.LARGEST_TEXT + 1)  # a hole: no bytes on the disk
    with pytest.raises(VizdiffInputError, match="67,108,865 bytes, and such a file at most 67,108,864"):
        read_json(large)


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"a": NaN}', '{"a": -Infinity}', '{"a": 1e999}', "{", "\xff", "1" * 5000]
)
def test_json_that_is_none_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(VizdiffInputError, match=r"x\.json"):
        read_json(path)
    assert parse_json('{"a": [1, 2.5e-3, null, "NaN"]}') == {"a": [1, 2.5e-3, None, "NaN"]}


def _npz(path: Path) -> Callable[[], Any]:
    arrays = {"a": np.arange(24, dtype=np.float32).reshape(2, 3, 4), "b": np.array("text"), "c": np.zeros((0, 3), int)}
    np.savez(path, **arrays)
    found = read_arrays(path, "make it again")
    assert {name: array.tolist() for name, array in found.items()} == {k: v.tolist() for k, v in arrays.items()}
    return lambda: read_arrays(path, "make it again")


def _compressed_npz(path: Path) -> Callable[[], Any]:
    np.savez_compressed(path, a=np.asfortranarray(np.arange(600.0).reshape(20, 30)))
    assert (read_arrays(path, "")["a"] == np.arange(600.0).reshape(20, 30)).all()
    return lambda: read_arrays(path, "make it again")


def _json(path: Path) -> Callable[[], Any]:
    path.write_bytes((Run.bundled().path / "config.json").read_bytes())
    return lambda: read_json(path)


def _zip_recording(path: Path) -> Callable[[], Any]:
    make_trajectory().save(path)
    return lambda: Trajectory.open(path)


def _template(path: Path) -> Callable[[], Any]:
    from pptx import Presentation

    Presentation().save(str(path))
    return lambda: SlideTemplate.open(path)


def _config(path: Path) -> Callable[[], Any]:
    folder = path.parent
    path.write_bytes((Run.bundled().path / "config.json").read_bytes())
    return lambda: Run.open(folder).config.noise_schedule


FORMATS: dict[str, tuple[str, Callable[[Path], Callable[[], Any]], int]] = {
    "npz": ("x.npz", _npz, 400),
    "compressed npz": ("x.npz", _compressed_npz, 200),
    "json": ("x.json", _json, 300),
    "zip recording": ("x.zip", _zip_recording, 120),
    "template": ("x.pptx", _template, 30),
    "config": ("config.json", _config, 200),
}


@pytest.mark.parametrize("name", FORMATS)
def test_mutants_raise_one_kind_of_error_or_none(name: str, tmp_path: Path) -> None:
    file, make, count = FORMATS[name]
    path = tmp_path / file
    read = make(path)
    read()
    data = path.read_bytes()
    said = []
    for mutant in mutants(data, count):
        path.write_bytes(mutant)
        try:
            read()
        except VizdiffError as error:
            said.append(str(error))
    assert not [line for line in said if "\n" in line]
    assert len(said) > count / 4  # a control: damage is noticed


def test_a_recording_in_a_folder_whose_metadata_lie_is_refused_before_anything_is_allocated(tmp_path: Path) -> None:
    path = tmp_path / "x.zarr"
    make_trajectory().save(path)
    meta = path / "x_t" / "zarr.json"
    good = json.loads(meta.read_text())

    def lie(**changes: Any) -> None:
        meta.write_text(json.dumps({**good, **changes}))
        with pytest.raises(VizdiffInputError, match=r"x\.zarr is damaged"):
            Trajectory.open(path)

    huge = [10**9, *good["shape"][1:]]
    lie(shape=huge)
    lie(shape=huge, chunk_grid={"name": "regular", "configuration": {"chunk_shape": huge}})
    lie(shape=good["shape"][:-1])
    lie(shape=[-1, *good["shape"][1:]])
    lie(shape=["2", *good["shape"][1:]])
    lie(chunk_grid={"name": "regular", "configuration": {"chunk_shape": [0] * 5}})
    lie(codecs=[{"name": "pickle"}])
    lie(codecs=[{"name": ["bytes"]}])
    lie(data_type="object")
    meta.write_text(json.dumps(good))
    Trajectory.open(path)


def test_a_bomb_in_an_npz_is_refused(tmp_path: Path) -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (2**40,)})
    path = tmp_path / "bomb.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.npy", header.getvalue() + bytes(8))
    with pytest.raises(VizdiffInputError, match=r"an array of 8,796,093,022,208 bytes is stored in 8"):
        read_arrays(path, "make it again")
    np.savez(path, a=np.array([print], dtype=object))
    with pytest.raises(VizdiffInputError, match="Python objects"):
        read_arrays(path, "make it again")


def test_a_config_that_no_machine_can_hold_is_refused_before_its_network_is_made(
    tmp_path: Path, trained_run: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained_run, run)
    (run / "manifest.json").unlink()
    values = json.loads((run / "config.json").read_text())
    for name, value in (("channels", [65536, 65536]), ("num_labels", 65536), ("num_mid_blocks", 60000)):
        (run / "config.json").write_text(json.dumps({**values, "model": {**values["model"], name: value}}))
        with pytest.raises(VizdiffInputError, match=r"does not fit the config"):
            Run.open(run).load_model()
    values["model"]["num_train_timesteps"] = values["num_train_timesteps"] = 10**9
    (run / "config.json").write_text(json.dumps(values))
    with pytest.raises(VizdiffInputError, match="at most 100,000 timesteps"):
        Run.open(run)


@pytest.mark.parametrize(
    "line", [b'{"step": 1, "loss": NaN}', b'{"step": 1e3, "loss": 1}', b'{"step": 1, "loss": "a"}', b"{"]
)
def test_metrics_that_are_none_are_named(line: bytes, tmp_path: Path, trained_run: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained_run, run)
    good = (run / "metrics.jsonl").read_bytes()
    (run / "metrics.jsonl").write_bytes(good + line + b"\n")
    with pytest.raises(VizdiffInputError, match=r"metrics\.jsonl is not what was written"):
        read_history(Run.open(run))
    (run / "manifest.json").unlink()  # an unfinished run has no checksum yet
    with pytest.raises(VizdiffInputError, match=r"metrics\.jsonl cannot be read"):
        read_history(Run.open(run))


def test_a_changed_number_in_the_metrics_of_a_finished_run_is_named(tmp_path: Path, trained_run: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained_run, run)
    read_history(Run.open(run))
    data = bytearray((run / "metrics.jsonl").read_bytes())
    data[data.index(b"0.") + 2] ^= 1
    (run / "metrics.jsonl").write_bytes(data)
    with pytest.raises(VizdiffInputError, match=r"metrics\.jsonl is not what was written"):
        read_history(Run.open(run))


def test_a_folder_with_a_digit_that_is_none_is_no_checkpoint(tmp_path: Path, trained_run: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained_run, run)
    before = Run.open(run).checkpoints()
    for name in ("step-²", "step-٣", "step-", "step-1e3"):
        (run / "training" / name).mkdir()
        (run / "training" / name / "manifest.json").write_text("{}")
    assert Run.open(run).checkpoints() == before
