"""The report page in a browser: player, keyboard, print, hostile texts, narrow screens."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from page_reading import grey, pixels, reads, seek
from report_fakes import HOSTILE, fake_page

from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.plots.pixels import to_diverging8
from viz_diffusion.report import Player, write_report

expect = pytest.importorskip("playwright.sync_api").expect
pytestmark = pytest.mark.browser

Visit = Callable[..., SimpleNamespace]


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
    assert scrubber.get_attribute("aria-valuetext") == "Finished image, 0 steps left"
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
    page.get_by_role("radio", name="with the label 8").check(force=True)
    expect(page.locator("#ui-scrubber")).to_have_attribute("max", "50")
    assert reads(page) == ("0", "finished"), "the moment is kept"
    assert np.array_equal(pixels(page, "x_t"), grey(players[2].x_t[-1]))
    seek(page, 20)
    assert np.array_equal(pixels(page, "x_t"), grey(players[2].x_t[20]))
    assert reads(page)[1] == str(players[2].timesteps[20])
    assert page.get_by_text("not recorded for this digit").is_visible()
    assert not page.locator("#ui-eps_pred").is_visible()
    assert page.locator("#ui-frames").inner_text() == "Digit 8: 50 of 1000 steps kept"
    page.get_by_role("radio", name="with the label 5").check(force=True)
    expect(page.locator("#ui-scrubber")).to_have_attribute("max", "1000")
    assert page.locator("#ui-eps_pred").is_visible()
    assert abs(int(reads(page)[1]) - int(players[2].timesteps[20])) <= 1


def test_dot_follows_the_schedule(report: Path, visit: Visit) -> None:
    page = visit(report).page
    zero = float(page.locator(".curve line.zero").get_attribute("y1"))
    heights = {}
    for t in (999, 259, 258, 0):
        seek(page, 999 - t)
        heights[t] = float(page.locator("#ui-dot").get_attribute("cy"))
    assert heights[259] > zero > heights[258], "0 dB is crossed between t = 259 and 258"
    assert heights[999] > heights[259] > heights[0]


def test_dot_stands_on_the_line(report: Path, visit: Visit) -> None:
    page = visit(report).page
    drawn = page.locator(".curve path.line").get_attribute("d")[1:].split("L")
    points = np.array([[float(value) for value in point.split()] for point in drawn])
    for t in (999, 995, 401, 100, 4, 0):  # some of the timesteps that the line is drawn through
        seek(page, 999 - t)
        dot = [float(page.locator("#ui-dot").get_attribute(name)) for name in ("cx", "cy")]
        assert np.abs(points - dot).max(axis=1).min() < 0.01, t


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
    places = ("figure img", ".chart svg", ".chart .beneath", ".scroll:not(.chart *)", ".command", ".exercise h3")
    for place in (*(f"#noising {one}" for one in places), ".curve svg", "table.provenance", ".lede"):
        assert page.locator(place).count() > 0, place
        for element in page.locator(place).all():
            assert element.is_visible(), place
    exercise = page.locator("#noising .exercise")
    assert not exercise.get_by_text("Answer plain words.").is_visible()
    exercise.get_by_text("Show the answer").click()
    assert exercise.get_by_text("Answer plain words.").is_visible()
    page.locator("#noising").get_by_text("The chart as numbers").click()
    assert page.locator("#noising .chart tbody tr").count() == 11
    assert page.locator("#noising .chart tbody tr").first.inner_text().split() == ["1000", "1.00", "0.50"]
    assert (
        page.locator("#noising .glance, #ui-compare, #ui-lecture-open, #ui-lecture").filter(visible=True).count() == 0
    )
    page.locator("#layers .fold > summary").click()
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


def test_hostile_words_execute_nothing(tmp_path: Path, visit: Visit) -> None:
    words = " ".join(HOSTILE)
    path = tmp_path / "report.html"
    write_report(fake_page(words=words), path)
    seen = visit(path)
    page = seen.page
    for details in page.locator("details").all():
        details.evaluate("(element) => { element.open = true; }")
    page.locator("#ui-compare").select_option("2")
    for key in ("l", "n", *["PageDown"] * 5, "Escape"):
        page.keyboard.press(key)
    assert page.locator("h1").evaluate("(element) => element.textContent") == f"Title {words}"
    assert page.locator("iframe, base, form[action], [onload], [onerror], [onclick], [autofocus]").count() == 0
    assert page.locator("img[src=x], svg animate, svg script, link[rel=stylesheet]").count() == 0
    assert words in page.locator("#noising pre").evaluate("(element) => element.textContent")
    assert words in page.locator("#noising .now span").nth(1).evaluate("(element) => element.textContent")
    assert words in page.locator("#noising .exercise").evaluate("(element) => element.textContent")


@pytest.mark.parametrize("width", [390, 768, 1024, 1280, 1920])
def test_nothing_sticks_out_sideways(report: Path, visit: Visit, width: int) -> None:
    page = visit(report, viewport={"width": width, "height": 800}).page
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    box = page.locator("#ui-x_t").bounding_box()
    assert box is not None
    assert box["width"] >= 250
    assert box["x"] + box["width"] <= width


def test_print_shows_the_strip_the_answers_at_the_end_and_no_controls(report: Path, visit: Visit) -> None:
    page = visit(report, color_scheme="dark").page
    page.keyboard.press("l")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print", color_scheme="dark")
    assert page.locator(".still img").is_visible()
    for place in (".still img", "#noising figure img", "#noising .chart svg", "#layers .chart svg", "#layers img"):
        for element in page.locator(place).all():
            assert element.is_visible(), place
    assert page.locator("#ui-exercises").get_by_text("Answer plain words.").is_visible()
    assert page.locator("#ui-summary").get_by_text("Found in 7 of 8").is_visible()
    for place in (
        "#ui-scrubber",
        ".exercise details",
        ".answers dd",
        "#ui-x_t",
        "#ui-compare",
        ".glance",
        "#ui-lecture",
        "#ui-lecture-open",
    ):
        assert page.locator(place).filter(visible=True).count() == 0, place
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(27, 27, 31)", "ink, even in dark mode"
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    page.emulate_media(media="screen")
    for answer in page.get_by_text("Answer plain words.").all():
        assert not answer.is_visible(), "closed again, and the pages of answers are on paper only"
    assert page.locator("#noising").get_by_text("Found in 7 of 8").is_visible()


def test_first_screen_at_1280_by_800(report: Path, visit: Visit) -> None:
    page = visit(report).page
    box = {
        name: page.locator(name).bounding_box()
        for name in (
            "#ui-x_t",
            "#ui-scrubber",
            "#ui-x0_pred",
            "#ui-eps_pred",
            ".curve svg",
            ".reads:not(.second)",
            ".digits label:last-child img",
        )
    }
    for name, one in box.items():
        assert one is not None, name
        assert one["y"] + one["height"] <= 800, name
    current, predicted = box["#ui-x_t"], box["#ui-x0_pred"]
    assert current is not None
    assert predicted is not None
    assert current["width"] == predicted["width"]  # where the digit appears deserves as much room
    assert current["width"] + predicted["width"] >= 0.6 * 1216
