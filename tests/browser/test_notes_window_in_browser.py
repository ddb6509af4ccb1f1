"""Speaker notes in a window of their own, and keyboard shortcuts that can be turned off."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from page_reading import violations

expect = pytest.importorskip("playwright.sync_api").expect
pytestmark = pytest.mark.browser
Visit = Callable[..., SimpleNamespace]
ESCAPE = """setTimeout(() => document.body.dispatchEvent(
    new KeyboardEvent("keydown", { key: "Escape", bubbles: true }))); 0"""
"""Escape, dispatched a moment later: a real key press would close the window before it is complete."""
AXE = Path(__file__).parent / "vendor" / "axe-core" / "axe.min.js"


def take_out(seen: SimpleNamespace) -> tuple[Any, list[str]]:
    """Open lecturer mode and move the notes out; return their window and what it says to the console."""
    seen.page.keyboard.press("l")
    with seen.context.expect_page() as opening:
        seen.page.keyboard.press("w")
    messages: list[str] = []
    opening.value.on("console", lambda message: messages.append(message.text))
    return opening.value, messages


def test_the_notes_follow_the_slides_in_their_own_window(report: Path, visit: Visit) -> None:
    seen = visit(report)
    page = seen.page
    notes, messages = take_out(seen)
    assert notes.url == "about:blank"
    assert not page.locator("#ui-slide-notes").is_visible(), "the students' screen is free of them"
    assert page.locator("#ui-lecture").is_visible()
    assert page.locator("#ui-lecture-said").inner_text() == "Speaker notes stand in a window of their own"
    expect(notes.locator(".where")).to_have_text("1 of 6")
    expect(notes.locator("h1")).to_have_text("Title plain words")
    assert "vizdiff report plain words" in notes.locator("main").inner_text()
    page.keyboard.press("PageDown")
    expect(notes.locator(".where")).to_have_text("2 of 6")
    words = notes.locator("main").inner_text()
    for expected in ("Question plain words?", "Say plain words", "Caption: plain words", "12.5%", "vizdiff lesson"):
        assert expected in words
    assert words.endswith("Next: Question plain words?")
    notes.keyboard.press("ArrowRight")
    expect(page.locator("#ui-slide-count")).to_have_text("3 of 6")
    expect(notes.locator(".where")).to_have_text("3 of 6")
    notes.keyboard.press("End")
    expect(notes.locator(".where")).to_have_text("6 of 6")
    assert notes.locator("button, .next").count() == 0
    assert messages == []


def test_the_window_has_the_pages_style_and_its_policy(report: Path, visit: Visit) -> None:
    seen = visit(report, color_scheme="dark")
    notes, messages = take_out(seen)
    paper = "getComputedStyle(document.body).backgroundColor"
    assert notes.evaluate(paper) == seen.page.evaluate(paper) == "rgb(20, 21, 24)"
    assert notes.title() == "Speaker notes"
    assert violations(notes, AXE.read_text("utf-8")) == []
    seen.page.keyboard.press("PageDown")
    assert violations(notes, AXE.read_text("utf-8")) == []
    assert messages == []
    notes.evaluate(
        "document.head.append(Object.assign(document.createElement('style'), { textContent: 'body { color: red }' }))"
    )
    assert notes.evaluate("getComputedStyle(document.body).color") != "rgb(255, 0, 0)", "no other style is let in"
    assert any("Content Security Policy" in message for message in messages)


def test_the_window_closes_with_the_lecture_and_can_be_closed_before(report: Path, visit: Visit) -> None:
    seen = visit(report)
    page, toggle = seen.page, seen.page.locator("#ui-notes-window")
    notes, _ = take_out(seen)
    expect(toggle).to_have_attribute("aria-pressed", "true")
    notes.close()
    expect(toggle).to_have_attribute("aria-pressed", "false")
    assert page.locator("#ui-lecture").is_visible()
    page.keyboard.press("PageDown")
    with seen.context.expect_page() as opening:
        toggle.click()
    with opening.value.expect_event("close"):
        opening.value.evaluate(ESCAPE)
    assert page.locator("#ui-lecture").is_visible(), "Escape there ends the window, not the lecture"
    with seen.context.expect_page() as opening:
        toggle.click()
    with opening.value.expect_event("close"):
        page.keyboard.press("Escape")
    assert not page.locator("#ui-lecture").is_visible()


def test_full_screen_can_be_had_again_after_the_window_took_it(report: Path, visit: Visit) -> None:
    seen = visit(report)
    page = seen.page
    page.keyboard.press("l")
    page.locator("#ui-lecture:fullscreen").wait_for()
    with seen.context.expect_page():
        page.keyboard.press("w")
    page.bring_to_front()
    page.evaluate("document.fullscreenElement && document.exitFullscreen()")  # what a browser does, if it has not
    expect(page.locator("#ui-lecture:fullscreen")).to_have_count(0)
    assert page.locator("#ui-lecture").is_visible(), "the lecture goes on"
    page.keyboard.press("f")
    page.locator("#ui-lecture:fullscreen").wait_for()


def test_where_no_window_may_open_the_notes_stand_in_the_page(report: Path, visit: Visit) -> None:
    page = visit(report).page
    page.evaluate("window.open = () => null; 0")
    page.keyboard.press("l")
    page.keyboard.press("w")
    assert page.locator("#ui-slide-notes").is_visible()
    assert "vizdiff report plain words" in page.locator("#ui-slide-notes").inner_text()
    said = page.locator("#ui-lecture-said").inner_text()
    assert said == "The browser let no window open; the notes are shown here"
    assert page.locator("#ui-notes-window").get_attribute("aria-pressed") == "false"


def test_shortcuts_by_single_letters_can_be_turned_off(report: Path, visit: Visit) -> None:
    page = visit(report).page
    key = page.locator("#ui-lecture-open kbd")
    assert key.is_visible()
    page.locator(".notes summary").first.click()
    page.locator("#ui-letters").uncheck()
    assert not key.is_visible()
    page.keyboard.press("l")
    assert not page.locator("#ui-lecture").is_visible()
    page.locator("#ui-lecture-open").click()
    page.keyboard.press("n")
    assert not page.locator("#ui-slide-notes").is_visible()
    page.keyboard.press("PageDown")
    expect(page.locator("#ui-slide-count")).to_have_text("2 of 6")
    page.locator("#ui-notes-toggle").click()
    assert page.locator("#ui-slide-notes").is_visible(), "the buttons stay"
    page.keyboard.press("Escape")
    page.locator("#ui-letters").check()
    page.keyboard.press("l")
    assert page.locator("#ui-lecture").is_visible()
