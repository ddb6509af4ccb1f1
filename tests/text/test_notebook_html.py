"""Notebook HTML of recordings and runs."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.plots.pixels import to_gray8
from viz_diffusion.recording.trajectory import Trajectory
from viz_diffusion.text.notebook_html import facts, picture, strip, whole
from viz_diffusion.training.run import Run

VOID = {"img", "br"}


class Reader(HTMLParser):
    """Collects images with their alternative texts, tags and words; fails where tags do not match."""

    def __init__(self) -> None:
        super().__init__()
        self.pictures: list[tuple[str, np.ndarray]] = []
        self.words: list[str] = []
        self.tags: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        values = dict(attrs)
        if tag == "img":
            source = values["src"] or ""
            assert source.startswith("data:image/png;base64,")
            image = Image.open(BytesIO(base64.b64decode(source.partition(",")[2], validate=True)))
            assert "pixelated" in (values["style"] or "")
            self.pictures.append((values["alt"] or "", np.asarray(image)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def read(html: str) -> Reader:
    reader = Reader()
    reader.feed(html)
    reader.close()
    assert reader.open == []
    return reader


def recording(steps: int = 20, images: int = 2, channels: int = 1, **changes: object) -> Trajectory:
    rng = np.random.default_rng(0)
    shape = (images, steps, channels, 28, 28)
    fields = {
        "schedule": NoiseSchedule.named("linear"),
        "timesteps": np.round(np.linspace(999, 0, steps)).astype(np.int64) if steps else np.zeros(0, np.int64),
        **{name: rng.uniform(-2, 2, shape).astype(np.float32) for name in ("x_t", "eps_pred", "x0_pred")},
        "x0": rng.uniform(-2, 2, shape[:1] + shape[2:]).astype(np.float32),
        "labels": np.arange(images) + 3,
        "seeds": np.full(images, -1),
        "sampler": "ddim",
        "weights_sha256": "cd" * 32,
    }
    return Trajectory(**{**fields, **changes})


def test_a_recording_shows_its_own_frames() -> None:
    trajectory = recording()
    reader = read(trajectory._repr_html_())
    left = [20, 13, 10, 7, 4, 2]
    expected = [(f"x_t with {n} step{'s' * (n > 1)} left", trajectory.x_t[0, 20 - n, 0]) for n in left]
    expected.append(("the finished image", trajectory.x0[0, 0]))
    expected += [(f"predicted x0 with {n} step{'s' * (n > 1)} left", trajectory.x0_pred[0, 20 - n, 0]) for n in left]
    assert [alt for alt, _ in reader.pictures] == [alt for alt, _ in expected]
    for (_, pixels), (_, frame) in zip(reader.pictures, expected, strict=True):
        assert np.array_equal(pixels, to_gray8(frame))
    words = " ".join(reader.words)
    assert "digit 3" in words
    assert "DDIM" in words
    assert "cd" * 32 in words
    assert "3, 4" in words
    assert reader.tags.count("details") == 1
    assert not np.array_equal(reader.pictures[0][1], to_gray8(trajectory.x_t[0, 1, 0]))  # a control: the next frame


def test_unknown_values_are_named_and_missing_images_are_empty() -> None:
    unfinished = recording(
        x0=np.full((2, 1, 28, 28), np.nan, np.float32),
        guidance_scale=float("nan"),
        weights_sha256="",
        sampler="",
        labels=np.array([-1, -1]),
    )
    html = unfinished._repr_html_()
    reader = read(html)
    assert len(reader.pictures) == 12
    assert 'role="img" aria-label="the finished image"' in html
    assert " ".join(reader.words).count("not known") >= 4
    assert "nan" not in " ".join(reader.words).lower()


@pytest.mark.parametrize(("steps", "images", "channels"), [(0, 1, 1), (1, 1, 1), (3, 0, 1), (5, 1, 3), (5, 1, 4)])
def test_recordings_of_every_shape_have_html(steps: int, images: int, channels: int) -> None:
    trajectory = recording(steps, images, channels)
    reader = read(trajectory._repr_html_())
    assert len(reader.pictures) == 0 if not images else len(reader.pictures) >= 1
    if channels == 3:
        assert np.array_equal(reader.pictures[0][1], to_gray8(trajectory.x_t[0, 0]).transpose(1, 2, 0))
    if channels == 4:
        assert np.array_equal(reader.pictures[0][1], to_gray8(trajectory.x_t[0, 0, 0]))


def test_everything_is_escaped() -> None:
    bad = '<script>alert("1")</script>&'
    image = np.zeros((1, 2, 2), np.float32)
    html = whole(bad, bad, strip(bad, [(bad, picture(image, bad))]), facts(bad, [(bad, bad)]))
    html += picture(np.full_like(image, np.nan), bad)
    reader = read(html)
    assert "script" not in reader.tags
    assert reader.pictures[0][0] == bad
    assert "".join(reader.words).count(bad) == 7
    trajectory = recording(sampler=bad, variance=bad, weights_sha256=bad)
    assert "script" not in read(trajectory._repr_html_()).tags


def test_pictures_are_enlarged_by_whole_factors() -> None:
    for side, width in ((28, 84), (32, 96), (200, 200), (1, 96)):
        assert f"width:{width}px" in picture(np.zeros((1, side, side), np.float32), "")


def test_the_html_of_the_bundled_run_gives_its_settings_and_losses() -> None:
    run = Run.bundled()
    text = " ".join(read(run._repr_html_()).words)
    entries = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    heldout = [entry["heldout_loss"] for entry in entries if "heldout_loss" in entry][-1]
    assert "Run bundled" in text
    assert "finished" in text
    assert f"{run.config.training.steps:,} steps" in text
    assert ", ".join(f"{v:.4f}" for v in heldout) in text
    assert run.load_model()[1] in text
    assert str(run.path.parent) not in text


def test_the_html_of_an_unfinished_run_gives_its_steps(tmp_path: Path) -> None:
    bundled = Run.bundled()
    run = Run.create(tmp_path / "<i>odd</i>", bundled.config)
    steps = f"{bundled.config.training.steps:,}"
    assert f"0 of {steps}" in "".join(read(run._repr_html_()).words)
    lines = ['{"step": 7, "loss": 0.5}', '{"step": 1200, "loss": 0.25}', '{"step": 13']
    (run.path / "metrics.jsonl").write_text("\n".join(lines))
    html = run._repr_html_()
    text = " ".join(read(html).words)
    assert f"unfinished, 1,200 of {steps} steps" in text
    assert "0.2500" in text
    assert "none yet" in text
    assert "<i>" not in html
    checkpoint = run.path / "training" / "step-00001000"
    checkpoint.mkdir(parents=True)
    (checkpoint / "manifest.json").write_text('{"sha256": {"ema.safetensors": "abc123"}}')
    assert "abc123" in run._repr_html_()
    (checkpoint / "manifest.json").write_text("[]")
    (run.path / "metrics.jsonl").write_text('{"step": 3, "loss": "low"}')
    assert "not known" in run._repr_html_()


def test_importing_the_module_imports_no_heavy_package() -> None:
    code = (
        "import sys, viz_diffusion.text.notebook_html; print([m for m in ('PIL', 'torch', 'zarr') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
