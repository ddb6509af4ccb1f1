from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from report_fakes import fake_page, fake_player

from viz_diffusion.report import Player, write_report
from viz_diffusion.report.sprites import to_diverging8, to_gray8
from viz_diffusion.schedule import NoiseSchedule

expect = pytest.importorskip("playwright.sync_api").expect
pytestmark = pytest.mark.browser

Visit = Callable[..., SimpleNamespace]


@pytest.fixture(scope="module")
def players() -> tuple[Player, ...]:
    return fake_player(5, 1000), fake_player(3, 50, noise=False), fake_player(8, 50, noise=False)


@pytest.fixture(scope="module")
def report(players: tuple[Player, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_report(fake_page(players), path)
    return path


def pixels(page: Any, field: str) -> np.ndarray:
    """Read a canvas back as (28, 28, 3), after checking that every frame pixel is one even square."""
    width, height, uneven, small = page.evaluate(
        """(id) => {
            const shown = document.getElementById(id);
            const { width, height } = shown;
            const copy = Object.assign(document.createElement("canvas"), { width, height });
            const context = copy.getContext("2d", { willReadFrequently: true });
            context.drawImage(shown, 0, 0);
            const colours = new Uint32Array(context.getImageData(0, 0, width, height).data.buffer);
            const scale = width / 28;
            const at = (x, y) => colours[y * width + x];
            let uneven = 0;
            for (let y = 0; y < height; y++)
                for (let x = 0; x < width; x++)
                    uneven += at(x, y) !== at(x - (x % scale), y - (y % scale));
            const small = Array.from({ length: 784 }, (_, k) => at((k % 28) * scale, Math.floor(k / 28) * scale));
            return [width, height, uneven, small];
        }""",
        f"ui-{field}",
    )
    assert height == width
    assert width % 28 == 0
    assert uneven == 0
    image = np.array(small, dtype="<u4").view(np.uint8).reshape(28, 28, 4)
    assert (image[..., 3] == 255).all()
    return image[..., :3]


def seek(page: Any, frame: int) -> None:
    page.evaluate(
        """(frame) => {
            const scrubber = document.getElementById("ui-scrubber");
            scrubber.value = frame;
            scrubber.dispatchEvent(new Event("input", { bubbles: true }));
        }""",
        frame,
    )


def reads(page: Any) -> tuple[str, str]:
    return page.locator("#ui-left").inner_text(), page.locator("#ui-t").inner_text()


def grey(frame: np.ndarray) -> np.ndarray:
    return np.repeat(to_gray8(frame)[..., None], 3, axis=2)


@pytest.mark.parametrize(("dense", "width"), [(1, 1280), (1.5, 1280), (3, 390)])
def test_canvas_shows_the_recorded_frames(
    report: Path, players: tuple[Player, ...], visit: Visit, dense: float, width: int
) -> None:
    page = visit(report, device_scale_factor=dense, viewport={"width": width, "height": 800}).page
    main = players[0]
    assert main.eps_pred is not None
    for t in (999, 500, 0):
        frame = 999 - t
        seek(page, frame)
        assert reads(page) == (str(t + 1), str(t))
        assert np.array_equal(pixels(page, "x_t"), grey(main.x_t[frame]))
        assert np.array_equal(pixels(page, "x0_pred"), grey(main.x0_pred[frame]))
        assert np.array_equal(pixels(page, "eps_pred"), to_diverging8(main.eps_pred[frame]))
    seek(page, 1000)
    assert reads(page) == ("0", "finished")
    assert np.array_equal(pixels(page, "x_t"), grey(main.x_t[-1]))
    assert np.array_equal(pixels(page, "x0_pred"), grey(main.x0_pred[-1])), "the last guess stays"


def test_keyboard_moves_the_run(report: Path, visit: Visit) -> None:
    page = visit(report).page
    scrubber = page.locator("#ui-scrubber")
    scrubber.focus()
    page.keyboard.press("End")
    assert reads(page) == ("0", "finished")
    assert scrubber.get_attribute("aria-valuetext") == "Finished picture, 0 steps left"
    page.keyboard.press("Home")
    assert reads(page) == ("1000", "999")
    page.keyboard.press("ArrowRight")
    assert reads(page) == ("999", "998")
    decibels = 10 * np.log10(NoiseSchedule.named("linear").snr[998])
    assert scrubber.get_attribute("aria-valuetext") == (
        f"999 steps left, t = 998, signal <0.01%, signal to noise −{-decibels:.1f} dB"
    )
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("PageUp")
    assert int(reads(page)[0]) < 999
    page.keyboard.press("Home")
    page.keyboard.press("Space")
    expect(page.locator("#ui-left")).not_to_have_text("1000")
    assert page.locator("#ui-play").inner_text() == "Pause"
    page.keyboard.press("Space")
    held = reads(page)
    page.wait_for_timeout(150)
    assert reads(page) == held
    assert page.locator("#ui-play").inner_text() == "Play"


def test_everything_is_reached_by_tab(report: Path, visit: Visit) -> None:
    page = visit(report).page
    reached = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id || document.activeElement.className"))
    assert {"ui-play", "ui-scrubber", "ui-speed", "ui-save", "copy live", "enlarge live", "scroll"} <= reached


def test_choosing_a_digit_swaps_the_run(report: Path, players: tuple[Player, ...], visit: Visit) -> None:
    page = visit(report).page
    seek(page, 1000)
    page.get_by_role("radio", name="asked for a 8").check(force=True)
    expect(page.locator("#ui-scrubber")).to_have_attribute("max", "50")
    assert reads(page) == ("0", "finished"), "the moment is kept"
    assert np.array_equal(pixels(page, "x_t"), grey(players[2].x_t[-1]))
    seek(page, 20)
    assert np.array_equal(pixels(page, "x_t"), grey(players[2].x_t[20]))
    assert reads(page)[1] == str(players[2].timesteps[20])
    assert page.get_by_text("not recorded for this digit").is_visible()
    assert not page.locator("#ui-eps_pred").is_visible()
    assert page.locator("#ui-frames").inner_text() == "Digit 8: 50 of 1000 steps kept"
    page.get_by_role("radio", name="asked for a 5").check(force=True)
    expect(page.locator("#ui-scrubber")).to_have_attribute("max", "1000")
    assert page.locator("#ui-eps_pred").is_visible()
    assert abs(int(reads(page)[1]) - int(players[2].timesteps[20])) <= 1


def test_dot_follows_the_schedule(report: Path, visit: Visit) -> None:
    page = visit(report).page
    zero = float(page.locator("line.zero").get_attribute("y1"))
    heights = {}
    for t in (999, 259, 258, 0):
        seek(page, 999 - t)
        heights[t] = float(page.locator("#ui-dot").get_attribute("cy"))
    assert heights[259] > zero > heights[258], "0 dB is crossed between t = 259 and 258"
    assert heights[999] > heights[259] > heights[0]


def test_plays_once_and_stops(report: Path, visit: Visit) -> None:
    page = visit(report, reduced_motion="no-preference").page
    expect(page.locator("#ui-left")).not_to_have_text(re.compile(r"^(1000|9[5-9]\d|–)$"))
    page.select_option("#ui-speed", "4")
    expect(page.locator("#ui-left")).to_have_text("0", timeout=20_000)
    page.wait_for_timeout(200)
    assert reads(page) == ("0", "finished")
    assert page.locator("#ui-play").inner_text() == "Play"


def test_reduced_motion_stands_still(report: Path, visit: Visit) -> None:
    page = visit(report, reduced_motion="reduce").page
    page.wait_for_timeout(400)
    assert reads(page) == ("1000", "999")
    assert page.locator("#ui-play").inner_text() == "Play"


def test_save_this_frame_gives_an_exact_png(
    report: Path, players: tuple[Player, ...], visit: Visit, tmp_path: Path
) -> None:
    from PIL import Image

    page = visit(report, accept_downloads=True).page
    seek(page, 700)
    with page.expect_download() as waiting:
        page.click("#ui-save")
    assert waiting.value.suggested_filename == "digit-5-steps-left-0300.png"
    waiting.value.save_as(tmp_path / "frame.png")
    image = np.asarray(Image.open(tmp_path / "frame.png").convert("RGB"))
    assert image.shape == (896, 896, 3)
    assert np.array_equal(image, grey(players[0].x_t[700]).repeat(32, 0).repeat(32, 1))


def test_copy_command(report: Path, visit: Visit) -> None:
    seen = visit(report, permissions=["clipboard-read", "clipboard-write"])
    seen.page.locator("#ui-player button.copy").click()
    expect(seen.page.locator("#ui-said")).to_have_text("Copied")
    assert seen.page.evaluate("navigator.clipboard.readText()") == "vizdiff report plain words"


def test_enlarge_and_escape_gives_the_focus_back(report: Path, visit: Visit) -> None:
    page = visit(report).page
    button = page.locator("#noising .enlarge").first
    button.focus()
    page.keyboard.press("Enter")
    assert page.locator("dialog img").is_visible()
    page.keyboard.press("Escape")
    assert not page.locator("dialog").is_visible()
    assert button.evaluate("(element) => element === document.activeElement")


def test_a_link_opens_a_folded_chapter(report: Path, visit: Visit) -> None:
    page = visit(report).page
    assert not page.locator("#layers img").is_visible()
    page.click('.contents a[href="#layers"]')
    page.locator("#layers img").wait_for(state="visible")


def test_without_javascript_all_is_readable(report: Path, visit: Visit) -> None:
    page = visit(report, java_script_enabled=False).page
    strip = page.locator(".still img")
    assert strip.is_visible()
    assert strip.get_attribute("alt") == "plain words"
    assert not page.locator("#ui-x_t").is_visible()
    assert not page.locator("#ui-play").is_visible()
    assert page.locator(".digits img").count() == 3
    assert page.locator("#noising figure img").count() == 2
    for place in ("#noising figure img", "#noising table", "#noising .command", ".curve svg", "table.provenance"):
        for element in page.locator(place).all():
            assert element.is_visible(), place
    page.locator("#layers summary").click()
    assert page.locator("#layers img").is_visible()
    page.get_by_text("The curve as numbers").click()
    assert page.get_by_text("−43.9").is_visible()


def test_frames_that_cannot_be_decoded_leave_the_strip(report: Path, tmp_path: Path, visit: Visit) -> None:
    broken = tmp_path / "broken.html"
    broken.write_bytes(report.read_bytes().replace(b"data:image/webp;base64,UklG", b"data:image/webp;base64,AAAA"))
    page = visit(broken, ready=False).page
    expect(page.locator("html")).not_to_have_class("js")
    assert page.locator(".still img").is_visible()
    assert not page.locator("#ui-scrubber").is_visible()


@pytest.mark.parametrize(
    "words",
    [
        '"><img src=x onerror=alert(1)>',
        "</script><script>alert(1)</script>",
        "<svg onload=alert(1)>",
        "</style></title><iframe srcdoc='<script>alert(1)</script>'>",
        "a\u2028alert(1)\u2029",
        "javascript:alert(1)",
    ],
)
def test_hostile_words_execute_nothing(words: str, tmp_path: Path, visit: Visit) -> None:
    path = tmp_path / "report.html"
    write_report(fake_page(words=words), path)
    seen = visit(path)
    seen.page.wait_for_timeout(200)
    assert seen.page.title() == f"Title {words}"
    assert seen.page.locator("iframe, img[src=x], svg[onload]").count() == 0
    assert words in seen.page.locator("#noising pre").evaluate("(element) => element.textContent")


@pytest.mark.parametrize("width", [390, 768, 1024, 1280, 1920])
def test_nothing_sticks_out_sideways(report: Path, visit: Visit, width: int) -> None:
    page = visit(report, viewport={"width": width, "height": 800}).page
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    box = page.locator("#ui-x_t").bounding_box()
    assert box is not None
    assert box["width"] >= 250
    assert box["x"] + box["width"] <= width


def test_print_shows_the_strip_and_no_controls(report: Path, visit: Visit) -> None:
    page = visit(report, color_scheme="dark").page
    page.emulate_media(media="print", color_scheme="dark")
    assert page.locator(".still img").is_visible()
    assert not page.locator("#ui-scrubber").is_visible()
    assert not page.locator("#ui-x_t").is_visible()
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(27, 27, 31)", "ink, even in dark mode"
