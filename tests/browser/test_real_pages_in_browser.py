"""Pages written by the commands, in every language: no requests, no messages, no overflow, no WCAG violations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from page_reading import violations
from PIL import Image
from pypdf import PdfReader
from report_fakes import fake_page

from viz_diffusion.cli import main
from viz_diffusion.lessons.base import all_lessons
from viz_diffusion.report import write_report
from viz_diffusion.text.catalogue import languages, load_texts

pytest.importorskip("playwright.sync_api")
pytestmark = pytest.mark.browser
Visit = Callable[..., SimpleNamespace]
AXE = Path(__file__).parent / "vendor" / "axe-core" / "axe.min.js"
WIDTHS = (390, 1280, 1920)
BARE_SYMBOLS = """() => {
    const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    const bare = [];
    for (let node = walk.nextNode(); node; node = walk.nextNode()) {
        if (node.parentElement.closest("var, script, style, svg, code, option")) continue;
        if (/x_t|[\\u0302-\\u0304\\u1fb1\\u2080\\u209c]|(^|\\s)t =/.test(node.data)) bare.push(node.data);
    }
    return bare;
}"""
"""Returns texts with a combining mark, a subscript or x_t that are not typeset as symbols."""


@pytest.fixture(scope="module")
def recording(make_recording: Callable[[int], Path]) -> Path:
    return make_recording(24)


@pytest.fixture(scope="module")
def written(recording: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a report, a worksheet and its key in each language, of a study that is measured once."""
    folder = tmp_path_factory.mktemp("pages")
    for lang in languages():
        common = ["--trajectory", str(recording), "--run", "bundled", "--lang", lang, "--quiet"]
        assert main(["report", *common, "--out", str(folder / lang / "report.html")]) == 0
        assert main(["worksheet", *common, "--out", str(folder / lang / "sheets")]) == 0
    return folder


@pytest.fixture(scope="module", params=languages())
def pages(request: pytest.FixtureRequest, written: Path) -> Path:
    """Return a folder named by its language, with a report, a worksheet and its key."""
    return written / str(request.param)


@pytest.fixture(scope="module")
def page(pages: Path, chromium: Any) -> Iterator[Any]:
    """Return the report in a window of 1280 x 800, for tests that only read it."""
    context = chromium.new_context(offline=True, viewport={"width": 1280, "height": 800}, reduced_motion="reduce")
    page = context.new_page()
    page.goto((pages / "report.html").as_uri())
    page.locator("#ui-scrubber[aria-valuetext]").wait_for()
    yield page
    context.close()


@pytest.mark.parametrize("name", ["report.html", "sheets/worksheet.html", "sheets/key.html"])
def test_a_written_page_is_silent_accessible_and_whole(pages: Path, visit: Visit, name: str) -> None:
    page = visit(pages / name, ready=name == "report.html", viewport={"width": 1280, "height": 800}).page
    assert page.locator("html").get_attribute("lang") == load_texts(pages.name)["language.tag"]
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 800})
        assert violations(page, AXE.read_text("utf-8")) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_report_has_every_core_lesson_in_its_language(page: Any, pages: Path) -> None:
    texts = load_texts(pages.name)
    questions = [question.inner_text() for question in page.locator(".chapter h2 .question").all()]
    core = [texts[f"chapter.{lesson.name}.question"] for lesson in all_lessons() if lesson.core]
    assert [question for question in questions if question in core] == core  # others only where they ship
    assert page.locator(".chapter img:not([alt]), .chapter:not(.introduction) img[alt='']").count() == 0
    for image in page.locator("figure.picture img").all():
        assert image.evaluate("(image) => image.complete && image.naturalWidth") == 1280  # an SVG of 960 pt
    assert "{" not in page.locator("main").inner_text()


def test_pixels_are_compared_with_latents(page: Any, pages: Path) -> None:
    texts = load_texts(pages.name)
    assert page.locator("#ui-compare option").last.text_content() == texts["interface.script.part_latent"]
    *spaces, last = page.evaluate("runs.map((one) => one.space)")
    assert (set(spaces), last) == ({"pixel"}, "latent")
    assert "bundled-latent" in page.evaluate("runs.at(-1).note")


def test_headings_and_contents_name_the_subjects(page: Any, pages: Path) -> None:
    texts = load_texts(pages.name)
    shown = [
        name for name in page.locator(".chapter").evaluate_all("(all) => all.map(({ id }) => id)") if name[:3] != "ui-"
    ]
    titles = [page.locator(f'.contents a[href="#{name}"]').inner_text() for name in shown]
    assert titles == [texts[f"chapter.{name}.title"].replace("₀", "0") for name in shown]
    subtitles = [page.locator(f"#{name} > .story").inner_text() for name in shown]
    assert subtitles == [texts[f"chapter.{name}.subtitle"] for name in shown]
    for name, title in zip(shown, titles, strict=True):
        assert page.locator(f"#ui-h-{name}").inner_text().startswith(title)


def test_the_introduction_fits_on_one_screen(page: Any) -> None:
    section = page.locator("#ui-introduction")
    for width, height in ((390, 844), (1280, 800), (1920, 1080)):
        page.set_viewport_size({"width": width, "height": height})
        assert section.bounding_box()["height"] <= height
        for image in section.locator("img").all():
            assert image.bounding_box()["width"] >= 40
    page.set_viewport_size({"width": 1280, "height": 800})
    assert section.locator("[role=img]").count() == 3
    assert [row.locator("img").count() for row in section.locator(".tiles").all()] == [5, 4, 5]


def test_the_summary_has_every_question_once(page: Any) -> None:
    asked = page.locator(".answers dt").evaluate_all("(all) => all.map((one) => one.textContent.trim())")
    rows = page.locator("#ui-summary td:first-child").evaluate_all("(all) => all.map((one) => one.textContent.trim())")
    assert rows == asked
    answers = page.locator("#ui-summary td:last-child").all_inner_texts()
    assert all(answer.startswith(("Yes", "No", "Undecided", "是", "否", "无法判断")) for answer in answers)
    numbers = [any(letter.isdigit() for letter in answer) for answer in answers]
    assert sum(numbers) >= 0.95 * len(numbers), "the answer to a question about what there is has none"
    for link in page.locator("#ui-summary a").all():
        assert page.locator(str(link.get_attribute("href"))).count() == 1


def test_the_corrections_are_the_decks(page: Any, pages: Path) -> None:
    texts = load_texts(pages.name)
    sayings = [texts[key] for key in texts if key.startswith("deck.correction.") and key.endswith(".said")]
    assert page.locator(".corrections dt").all_inner_texts() == sayings
    for answer in page.locator(".corrections dd").all_inner_texts():
        assert len(answer) > 20
    assert texts["interface.article"] in page.locator("#ui-corrections p").first.inner_text()


@pytest.mark.parametrize("name", ["worksheet.html", "key.html"])
def test_symbols_are_typeset_on_every_sheet(pages: Path, visit: Visit, name: str) -> None:
    sheet = visit(pages / "sheets" / name, ready=False).page
    assert sheet.evaluate(BARE_SYMBOLS) == []
    assert sheet.locator("var").count() > 10


def test_symbols_are_typeset_wherever_they_are_seen(page: Any) -> None:
    assert page.evaluate(BARE_SYMBOLS) == []
    assert page.locator("var").count() > 10


def test_a_table_wider_than_its_room_says_so(pages: Path, visit: Visit) -> None:
    page, texts = visit(pages / "report.html", viewport={"width": 320, "height": 640}).page, load_texts(pages.name)
    tables = [box for box in page.locator(".scroll").all() if box.is_visible()]
    wide = [box for box in tables if box.evaluate("(box) => box.scrollWidth > box.clientWidth + 1")]
    assert 0 < len(wide) < len(tables)
    for box in tables:
        hint = box.locator("caption > span").first.evaluate("(words) => getComputedStyle(words, '::after').content")
        shadow = box.evaluate("(box) => getComputedStyle(box).boxShadow")
        assert (texts["interface.scroll_hint"] in hint) == (shadow != "none") == (box in wide)
    box = wide[0]
    box.focus()
    box.evaluate("(box) => box.scrollTo({ left: box.scrollWidth, behavior: 'instant' })")
    page.locator(".scroll.more-before:not(.more-after)").first.wait_for()


def test_the_printed_report_wastes_no_paper_and_leaves_no_heading_alone(
    pages: Path, visit: Visit, tmp_path: Path
) -> None:
    page = visit(pages / "report.html").page
    page.locator("figure img").evaluate_all("(all) => all.forEach((one) => { one.style.visibility = 'hidden'; })")
    page.pdf(path=tmp_path / "report.pdf", prefer_css_page_size=True)
    sheets = PdfReader(tmp_path / "report.pdf").pages
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 673, "height": 1005})  # what the margins leave of A4, in CSS pixels
    content = page.evaluate("document.documentElement.scrollHeight") / 1005
    ending = page.locator("#ui-summary, #ui-exercises, #ui-glossary").evaluate_all(
        "(all) => all.reduce((sum, one) => sum + one.getBoundingClientRect().height, 0)"
    )
    figures = page.locator("figure").count()
    assert content - ending / 1005 <= 0.75 * figures, "small pictures, and no tables of charts"
    assert len(sheets) <= 1.25 * content, "at most a fifth of the paper is left white at the sheets' ends"
    assert round(float(sheets[0].mediabox.width) / 72 * 25.4) == 210
    heads = page.locator("h2, h3, h2 .question").evaluate_all("(all) => all.map((one) => one.textContent)")
    headings = {"".join(one.split()) for head in heads for one in (head, head.partition(":")[0])}
    least = (
        60 if page.locator("html").get_attribute("lang") == "en" else 30
    )  # Chinese says the same in half the characters
    for number, sheet in enumerate(sheets, 1):
        lines: dict[int, str] = {}
        words = sheet.extract_text(visitor_text=lambda text, cm, tm, _font, _size, to=lines: collect(text, cm, tm, to))
        assert len(words) > least, "no sheet holds a picture alone, without words"
        assert lines[min(lines)] not in headings, f"a heading is alone at the foot of sheet {number}"
    for place in (".answers dd", ".exercise details"):
        assert page.locator(place).filter(visible=True).count() == 0, "questions stand without their answers"


def test_control_the_lowest_line_of_a_sheet_is_found() -> None:
    lines: dict[int, str] = {}
    for text, height in (("Lowest", 20.0), ("Higher", 500.0), (" line", 20.4)):
        collect(text, [1, 0, 0, 1, 0, 0], [1, 0, 0, 1, 0, height], lines)
    assert lines[min(lines)] == "Lowestline"


def collect(text: str, cm: list[float], tm: list[float], lines: dict[int, str]) -> None:
    """Add a text of a PDF to the line at its height, without spaces."""
    if text.strip():
        height = round(cm[1] * tm[4] + cm[3] * tm[5] + cm[5])
        lines[height] = lines.get(height, "") + "".join(text.split())


def test_a_students_page_is_silent_accessible_and_without_answers(tmp_path: Path, visit: Visit) -> None:
    write_report(fake_page(audience="student"), tmp_path / "report.html")
    page = visit(tmp_path / "report.html", viewport={"width": 390, "height": 844}).page
    assert violations(page, AXE.read_text("utf-8")) == []
    for place in (".answers", ".verdict", ".say", "#ui-lecture", "#ui-lecture-open", "#ui-exercises"):
        assert page.locator(place).count() == 0, place
    assert page.locator(".questions li").count() == page.locator("#ui-summary td:first-child").count() == 2
    assert page.locator("#ui-summary td:last-child").evaluate_all("(all) => all.every((one) => !one.textContent)")
    page.keyboard.press("l")
    page.locator("#noising .enlarge").first.click()
    assert page.locator("dialog img").is_visible()


def test_marks_stand_over_their_letters(pages: Path, visit: Visit) -> None:
    """On a screenshot, a mark is separate from its letter, above it, and centred on it."""
    page = visit(pages / "report.html", device_scale_factor=4).page
    for name in (".bar", ".hat"):
        shot = page.locator(f"{'.reads dt' if name == '.bar' else '.guess figcaption'} var {name}").first.screenshot()
        ink = np.asarray(Image.open(BytesIO(shot)).convert("L")) < 140
        rows = np.flatnonzero(ink.any(axis=1))
        gap = rows[np.flatnonzero(np.diff(rows) > 1)[0]] + 1
        mark, letter = (np.flatnonzero(part.any(axis=0)) for part in (ink[:gap], ink[gap:]))
        assert abs(mark.mean() - letter.mean()) < 0.15 * (letter[-1] - letter[0]), name
        assert 0.3 < np.ptp(mark) / np.ptp(letter) < 1.1, name
