"""Pages of recordings of diffusers pipelines: no requests, no messages, no overflow, no WCAG violations."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from diffusers import DDIMPipeline, DDIMScheduler, DDPMPipeline, DDPMScheduler
from page_reading import reads, seek, violations
from small_unet import small_unet

from viz_diffusion.cli import main
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.plots.pixels import to_gray8
from viz_diffusion.recording.trajectory import Trajectory
from viz_diffusion.text.catalogue import languages, load_texts

pytest.importorskip("playwright.sync_api")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
]
Visit = Callable[..., SimpleNamespace]
AXE = Path(__file__).parent / "vendor" / "axe-core" / "axe.min.js"
READ_CANVAS = """([id, wide, high]) => {
    const shown = document.getElementById(id);
    const scale = shown.width / wide;
    const copy = Object.assign(document.createElement("canvas"), { width: shown.width, height: shown.height });
    const context = copy.getContext("2d", { willReadFrequently: true });
    context.drawImage(shown, 0, 0);
    const { data } = context.getImageData(0, 0, copy.width, copy.height);
    const at = (x, y) => 4 * (y * scale * copy.width + x * scale);
    const of = (k) => at(k % wide, Math.floor(k / wide));
    return Array.from({ length: wide * high }, (_, k) => [...data.slice(of(k), of(k) + 3)]);
}"""


@pytest.fixture(scope="module", params=["rgb", "grey"])
def recording(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a recording of a 32x32 RGB image, or of a class-conditional 28x28 grey one."""
    place = tmp_path_factory.mktemp(request.param)
    argv = ["--steps", "20", "--quiet"]
    if request.param == "rgb":
        DDPMPipeline(small_unet(3, 32), DDPMScheduler()).save_pretrained(place / "pipe")
    else:
        pipe = DDIMPipeline(small_unet(1, 28, num_class_embeds=10), DDIMScheduler())
        pipe.save_pretrained(place / "pipe")
        argv += ["--label", "3"]
    assert main(["record", str(place / "pipe"), "--out", str(place / "t"), *argv]) == 0
    return place / "t"


@pytest.fixture(scope="module", params=languages())
def page_file(request: pytest.FixtureRequest, recording: Path) -> Path:
    path = recording / f"{request.param}.html"
    assert main(["report", "--trajectory", str(recording), "--lang", request.param, "--out", str(path), "--quiet"]) == 0
    return path


@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_is_silent_accessible_and_whole(page_file: Path, visit: Visit, width: int) -> None:
    page = visit(page_file, viewport={"width": width, "height": 800}).page
    texts = load_texts(page_file.stem).preferring("alone")
    assert page.locator("html").get_attribute("lang") == texts["language.tag"]
    assert violations(page, AXE.read_text("utf-8")) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator(".digits, .compare:visible").count() == 0
    questions = [texts[f"chapter.{name}.question"] for name in ("noising", "guess", "step")]
    assert page.locator(".chapter h2 .question").all_inner_texts()[:3] == questions
    assert page.locator("#ui-introduction .tile").count() == 5 + 2 + 5, "of training, what the recording holds"
    assert texts("interface.script.frames", frames=20) == page.locator("#ui-frames").inner_text()


def test_the_player_shows_the_recordings_own_pixels(page_file: Path, visit: Visit) -> None:
    page, found = visit(page_file).page, Trajectory.open(page_file.parent / "trajectory.zarr")
    channels, high, wide = found.x_t.shape[2:]
    for frame in (0, 7, 20):
        seek(page, frame)
        state = found.x0[0] if frame == 20 else found.x_t[0, frame]
        wanted = np.broadcast_to(to_gray8(np.moveaxis(state, 0, -1)), (high, wide, 3))
        shown = np.array(page.evaluate(READ_CANVAS, ["ui-x_t", wide, high])).reshape(high, wide, 3)
        assert np.array_equal(shown, wanted), (frame, channels)
        left, t = reads(page)
        assert left == str(20 - frame)
        assert frame == 20 or t == str(found.timesteps[frame])


def test_charts_follow_and_a_frame_is_saved_under_a_name_without_a_digit(page_file: Path, visit: Visit) -> None:
    page = visit(page_file, accept_downloads=True).page
    seek(page, 5)
    assert page.locator(".glance:visible").count() == 2
    page.locator("figure.chart").first.scroll_into_view_if_needed()  # only those in view are kept up to date
    texts = load_texts(page_file.stem)
    page.get_by_text(texts("interface.script.chart_left", left=15), exact=True).first.wait_for()
    with page.expect_download() as waiting:
        page.locator("#ui-save").click()
    assert waiting.value.suggested_filename == "picture-steps-left-0015.png"


def test_lecturer_mode_shows_every_figure(page_file: Path, visit: Visit) -> None:
    page = visit(page_file).page
    page.locator("body").press("l")
    slides = 1
    while page.locator("#ui-slide-next").is_enabled():
        page.keyboard.press("PageDown")
        slides += 1
    assert slides == 1 + 3 + 2 + 1, "the player, three figures, two charts, and what not to take at its word"
    assert violations(page, AXE.read_text("utf-8")) == []


@pytest.fixture(scope="module")
def large_page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the page of a recording of a 256x256 RGB image; it takes seconds to write."""
    rng, side = np.random.default_rng(0), 256
    states = rng.normal(size=(1, 3, 3, side, side)).astype(np.float32)
    unknown = np.array([-1])
    place = tmp_path_factory.mktemp("large")
    Trajectory(
        NoiseSchedule.named("linear"),
        np.array([900, 500, 20]),
        states,
        states,
        states,
        states[:, 0],
        unknown,
        unknown,
        sampler="DDPM",
    ).save(place / "r.zarr")
    path = place / "r.html"
    assert main(["report", "--trajectory", str(place / "r.zarr"), "--out", str(path), "--quiet"]) == 0
    return path


@pytest.mark.parametrize("width", [390, 1280])
def test_a_picture_larger_than_its_box_is_shrunk_to_it(width: int, visit: Visit, large_page_file: Path) -> None:
    page = visit(large_page_file, viewport={"width": width, "height": 800}).page
    for canvas in page.locator(".stage:not(.second) canvas, .panels:not(.second) canvas").all():
        inner, outer = canvas.bounding_box(), canvas.locator("..").bounding_box()
        assert inner["width"] == pytest.approx(inner["height"])
        assert outer["width"] / 2 < inner["width"] <= outer["width"] + 1
        assert inner["height"] <= outer["height"] + 1
    assert page.evaluate("document.documentElement.scrollWidth") <= width
