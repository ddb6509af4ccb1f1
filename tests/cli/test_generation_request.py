"""The generation that a command shows: defaults, a recording, options that contradict it; and where it writes."""

from __future__ import annotations

from pathlib import Path

import pytest

from viz_diffusion.cli import main
from viz_diffusion.cli.generation_request import GENERATION, read_request
from viz_diffusion.cli.outputs import default_out
from viz_diffusion.diffusion.sampler_config import SamplerConfig
from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.plots import saving

COMMANDS = (["report"], ["deck"], ["worksheet"], ["export", "--figure", "steps"])
CONTRADICTIONS = (
    ("--digit", "3", "digit is 5"),
    ("--seed", "4", "seed is 0"),
    ("--sampler", "ddpm", "sampler is ddim"),
    ("--steps", "1000", "steps is 12"),
    ("--guidance", "3", "guidance is 1.5"),
)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda argv: argv[0])
@pytest.mark.parametrize(("option", "value", "there"), CONTRADICTIONS)
def test_an_option_that_contradicts_the_recording_is_refused_with_both_values(
    command: list[str],
    option: str,
    value: str,
    there: str,
    short_recording: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    if command == ["worksheet"] and option == "--steps":
        value = "20"
    assert main([*command, "--trajectory", str(short_recording), option, value]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert f"{option} {value} contradicts" in err
    assert there in err
    assert not list(tmp_path.iterdir())


def request(trajectory: Path | None, digit: int | None = None, seed: int | None = None, **given: object) -> object:
    options = {option.name: None for option in GENERATION.parameters} | {"trajectory": trajectory, "digit": digit}
    return read_request(GENERATION.build(**(options | {"seed": seed} | given)))


def test_what_agrees_with_the_recording_is_taken(short_recording: Path) -> None:
    given = {"sampler": "ddim", "steps": 12, "guidance": 1.5, "eta": 0.0, "timestep_spacing": "trailing", "clip": True}
    for options in (given, dict.fromkeys(given)):
        found = request(short_recording, digit=5, **options)
        assert (found.digit, found.seed, found.steps, found.config) == (5, 0, 12, None)
        assert found.recorded is not None
        assert found.recorded.num_steps == 12


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("eta", 0.5, "eta 0.5 contradicts"),
        ("timestep_spacing", "linspace", "timestep_spacing linspace contradicts"),
        ("clip", False, "--no-clip contradicts"),
        ("variance", "beta", "variance beta contradicts"),
        ("guidance", 3.0, "guidance_scale 3 contradicts"),
    ],
)
def test_every_sampler_option_is_compared_with_the_recording(
    name: str, value: object, said: str, short_recording: Path
) -> None:
    with pytest.raises(VizdiffUsageError, match=said):
        request(short_recording, **{name: value})


def test_without_a_recording_what_was_not_given_gets_its_default() -> None:
    found = request(None)
    assert (found.digit, found.seed, found.steps, found.recorded) == (5, 1, None, None)
    assert found.config == SamplerConfig(guidance_scale=1.5)
    found = request(None, digit=0, seed=9, sampler="ddim", steps=7, guidance=0.0, eta=0.5)
    assert found.config == SamplerConfig("ddim", 7, 0.0, eta=0.5)
    with pytest.raises(VizdiffUsageError, match="found 12"):
        request(None, digit=12)


def test_default_names_keep_digits_and_languages_apart() -> None:
    names = {default_out("report", ".html", digit, lang) for digit in range(10) for lang in ("en", "zh")}
    assert len(names) == 20
    assert default_out("report", ".html", 5) == Path("reports/report.html")
    assert default_out("report", ".html", 3) == Path("reports/report_3.html")
    assert default_out("deck", "", 3, "zh") == Path("reports/deck_3_zh")
    assert default_out("deck", ".pptx", 5, "zh") == Path("reports/deck_zh.pptx")


def test_what_is_written_over_is_named_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(saving, "figure_bytes", lambda *_, **__: b"a picture")
    said = []
    for argv in ([], [], ["--digit", "3"], ["--digit", "3"], ["--lang", "zh"]):
        assert main(["forward", *argv]) == 0
        said.append([line for line in capsys.readouterr().err.splitlines() if line.startswith("Replaces")])
    assert [len(lines) for lines in said] == [0, 1, 0, 1, 0]
    assert "reports/forward/forward.png" in said[1][0]
    assert sorted(path.name for path in (tmp_path / "reports").iterdir()) == ["forward", "forward_3", "forward_zh"]


@pytest.mark.parametrize(
    "argv",
    [
        ["report", "--out", "there", "--lessons", "nonsense"],
        ["report", "--out", "there", "--device", "nonsense"],
        ["report", "--out", "there", "--run", "nowhere"],
        ["deck", "--out", "there.pptx", "--lessons", "nonsense"],
        ["export", "--figure", "snr", "--out", "there.png", "--device", "nonsense"],
        ["export", "--figure", "learning", "--out", "there.png", "--run", "nowhere"],
        ["sample", "--out", "there.png", "--run", "nowhere"],
        ["worksheet", "--out", ".", "--run", "nowhere"],
        ["deck", "--format", "folder", "--out", "there"],
        ["deck", "--format", "pdf", "--out", "folder.pdf"],
        ["report", "--out", "folder.pdf"],
    ],
)
def test_nothing_is_said_to_be_replaced_where_the_command_is_refused(
    argv: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.pdf").mkdir()
    for name in ("there", "there.pptx", "there.png", "worksheet.html"):
        (tmp_path / name).write_text("mine")
    assert main(argv) != 0
    said = capsys.readouterr().err
    assert "Replaces" not in said
    assert "Sampling" not in said


def test_what_is_in_the_place_of_the_file_or_folder_is_refused_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "deck.pptx").write_text("mine")
    (tmp_path / "folder.pdf").mkdir()
    for argv, path in ((["--format", "folder"], "deck.pptx"), (["--format", "pdf"], "folder.pdf")):
        assert main(["deck", *argv, "--out", path]) == 4
        (line,) = capsys.readouterr().err.splitlines()
        assert path in line
        assert "in the place of" in line
    assert (tmp_path / "deck.pptx").read_text() == "mine"
