"""Draw the pictures of README and of the gallery in ``docs/`` with the bundled weights.

    python scripts/draw_docs_pictures.py       # about five minutes; needs playwright and a Chromium

``images/`` gets the moving picture of a generation, the first screen of the report, a slide and a worksheet, and the
thumbnails of README; ``docs/gallery/`` the figures that do not ship with the weights.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from html import escape
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from playwright.sync_api import Browser, sync_playwright
from pptx import Presentation
from pptx.enum.shapes import MSO_SHAPE_TYPE

from viz_diffusion.recording.trajectory import Trajectory

ROOT = Path(__file__).parents[1]
IMAGES, GALLERY = ROOT / "images", ROOT / "docs" / "gallery"
sys.path.insert(0, str(ROOT / "docs" / "extensions"))
from package_text import gallery_figures, is_shipped  # noqa: E402

EMU_PER_PIXEL = 9525
LARGEST = 150_000
"""Bytes of a picture in README."""
FRAME_MS, HOLD_MS, LAB_MS = 80, 2500, 500
"""Milliseconds of a frame of the moving picture, and of the last one."""


def main() -> None:
    """Draw everything anew."""
    for folder in (IMAGES, GALLERY):
        folder.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        record(work)
        moving_picture(Trajectory.open(work / "recording" / "trajectory.zarr"))
        screenshots(work)
        lab_film(work)
        for figure in gallery_figures():
            if not is_shipped(figure):
                save(Image.open(work / f"{figure.name}.png"), GALLERY / f"{figure.name}.webp", 1280)


def record(work: Path) -> None:
    """Make every product from one recording, and the figures of single commands, in ``work``."""
    recording = work / "recording"
    vizdiff("trajectory", "--digit", "5", "--out", recording)
    shared = ("--trajectory", recording)
    vizdiff("report", *shared, "--lessons", "core", "--figures", work, "--out", work / "report.html")
    vizdiff("deck", *shared, "--out", work / "deck.pptx")
    vizdiff("worksheet", *shared, "--out", work)
    vizdiff("export", "--figure", "learning", "--out", work / "learning.png")
    vizdiff("intervene", "--digit", "3", "--switch", "8@500", "--out", work / "switched")
    vizdiff("trajectory", "--digit", "3", "--activations", "up.*", "--out", work / "inside")
    shutil.copy(work / "switched" / "compare.png", work)
    shutil.copy(work / "inside" / "activations.png", work)


def vizdiff(*arguments: str | Path) -> None:
    """Run one command with the bundled weights."""
    command = [sys.executable, "-m", "viz_diffusion", *map(str, arguments), "--run", "bundled", "--quiet"]
    subprocess.run(command, check=True, cwd=ROOT)


def moving_picture(trajectory: Trajectory) -> None:
    """Write x_t and predicted x_0 of a generation as an animation, with more frames where the digit appears."""
    steps = np.unique(np.linspace(0, 1, 41) ** 0.8 * (trajectory.num_steps - 1)).astype(int)
    states = [np.concatenate([trajectory.x_t[0, step, 0], trajectory.x0_pred[0, step, 0]], 1) for step in steps]
    states.append(np.concatenate([trajectory.x0[0, 0]] * 2, 1))
    frames = []
    for state in states:
        grey = np.uint8(np.clip((state + 1) * 127.5, 0, 255)).repeat(8, 0).repeat(8, 1)
        half = grey.shape[1] // 2
        gap = np.full((len(grey), 16), 255, np.uint8)
        frames.append(Image.fromarray(np.concatenate([grey[:, :half], gap, grey[:, half:]], 1)))
    durations = [FRAME_MS] * len(steps) + [HOLD_MS]
    path = IMAGES / "generation.webp"
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=durations, loop=0, lossless=True, method=6)


def screenshots(work: Path) -> None:
    """Write pictures of report, slide and worksheet, and the thumbnails."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        report = shoot(browser, (work / "report.html").as_uri(), 1280, 840, frame=350)
        (work / "slide.html").write_text(slide_page(work / "deck.pptx", "steps"), encoding="utf-8")
        slide = shoot(browser, (work / "slide.html").as_uri(), 1280, 720)
        worksheet = shoot(browser, (work / "worksheet.html").as_uri(), 900, 1000)
        browser.close()
    for name, picture in (("report", report), ("deck", slide), ("worksheet", worksheet)):
        save(picture, IMAGES / f"{name}.webp", 1280)
    for name in ("guidance", "compare", "prompts"):
        save(Image.open(work / f"{name}.png"), IMAGES / f"{name}.webp", 960)


def lab_film(work: Path) -> None:
    """Write ``live.webp``: the live lab, where a 5 becomes a 3 because the label is changed at t = 599."""
    vizdiff("live", "--out", work / "live.html")
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    before = [f"at={t}" for t in range(999, 598, -100)]
    after = [f"change=599,label,3&until=0&at={t}" for t in (579, 499, 399, 299, 199, 99, 19)]
    frames = []
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for part in (*before, *after):
            url = f"{(work / 'live.html').as_uri()}#seed=1&steps=50&label=5&{part}"
            picture = shoot(browser, url, 1280, 840, wait_ms=2500).convert("RGB")
            frames.append(picture.resize((680, 446), Image.Resampling.LANCZOS))
        browser.close()
    durations = [LAB_MS] * (len(frames) - 1) + [HOLD_MS]
    path = IMAGES / "live.webp"
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=durations, loop=0, quality=45, method=6)


def shoot(
    browser: Browser, url: str, width: int, height: int, frame: int | None = None, wait_ms: int = 500
) -> Image.Image:
    """Return the first screen of a page; of the report, with its player at ``frame`` steps left."""
    page = browser.new_page(viewport={"width": width, "height": height}, reduced_motion="reduce")
    page.goto(url)
    if frame is not None:
        slider = page.locator("input[type=range]").first
        slider.evaluate(
            "(slider, left) => { slider.value = slider.max - left; slider.dispatchEvent(new Event('input')); }", frame
        )
    page.wait_for_timeout(wait_ms)  # until pictures are drawn, and the lab has computed what its link asks for
    return Image.open(BytesIO(page.screenshot()))


def slide_page(deck: Path, picture: str) -> str:
    """Return the slide that shows ``picture`` as HTML: its pictures and texts at their places."""
    presentation: Any = Presentation(str(deck))
    slide = next(one for one in presentation.slides if picture in {shape.name for shape in one.shapes})
    parts = []
    for shape in slide.shapes:
        left, top, width, height = (
            value // EMU_PER_PIXEL for value in (shape.left, shape.top, shape.width, shape.height)
        )
        place = f"position:absolute;left:{left}px;top:{top}px;width:{width}px;height:{height}px"
        if shape.shape_type == MSO_SHAPE_TYPE.PICTURE:
            path = deck.with_name(f"slide_{shape.shape_id}.{shape.image.ext}")
            path.write_bytes(shape.image.blob)
            parts.append(f'<img style="{place}" src="{path.name}">')
        elif shape.has_text_frame and "Number" not in shape.name:
            size = 28 if shape == slide.shapes.title else 18
            side = "right" if shape.name == "section" else "left"
            text = "<br>".join(map(html_of, shape.text_frame.paragraphs))
            parts.append(f'<div style="{place};font:{size}px sans-serif;text-align:{side}">{text}</div>')
    return f'<!doctype html><meta charset="utf-8"><body style="margin:0;background:#fff">{"".join(parts)}</body>'


def html_of(paragraph: Any) -> str:
    """Return a paragraph of a slide as HTML, with its subscripts."""
    words = ((escape(run.text), run._r.rPr is not None and run._r.rPr.get("baseline")) for run in paragraph.runs)
    return "".join(f"<sub>{text}</sub>" if lowered else text for text, lowered in words)


def save(picture: Image.Image, path: Path, width: int) -> None:
    """Write a picture of at most ``width`` pixels as WebP: lossless, or where that is too large as well as fits."""
    picture = picture.convert("RGB")
    if picture.width > width:
        picture = picture.resize((width, round(picture.height * width / picture.width)), Image.Resampling.LANCZOS)
    picture.save(path, lossless=True, method=6)
    for quality in (90, 80, 70, 60):
        if path.stat().st_size <= LARGEST:
            return
        picture.save(path, quality=quality, method=6)


if __name__ == "__main__":
    main()
