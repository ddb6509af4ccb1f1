"""Files that commands write: names that carry what differs, and files that are kept."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from refusals import refused

from viz_diffusion.cli import main
from viz_diffusion.cli.commands.deck import _name as deck_name
from viz_diffusion.cli.console import Terminal
from viz_diffusion.cli.outputs import Output, default_out, images_mark, sampling_marks
from viz_diffusion.diffusion.sampler_config import SamplerConfig
from viz_diffusion.errors import VizdiffInputError
from viz_diffusion.files import to_json

PAGE = "<!doctype html>5"
PLAIN = SamplerConfig(guidance_scale=1.5)


@pytest.mark.parametrize(
    ("sampling", "marks"),
    [
        (PLAIN, []),
        (SamplerConfig(steps=1000, guidance_scale=1.5), []),
        (SamplerConfig("ddim", 20, 1.5, eta=0.5), ["ddim", "20steps", "eta0.5"]),
        (SamplerConfig("dpm-solver++", 10, 3, timestep_spacing="linspace"), ["10steps", "guidance3", "linspace"]),
        (SamplerConfig(guidance_scale=1, variance="beta_tilde", clip=False), ["guidance1", "beta_tilde", "unclipped"]),
        (None, []),
    ],
)
def test_a_name_carries_how_it_is_sampled(sampling: SamplerConfig | None, marks: list[str]) -> None:
    assert [mark for mark in sampling_marks(sampling) if mark != "dpm-solver"] == marks


def test_a_name_carries_class_seed_run_and_language(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert default_out("report", ".html", 5, seed=1, sampling=PLAIN, run=None) == Path("reports/report.html")
    found = default_out("report", ".html", 3, "zh", seed=4, sampling=SamplerConfig("ddim", 20, 1.5), run="runs/x")
    assert found == Path("reports/report_3_seed4_ddim_20steps_x_zh.html")
    assert default_out("deck", "", 5, label="a/b") == Path("reports/deck_a_b")


def write(path: Path, text: str = PAGE, *, force: bool = False, **shown: object) -> None:
    """Claim a file and write it, as a command does."""
    terminal = Terminal(False, False)
    Output(path, "report", force).claim(terminal, **shown)
    path.write_text(text)
    terminal.result({})


def test_the_same_file_is_written_again_and_another_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "r.html"
    write(page, label=5)
    assert capsys.readouterr().err == ""
    write(page, "again", label=5)
    assert "made by the same command" in capsys.readouterr().err
    with pytest.raises(VizdiffInputError, match=r"shows something else \(label 5\); --force replaces it"):
        write(page, label=3)
    assert page.read_text() == "again"
    write(page, "three", label=3, force=True)
    assert "it showed something else: label 5" in capsys.readouterr().err
    write(page, label=3)


def test_a_file_that_a_user_wrote_or_changed_is_kept(tmp_path: Path) -> None:
    page = tmp_path / "r.html"
    page.write_text(PAGE + "mine")
    with pytest.raises(VizdiffInputError, match="was not written by this program, or was changed since; --force"):
        write(page, label=5)
    write(page, label=5, force=True)
    page.write_text(page.read_text() + "a note of mine")
    with pytest.raises(VizdiffInputError, match="changed since"):
        write(page, label=5)


def test_the_other_files_of_a_folder_are_kept_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def write_all(force: bool = False, **shown: object) -> None:
        terminal = Terminal(False, False)
        Output(tmp_path / "a.json", "trajectory", force, others=("s.*", "t.zarr")).claim(terminal, **shown)
        (tmp_path / "a.json").write_text(to_json({"seconds": 1, **shown}))
        (tmp_path / "s.png").write_bytes(b"\x89PNG" + str(shown).encode())
        (tmp_path / "t.zarr" / "x").mkdir(parents=True, exist_ok=True)
        (tmp_path / "t.zarr" / "zarr.json").write_text("{}")
        (tmp_path / "t.zarr" / "x" / "SHA256SUMS").write_text(str(shown))
        terminal.result({})

    (tmp_path / "s.png").write_bytes(b"\x89PNG mine")
    with pytest.raises(VizdiffInputError, match=r"s\.png exists and was not written by this program"):
        write_all(label=5)
    (tmp_path / "s.png").unlink()
    (tmp_path / "other.png").write_text("not in the way")
    write_all(label=5)
    write_all(label=5)  # the same command replaces all of its files
    capsys.readouterr()
    for changed in (tmp_path / "s.png", tmp_path / "t.zarr" / "x" / "SHA256SUMS"):
        changed.write_bytes(b"\x89PNG edited")
        with pytest.raises(VizdiffInputError, match="changed since"):
            write_all(label=5)
        write_all(force=True, label=5)
        assert "was changed since" in capsys.readouterr().err
    assert (tmp_path / "other.png").read_text() == "not in the way"
    shutil.rmtree(tmp_path / "t.zarr")
    write_all(label=5)


def test_other_options_make_another_file(tmp_path: Path) -> None:
    def claim(*options: str) -> None:
        terminal = Terminal(False, True)
        Output(tmp_path / "deck.pptx", "deck", False, options=options).claim(terminal, label=5)
        (tmp_path / "deck.pptx").write_text(" ".join(options))
        terminal.result({})

    claim("--minutes", "20")
    claim("--minutes", "20")
    with pytest.raises(VizdiffInputError, match=r"something else \(options --minutes 20\)"):
        claim()
    assert images_mark(1) + images_mark(16) == ["16images"]


def test_a_command_that_fails_notes_nothing(tmp_path: Path) -> None:
    page = tmp_path / "r.html"
    Output(page, "report", False).claim(Terminal(False, True), label=5)
    page.write_text(PAGE + "half")  # by somebody else: the command never came to its result
    with pytest.raises(VizdiffInputError, match="not written by this program"):
        write(page, label=5)


def test_without_a_place_for_the_notes_a_command_still_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr("viz_diffusion.cli.outputs.cache_dir", lambda: tmp_path / "file")
    write(tmp_path / "r.html", label=5)
    with pytest.raises(VizdiffInputError, match="not written by this program"):
        write(tmp_path / "r.html", label=5)


def test_commands_keep_what_another_one_wrote(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    argv = ["trajectory", "--sampler", "ddim", "--steps", "3", "--frames", "3,1", "--quiet"]
    assert main(argv) == 0
    first = Path("reports/trajectory_ddim_3steps")
    before = json.loads((first / "trajectory.json").read_text())
    assert main(argv) == 0  # the same again
    assert main([*argv, "--seed", "2"]) == 0
    assert Path("reports/trajectory_seed2_ddim_3steps/trajectory.json").is_file()
    assert main([*argv, "--count", "2"]) == 0
    assert Path("reports/trajectory_2images_ddim_3steps/trajectory.json").is_file()
    line = refused(capsys, 3, *argv, "--seed", "2", "--out", str(first))
    assert "seed 1" in line
    assert "--force" in line
    assert json.loads((first / "trajectory.json").read_text())["caption"] == before["caption"]
    assert main([*argv, "--seed", "2", "--out", str(first), "--force"]) == 0
    shutil.rmtree("reports")
    assert main(argv) == 0


def test_a_deck_is_named_for_what_it_shows() -> None:
    assert deck_name(45, None, "core", None, "720p") == "deck"
    names = {
        deck_name(20, None, "core", None, "720p"),
        deck_name(45, "+snr", "core", None, "720p"),
        deck_name(45, None, "all", None, "720p"),
        deck_name(45, None, "core", Path("slides/my design.pptx"), "720p"),
        deck_name(45, None, "core", None, "1080p"),
    }
    assert names == {"deck_20min", "deck_slides", "deck_all", "deck_my_design", "deck_1080p"}
