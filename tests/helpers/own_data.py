"""Commands on data of one's own, as tests run them."""

from __future__ import annotations

import html
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from refusals import refused as refused_with

from viz_diffusion.cli import main
from viz_diffusion.cli.commands import train as train_command
from viz_diffusion.training.presets import find_preset

FEW = ["--steps", "20", "--quiet"]


def run_json(capsys: pytest.CaptureFixture[str], *argv: str) -> dict:
    capsys.readouterr()
    code = main([*argv, "--json"])
    out, err = capsys.readouterr()
    assert code == 0, err
    return json.loads(out)


def refused(capsys: pytest.CaptureFixture[str], argv: list[str], code: int) -> str:
    return refused_with(capsys, code, *argv)


def train(data_dir: Path, out: Path, *options: str) -> Path:
    """Train a network of few channels for three steps, by the command itself."""
    tiny = replace(find_preset("small"), channels=(8, 8))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train_command, "find_preset", lambda _: tiny)
        arguments = ["train", "--data-dir", str(data_dir), "--out", str(out)]
        assert main([*arguments, "--steps", "3", "--batch-size", "4", *options, "--quiet"]) == 0
    return out


def text_of(page: Path) -> str:
    """Return what a reader sees of a page: its text and its alternative texts, without scripts and styles."""
    source = re.sub(r"<(script|style)\b.*?</\1>", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    alternatives = re.findall(r'(?:alt|aria-label)="([^"]*)"', source)
    return html.unescape(" ".join([re.sub(r"<[^>]+>", " ", source), *alternatives]))
