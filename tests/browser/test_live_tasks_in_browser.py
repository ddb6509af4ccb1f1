"""The live lab's tasks in a browser: what they name is in reach, and does what they say."""

from __future__ import annotations

from typing import Any

import pytest
from live_lab import settled, state

pytest.importorskip("playwright.sync_api")
pytestmark = pytest.mark.browser


def click_film(page: Any, x: float) -> None:
    box = page.locator("#ui-film").bounding_box()
    page.mouse.click(box["x"] + x, box["y"] + 12)
    settled(page)


def test_the_film_goes_to_the_change_and_computes_what_is_missing(open_lab: Any) -> None:
    page = open_lab("seed=1&steps=50&guidance=1&label=5&at=499")
    page.get_by_role("radio", name="3", exact=True).check(force=True)
    page.evaluate("lab.step(); lab.step()")
    width = page.evaluate("byId('film').clientWidth")
    click_film(page, width * 0.5 + 40)
    assert state(page)["t"] < 499
    mark = page.evaluate("(() => { const p = lab.current.run.steps[lab.current.fork].t; return p; })()")
    assert mark == 499
    frame = page.evaluate("parseFloat(getComputedStyle(byId('film').parentElement).getPropertyValue('--frame'))")
    places = int((width + 2) // (frame + 2))
    click_film(page, round(0.5 * (places - 1)) * (width - frame) / (places - 1) - 3)
    assert state(page)["t"] == 499, "beside the orange line"
    assert page.evaluate("lab.current.run.steps.length") < 50
    click_film(page, width - 4)
    assert state(page)["t"] == -1, "computed to the end"
    scale = page.locator(".axis > span").all_inner_texts()
    assert scale == ["t = 999", "749", "499", "249", "finished"]


@pytest.mark.parametrize(("lang", "width", "height"), [("en", 1280, 800), ("zh", 1280, 800), ("zh", 390, 844)])
def test_play_and_finish_are_on_the_first_screen_of_every_task(
    open_lab: Any, lang: str, width: int, height: int
) -> None:
    page = open_lab("", lang, viewport={"width": width, "height": height})
    low = []
    for name in page.evaluate("taskList.map(({ name }) => name)"):
        page.evaluate("(name) => { tasks.open(name); scrollTo(0, 0); }", name)
        box = page.locator("#ui-finish").bounding_box()
        if box["y"] + box["height"] > height:
            low.append((name, box["y"]))
    assert low == []
    boxes = [page.locator(f"#ui-{name}").bounding_box()["y"] for name in ("play", "step", "finish", "start")]
    assert max(boxes) - min(boxes) < 4, "in one row"


def test_a_task_leads_to_its_control_and_a_place_in_the_page_resets_nothing(open_lab: Any) -> None:
    page = open_lab("task=fork")
    settled(page)
    assert state(page)["t"] == 749
    page.get_by_role("button", name="Go to “Finish eight times”").click()
    assert page.evaluate("document.activeElement.id") == "ui-fork"
    box = page.locator("#ui-fork").bounding_box()
    assert 0 < box["y"] < 800
    page.evaluate("location.hash = 'ui-board'")
    settled(page)
    assert state(page)["t"] == 749
    page.evaluate("tasks.open('guidance')")
    ways = page.locator("#ui-task-places button")
    assert ways.last.inner_text() == "Go to “Let sixteen seeds vote”"
    assert [way.is_visible() for way in ways.all()] == [False, True], "the slider is in view already"
    page.set_viewport_size({"width": 390, "height": 844})
    assert ways.first.inner_text() == "Go to “guidance scale”"
    ways.first.click()
    assert page.evaluate("document.activeElement.id") == "ui-guidance"
