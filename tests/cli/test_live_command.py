"""vizdiff live: the page of the bundled weights, of the flow-matching ones, of a run; what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from refusals import refused

from viz_diffusion.cli import main
from viz_diffusion.training.run import Run


@pytest.mark.parametrize(
    ("run", "weights"), [("bundled", Run.bundled()), ("bundled-flow", Run.control("flow"))], ids=["bundled", "flow"]
)
def test_it_writes_one_file(run: str, weights: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "deep" / "live.html"
    assert main(["live", "--run", run, "--out", str(out), "--lang", "zh", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["run"] == run
    assert result["bytes"] == out.stat().st_size < 4_100_000
    assert result["objective"] == weights.config.training.objective
    assert [path.name for path in out.parent.iterdir()] == ["live.html"]
    page = out.read_text("utf-8")
    assert '<html lang="zh' in page
    assert result["weights_sha256"] in page


def test_an_unknown_run_is_refused_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "live.html"
    assert "there is no run at" in refused(capsys, 3, "live", "--run", str(tmp_path / "no"), "--out", str(out))
    assert not out.exists()
