"""Lecturer mode, by keyboard alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from page_reading import grey, pixels, reads, seek

from viz_diffusion.report import Player

expect = pytest.importorskip("playwright.sync_api").expect
pytestmark = pytest.mark.browser
Visit = Callable[..., SimpleNamespace]

SLIDES = 6
"""The player, two pictures and a chart of one chapter, a picture and a chart of the other."""


def state(page: Any) -> tuple[str, str, str, str]:
    """Return the slide's counter, its title, what has the focus, and what was said."""
    focus = page.evaluate("document.activeElement.id")
    said = page.locator("#ui-lecture-said").evaluate("(element) => element.textContent")
    return page.locator("#ui-slide-count").inner_text(), page.locator("#ui-slide-title").inner_text(), focus, said


def outline(page: Any) -> list[str]:
    """Return the page's elements in their order, to see that all are back in their places."""
    return page.locator("main *").evaluate_all("(all) => all.map((one) => one.tagName + one.id)")


def test_slides_turn_by_keyboard(report: Path, visit: Visit) -> None:
    page = visit(report).page
    before = outline(page)
    page.keyboard.press("l")
    title, question = "Title plain words", "Question plain words?"
    assert state(page) == (f"1 of {SLIDES}", title, "ui-slide-title", f"Slide 1 of {SLIDES}")
    assert page.locator("#ui-x_t").is_visible()
    for key, number in (("ArrowRight", 2), ("PageDown", 3), ("ArrowDown", 4)):
        page.keyboard.press(key)
        assert state(page) == (f"{number} of {SLIDES}", question, "ui-slide-title", f"Slide {number} of {SLIDES}")
    assert page.locator("#ui-slide svg").is_visible(), "the chart"
    assert not page.locator("#ui-x_t").is_visible()
    page.keyboard.press("End")
    assert state(page)[:2] == (f"{SLIDES} of {SLIDES}", "Folded question plain words?")
    assert page.locator("#ui-slide figure").is_visible(), "out of a chapter that is closed"
    page.keyboard.press("ArrowRight")
    assert state(page)[0] == f"{SLIDES} of {SLIDES}"
    for key, number in (("ArrowLeft", 5), ("PageUp", 4), ("ArrowUp", 3), ("Home", 1), ("ArrowLeft", 1)):
        page.keyboard.press(key)
        assert state(page)[0] == f"{number} of {SLIDES}", key
    page.keyboard.press("Escape")
    expect(page.locator("#ui-lecture")).not_to_be_visible()
    assert outline(page) == before
    expect(page.locator("#ui-said")).to_have_text("Lecturer mode left")


def test_leaving_gives_focus_and_place_back(report: Path, visit: Visit) -> None:
    page = visit(report).page
    button = page.locator("#noising .try button")
    button.focus()
    button.scroll_into_view_if_needed()
    before = page.evaluate("scrollY")
    assert before > 0
    page.keyboard.press("l")
    page.keyboard.press("PageDown")
    page.keyboard.press("Escape")
    expect(button).to_be_focused()
    expect(page.locator("html")).not_to_have_class("lecturing")
    assert abs(page.evaluate("scrollY") - before) <= 1
    page.locator("#ui-lecture-open").click()
    assert state(page)[0] == f"1 of {SLIDES}"
    page.locator("#ui-lecture-leave").click()
    expect(page.locator("#ui-lecture-open")).to_be_focused()


def test_the_player_slide_works(report: Path, players: tuple[Player, ...], visit: Visit) -> None:
    page = visit(report).page
    page.keyboard.press("l")
    seek(page, 600)
    assert np.array_equal(pixels(page, "x_t"), grey(players[0].x_t[600]))
    picture = page.locator("#ui-x_t").bounding_box()
    assert picture["height"] >= 0.6 * 800
    scrubber = page.locator("#ui-scrubber").bounding_box()
    assert scrubber["y"] + scrubber["height"] <= 800
    page.locator("#ui-scrubber").focus()
    page.keyboard.press("ArrowRight")
    assert reads(page)[0] == "399", "the scrubber keeps its arrow keys"
    page.keyboard.press("End")
    assert reads(page) == ("0", "finished")
    page.keyboard.press("PageDown")
    assert state(page)[0] == f"2 of {SLIDES}", "a clicker's keys turn wherever the focus is"
    page.keyboard.press("Space")
    assert page.locator("#ui-play-name").evaluate("(one) => one.textContent") == "Play", "nothing plays unseen"
    page.keyboard.press("PageUp")
    page.keyboard.press("Space")
    expect(page.locator("#ui-play")).to_have_text("Pause")
    expect(page.locator("#ui-left")).not_to_have_text("0")
    page.keyboard.press("Space")
    expect(page.locator("#ui-play")).to_have_text("Play")
    page.get_by_role("radio", name="with the label 8").check(force=True)
    expect(page.locator("#ui-scrubber")).to_have_attribute("max", "50")
    page.locator("#ui-compare").select_option(label="digit 3")
    expect(page.locator("#ui-x_t-2")).to_be_visible()
    seek(page, 50)
    assert np.array_equal(pixels(page, "x_t-2"), grey(players[1].x_t[-1]))


def test_notes(report: Path, visit: Visit) -> None:
    page = visit(report).page
    page.keyboard.press("l")
    notes = page.locator("#ui-slide-notes")
    assert not notes.is_visible()
    page.keyboard.press("n")
    assert state(page)[3] == "Speaker notes shown"
    assert page.locator("#ui-notes-toggle").get_attribute("aria-pressed") == "true"
    assert "vizdiff report plain words" in notes.inner_text()
    page.keyboard.press("PageDown")
    words = notes.inner_text()
    assert words.startswith("Say plain words")
    for expected in ("Table: plain words", "12.5%", "vizdiff lesson plain words"):
        assert expected in words
    ids = page.locator("[id]").evaluate_all("(all) => all.map((one) => one.id)")
    assert len(ids) == len(set(ids))
    page.keyboard.press("N")
    assert not notes.is_visible()
    assert state(page)[3] == "Speaker notes hidden"
    page.keyboard.press("Escape")
    assert page.get_by_text("Say plain words").filter(visible=True).count() == 0, "a speaker's, not a reader's"


def test_focus_stays_inside_and_the_page_is_inert(report: Path, visit: Visit) -> None:
    page = visit(report).page
    page.keyboard.press("l")
    page.keyboard.press("n")
    reached = set()
    for key in ("Tab",) * 25 + ("Shift+Tab",) * 25:
        page.keyboard.press(key)
        inside = page.evaluate("document.getElementById('ui-lecture').contains(document.activeElement)")
        assert inside
        reached.add(page.evaluate("document.activeElement.id"))
    assert {"ui-play", "ui-scrubber", "ui-speed", "ui-compare", "ui-slide-next", "ui-lecture-leave"} <= reached
    assert page.locator("main").evaluate("(element) => element.inert")
    page.keyboard.press("Escape")
    assert not page.locator("main").evaluate("(element) => element.inert")


def test_full_screen_and_back(report: Path, visit: Visit) -> None:
    page = visit(report).page
    page.keyboard.press("l")
    page.locator("#ui-lecture:fullscreen").wait_for()
    page.evaluate("document.exitFullscreen()")
    expect(page.locator("#ui-lecture")).not_to_be_visible()
    assert page.locator("#ui-x_t").is_visible()


def test_without_full_screen_the_mode_still_works(report: Path, visit: Visit) -> None:
    page = visit(report).page
    page.evaluate("Element.prototype.requestFullscreen = () => Promise.reject(new Error('no')); 0")
    page.keyboard.press("l")
    page.keyboard.press("ArrowRight")
    assert state(page)[0] == f"2 of {SLIDES}"
    page.keyboard.press("Escape")
    assert page.locator("#ui-x_t").is_visible()


def test_type_is_large_and_a_chart_moves_on_its_slide(report: Path, visit: Visit) -> None:
    page = visit(report, viewport={"width": 1920, "height": 1080}).page
    page.keyboard.press("l")
    page.keyboard.press("PageDown")
    size = page.locator("#ui-slide figcaption").evaluate("(element) => parseFloat(getComputedStyle(element).fontSize)")
    assert size >= 1080 / 30, "18 pt on a slide of 7.5 inches"
    image = page.locator("#ui-slide img").bounding_box()
    assert image["y"] + image["height"] <= 1080
    for _ in range(2):
        page.keyboard.press("PageDown")
    before = page.locator("#ui-slide .dot").first.get_attribute("transform")
    page.keyboard.press("Space")
    expect(page.locator("#ui-slide .dot").first).not_to_have_attribute("transform", before)


def test_l_is_left_alone_where_it_means_something_else(report: Path, visit: Visit) -> None:
    page = visit(report).page
    page.locator("#ui-speed").focus()
    page.keyboard.press("l")
    page.locator("body").press("Control+l")
    assert not page.locator("#ui-lecture").is_visible()
    page.locator("#noising .enlarge").first.click(force=True)
    page.keyboard.press("l")
    assert page.locator("dialog").is_visible()
    assert not page.locator("#ui-lecture").is_visible()


def test_a_pen_writes_on_the_slide_and_a_pointer_follows(report: Path, visit: Visit) -> None:
    page = visit(report).page
    page.keyboard.press("l")
    page.keyboard.press("PageDown")
    ink = "document.getElementById('ui-ink').toDataURL().length"
    page.keyboard.press("p")
    expect(page.locator("#ui-lecture-pen")).to_have_attribute("aria-pressed", "true")
    empty = page.evaluate(ink)
    page.mouse.move(300, 300)
    page.mouse.down()
    page.mouse.move(600, 360, steps=5)
    page.mouse.up()
    written = page.evaluate(ink)
    assert written > empty
    page.keyboard.press("o")
    assert page.evaluate(ink) == written, "what was written stays while one points"
    page.mouse.move(500, 400)
    dot = page.locator("#ui-pointer").bounding_box()
    assert abs(dot["x"] + dot["width"] / 2 - 500) < 2
    page.keyboard.press("PageDown")
    assert page.evaluate(ink) == empty, "a new slide is clean"
    page.keyboard.press("Escape")
    assert not page.locator("#ui-pointer").is_visible()
