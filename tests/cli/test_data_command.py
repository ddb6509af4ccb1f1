"""``vizdiff data``: what it understood of a folder, and what it suspects."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from idx_files import write_idx
from own_data import refused, run_json
from PIL import Image
from shape_folder import KINDS, write_shapes

from viz_diffusion.cli import main
from viz_diffusion.data import load_data_set


def test_data_says_what_was_understood(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shapes = write_shapes(tmp_path / "shapes", each=12)
    facts = run_json(capsys, "data", str(shapes), "--out", str(tmp_path / "sheet.png"))
    assert facts["classes"] == list(KINDS)
    assert all(facts["training"][name] + facts["held_out"][name] == 12 for name in KINDS)
    assert (facts["channels"], facts["image_size"], facts["suspicions"]) == (3, 32, {})
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width > 1000
    assert main(["data", str(shapes)]) == 0
    out, err = capsys.readouterr()
    assert re.search(r"circle +\d+ +\d+", out)
    assert "4 classes (circle, cross, square, triangle), 32 x 32, RGB" in err
    assert "no such folder" in refused(capsys, ["data", str(tmp_path / "nowhere")], 3)


def test_transposed_and_inverted_digits_are_suspected_and_mended(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], test_digits: object
) -> None:
    images = ((test_digits.images[:400, 0] + 1) * 127.5).round().to(torch.uint8).numpy()
    labels = test_digits.labels[:400].tolist()
    good = write_idx(tmp_path / "good", labels, images=images)
    assert set(run_json(capsys, "data", str(good))["suspicions"]) == {"repeated"}  # the same images in both parts
    turned = write_idx(tmp_path / "turned", labels, images=255 - images.swapaxes(1, 2).copy())
    found = run_json(capsys, "data", str(turned))["suspicions"]
    assert "white background" in found["inverted"]
    mended = tmp_path / "mended"
    assert main(["data", str(turned), "--save", str(mended), "--transpose", "--invert", "--quiet"]) == 0
    data = load_data_set(mended)
    assert data.class_names == tuple(map(str, range(10)))
    assert data.train.images.shape == (400, 1, 28, 28)
    again = run_json(capsys, "data", str(mended))["suspicions"]
    assert "transposed" not in again
    assert "inverted" not in again
    assert "is there already" in refused(capsys, ["data", str(turned), "--save", str(mended)], 3)
    upright = write_idx(tmp_path / "upright", labels, images=images.swapaxes(1, 2).copy())
    assert "transposed" in run_json(capsys, "data", str(upright))["suspicions"]
