"""``vizdiff export --figure learning``: the samples that a run kept while it was trained."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageSequence

from viz_diffusion.cli import main
from viz_diffusion.cli.export_pictures import FILM_SCALE
from viz_diffusion.plots.film_captions import strip_height
from viz_diffusion.training.run import Run

SIDE = 28 * FILM_SCALE
HEIGHT = SIDE + strip_height(SIDE)


def learned(tmp_path: Path, capsys: pytest.CaptureFixture[str], *argv: str, name: str) -> tuple[Path, dict]:
    path = tmp_path / name
    code = main(["export", "--figure", "learning", "--run", "bundled", "--out", str(path), *argv, "--json"])
    out, err = capsys.readouterr()
    assert code == 0, err
    return path, json.loads(out)


def test_learning_is_a_strip_of_what_the_run_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, said = learned(tmp_path, capsys, "--dpi", "60", name="strip.png")
    kept = Run.bundled().load_samples()[0].tolist()
    assert len(said["looked_at"]) == said["looks"] == min(13, len(kept))
    assert set(said["looked_at"]) <= set(kept)
    assert (said["looked_at"][0], said["looked_at"][-1]) == (kept[0], kept[-1])
    assert said["steps"] == Run.bundled().config.training.steps
    assert str(said["looks"]) in said["alt"]
    with Image.open(path) as image:
        assert image.size == (800, 450)
        assert image.text["Description"] == said["caption"]


def test_learning_is_a_film_that_names_its_steps(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, said = learned(tmp_path, capsys, name="film.gif")
    _, images = Run.bundled().load_samples()
    with Image.open(path) as film_file:
        shown = [(np.asarray(f.convert("L")), f.info["duration"]) for f in ImageSequence.Iterator(film_file)]
    assert len(shown) == said["frames"] == len(images)
    assert [duration for _, duration in shown] == [500] * (len(images) - 1) + [2000]
    first, last = shown[0][0], shown[-1][0]
    assert first.shape == (said["height"], said["width"]) == (900, 1600)
    assert (first[:130] != last[:130]).any()  # the number of steps
    five = images[-1][5].numpy()  # the first of the second row: found by its own pixels
    inside = last[530:870, 50:350]
    assert np.isin(np.unique(five), np.unique(inside)).mean() > 0.9


@pytest.mark.parametrize(
    "argv",
    [
        ["--refresh"],
        ["--full"],
        ["--digit", "5"],
        ["--seed", "0"],
        ["--trajectory", "x"],
        ["--frames", "3"],
        ["--steps", "9"],
    ],
)
def test_learning_refuses_what_it_cannot_heed(
    argv: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["export", "--figure", "learning", *argv]) == 2
    assert f"{argv[0]} does not go with" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_run_without_looks_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Run.create(tmp_path / "young", Run.bundled().config)
    argv = ["--run", str(tmp_path / "young"), "--out", str(tmp_path / "a.png")]
    assert main(["export", "--figure", "learning", *argv]) == 3
    assert "keeps no looks yet" in capsys.readouterr().err
