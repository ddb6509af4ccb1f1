"""The command ``vizdiff deck``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from deck_fakes import ship_nothing
from pptx import Presentation
from pptx.enum.shapes import MSO_SHAPE_TYPE

from viz_diffusion.cli import main, picture_options
from viz_diffusion.cli.commands import deck
from viz_diffusion.deck.pictures import FILM_SIZE
from viz_diffusion.lessons.base import all_lessons
from viz_diffusion.plots.film import FILM_SIZES
from viz_diffusion.study import lesson_plan

END = ["summary", "references", "made_with"]


@pytest.fixture
def two_lessons(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure and draw only two lessons, and nothing that ships: the others are tested without the command."""
    ship_nothing(monkeypatch)
    lessons = tuple(lesson for lesson in all_lessons() if lesson.name in ("guess", "step"))
    monkeypatch.setattr(lesson_plan, "all_lessons", lambda: lessons)


@pytest.mark.usefixtures("two_lessons")
@pytest.mark.parametrize(("format", "what"), [("pptx", "slides"), ("pdf", "pages"), ("folder", "files")])
def test_the_command_writes_and_says_every_number(
    format: str, what: str, short_recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "sub" / ("deck" if format == "folder" else f"deck.{format}")
    argv = ["deck", "--trajectory", str(short_recording), "--run", "bundled", "--out", str(out), "--format", format]
    assert main([*argv, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["out"] == str(out)
    assert said["digit"] == said["recording"]["digit"] == 5
    assert set(said["lessons"]) == {"guess", "step"}
    assert said["film"] == ([] if format == "pdf" else ["gif", "mp4"])
    assert said[what] == {"pptx": 9, "pdf": 3, "folder": 8}[format]
    assert said["minutes"] == 45
    assert said["shown"] == ["cover", *(["film"] if format != "pdf" else []), "strip", "ledger", *END]
    assert said["left_out"] == []
    if format == "pptx":
        deck = Presentation(str(out))
        assert len(deck.slides) == said["slides"]
        notes = [slide.notes_slide.notes_text_frame.text for slide in deck.slides]
        titles = [slide.shapes.title.text for slide in deck.slides]
        assert any(f"{said['lessons']['guess']['first_change']:.2f} off" in title for title in titles)
        assert said["weights_sha256"] in notes[-1]
        assert str(tmp_path) not in "".join(notes)
    assert {path.name for path in out.parent.iterdir()} == {out.name}


@pytest.mark.usefixtures("two_lessons")
def test_minutes_and_names_choose_slides_and_the_last_slide_says_so(
    short_recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["deck", "--trajectory", str(short_recording), "--run", "bundled", "--out", str(tmp_path / "d.pptx")]
    assert main([*argv, "--minutes", "20", "--slides=-ledger", "--size", "360p", "--json"]) == 0
    captured = capsys.readouterr()
    said = json.loads(captured.out)
    assert said["shown"] == ["cover", "film", "strip", *END]
    assert said["left_out"] == ["ledger"]
    assert "ledger (add one: --slides=+NAME" in captured.err
    *others, last = Presentation(str(tmp_path / "d.pptx")).slides
    command = next(shape.text_frame.text for shape in last.shapes if shape.name == "text")
    assert command.startswith("vizdiff deck --minutes 20 --slides=-ledger --size 360p --digit 5")
    picture = next(shape for shape in others[1].shapes if shape.shape_type == MSO_SHAPE_TYPE.PICTURE)
    assert picture.image.size == (640, 360)


@pytest.mark.parametrize(
    ("argv", "code", "names"),
    [
        (["--minutes", "30"], 2, "--minutes must be one of 20, 45, 90"),
        (["--slides", "strip,strop"], 2, "choose from cover, film, snr"),
        (["--size", "2160p"], 2, "360p, 480p, 720p, 1080p"),
        (["--format", "odp"], 2, "odp"),
        (["--format", "pdf", "--out", "deck.pptx"], 2, ".pdf"),
        (["--format", "pdf", "--template", "house.pptx"], 2, "--template"),
        (["--template", "text.pptx"], 3, "text.pptx"),
        (["--template", "nowhere.pptx"], 3, "nowhere.pptx is missing"),
        (["--format", "folder", "--out", "."], 3, "text.pptx"),
        (["--lang", "xx"], 2, "xx"),
        (["--digit", "12"], 2, "12"),
        (["--trajectory", "nowhere"], 3, "nowhere"),
    ],
)
def test_bad_input_gets_one_line(
    argv: list[str],
    code: int,
    names: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.pptx").write_text("not a zip")
    assert main(["deck", *argv, "--quiet"]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert names in err
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == ["text.pptx"]


def test_the_sizes_that_the_command_offers_are_those_of_films() -> None:
    assert tuple(FILM_SIZES) == picture_options.SIZES
    assert deck._DEFAULT_SIZE == FILM_SIZE
