"""The live lab in a browser: what a reader does, by mouse, pen and keyboard."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from live_lab import settled, state, thumbnail
from page_reading import violations

from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.live.tasks import PLANS

expect = pytest.importorskip("playwright.sync_api").expect
pytestmark = pytest.mark.browser
AXE = Path(__file__).parent / "vendor" / "axe-core" / "axe.min.js"
LISTEN = """
window.heard = [];
new MutationObserver(() => heard.push(byId("said").textContent)).observe(byId("said"), { childList: true });
"""
"""Keeps what a screen reader is given to say: the numbers of the new state follow half a second later."""
PART = {"vote": "many", "fork": "many", "mine-take": "drawing"}
"""Controls beneath the board, and the part that holds them."""


@pytest.mark.parametrize(
    ("lang", "width", "scheme"),
    [("en", 390, "light"), ("en", 1280, "dark"), ("zh", 390, "dark"), ("zh", 1280, "light"), ("en", 1920, "light")],
)
def test_accessible_and_within_the_screen(open_lab: Any, lang: str, width: int, scheme: str) -> None:
    page = open_lab("task=label", lang, viewport={"width": width, "height": 844}, color_scheme=scheme)
    page.locator("input[name=prediction]").first.check()
    page.locator("#ui-task-reveal").click()
    page.evaluate("lab.change({ base: 3 })")
    settled(page)
    assert violations(page, AXE.read_text("utf-8")) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    small = page.locator("button:visible, select:visible").evaluate_all(
        "(all) => all.filter((one) => one.getBoundingClientRect().height < 24).map((one) => one.id)"
    )
    assert small == [], "too small for a finger"
    if width == 1280:
        page.keyboard.press("Escape")
        page.locator("body").press("l")
        assert violations(page, AXE.read_text("utf-8")) == [], "lecturer mode"


def test_ten_labels_at_once_and_a_click_switches(open_lab: Any) -> None:
    page = open_lab()
    settled(page)
    pictures = [thumbnail(page, f"label-{label}") for label in range(11)]
    assert all(np.abs(a - b).mean() > 4 for i, a in enumerate(pictures) for b in pictures[:i])
    assert np.array_equal(thumbnail(page, "x0"), pictures[5]), "the present label's own"
    made = page.evaluate("engine.sampler.evaluations")
    page.get_by_role("radio", name="3", exact=True).check(force=True)
    page.wait_for_timeout(200)
    assert np.array_equal(thumbnail(page, "x0"), pictures[3])
    page.evaluate("lab.change({ guidance: 4 })")
    page.wait_for_timeout(200)
    assert page.evaluate("engine.sampler.evaluations") == made, "what is known is not evaluated again"
    assert len(page.evaluate("branches.list")) == 1, "nothing was computed yet, so nothing branches"


def test_a_change_makes_a_second_lane(open_lab: Any) -> None:
    page = open_lab("seed=1&label=5&steps=10&until=-1&at=499")
    before = state(page)
    page.get_by_role("radio", name="8", exact=True).check(force=True)
    after = state(page)
    assert after["t"] == before["t"] == 499
    assert np.array_equal(after["x"], before["x"]), "the same state"
    expect(page.locator("#ui-lane-now")).to_have_text("Run 2")
    expect(page.locator("#ui-lane-before")).to_have_text("Run 1")
    apart = np.sqrt(np.mean((after["x0"] - before["x0"]) ** 2))
    expect(page.locator("#ui-apart")).to_have_text(f"{apart:.3f}")
    expect(page.locator("#ui-runs li").nth(1)).to_contain_text("from Run 1 at t = 499: label 5 → 8")
    page.locator("#ui-finish").click()
    settled(page)
    assert page.evaluate("lab.current.run.steps[2] === lab.other.run.steps[2]"), "what came before is shared"
    assert state(page)["t"] == -1
    box = page.locator("#ui-film").bounding_box()
    page.mouse.click(box["x"] + 4, box["y"] + 10)
    assert state(page)["t"] == 999, "the film's left end"
    page.mouse.click(box["x"] + box["width"] - 4, box["y"] + 76)
    expect(page.locator("#ui-lane-now")).to_have_text("Run 1")
    page.locator("#ui-runs input").first.fill("as it was")
    page.locator("#ui-runs input").first.press("Tab")
    expect(page.locator("#ui-lane-now")).to_have_text("as it was")
    page.get_by_role("button", name="Remove Run 2").click()
    expect(page.locator("#ui-runs li")).to_have_count(1)


def test_a_finished_run_changes_from_its_start(open_lab: Any) -> None:
    page = open_lab("seed=1&label=5&steps=10&at=-1")
    page.locator("#ui-guidance").focus()
    for _ in range(2):
        page.keyboard.press("ArrowRight")
    expect(page.locator("#ui-notice")).to_contain_text("from its start")
    assert (state(page)["t"], state(page)["settings"]["guidance"]) == (999, 2)
    assert page.evaluate("branches.list.length") == 2, "one run for both presses"


def test_everything_by_keyboard(open_lab: Any) -> None:
    page = open_lab("steps=10")
    page.locator("body").press("ArrowRight")
    assert state(page)["t"] == 899
    page.locator("#ui-step").focus()
    page.keyboard.press("Enter")
    assert state(page)["t"] == 799
    page.locator("#ui-scrubber").focus()
    page.keyboard.press("ArrowLeft")
    assert state(page)["t"] == 899
    assert re.match(r"t = 899, signal", page.locator("#ui-scrubber").get_attribute("aria-valuetext"))
    page.keyboard.press("ArrowRight")
    page.evaluate(LISTEN)
    page.locator("#ui-stroke").focus()
    page.keyboard.press("Enter")
    assert len(page.evaluate("lab.state().strokes")) == 1
    assert any("Stroke made at t = 799: bar" in words for words in page.evaluate("heard"))
    page.locator("input[name=label]:checked").focus()
    page.keyboard.press("ArrowRight")
    assert state(page)["settings"]["label"] == 6
    page.evaluate("document.activeElement.blur()")
    page.locator("body").press("End")
    settled(page)
    assert state(page)["t"] == -1
    page.locator("body").press("Space")
    expect(page.locator("#ui-play-name")).to_have_text("Stop")
    page.locator("body").press("Space")
    expect(page.locator("#ui-play-name")).to_have_text("Play")


def test_the_brush_paints_in_predicted_x0(open_lab: Any) -> None:
    page = open_lab("steps=10&at=599")
    before = state(page)
    box = page.locator("#ui-x0").bounding_box()
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + 30, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] - 30, middle, steps=6)
    page.mouse.move(box["x"] + 40, middle, steps=6)  # over the same place again
    page.mouse.up()
    after = state(page)
    stroke = page.evaluate("(({ink, coverage}) => [ink, [...coverage]])(lab.state().strokes[0])")
    ink, coverage = stroke[0], np.array(stroke[1])
    assert ink == 1
    assert coverage.max() == 1
    assert 20 < coverage.sum() < 200
    signal = np.sqrt(NoiseSchedule.named().alphas_cumprod[599])
    assert np.abs(after["x"] - (before["x"] + signal * coverage * (1 - before["x0"]))).max() < 1e-5
    assert page.evaluate("byId('outline').getAnimations().length") == 1, "the outline fades"
    page.locator("label", has_text="eraser").click()
    page.mouse.move(box["x"] + 60, middle)
    page.mouse.down()
    page.mouse.up()
    assert [one["ink"] for one in page.evaluate("lab.state().strokes")] == [1, -1]
    assert page.evaluate("branches.list.length") == 2


def test_a_drawing_is_held_or_begun_from(open_lab: Any) -> None:
    page = open_lab("steps=10&label=9&guidance=1&at=699")
    page.locator("label", has_text="upper half").click()
    page.locator("#ui-repaint").uncheck()
    page.locator("#ui-finish").click()
    settled(page)
    house = page.evaluate("[...lab.shownHold().known]")
    assert np.abs(state(page)["x"][:392] - np.array(house)[:392]).max() < 1e-6, "the held half is the drawing"
    page.locator("#ui-level").fill("199")
    page.locator("#ui-begin").click()
    settled(page)
    assert page.evaluate("lab.current.run.timesteps") == [199, 99]
    assert np.sqrt(np.mean((state(page)["x"] - np.array(house)) ** 2)) < 0.5, "from little noise it stays a house"
    expect(page.locator("#ui-runs li").last).to_contain_text("from your drawing at t = 199")


def test_lecturer_mode_with_pen_and_pointer(open_lab: Any) -> None:
    page = open_lab("task=guess")
    page.locator("body").press("l")
    assert not page.locator("h1").is_visible()
    assert page.locator("#ui-task-title").is_visible()
    page.locator("body").press("p")
    page.mouse.move(300, 300)
    page.mouse.down()
    page.mouse.move(500, 320, steps=4)
    page.mouse.up()
    written = page.evaluate("byId('ink').toDataURL()")
    page.locator("body").press("x")
    assert len(page.evaluate("byId('ink').toDataURL()")) < len(written), "wiped"
    page.locator("body").press("o")
    page.mouse.move(640, 400)
    box = page.locator("#ui-pointer").bounding_box()
    assert abs(box["x"] + box["width"] / 2 - 640) < 2
    page.locator("body").press("PageDown")
    expect(page.locator("#ui-task-count")).to_have_text("Task 2 of 12")
    page.locator("body").press("Escape")
    assert page.locator("h1").is_visible()


def test_lecturer_mode_shows_what_its_task_is_tried_with(open_lab: Any) -> None:
    page = open_lab(f"task={PLANS[0].name}")
    page.locator("body").press("l")
    for plan in PLANS:
        page.evaluate("(name) => tasks.open(name)", plan.name)
        hidden = [place for place in plan.places if not page.locator(f"#ui-{place}").is_visible()]
        assert hidden == [], plan.name
        shown = page.locator(".more .part").evaluate_all(
            "(parts) => parts.filter((part) => part.checkVisibility()).length"
        )
        assert shown == len({PART[place] for place in plan.places if place in PART}), plan.name
