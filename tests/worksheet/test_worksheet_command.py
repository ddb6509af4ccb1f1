"""The command ``vizdiff worksheet``."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from viz_diffusion.cli import main


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("recorded")
    short = ["--steps", "20", "--seed", "4", "--digit", "3", "--run", "bundled"]
    assert main(["trajectory", *short, "--out", str(out), "--quiet"]) == 0
    return out


def test_the_command_writes_both_files(recorded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["worksheet", "--run", "bundled", "--trajectory", str(recorded), "--out", str(tmp_path / "w"), "--json"]
    assert main(argv) == 0
    said = json.loads(capsys.readouterr().out)
    student, key = (Path(said[name]).read_text(encoding="utf-8") for name in ("worksheet", "key"))
    assert (said["digit"], said["seed"]) == (3, 4)
    assert said["code"] in student
    assert said["code"] in key
    assert "vizdiff worksheet --digit 3 --seed 4 --steps 20 --run bundled" in key
    assert "--seed" not in student
    assert str(tmp_path) not in student + key
    order = r"\s*".join(f"<span>{letter}</span>" for letter in said["answers"]["order"])
    assert re.search(order, key)
    assert not re.search(order, student)
    assert sorted("".join(said["answers"]["prompts"])) == list("ABCDEFGH")  # two samples of four prompts
    assert "“a thin upright seven”" in student


@pytest.mark.parametrize(
    ("argv", "code", "names"),
    [
        (["--steps", "19"], 2, "19"),
        (["--lang", "xx"], 2, "xx"),
        (["--digit", "11"], 2, "11"),
        (["--trajectory", "nowhere"], 3, "nowhere"),
    ],
)
def test_a_wrong_command_line_gets_one_line(
    argv: list[str], code: int, names: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["worksheet", *argv, "--out", str(tmp_path / "w")]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert names in err.strip().splitlines()[-1]
    assert not list(tmp_path.rglob("*.html"))
