"""``vizdiff report`` and the live lab beside it: written with --live, found where it lies there already."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from refusals import refused

from viz_diffusion.cli import main
from viz_diffusion.cli.console import Terminal
from viz_diffusion.cli.live_lab import lab_beside, lab_of_worksheet
from viz_diffusion.live.page import page_facts
from viz_diffusion.recording.trajectory import Trajectory
from viz_diffusion.report import lab_link
from viz_diffusion.training.run import Run

WEIGHTS = Run.bundled().load_model()[1]


def test_live_writes_the_lab_beside_the_page(
    short_recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "page.html"
    argv = ["report", "--trajectory", str(short_recording), "--run", "bundled", "--lessons", "noising", "--lang", "zh"]
    assert main([*argv, "--out", str(out), "--live", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["live"] == "page_live.html"
    facts = page_facts(tmp_path / "page_live.html")
    assert facts is not None
    assert facts.weights_sha256 == WEIGHTS
    page = out.read_text("utf-8")
    assert '"lab": "page_live.html"' in page
    assert '"lab": "seed=0\\u0026steps=12\\u0026label=5\\u0026guidance=1.5\\u0026method=ddim"' in page
    assert "--live" in page
    assert lab_beside(tmp_path, WEIGHTS, facts.language) == "page_live.html"


def test_the_lab_beside_fits_weights_first_and_language_second(tmp_path: Path) -> None:
    def write(name: str, language: str, weights: str) -> None:
        text = f'<html lang="{language}"><script id="live-data">{{"a": 1, "weights_sha256": "{weights}"}}</script>'
        (tmp_path / name).write_text(text, "utf-8")

    assert lab_beside(tmp_path, WEIGHTS, "en") == ""
    write("live_0.html", "en", "0" * 64)
    (tmp_path / "live_1.html").write_bytes(b"\xff no page")
    (tmp_path / "live_2.html").mkdir()
    assert lab_beside(tmp_path, WEIGHTS, "en") == ""
    write("a_live.html", "zh-Hans", WEIGHTS)
    assert lab_beside(tmp_path, WEIGHTS, "en") == "a_live.html"
    write("live.html", "en", WEIGHTS)
    assert lab_beside(tmp_path, WEIGHTS, "en") == "live.html"
    assert lab_beside(tmp_path, WEIGHTS, "zh-Hans") == "a_live.html"


def test_a_worksheet_links_to_the_lab_beside_or_above_it(tmp_path: Path) -> None:
    folder, terminal = tmp_path / "worksheet", Terminal(False, True, "en")
    folder.mkdir()
    assert lab_of_worksheet(Run.control("flow"), folder, terminal) is None
    assert lab_of_worksheet(Run.bundled(), folder, terminal) == ""
    page = f'<html lang="en"><script id="live-data">{{"weights_sha256": "{WEIGHTS}"}}</script>'
    (tmp_path / "live.html").write_text(page, "utf-8")
    assert lab_of_worksheet(Run.bundled(), folder, terminal) == "../live.html"
    (folder / "live_b.html").write_text(page, "utf-8")
    assert lab_of_worksheet(Run.bundled(), folder, terminal) == "live_b.html"


def test_a_recording_of_another_program_has_no_lab(
    short_recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    foreign = dataclasses.replace(Trajectory.open(short_recording / "trajectory.zarr"), weights_sha256="")
    foreign.save(tmp_path / "foreign.zarr")
    argv = ["report", "--trajectory", str(tmp_path / "foreign.zarr"), "--live", "--out", str(tmp_path / "r.html")]
    assert "--live needs the network" in refused(capsys, 2, *argv)
    assert list(tmp_path.glob("*.html")) == []


@pytest.mark.parametrize(
    "change",
    [
        {"interventions": "freeze-timestep"},
        {"clip": False},
        {"sampler": "heun"},
        {"guidance_scale": 9.0},
        {"guidance_scale": float("nan")},
        {"seeds": np.array([-1])},
        {"labels": np.array([-1])},
        {"timesteps": np.arange(12)[::-1]},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_the_lab_cannot_make_has_no_address(short_recording: Path, change: dict[str, Any]) -> None:
    trajectory = Trajectory.open(short_recording / "trajectory.zarr")
    assert lab_link.recorded_run(trajectory, "epsilon") == "seed=0&steps=12&label=5&guidance=1.5&method=ddim"
    assert lab_link.recorded_run(trajectory, "flow") == ""
    assert lab_link.recorded_run(dataclasses.replace(trajectory, **change), "epsilon") == ""
