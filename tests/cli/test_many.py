"""``vizdiff sample`` and ``vizdiff trajectory`` into stores of many images."""

from __future__ import annotations

import json
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from viz_diffusion.cli import main
from viz_diffusion.cli.generation_request import GenerationOptions, read_request
from viz_diffusion.cli.options import PICTURE_SAMPLER, SamplerOptions
from viz_diffusion.errors import VizdiffInputError
from viz_diffusion.files import cache_dir
from viz_diffusion.recording.many.samples import SampleStore
from viz_diffusion.recording.many.trajectories import TrajectoryStore
from viz_diffusion.recording.store.blocks import MARKS

NOTHING_GIVEN = GenerationOptions(None, None, (), None, None, False, False, SamplerOptions(PICTURE_SAMPLER, {}))
QUICK = ("--run", "bundled", "--sampler", "ddim", "--steps", "2", "--guidance", "1", "--batch-size", "4", "--json")


@pytest.fixture(autouse=True)
def short_estimates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("viz_diffusion.recording.many.filling._LEAST_SECONDS", 0.0)
    monkeypatch.setattr("viz_diffusion.recording.many.samples.CHUNK_IMAGES", 8)


def said(capsys: pytest.CaptureFixture[str], *argv: str, code: int = 0) -> Any:
    """Run a command; return its JSON, or its error."""
    capsys.readouterr()
    assert main(list(argv)) == code, capsys.readouterr().err
    found = capsys.readouterr()
    return found.err.strip().splitlines()[-1] if code else json.loads(found.out or "null")


def test_samples_in_shards_are_those_of_one_worker(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, two = (str(tmp_path / name) for name in ("one.zarr", "two.zarr"))
    whole = said(capsys, "sample", *QUICK, "--seeds", "3-22", "--out", one, "--export", str(tmp_path / "a.npz"))
    assert (whole["count"], whole["seeds"], whole["blocks"], whole["blocks_missing"]) == (20, "3-22", 3, 0)
    assert 0 <= whole["classified_as_requested"] <= 20
    assert 0 < whole["bytes_estimate"] < 10**6
    with np.load(tmp_path / "a.npz") as arrays:
        assert arrays["arr_0"].shape == (20, 28, 28, 3)
    part = said(capsys, "sample", *QUICK, "--seeds", "3-22", "--out", two, "--shard", "1/2")
    assert (part["blocks_made"], part["blocks_missing"], part["root_sha256"]) == (1, 2, None)
    rest = said(capsys, "sample", *QUICK, "--seeds", "3-22", "--out", two, "--shard", "0/2")
    assert rest["root_sha256"] == whole["root_sha256"] == SampleStore(two).root_hash
    (tmp_path / "two.zarr" / MARKS / "000001.json").unlink()
    again = said(capsys, "sample", *QUICK, "--seeds", "3-22", "--out", two, "--resume")
    assert (again["blocks_made"], again["root_sha256"]) == (1, whole["root_sha256"])


def test_a_store_holds_images_of_one_environment(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    argv = ("sample", *QUICK, "--count", "16", "--out", str(tmp_path / "a.zarr"), "--shard")
    assert said(capsys, *argv, "0/2")["blocks_missing"] == 1
    with monkeypatch.context() as other:
        other.setattr("torch.__version__", "9.9")
        line = said(capsys, *argv, "1/2", code=3)
    assert "holds something else: its torch is" in line
    with monkeypatch.context() as other:
        other.setattr("viz_diffusion.diffusion.environment.processor", lambda: "Difference Engine")
        line = said(capsys, *argv, "1/2", code=3)
    assert "holds something else: its processor is" in line
    assert said(capsys, *argv, "1/2")["blocks_missing"] == 0


def test_prompts_in_a_store(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A message names a prompt without a digit, and labels of prompts are not taken for digits."""
    where = str(tmp_path / "a.zarr")
    argv = ("--prompt", "a two", "--prompt", "thin", "--count", "20", *QUICK[2:], "--out", where)
    assert main(["sample", *argv]) == 0
    said_out, err = capsys.readouterr()
    assert "“thin” names no digit" in err
    assert "classified_as_requested" not in json.loads(said_out)
    line = said(capsys, "evaluate", "--run", "bundled-text", "--samples", where, code=3)
    assert "holds samples of other labels than the run has" in line


def test_latents_are_not_clipped(capsys: pytest.CaptureFixture[str]) -> None:
    argv = ("--run", "bundled-latent", *QUICK[2:], "--count", "4", "--out", "memory://cli/latents.zarr")
    assert said(capsys, "sample", *argv)["x0_beyond_scale"] is None


def test_workers_of_torchrun_share_a_store(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    found = []
    for rank in "01":
        monkeypatch.setenv("RANK", rank)
        found.append(said(capsys, "sample", *QUICK, "--count", "20", "--out", "memory://cli/torchrun.zarr"))
    assert found[0] is None, "only the worker that completes the store prints the result"
    assert (found[1]["blocks_missing"], found[1]["count"]) == (0, 20)
    monkeypatch.setenv("RANK", "0")
    line = said(capsys, "sample", *QUICK[:-3], "--count", "20", "--out", str(tmp_path / "a.npz"), code=2)
    assert "several workers fill one store" in line


@pytest.mark.parametrize(
    ("argv", "code", "message"),
    [
        (("--out", "a.npz", "--seeds", "0-9"), 2, "--seeds goes with a store: let --out end in .zarr, or be a URL"),
        (("--out", "a.zarr", "--seeds", "0-9", "--count", "9"), 2, "--count 9 contradicts --seeds, which are 10"),
        (("--out", "a.zarr", "--seeds", "9-0"), 2, "--seeds must be numbers and rising ranges"),
        (("--out", "a.zarr", "--seeds", "0-9", "--seed", "4"), 2, "--seed and --seeds exclude each other"),
        (("--out", "a.zarr", "--shard", "2/2"), 2, "--shard must be i/n with i = 0 .. n-1"),
        (("--out", "a.zarr", "--shard", "0/2", "--force"), 2, "--force is for one worker"),
        (("--out", "a.zarr", "--export", "a.png"), 2, "--export must end in .npz or .zip"),
        (("--out", "nosuch://a.zarr",), 2, "nosuch://a.zarr cannot be opened"),
        (("--out", "a.zarr", "--seeds", "0-4294967295"), 2, "--seeds must be at most 100,000,000"),
        (("--out", "a.zarr", "--count", "4294967295"), 2, "--count must be at most 100,000,000"),
    ],
)  # fmt: skip
def test_refusals_are_one_line(
    argv: tuple[str, ...],
    code: int,
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert message in said(capsys, "sample", "--run", "bundled", *argv, code=code)
    assert list(tmp_path.iterdir()) == []


def test_what_does_not_fit_on_the_disk_is_refused_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    seeds = ("--seeds", "0-9999999")
    line = said(capsys, "trajectory", "--run", "bundled", *seeds, "--out", "big", code=4)
    assert "the store needs 156,8" in line
    assert "bytes and" in line
    assert not (tmp_path / "big" / "trajectory.zarr").exists()


def test_trajectories_are_recorded_in_blocks_and_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ("trajectory", "--run", "bundled", "--digit", "3", *QUICK[2:-3], "--frames", "2", "--json", "--count", "18")
    whole = said(capsys, *argv, "--out", str(tmp_path / "one"))
    assert (whole["count"], whole["blocks"], whole["sampler"]) == (18, 2, "DDIM")
    names = {path.name for path in (tmp_path / "one").iterdir()}
    assert names >= {"trajectory.zarr", "trajectory.json", "steps.png", "steps.gif"}
    assert TrajectoryStore(tmp_path / "one" / "trajectory.zarr").root_hash == whole["root_sha256"]
    shown = read_request(replace(NOTHING_GIVEN, trajectory=tmp_path / "one"))
    assert shown.recorded is not None
    assert shown.recorded.num_images == 16, "a page reads the first block only"
    for shard in ("0/2", "1/2"):
        part = said(capsys, *argv, "--out", "memory://cli/many", "--shard", shard)
    assert part["root_sha256"] == whole["root_sha256"]
    assert len(TrajectoryStore("memory://cli/many/trajectory.zarr")) == 18


def test_evaluate_measures_the_samples_of_a_store(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    where, given = str(tmp_path / "a.zarr"), []

    def seen(images: Any, labels: Any, *_: Any, **__: Any) -> None:
        given.append((images, labels))
        raise VizdiffInputError("seen")

    said(capsys, "sample", *QUICK, "--count", "24", "--out", where)
    monkeypatch.setattr("viz_diffusion.evaluation.evaluate.evaluate", seen)
    monkeypatch.setattr("viz_diffusion.cli.record.sample_all", lambda *_: pytest.fail("sampled"))
    assert "seen" in said(capsys, "evaluate", "--run", "bundled", "--samples", where, "--count", "21", code=3)
    stored = np.concatenate([images for images, _, _ in SampleStore(where).chunks()])[:21]
    np.testing.assert_allclose(given[0][0].numpy(), stored / 127.5 - 1, atol=1e-6)
    assert given[0][1].tolist() == [k % 10 for k in range(21)]
    for argv, code, message in (
        (("--samples", where, "--steps", "9"), 2, "--steps goes with new samples"),
        (("--samples", where, "--count", "25"), 2, "is more than"),
        (("--run", "bundled-latent", "--samples", where), 3, "was sampled with weights"),
        (("--samples", str(tmp_path / "none.zarr")), 3, "none.zarr does not exist"),
        (("--samples", __file__), 3, "test_many.py holds no samples (File is not a zip file)"),
        (("--samples", str(tmp_path)), 3, "holds no samples (zarr.json is missing)"),
    ):
        assert message in said(capsys, "evaluate", "--run", "bundled", *argv, code=code)


def test_force_replaces_a_recording_that_was_not_made_in_blocks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "r"
    argv = (
        "trajectory",
        "--run",
        "bundled",
        "--digit",
        "3",
        *QUICK[2:-3],
        "--frames",
        "2",
        "--json",
        "--out",
        str(out),
    )
    said(capsys, *argv)
    line = said(capsys, *argv, "--count", "17", code=3)
    assert "was not made in blocks; --force replaces it, another --out keeps it" in line
    partial = out / "trajectory.partial.zarr"
    partial.mkdir()
    assert "was interrupted; --force replaces it" in said(capsys, *argv, "--count", "17", code=3)
    assert said(capsys, *argv, "--count", "17", "--force")["blocks_missing"] == 0
    assert len(TrajectoryStore(out / "trajectory.zarr")) == 17
    assert not partial.exists()
    (out / "trajectory.zarr" / "zarr.json").write_text('{"zarr_format": 3, "node_type": "group", "attributes": {}}')
    line = said(capsys, *argv, "--count", "17", "--force", code=3)
    assert "is no recording of this program; choose another --out" in line


@pytest.mark.parametrize("ending", [".npz", ".zip"])
def test_an_export_of_a_killed_command_is_written_again_and_no_other_file(
    ending: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What a killed command left is noted nowhere."""
    export = tmp_path / f"a{ending}"
    argv = ("sample", *QUICK, "--count", "9", "--out", str(tmp_path / "a.zarr"), "--export", str(export), "--resume")
    said(capsys, *argv)
    first = export.read_bytes()
    shutil.rmtree(cache_dir() / "written")
    said(capsys, *argv)
    assert export.read_bytes() == first
    shutil.rmtree(cache_dir() / "written")
    with zipfile.ZipFile(export, "w") as archive:
        archive.writestr("thesis.txt", "mine")
    mine = export.read_bytes()
    assert f"is no {ending} file as this program writes them" in said(capsys, *argv, code=3)
    assert export.read_bytes() == mine


@pytest.mark.parametrize(
    "argv",
    [
        ("sample", "--device", "tpu", "--out", "a.zarr"),
        ("sample", "--run", "nowhere", "--out", "a.zarr"),
        ("sample", "--out", "a.npz"),
        ("trajectory", "--device", "tpu", "--out", "a"),
        ("trajectory", "--steps", "0", "--out", "a"),
        ("train", "--device", "tpu"),
    ],
)
def test_an_error_of_all_workers_is_shown_once(
    argv: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    lines, codes = [], []
    for rank in "01":
        for name, value in (("RANK", rank), ("LOCAL_RANK", rank), ("WORLD_SIZE", "2"), ("MASTER_ADDR", "127.0.0.1")):
            monkeypatch.setenv(name, value)
        codes.append(main([*argv, "--quiet"]))
        lines.append(capsys.readouterr().err.splitlines())
    assert codes[0] == codes[1] in (2, 3)
    assert [len(said_by) for said_by in lines] == [1, 0]
