"""Speed of painting and scrubbing; the limits are lenient, the times are printed (pytest -s)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("playwright.sync_api")
pytestmark = pytest.mark.browser
Visit = Callable[..., SimpleNamespace]

SCRUB = """(frames) => {
    const scrubber = document.getElementById("ui-scrubber");
    const probe = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    const began = performance.now();
    for (let frame = 0; frame < frames; frame++) {
        scrubber.value = frame;
        scrubber.dispatchEvent(new Event("input", { bubbles: true }));
        probe.drawImage(document.getElementById("ui-x_t"), 0, 0, 1, 1); // waits for what was drawn
        probe.getImageData(0, 0, 1, 1);
    }
    return performance.now() - began;
}"""

DRAG = """(count) => new Promise((done) => {
    const scrubber = document.getElementById("ui-scrubber");
    const began = performance.now();
    let frame = 0;
    const next = () => {
        scrubber.value = frame * 5;
        scrubber.dispatchEvent(new Event("input", { bubbles: true }));
        if (++frame < count) requestAnimationFrame(next);
        else done((performance.now() - began) / count);
    };
    requestAnimationFrame(next);
})"""


@pytest.mark.parametrize("beside", ["", "2"])
def test_1000_frames_are_drawn_faster_than_60_a_second(report: Path, visit: Visit, beside: str) -> None:
    page = visit(report).page
    page.locator("#ui-compare").select_option(beside)
    took = page.evaluate(SCRUB, 1000)
    print(f"\n1000 frames in {took:.0f} ms ({1000 * 1000 / took:.0f} a second){', two runs' if beside else ''}")
    assert page.locator("#ui-left").inner_text() == "1"
    assert took < 1000 * 1000 / 60
    each = page.evaluate(DRAG, 120)
    print(f"dragging: {each:.1f} ms from one screen refresh to the next")
    assert each < 100


def test_first_paint(report: Path, visit: Visit) -> None:
    page = visit(report).page
    times = page.evaluate("performance.getEntriesByType('paint').map((one) => [one.name, one.startTime])")
    print("\n" + ", ".join(f"{name} {time:.0f} ms" for name, time in times))
    assert {name for name, _ in times} >= {"first-contentful-paint"}
    assert max(time for _, time in times) < 3000
