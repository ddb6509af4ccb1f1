"""Where downloads go, and that nothing else needs that place or a home folder."""

from __future__ import annotations

import json
import os
import pwd
from pathlib import Path

import pytest

from viz_diffusion import data, files
from viz_diffusion.cli import main


@pytest.fixture
def no_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user id without a passwd entry, and no HOME: a container started with another user."""

    def nobody(_: int) -> None:
        raise KeyError("getpwuid(): uid not found: 12345")

    for name in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", nobody)


@pytest.mark.parametrize("value", ["", "relative/cache", ".", "~/cache"])
def test_a_cache_is_never_a_relative_path(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.setenv("XDG_CACHE_HOME", value)
    assert files.cache_dir() == Path("/home/somebody/.cache/viz_diffusion")
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    assert data.cache_dir() == Path("/caches/viz_diffusion")


@pytest.mark.parametrize("home", ["", "relative"])
def test_a_home_that_is_no_folder_is_no_home(home: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", home)
    assert files.cache_dir().is_absolute()


@pytest.mark.usefixtures("no_home")
def test_without_a_home_it_lies_with_the_temporary_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert files.cache_dir() == tmp_path / f"viz_diffusion-{os.getuid()}"


@pytest.mark.usefixtures("no_home")
def test_commands_need_no_home(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "--quiet", "--json"]) == 0
    assert Path(json.loads(capsys.readouterr().out)["cache"]).is_absolute()
    quick = ["--sampler", "ddim", "--steps", "2", "--quiet"]
    assert main(["trajectory", "--digit", "3", *quick, "--out", str(tmp_path / "t")]) == 0
    assert main(["train", "--steps", "1", "--batch-size", "2", "--quiet", "--out", str(tmp_path / "run")]) == 0


def test_a_home_that_cannot_be_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "home").touch()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert main(["info", "--quiet"]) == 0
    assert main(["train", "--dataset", "kmnist", "--steps", "1", "--out", str(tmp_path / "run"), "--quiet"]) == 4
    line = capsys.readouterr().err.strip()
    assert line.count("\n") == 0
    assert str(tmp_path / "home" / ".cache") in line
    assert "--data-dir" in line
