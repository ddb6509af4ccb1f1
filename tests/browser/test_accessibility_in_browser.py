"""WCAG 2.2 AA violations of the report page in all its states, found by axe-core."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from page_reading import violations
from report_fakes import fake_page

from viz_diffusion.report import write_report

pytest.importorskip("playwright.sync_api")
VENDOR = Path(__file__).parent / "vendor" / "axe-core"
Visit = Callable[..., SimpleNamespace]


@pytest.fixture(scope="module")
def axe() -> str:
    return (VENDOR / "axe.min.js").read_text("utf-8")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("small") / "report.html"
    write_report(fake_page(), path)
    return path


def test_axe_core_is_the_published_file() -> None:
    data = (VENDOR / "axe.min.js").read_bytes().replace(b"\r\n", b"\n")  # a checkout on Windows
    noted = re.search(r"SHA-256.*: ([0-9a-f]{64})", (VENDOR / "README.md").read_text("utf-8"))
    assert noted is not None
    assert hashlib.sha256(data).hexdigest() == noted[1]
    assert (VENDOR / "LICENSE").read_text("utf-8").startswith("Mozilla Public License, version 2.0")


@pytest.mark.browser
def test_axe_finds_what_is_wrong(small: Path, visit: Visit, axe: str) -> None:
    page = visit(small).page
    page.evaluate("document.querySelector('.still img').removeAttribute('alt'); document.documentElement.lang = ''")
    page.evaluate("document.querySelector('#ui-play').setAttribute('aria-labelledby', 'nothing')")
    page.evaluate("document.querySelector('#ui-play-name').textContent = ''")
    found = violations(page, axe)
    assert {"html-has-lang", "button-name"} <= {line.partition(":")[0] for line in found}


@pytest.mark.browser
@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (390, "dark"), (1280, "light"), (1920, "dark")])
def test_no_violation(small: Path, visit: Visit, axe: str, width: int, scheme: str) -> None:
    page = visit(small, viewport={"width": width, "height": 844 if width == 390 else 800}, color_scheme=scheme).page
    assert violations(page, axe) == []
    for details in page.locator("details").all():
        details.evaluate("(element) => { element.open = true; }")
    page.locator("#ui-compare").select_option("2")
    page.locator(".comparing").wait_for()
    assert violations(page, axe) == [], "side by side, everything open"
    page.keyboard.press("End")
    page.locator("body").press("l")
    assert violations(page, axe) == [], "lecturer mode, two runs"
    page.keyboard.press("n")
    page.locator("#ui-compare").select_option("")
    assert violations(page, axe) == [], "lecturer mode, the player with notes"
    for slide in ("a picture", "a picture", "a chart"):
        page.keyboard.press("PageDown")
        assert violations(page, axe) == [], f"lecturer mode, {slide} with notes"
