"""The folder of a run that is named nowhere: process 0 chooses it for all, and no folder is taken twice."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from training_runs import small_config

from viz_diffusion.cli.training_start import _begin
from viz_diffusion.launch import Launch
from viz_diffusion.training.processes import Processes


class Recorded(Processes):
    """Process 1 of 2: it gets the numbers that process 0 sent."""

    def __init__(self, sent: list[int]) -> None:
        super().__init__(Launch(1, 2, 1))
        self.sent = sent

    def number_of_main(self, number: int) -> int:  # noqa: ARG002
        return self.sent.pop(0)


class Sending(Processes):
    """Process 0, which notes the numbers that it sends."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[int] = []

    def number_of_main(self, number: int) -> int:
        self.sent.append(number)
        return number


def test_runs_of_one_second_get_folders_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    times = iter(["20261129203001", "20261129213001"] * 3)
    monkeypatch.setattr(time, "strftime", lambda _: next(times))
    found = []
    for _ in range(3):
        main = Sending()
        begun = _begin(None, "mnist", small_config(3), main)
        assert (begun.path / "config.json").is_file()
        other = _begin(None, "mnist", small_config(3), Recorded(main.sent))
        assert other.path == begun.path, "a process in another time zone trains the same run"
        found.append(begun.path.name)
    assert found == [f"mnist-20261129-203001{mark}" for mark in ("", "-2", "-3")]
