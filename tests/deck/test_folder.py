"""A deck as a folder: file names, captions, facts, and files that must not be overwritten."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from deck_fakes import Made, figure_command
from PIL import Image

from viz_diffusion.deck.folder import check_folder, write_folder
from viz_diffusion.errors import VizdiffInputError, VizdiffIOError


@pytest.fixture(scope="module")
def folder(made: Made, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("folder") / "deck"
    write_folder(made.lessons[2:4], made.film, made.study.facts(), "A 5 from noise", figure_command, made.texts, path)
    return path


def test_pictures_are_numbered_in_order_and_large(folder: Path) -> None:
    names = sorted(path.name for path in folder.iterdir())
    numbered = ["01_steps.png", "01_steps.svg", "02_ledger.png", "02_ledger.svg"]
    assert names == [*numbered, "captions.md", "facts.json", "film.gif", "film.mp4"]
    with Image.open(folder / "01_steps.png") as picture:
        assert picture.size == (3200, 1800)
    assert "<svg" in (folder / "02_ledger.svg").read_text("utf-8")


def test_captions_hold_the_words(folder: Path, made: Made) -> None:
    text = (folder / "captions.md").read_text("utf-8").replace("\\", "")
    assert text.startswith("# A 5 from noise\n")
    for lesson in made.lessons[2:4]:
        for drawing in lesson.drawings:
            for words in (f"## {drawing.title}", drawing.caption, drawing.alt, lesson.say):
                assert words in text
            part = text.split(f"## {drawing.title}\n")[1].split("\n## ")[0]
            assert f"- Command: `{figure_command(drawing.name)}`\n" in part
            assert f"- Try this: `{lesson.try_this}`\n" in part


def test_facts_are_the_studys(folder: Path, made: Made) -> None:
    assert json.loads((folder / "facts.json").read_text("utf-8")) == json.loads(json.dumps(made.study.facts()))


def test_an_earlier_deck_is_replaced_and_nothing_else(folder: Path, made: Made, tmp_path: Path) -> None:
    check_folder(folder)
    check_folder(tmp_path / "new")
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.docx").write_text("years of work")
    with pytest.raises(VizdiffInputError, match=r"thesis\.docx"):
        write_folder((), made.film, {}, "t", figure_command, made.texts, mine)
    assert [path.name for path in mine.iterdir()] == ["thesis.docx"]


def test_a_file_in_its_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "deck").write_text("mine")
    with pytest.raises(VizdiffIOError, match="a file is in the place"):
        check_folder(tmp_path / "deck")


def test_a_failure_leaves_nothing(made: Made, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_folder((), made.film, {"x": float("nan")}, "t", figure_command, made.texts, tmp_path / "deck")
    assert not list(tmp_path.iterdir())
