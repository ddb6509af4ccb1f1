"""Commands never write over, into or through something that they would not have made at that place."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from refusals import refused
from shape_folder import write_shapes
from small_trajectory import make_trajectory
from training_runs import small_config

from viz_diffusion.cli import COMMANDS
from viz_diffusion.cli.console import Terminal
from viz_diffusion.cli.outputs import Output
from viz_diffusion.errors import VizdiffInputError
from viz_diffusion.files import sha256_file
from viz_diffusion.training.run import Run

QUICK = ("--run", "bundled", "--sampler", "ddim", "--steps", "2")
FILES: dict[str, tuple[str, ...]] = {
    "report.html": ("report", *QUICK, "--out"),
    "live.html": ("live", "--run", "bundled", "--out"),
    "sample.png": ("sample", *QUICK, "--count", "1", "--out"),
    "sample.npz": ("sample", *QUICK, "--count", "1", "--out"),
    "evaluation.json": ("evaluate", "--run", "bundled", "--count", "20", "--out"),
    "deck.pptx": ("deck", *QUICK, "--out"),
    "deck.pdf": ("deck", *QUICK, "--format", "pdf", "--out"),
    "steps.svg": ("export", *QUICK, "--figure", "steps", "--out"),
    "steps.gif": ("export", *QUICK, "--figure", "steps", "--out"),
    "examples.png": ("data", "DATA", "--out"),
}
"""Commands that write a file, by a name that it may have."""
FOLDERS: dict[str, tuple[str, ...]] = {
    "trajectory": ("trajectory", *QUICK, "--out"),
    "intervene": ("intervene", *QUICK, "--switch", "8@500", "--out"),
    "record": ("record", "nowhere", "--out"),
    "lesson": ("lesson", "network", "--run", "bundled", "--out"),
    "embeddings": ("embeddings", "--run", "bundled", "--out"),
    "compare": ("compare", "bundled", "bundled-flow", "--out"),
    "forward": ("forward", "--out"),
    "worksheet": ("worksheet", "--run", "bundled", "--out"),
    "figures": ("report", *QUICK, "--out", "R.html", "--figures"),
}
"""Commands that add files to a folder."""
OWNED: dict[str, tuple[str, ...]] = {
    "deck": ("deck", *QUICK, "--format", "folder", "--out"),
    "train": ("train", "--steps", "1", "--batch-size", "2", "--device", "cpu", "--out"),
    "classifier": ("train-classifier", "--data-dir", "DATA", "--steps", "1", "--out"),
}
"""Commands whose folder is their own."""
ALL = FILES | FOLDERS | OWNED
MAIN_FILE = {
    "worksheet": "worksheet.html",
    "lesson": "network.json",
    "embeddings": "embeddings.json",
    "compare": "compare.json",
    "forward": "forward.png",
    "figures": "steps.png",
}
"""A file that a command writes to its folder, for those that write no recording."""


@pytest.fixture(scope="module")
def things(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a run, a recording, a classifier, somebody's own files, and pictures as data."""
    place = tmp_path_factory.mktemp("things")
    write_shapes(place / "DATA", each=3, size=16)
    (place / "mine").mkdir()
    (place / "mine" / "notes.txt").write_text("mine")
    make_trajectory().save(place / "t.zarr")
    run = Run.create(place / "run", small_config(2))
    for name in ("model.safetensors", "metrics.jsonl"):
        (run.path / name).write_text(name)
    (place / "classifier").mkdir()
    for name in ("model.safetensors", "provenance.json"):
        (place / "classifier" / name).write_text("{}")
    return place


@pytest.fixture
def here(things: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Go to a copy of the things, and return it."""
    shutil.copytree(things, tmp_path / "h")
    monkeypatch.chdir(tmp_path / "h")
    return tmp_path / "h"


def contents(folder: Path) -> dict[str, str]:
    """Return all entries below a folder, with the SHA-256 of files and the targets of links."""
    return {
        str(path): str(path.readlink()) if path.is_symlink() else sha256_file(path) if path.is_file() else ""
        for path in sorted(folder.rglob("*"))
    }


def keeps(here: Path, capsys: pytest.CaptureFixture[str], code: int, *argv: str) -> str:
    """Run a command that must be refused in one line and leave everything as it is; return the line."""
    before = contents(here)
    line = refused(capsys, code, *argv)
    assert contents(here) == before
    return line


def test_the_table_has_every_command_that_writes() -> None:
    named = {command.__name__.rsplit(".", 1)[-1].replace("_", "-") for command in COMMANDS}
    assert named - {words[0] for words in ALL.values()} == {"lessons", "info"}


@pytest.mark.parametrize("name", ALL)
def test_nothing_is_written_into_a_run_a_recording_or_a_classifier(
    name: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("link").symlink_to("run")
    Path("t.zarr", "new").mkdir()
    Path("dangling").mkdir()
    Path("dangling", name).symlink_to(here / "run" / name)
    for place in ("t.zarr/new/", "link/", "dangling/"):
        line = keeps(here, capsys, 3, *ALL[name], f"{place}{name}")
        assert "would be written into a" in line
        option = "--figures" if name == "figures" else "--out"
        assert f"choose another {option}" in line


@pytest.mark.parametrize("name", FOLDERS | OWNED)
def test_a_run_or_a_recording_is_no_folder_for_something_else(
    name: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if name == "train":
        keeps(here, capsys, 3, *ALL[name], "run")
    else:
        keeps(here, capsys, 3, *ALL[name], "t.zarr")


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_another_kind_is_kept_with_force_too(
    name: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path(name).write_bytes(b"mine, and of no format\0")
    Path(name).rename("weights")
    Path(name).symlink_to("weights")
    line = keeps(here, capsys, 3, *FILES[name], name, "--force")
    assert "--force does not replace it, choose another --out" in line
    Path(name).unlink()
    Path(name).mkdir()
    keeps(here, capsys, 4, *FILES[name], name, "--force")


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_of_somebodys_own_files_is_kept(name: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = keeps(here, capsys, 3, *FOLDERS[name], "mine")
    assert "mine holds files of another origin (notes.txt)" in line
    if name in ("trajectory", "intervene", "record"):
        Path("mine", "trajectory.zarr").mkdir()
        Path("mine", "trajectory.zarr", "mine.txt").write_text("mine")
    else:
        Path("mine", MAIN_FILE[name]).write_bytes(b"mine, and of no format\0")
    assert "exists and is no" in keeps(here, capsys, 3, *FOLDERS[name], "mine", "--force")


@pytest.mark.parametrize("name", FOLDERS | OWNED)
def test_a_new_folder_is_not_named_like_a_file(name: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = keeps(here, capsys, 2, *ALL[name], "made.html")
    assert "must be a folder, found made.html, which ends like a file; choose made" in line


@pytest.mark.parametrize("name", OWNED)
def test_a_folder_of_its_own_must_be_new(name: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if name != "train":  # it loads the digits first, which takes a second
        assert "holds other things" in keeps(here, capsys, 3, *OWNED[name], ".")
    Path("linked").symlink_to("mine")
    assert "holds other things (notes.txt)" in keeps(here, capsys, 3, *OWNED[name], "linked")


def test_a_deck_does_not_replace_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    for place in (".", str(tmp_path / "empty")):
        assert "is the current folder" in keeps(tmp_path, capsys, 3, *OWNED["deck"], place)


def test_numbered_pictures_of_somebody_are_no_deck(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("photos").mkdir()
    Path("photos", "01_photo.png").write_bytes(b"mine")
    for force in ((), ("--force",)):
        assert "01_photo.png exists and" in keeps(here, capsys, 3, *OWNED["deck"], "photos", *force)


def test_other_endings_are_refused(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in FILES:
        keeps(here, capsys, 2, *FILES[name], "run/model.safetensors")
        keeps(here, capsys, 2, *FILES[name], "figure.tex")


@pytest.mark.usefixtures("here")
def test_a_command_may_add_to_a_folder_of_other_files_with_force_and_to_its_own_without() -> None:
    def write(command: str, *, force: bool = False) -> None:
        terminal, path = Terminal(False, True), Path("mine", f"{command}.json")
        Output(path, command, force, shares=True).claim(terminal)
        path.write_text('{"seconds": 1}')
        terminal.result({})

    write("forward", force=True)
    with pytest.raises(VizdiffInputError, match=r"notes\.txt"):
        write("forward")
    Path("mine", "notes.txt").unlink()
    write("forward")
    write("lesson")  # what this program wrote is in nobody's way
    Path("mine", ".hidden").write_text("mine")
    Path("mine", "folder").mkdir()
    write("lesson")


def test_a_new_run_in_python_follows_the_same_rule(here: Path) -> None:
    with pytest.raises(VizdiffInputError, match=r"holds other things \(notes\.txt\)"):
        Run.create(here / "mine", small_config(1))
    with pytest.raises(VizdiffInputError, match="would be written into a run"):
        Run.create(here / "run" / "deeper" / "new", small_config(1))
    with pytest.raises(VizdiffInputError, match="would be written into a classifier"):
        Run.create(here / "classifier" / "new", small_config(1))
