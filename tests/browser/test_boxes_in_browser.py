"""Layout of lecturer mode and of the first screen: no element overlaps another, is cut off, or is too small."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from report_fakes import fake_page

from viz_diffusion.report import write_report
from viz_diffusion.text.catalogue import languages, load_texts

expect = pytest.importorskip("playwright.sync_api").expect
pytestmark = pytest.mark.browser
Visit = Callable[..., SimpleNamespace]

SIZES = ((390, 844), (1024, 768), (1280, 800), (1920, 1080))
SMALLEST = {"stage": (150, 150), "guess": (56, 56), "noise": (56, 56), "slider": (120, 20), "curve": (140, 60)}
"""Smallest useful width and height of an element, in pixels."""

FIND_FAULTS = """([smallest, scrolls]) => {
    const one = (node) => [node.getBoundingClientRect()];
    const words = (node) => {
        const range = document.createRange();
        range.selectNodeContents(node);
        return [...range.getClientRects()].filter((rect) => rect.width > 1 && rect.height > 1);
    };
    const drawn = (node) => [...node.querySelectorAll(".line, text, .zero")].flatMap(one);
    const wanted = {
        title: ["#ui-slide-title", words], stage: [".player .stage canvas", one], curve: [".curve svg", drawn],
        caption: [".player figcaption", words], reading: [".reads > div", words], guess: [".guess canvas", one],
        noise: [".noise canvas", one], scale: [".scale", one], play: ["#ui-play", one], slider: ["#ui-scrubber", one],
        speed: [".speed", one], compare: [".compare", one], digit: [".digits label", one], both: ["#ui-both", words],
        notes: ["#ui-slide-notes", one], bar: [".slide-bar > :not(.keys)", words],
    };
    const things = [];
    for (const [name, [selector, measure]] of Object.entries(wanted)) {
        for (const node of document.querySelectorAll(selector)) {
            if (!node.checkVisibility({ visibilityProperty: true })) continue;
            const rects = measure(node).filter((rect) => rect.width > 0 && rect.height > 0);
            if (!rects.length) continue;
            const [left, top] = [Math.min(...rects.map((r) => r.left)), Math.min(...rects.map((r) => r.top))];
            const [right, bottom] = [Math.max(...rects.map((r) => r.right)), Math.max(...rects.map((r) => r.bottom))];
            if (name === "bar" && scrolls) continue; // it stays at the lower edge, over what scrolls
            things.push({ name, node, left, top, right, bottom });
        }
    }
    const faults = [];
    const tell = (thing) => `${thing.name} "${thing.node.textContent.trim().replace(/\\s+/g, " ").slice(0, 25)}"`;
    things.forEach((a, index) => {
        const [width, height] = smallest[a.name] ?? [0, 0];
        if (a.right - a.left < width || a.bottom - a.top < height)
            faults.push(`${tell(a)} is only ${Math.round(a.right - a.left)} x ${Math.round(a.bottom - a.top)}`);
        if (a.left < -1 || a.right > innerWidth + 1 || (!scrolls && (a.top < -1 || a.bottom > innerHeight + 1)))
            faults.push(`${tell(a)} is cut`);
        for (const b of things.slice(index + 1)) {
            const across = Math.min(a.right, b.right) - Math.max(a.left, b.left);
            const down = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
            if (across > 2 && down > 2 && !a.node.contains(b.node) && !b.node.contains(a.node))
                faults.push(`${tell(a)} and ${tell(b)} overlap by ${Math.round(across)} x ${Math.round(down)}`);
        }
    });
    return [things.map(({ name }) => name), faults];
}"""


def faults(page: Any, width: int, whole: bool = True) -> list[str]:
    """Return descriptions of all faults, after checking that the elements exist."""
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")  # laid out
    names, found = page.evaluate(FIND_FAULTS, [SMALLEST, width < 960 or not whole])
    comparing = page.locator(".comparing").count() == 1
    assert {"stage", "guess", "reading", "caption", "slider", "play", "compare"} <= set(names)
    assert comparing or {"curve", "noise", "digit"} <= set(names)
    return list(found)


@pytest.fixture(scope="module", params=languages())
def translated(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    texts = load_texts(request.param)
    page = dataclasses.replace(
        fake_page(),
        lang=request.param,
        title=texts("report.title", digit=5, num_steps=1000),
        lede=texts("report.lede", digit=5, num_steps=1000, millions=1.1),
        facts=tuple((texts[f"fact.{name}"], "DDPM (σ² = β̃)") for name in ("seed", "weights", "sampler", "guidance")),
    )
    path = tmp_path_factory.mktemp(request.param) / "report.html"
    write_report(page, path)
    return path


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_the_player_slide_has_room_for_all_its_parts(translated: Path, visit: Visit, width: int, height: int) -> None:
    page = visit(translated, viewport={"width": width, "height": height}).page
    page.keyboard.press("l")
    notes = page.locator("#ui-slide-notes")
    for run in ("", "1", "4"):
        page.locator("#ui-compare").select_option(run)
        expect(page.locator("#ui-x_t-2")).to_be_visible(visible=run != "")
        page.locator("#ui-play").focus()
        assert faults(page, width) == [], f"beside it: {run or 'nothing'}"
        page.keyboard.press("n")
        expect(notes).to_be_visible()
        assert faults(page, width) == [], f"with notes, beside it: {run or 'nothing'}"
        page.keyboard.press("n")


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_the_first_screen_has_room_for_all_its_parts(translated: Path, visit: Visit, width: int, height: int) -> None:
    page = visit(translated, viewport={"width": width, "height": height}).page
    assert faults(page, width) == []
    page.locator("#ui-compare").select_option("1")
    expect(page.locator("#ui-x_t-2")).to_be_visible()
    assert faults(page, width, whole=False) == []


def test_planted_faults_are_found(translated: Path, visit: Visit) -> None:
    page = visit(translated).page
    page.keyboard.press("l")
    assert faults(page, 1280) == []
    for selector, name, value, expected in (
        (".noise", "translate", "-4rem", "overlap"),
        ("#ui-scrubber", "width", "22px", "is only"),
        (".curve", "translate", "6rem", "is cut"),
    ):
        styled = page.locator(selector).first
        styled.evaluate("(node, [name, value]) => node.style.setProperty(name, value)", [name, value])
        assert any(expected in fault for fault in faults(page, 1280)), expected
        styled.evaluate("(node, name) => node.style.removeProperty(name)", name)
    assert faults(page, 1280) == []
