"""Charts linked to the player: markers follow the scrubber, and dragging on a chart moves it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from page_reading import grey, pixels, reads, seek
from report_fakes import fake_chart

from viz_diffusion.report import Player
from viz_diffusion.report.line_chart import draw_chart

expect = pytest.importorskip("playwright.sync_api").expect
pytestmark = pytest.mark.browser
Visit = Callable[..., SimpleNamespace]


def marks(page: Any, chart: str = "#noising .chart") -> list[list[float]]:
    """Return (x, y) of each visible marker."""
    found = page.locator(f"{chart} .dot").all()
    where = [dot.get_attribute("transform") for dot in found if dot.get_attribute("visibility") == "visible"]
    return [[float(number) for number in re.findall(r"[\d.]+", one)] for one in where]


def point(page: Any, svg: str, share: float) -> tuple[float, float]:
    """Return the screen position at a share of the width of a plotting area, at half its height."""
    box = page.locator(svg).bounding_box()
    _, _, width, height = map(float, page.locator(svg).get_attribute("viewBox").split())
    lines = page.locator(f"{svg} line.rule").first
    left, right = float(lines.get_attribute("x1")), float(lines.get_attribute("x2"))
    scale = min(box["width"] / width, box["height"] / height)
    return box["x"] + scale * (left + share * (right - left)), box["y"] + box["height"] / 2


def test_markers_follow_the_scrubber(report: Path, players: tuple[Player, ...], visit: Visit) -> None:
    page = visit(report).page
    chart = fake_chart(players[0].left)
    drawn = draw_chart(chart)
    page.locator("#noising .chart").scroll_into_view_if_needed()
    for frame in (0, 250, 999):
        seek(page, frame)
        values = [line.values[frame] for line in chart.lines]
        expected = [[drawn.axes.x(1000 - frame), drawn.axes.y(value)] for value in values]
        assert np.allclose(marks(page), expected, atol=0.6), frame
        words = page.locator("#noising .now").inner_text().splitlines()
        assert words[0] == f"{1000 - frame} step{'s' * (frame < 999)} left"
        assert words[1] == f"down plain words {values[0]:.2f}"
    glance = page.locator("#noising .glance canvas")
    glance.evaluate("(canvas) => { canvas.id = 'ui-glance'; }")
    assert np.array_equal(pixels(page, "glance"), grey(players[0].x_t[999]))
    seek(page, 1000)
    assert marks(page) == [], "a finished picture has no step"


def test_markers_lie_on_their_lines(report: Path, visit: Visit) -> None:
    page = visit(report).page
    page.locator("#noising .chart").scroll_into_view_if_needed()
    seek(page, 333)
    paths = [path.get_attribute("d") for path in page.locator("#noising .chart .line").all()]
    for (x, y), path in zip(marks(page), paths, strict=True):
        points = np.array([list(map(float, one.split())) for one in path[1:].split("L")])
        assert np.hypot(*(points[333] - (x, y))) < 0.6
    shapes = {dot.get_attribute("d") for dot in page.locator("#noising .chart .dot").all()}
    dashes = page.locator("#noising .chart .line").evaluate_all(
        "(all) => all.map((one) => getComputedStyle(one).strokeDasharray)"
    )
    assert len(shapes) == len(set(dashes)) == 2, "told apart without colour"


def test_dragging_on_a_chart_moves_the_scrubber(report: Path, players: tuple[Player, ...], visit: Visit) -> None:
    page = visit(report).page
    svg = "#noising .chart svg"
    page.locator(svg).scroll_into_view_if_needed()
    page.mouse.click(*point(page, svg, 0.25))
    assert abs(int(reads(page)[0]) - 750) <= 2
    frame = int(page.locator("#ui-scrubber").input_value())
    assert np.array_equal(pixels(page, "x_t"), grey(players[0].x_t[frame]))
    page.mouse.down()
    page.mouse.move(*point(page, svg, 0.6))
    assert abs(int(reads(page)[0]) - 400) <= 2
    page.mouse.move(*point(page, svg, 1.2))
    assert reads(page) == ("0", "finished")
    page.mouse.up()
    page.mouse.move(*point(page, svg, 0.3))
    assert reads(page) == ("0", "finished"), "only while the button is down"


def test_dragging_on_the_curve_moves_the_scrubber(report: Path, visit: Visit) -> None:
    page = visit(report).page
    page.mouse.move(*point(page, ".curve svg", 0.1))
    page.mouse.down()
    assert abs(int(reads(page)[0]) - 900) <= 2
    page.mouse.move(*point(page, ".curve svg", 0.74))
    assert abs(int(reads(page)[0]) - 260) <= 2
    page.mouse.up()


def test_another_run_hides_the_markers(report: Path, visit: Visit) -> None:
    page = visit(report).page
    page.locator("#layers summary").first.click()
    seek(page, 100)
    page.locator("#noising .chart").scroll_into_view_if_needed()
    assert len(marks(page)) == 2
    assert marks(page, "#layers .chart") == [], "a chart of other steps"
    page.get_by_role("radio", name="with the label 3").check(force=True)
    expect(page.locator("#ui-scrubber")).to_have_attribute("max", "50")
    page.locator("#noising .chart svg").scroll_into_view_if_needed()
    expect(page.locator("#noising .glance")).not_to_be_visible()
    assert marks(page) == []
    before = reads(page)
    page.mouse.click(*point(page, "#noising .chart svg", 0.25))
    assert reads(page) == before
    page.get_by_role("radio", name="with the label 5").check(force=True)
    expect(page.locator("#ui-scrubber")).to_have_attribute("max", "1000")
    page.locator("#noising .chart svg").scroll_into_view_if_needed()
    expect(page.locator("#noising .chart .dot").first).to_have_attribute("visibility", "visible")


def test_a_chart_has_eleven_rows_of_numbers(report: Path, visit: Visit) -> None:
    page = visit(report).page
    page.locator("#noising .chart summary").click()
    rows = [row.inner_text().split() for row in page.locator("#noising .chart tbody tr").all()]
    assert len(rows) == 11
    assert rows[0] == ["1000", "1.00", "0.50"]
    assert rows[-1][0] == "1"


def test_names_stand_clear_of_lines_and_of_each_other(report: Path, visit: Visit) -> None:
    for width in (390, 1280):
        page = visit(report, viewport={"width": width, "height": 844}).page
        boxes = [name.bounding_box() for name in page.locator("#noising .of-line").all()]
        assert len(boxes) == 2
        (a, b) = boxes
        apart = a["x"] + a["width"] < b["x"] or b["x"] + b["width"] < a["x"] or a["y"] + a["height"] < b["y"] + 4
        assert apart or b["y"] + b["height"] < a["y"] + 4
