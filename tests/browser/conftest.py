"""A Chromium without network; browser tests are skipped where none is installed."""

from __future__ import annotations

import importlib.util
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from live_lab import SLOW, settled
from report_fakes import fake_page, fake_player

from viz_diffusion.report import Player, write_report

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    executable = next(filter(None, map(shutil.which, NAMES)), None)
    if importlib.util.find_spec("playwright") is None:
        pytest.skip("playwright is not installed")
    if executable is None:
        pytest.skip(f"no Chromium on PATH: looked for {', '.join(NAMES)}")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=executable, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def blank(chromium: Any) -> Iterator[Any]:
    """A page without content, where the live page's engine runs."""
    context = chromium.new_context(offline=True)
    yield context.new_page()
    context.close()


@pytest.fixture(scope="session")
def players() -> tuple[Player, ...]:
    return fake_player(5, 1000), fake_player(3, 50, noise=False), fake_player(8, 50, noise=False)


@pytest.fixture(scope="session")
def report(players: tuple[Player, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_report(fake_page(players), path)
    return path


@pytest.fixture
def visit(chromium: Any) -> Iterator[Callable[..., Any]]:
    """Open a file; its requests, console messages and dialogs are in ``.requests``, ``.messages``, ``.dialogs``.

    The content policy forbids eval, so wait with locators, never with ``wait_for_function``.
    The test fails if a page requested anything but its own file, logged a message, or opened a dialog.
    """
    visits: list[SimpleNamespace] = []

    def open_page(path: Path, *, ready: bool = True, **options: Any) -> SimpleNamespace:
        options = {"viewport": {"width": 1280, "height": 800}, "reduced_motion": "reduce", **options}
        context = chromium.new_context(offline=True, **options)
        page = context.new_page()
        seen = SimpleNamespace(page=page, context=context, requests=[], messages=[], dialogs=[], url=path.as_uri())

        def count(route: Any) -> None:
            seen.requests.append(route.request.url)
            route.continue_()

        context.route(re.compile("^(?!data:)"), count)
        page.on("console", lambda message: seen.messages.append(message.text))
        page.on("pageerror", lambda error: seen.messages.append(str(error)))
        page.on("dialog", lambda dialog: (seen.dialogs.append(dialog.message), dialog.dismiss()))
        visits.append(seen)
        page.goto(seen.url)
        if ready and options.get("java_script_enabled", True):
            page.locator("#ui-scrubber[aria-valuetext]").wait_for()
        return seen

    yield open_page
    for seen in visits:
        seen.context.close()
        other_requests = {url for url in seen.requests if url.partition("#")[0] != seen.url}
        assert other_requests == set()
        assert seen.messages == []
        assert seen.dialogs == []


@pytest.fixture(scope="session")
def labs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The live lab of the bundled weights, by language."""
    from viz_diffusion.live.network_data import network_data
    from viz_diffusion.live.page import render
    from viz_diffusion.text.catalogue import languages, load_texts
    from viz_diffusion.training.run import Run

    folder, data = tmp_path_factory.mktemp("live"), network_data(Run.bundled())
    paths = {lang: folder / f"live.{lang}.html" for lang in languages()}
    for lang, path in paths.items():
        path.write_text(render(data, load_texts(lang)), "utf-8")
    return paths


@pytest.fixture
def open_lab(labs: dict[str, Path], visit: Callable[..., Any]) -> Iterator[Callable[..., Any]]:
    def opened(address: str = "", lang: str = "en", **options: Any) -> Any:
        page = visit(labs[lang], ready=False, **options).page
        page.set_default_timeout(SLOW)
        page.locator("html.ready").wait_for(timeout=SLOW)
        if address:
            page.evaluate("(hash) => { location.hash = hash; }", address)
            settled(page)
        return page

    from playwright.sync_api import expect

    expect.set_options(timeout=SLOW)
    yield opened
    expect.set_options(timeout=5000)
