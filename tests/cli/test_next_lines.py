"""The line "Next": a command that goes on with the run that was used."""

from __future__ import annotations

import shlex
from pathlib import Path
from types import SimpleNamespace

import pytest

from viz_diffusion.cli import main
from viz_diffusion.cli.commands.report import _next_command


def next_words(err: str) -> list[str]:
    (line,) = [line for line in err.splitlines() if line.startswith("Next ")]
    return shlex.split(line)[1:]


def test_a_recording_of_an_own_run_is_reported_with_that_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train", "--steps", "2", "--batch-size", "2", "--device", "cpu", "--out", "runs/a b"]) == 0
    words = next_words(capsys.readouterr().err)
    assert words == ["vizdiff", "trajectory", "--digit", "5", "--run", "runs/a b"]
    assert main([*words[1:], "--sampler", "ddim", "--steps", "2", "--frames", "2,1", "--out", "t"]) == 0
    words = next_words(capsys.readouterr().err)
    assert words == ["vizdiff", "report", "--trajectory", "t", "--run", "runs/a b", "--open"]


@pytest.mark.parametrize(
    ("bundled", "finished", "wanted"),
    [
        (True, True, ""),
        (False, True, "vizdiff evaluate --run runs/x"),
        (False, False, "vizdiff train --resume runs/x"),
    ],
)
def test_a_report_goes_on_with_its_run(bundled: bool, finished: bool, wanted: str) -> None:
    name = "bundled" if bundled else "runs/x"
    run = SimpleNamespace(is_bundled=bundled, is_finished=finished, path=Path("runs/x"), name_or_path=name)
    assert _next_command(SimpleNamespace(run=run)) == wanted
