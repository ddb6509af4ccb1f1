"""Terms of the glossary in a browser: their meaning on hover, focus and tap, and links without JavaScript."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from page_reading import violations
from report_fakes import fake_page

from viz_diffusion.report import write_report

expect = pytest.importorskip("playwright.sync_api").expect
pytestmark = pytest.mark.browser
Visit = Callable[..., SimpleNamespace]
AXE = Path(__file__).parent / "vendor" / "axe-core" / "axe.min.js"
LABEL = '#layers a[href="#ui-term-label"]'
SCALE = '#layers a[href="#ui-term-guidance_scale"]'


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("terms") / "report.html"
    write_report(fake_page(), path)
    return path


def opened(visit: Visit, path: Path, **options: Any) -> Any:
    """Return the page with the chapter that has terms unfolded."""
    page = visit(path, **options).page
    page.locator("#layers .fold > summary").click()
    page.mouse.move(0, 0)
    return page


@pytest.mark.parametrize("width", [390, 1280, 1920])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_hovering_shows_the_meaning(page_file: Path, visit: Visit, width: int, scheme: str) -> None:
    page = opened(visit, page_file, viewport={"width": width, "height": 800}, color_scheme=scheme)
    tip = page.locator("#ui-tip")
    expect(tip).not_to_be_visible()
    page.hover(LABEL)
    expect(tip).to_be_visible()
    assert "The class that is requested" in tip.inner_text()
    assert tip.locator("math").count() == 2
    assert tip.locator("a, [id]").count() == 0, "nothing to reach, and no id twice"
    box = tip.bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= width
    assert violations(page, AXE.read_text("utf-8")) == []
    page.hover("#ui-tip .shown")
    page.wait_for_timeout(400)
    expect(tip).to_be_visible()
    page.mouse.move(2, 2)
    expect(tip).not_to_be_visible()


def test_focus_shows_the_meaning_and_escape_closes_it(page_file: Path, visit: Visit) -> None:
    page = opened(visit, page_file)
    tip = page.locator("#ui-tip")
    page.locator("#layers summary").first.focus()
    page.keyboard.press("Tab")
    expect(tip).to_contain_text("The class that is requested")
    page.keyboard.press("Tab")
    expect(tip).to_contain_text("strength of classifier-free guidance")
    page.keyboard.press("Escape")
    expect(tip).not_to_be_visible()
    assert page.evaluate("document.activeElement.hash") == "#ui-term-guidance_scale"
    page.keyboard.press("Shift+Tab")
    expect(tip).to_be_visible()
    page.keyboard.press("Enter")
    expect(tip).not_to_be_visible()
    assert page.url.endswith("#ui-term-label")


def test_the_first_tap_shows_the_meaning_and_the_second_leads_to_the_glossary(page_file: Path, visit: Visit) -> None:
    page = visit(page_file, viewport={"width": 390, "height": 844}, has_touch=True).page
    page.locator("#layers .fold > summary").tap()
    tip = page.locator("#ui-tip")
    page.tap(LABEL)
    expect(tip).to_contain_text("The class that is requested")
    assert "#" not in page.url
    page.tap(SCALE)
    expect(tip).to_contain_text("strength of classifier-free guidance")
    page.tap("#layers h2")
    expect(tip).not_to_be_visible()
    page.tap(SCALE)
    page.tap(SCALE)
    expect(tip).not_to_be_visible()
    assert page.url.endswith("#ui-term-guidance_scale")


def test_a_screen_reader_gets_the_meaning_as_a_description(page_file: Path, visit: Visit) -> None:
    page = opened(visit, page_file)
    text = page.locator(f"#{page.locator(LABEL).get_attribute('aria-describedby')}").inner_text()
    assert text.startswith("The class that is requested")


def test_escape_closes_the_meaning_before_the_enlarged_figure(page_file: Path, visit: Visit) -> None:
    page = opened(visit, page_file)
    page.locator(LABEL).focus()
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Tab")
    expect(page.locator("#ui-tip")).to_be_visible()
    page.locator("#layers .enlarge").first.evaluate("(button) => button.click()")
    page.keyboard.press("Escape")
    expect(page.locator("#ui-tip")).not_to_be_visible()
    expect(page.locator("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("dialog")).not_to_be_visible()


def test_without_javascript_a_term_is_a_link(page_file: Path, visit: Visit) -> None:
    page = visit(page_file, java_script_enabled=False).page
    page.locator("#layers .fold > summary").click()
    page.click(LABEL)
    assert page.url.endswith("#ui-term-label")
    expect(page.locator("#ui-term-label")).to_be_in_viewport()
    expect(page.locator("#ui-tip")).not_to_be_visible()
