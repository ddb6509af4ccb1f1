"""What commands print in the terminal comes from the catalogue, in each language."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from chinese_text import english_words
from PIL import Image
from refusals import refused

from viz_diffusion.cli import main
from viz_diffusion.cli.commands import sample
from viz_diffusion.cli.console import LABEL_WIDTH, Terminal, columns, padded, table
from viz_diffusion.errors import VizdiffInputError
from viz_diffusion.text.catalogue import languages, load_texts

CLI = Path(__file__).parents[2] / "viz_diffusion" / "cli"
CHINESE = re.compile("[\u4e00-\u9fff]")


def calls(*names: str) -> Iterator[ast.Call]:
    """Yield the calls of a terminal's methods in the command line's source."""
    for file in CLI.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in names:
                yield node


def literals(nodes: Iterator[ast.Call], place: int) -> set[str]:
    arguments = [node.args[place] for node in nodes if len(node.args) > place]
    return {one.value for one in arguments if isinstance(one, ast.Constant) and isinstance(one.value, str)}


def test_every_label_and_text_that_is_used_is_in_the_catalogue() -> None:
    terminal = Terminal(False, True, "zh")
    labels = literals(calls("say", "tell", "progress"), 0) - {""}
    assert len(labels) > 20
    assert {label for label in labels if not CHINESE.search(terminal.label(label))} == set()
    keys = literals(calls("tell"), 1)
    assert len(keys) > 20
    assert {key for key in keys if f"terminal.{key}" not in terminal.texts} == set()


def test_no_message_is_written_out_in_the_source() -> None:
    """Second arguments of say() are commands, names, or texts of the library."""
    written = {text for text in literals(calls("say"), 1) if text != "PyTorch"}
    assert written == set()


@pytest.mark.parametrize("lang", languages())
def test_labels_fit_their_column(lang: str) -> None:
    labels = load_texts(lang).section("terminal.label")
    assert {key: label for key, label in labels.items() if columns(label) > LABEL_WIDTH} == {}


def test_chinese_text_is_padded_by_columns() -> None:
    assert padded("权重", 9) == "权重     "
    assert table(("类别", "n"), [("a", "1")]) == ["类别  n", "a     1"]


COMMANDS = (
    "forward --out f",
    "trajectory --sampler ddim --steps 2 --frames 2,1 --out t",
    "intervene --sampler ddim --steps 2 --switch 8@500 --frames 2,1 --out i",
    "sample --count 2 --sampler ddim --steps 1 --out s.png",
    "export --figure snr --sampler ddim --steps 2 --out e.png",
    "train --steps 2 --batch-size 2 --device cpu --out r",
    "lessons",
)


@pytest.mark.parametrize(("line", "by"), [*((line, "option") for line in COMMANDS), ("forward", "variable")])
def test_a_command_speaks_chinese(
    line: str, by: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    if by == "variable":
        monkeypatch.setenv("VIZDIFF_LANG", "zh")
    assert main([*line.split(), *(["--lang", "zh"] if by == "option" else [])]) == 0
    out, err = capsys.readouterr()
    english = [
        one
        for one in (out + err).splitlines()
        if not CHINESE.search(one) and not one.startswith(("  vizdiff", "vizdiff"))
    ]
    assert english == []


def test_notes_on_data_are_chinese(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each of these lines is said by the library, in English."""
    for name in ("a/1.png", "a/2.png", "b/3.png", "loose.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("L", (20, 24), len(name) * int(name[-5], 36)).save(tmp_path / name)
    Image.new("RGB", (20, 20), (9, 90, 200)).save(tmp_path / "b" / "4.png")
    (tmp_path / "empty").mkdir()
    (tmp_path / "read.me").write_text("no image")
    said = {}
    for lang in languages():
        assert main(["data", str(tmp_path), "--lang", lang]) == 0
        said[lang] = [line.strip() for line in capsys.readouterr().err.splitlines()[2:]]
    assert len(said["zh"]) == len(said["en"]) >= 6
    assert [line for line in said["zh"] if not CHINESE.search(line) or english_words(line)] == []
    assert [line for line in said["en"] if CHINESE.search(line) or not english_words(line)] == []


def test_control_english_lines_are_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["forward", "--out", str(tmp_path)]) == 0
    assert [line for line in capsys.readouterr().err.splitlines() if CHINESE.search(line)] == []


@pytest.mark.parametrize("argv", [["--lang", "zh"], ["--lang=zh"]])
def test_the_frame_of_an_error_is_chinese(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    line = refused(capsys, 2, "report", "--digit", "five", *argv)
    assert line.startswith("vizdiff 出错：")
    assert line.endswith("；参见 vizdiff report --help")
    line = refused(capsys, 2, "report", "--digit", "12", *argv)
    assert line == "vizdiff 出错：--digit 必须在 0 到 9 之间，给出的是 12；参见 vizdiff report --help"


def test_without_a_command_the_variable_chooses(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VIZDIFF_LANG", "zh")
    assert main([]) == 0
    assert "展示扩散模型" in capsys.readouterr().out
    monkeypatch.setenv("VIZDIFF_LANG", "xx")
    assert main([]) == 0
    assert "shows how" in capsys.readouterr().out
    assert "en, zh" in refused(capsys, 2, "forward")


@pytest.mark.parametrize(
    ("lang", "reason"), [("en", "--data-dir x: there is no such folder"), ("zh", "--data-dir x：没有这个文件夹")]
)
def test_why_samples_are_not_classified_is_said_in_the_language_with_the_option(
    lang: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class MovedData:
        dataset = "x"

        def load_digits(self, _: str) -> None:
            raise VizdiffInputError("`data_dir` x: there is no such folder")

    monkeypatch.setattr("viz_diffusion.evaluation.classifier.CLASSIFIERS_DIR", tmp_path)
    config: Any = MovedData()
    assert sample._judge(config, Terminal(False, False, lang)) is None
    assert reason in "".join(capsys.readouterr())
