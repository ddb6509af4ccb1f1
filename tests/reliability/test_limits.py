"""Sizes that no machine holds, names that are too long and numbers that are not finite, on the command line."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from viz_diffusion.cli import main
from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.files import boundary, require_memory


def test_what_takes_more_memory_than_there_is_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boundary, "memory_bytes", lambda: 2**34)
    require_memory(2**34, "it")
    with pytest.raises(VizdiffUsageError, match="it takes at least 32 GiB of memory, and this machine has 16 GiB"):
        require_memory(2**35, "it")
    monkeypatch.setattr(boundary, "memory_bytes", lambda: None)
    require_memory(2**60, "it")


def test_a_batch_that_no_machine_can_hold_is_refused_by_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert main(["train", "--batch-size", "100000000", "--steps", "1", "--device", "cpu", "--out", str(out)]) == 2
    assert "a training step with a --batch-size of 100,000,000 takes at least 5,841 GiB" in capsys.readouterr().err
    assert not out.exists()


def test_a_name_that_is_too_long_is_the_users_and_no_bug(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["trajectory", "--run", str(tmp_path / ("a" * 300))])
    said = capsys.readouterr().err
    assert code == 4
    assert os.strerror(errno.ENAMETOOLONG) in said
    assert "a bug" not in said


def test_samples_that_are_not_finite_are_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from viz_diffusion.diffusion import sampling

    def broken(*given: Any, **named: Any) -> Any:
        for batch in real(*given, **named):
            batch[0, 0, 0, 0] = torch.nan
            yield batch

    real = sampling.sample_images
    monkeypatch.setattr(sampling, "sample_images", broken)
    out = tmp_path / "x.npz"
    assert main(["sample", "--sampler", "ddim", "--steps", "2", "--count", "4", "--out", str(out)]) == 6
    assert "1 of 4 samples hold NaN or infinity" in capsys.readouterr().err
    assert not out.exists()
