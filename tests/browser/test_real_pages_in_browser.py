"""The pages that commands write, in every language: nothing fetched, said, cut off, or against WCAG."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from page_reading import violations

from viz_diffusion.catalogue import languages, load_texts
from viz_diffusion.cli import main
from viz_diffusion.lessons.lesson import all_lessons

pytest.importorskip("playwright.sync_api")
pytestmark = pytest.mark.browser
Visit = Callable[..., SimpleNamespace]
AXE = Path(__file__).parent / "vendor" / "axe-core" / "axe.min.js"
WIDTHS = (390, 1280, 1920)


@pytest.fixture(scope="module")
def recording(make_recording: Callable[[int], Path]) -> Path:
    return make_recording(24)


@pytest.fixture(scope="module", params=languages())
def pages(request: pytest.FixtureRequest, recording: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder named by its language, with a report, a worksheet and its key."""
    folder = tmp_path_factory.mktemp("pages") / request.param
    common = ["--trajectory", str(recording), "--run", "bundled", "--lang", request.param, "--quiet"]
    assert main(["report", *common, "--out", str(folder / "report.html")]) == 0
    assert main(["worksheet", *common, "--out", str(folder / "sheets")]) == 0
    return folder


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", ["report.html", "sheets/worksheet.html", "sheets/key.html"])
def test_a_written_page_is_silent_accessible_and_whole(pages: Path, visit: Visit, name: str, width: int) -> None:
    page = visit(pages / name, ready=name == "report.html", viewport={"width": width, "height": 800}).page
    texts = load_texts(pages.name)
    assert page.locator("html").get_attribute("lang") == texts["language.tag"]
    assert violations(page, AXE.read_text("utf-8")) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_report_tells_every_lesson_in_its_language(pages: Path, visit: Visit) -> None:
    page, texts = visit(pages / "report.html").page, load_texts(pages.name)
    questions = [question.inner_text() for question in page.locator(".chapter h2").all()]
    core = [texts[f"chapter.{lesson.name}.question"] for lesson in all_lessons() if lesson.core]
    assert [question for question in questions if question in core] == core  # others only where they ship
    assert page.locator(".chapter img:not([alt]), .chapter img[alt='']").count() == 0
    for image in page.locator("figure.picture img").all():
        assert image.evaluate("(image) => image.complete && image.naturalWidth") == 3200
    assert "{" not in page.locator("main").inner_text()
