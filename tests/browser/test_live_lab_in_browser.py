"""The live lab in a browser: what a reader does, by mouse, pen and keyboard; files, links and what can go wrong."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from page_reading import violations
from PIL import Image

from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.live.network_data import network_data
from viz_diffusion.live.page import render
from viz_diffusion.text.catalogue import languages, load_texts
from viz_diffusion.training.run import Run

expect = pytest.importorskip("playwright.sync_api").expect
pytestmark = pytest.mark.browser
Visit = Callable[..., SimpleNamespace]
AXE = Path(__file__).parent / "vendor" / "axe-core" / "axe.min.js"
SLOW = 60_000
"""Milliseconds that the network may take on a busy machine."""


@pytest.fixture(scope="session")
def labs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The page of the bundled weights, by language."""
    folder, data = tmp_path_factory.mktemp("live"), network_data(Run.bundled())
    paths = {lang: folder / f"live.{lang}.html" for lang in languages()}
    for lang, path in paths.items():
        path.write_text(render(data, load_texts(lang)), "utf-8")
    return paths


@pytest.fixture
def open_lab(labs: dict[str, Path], visit: Visit) -> Iterator[Callable[..., Any]]:
    def opened(address: str = "", lang: str = "en", **options: Any) -> Any:
        page = visit(labs[lang], ready=False, **options).page
        page.set_default_timeout(SLOW)
        page.locator("html.ready").wait_for(timeout=SLOW)
        if address:
            page.evaluate("(hash) => { location.hash = hash; }", address)
            settled(page)
        return page

    expect.set_options(timeout=SLOW)
    yield opened
    expect.set_options(timeout=5000)


def settled(page: Any) -> None:
    """Wait until nothing is computed any more and the labels are drawn."""
    page.wait_for_timeout(50)
    page.evaluate(
        """() => new Promise((done) => {
            const working = () => ["link", "fork", "vote", "file"].some(jobs.isRunning);
            const busy = () => lab.isPlaying() || working() || !view.isComplete();
            const look = () => busy() ? setTimeout(look, 30) : done();
            look();
        })"""
    )


def state(page: Any) -> dict[str, Any]:
    """Return the state that is shown: t, x, x0 and the settings."""
    found = page.evaluate(
        "(({t, x, x0, settings}) => ({t, x: [...x], x0: [...x0], settings}))(lab.state())",
    )
    return {**found, "x": np.array(found["x"]), "x0": np.array(found["x0"])}


def thumbnail(page: Any, name: str) -> np.ndarray:
    pixels = page.evaluate(
        """(id) => {
            const copy = new OffscreenCanvas(28, 28).getContext("2d", { willReadFrequently: true });
            copy.drawImage(byId(id), 0, 0);
            return [...copy.getImageData(0, 0, 28, 28).data];
        }""",
        name,
    )
    return np.array(pixels, dtype=int).reshape(28, 28, 4)[..., 0]


@pytest.mark.parametrize(
    ("lang", "width", "scheme"),
    [("en", 390, "light"), ("en", 1280, "dark"), ("zh", 390, "dark"), ("zh", 1280, "light"), ("en", 1920, "light")],
)
def test_accessible_and_within_the_screen(open_lab: Any, lang: str, width: int, scheme: str) -> None:
    page = open_lab("task=label", lang, viewport={"width": width, "height": 844}, color_scheme=scheme)
    page.locator("input[name=prediction]").first.check()
    page.locator("#ui-task-reveal").click()
    page.evaluate("lab.change({ base: 3 })")
    settled(page)
    assert violations(page, AXE.read_text("utf-8")) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    small = page.locator("button:visible, select:visible").evaluate_all(
        "(all) => all.filter((one) => one.getBoundingClientRect().height < 24).map((one) => one.id)"
    )
    assert small == [], "too small for a finger"
    if width == 1280:
        page.keyboard.press("Escape")
        page.locator("body").press("l")
        assert violations(page, AXE.read_text("utf-8")) == [], "lecturer mode"


def test_ten_labels_at_once_and_a_click_switches(open_lab: Any) -> None:
    page = open_lab()
    settled(page)
    pictures = [thumbnail(page, f"label-{label}") for label in range(11)]
    assert all(np.abs(a - b).mean() > 4 for i, a in enumerate(pictures) for b in pictures[:i])
    assert np.array_equal(thumbnail(page, "x0"), pictures[5]), "the present label's own"
    made = page.evaluate("engine.sampler.evaluations")
    page.get_by_role("radio", name="3", exact=True).check(force=True)
    page.wait_for_timeout(200)
    assert np.array_equal(thumbnail(page, "x0"), pictures[3])
    page.evaluate("lab.change({ guidance: 4 })")
    page.wait_for_timeout(200)
    assert page.evaluate("engine.sampler.evaluations") == made, "what is known is not evaluated again"
    assert len(page.evaluate("branches.list")) == 1, "nothing was computed yet, so nothing branches"


def test_a_change_makes_a_second_lane(open_lab: Any) -> None:
    page = open_lab("seed=1&label=5&steps=10&until=-1&at=499")
    before = state(page)
    page.get_by_role("radio", name="8", exact=True).check(force=True)
    after = state(page)
    assert after["t"] == before["t"] == 499
    assert np.array_equal(after["x"], before["x"]), "the same state"
    expect(page.locator("#ui-lane-now")).to_have_text("Run 2")
    expect(page.locator("#ui-lane-before")).to_have_text("Run 1")
    apart = np.sqrt(np.mean((after["x0"] - before["x0"]) ** 2))
    expect(page.locator("#ui-apart")).to_have_text(f"{apart:.3f}")
    expect(page.locator("#ui-runs li").nth(1)).to_contain_text("from Run 1 at t = 499: label 5 → 8")
    page.locator("#ui-finish").click()
    settled(page)
    assert page.evaluate("lab.current.run.steps[2] === lab.other.run.steps[2]"), "what came before is shared"
    assert state(page)["t"] == -1
    box = page.locator("#ui-film").bounding_box()
    page.mouse.click(box["x"] + 4, box["y"] + 10)
    assert state(page)["t"] == 999, "the film's left end"
    page.mouse.click(box["x"] + box["width"] - 4, box["y"] + 76)
    expect(page.locator("#ui-lane-now")).to_have_text("Run 1")
    page.locator("#ui-runs input").first.fill("as it was")
    page.locator("#ui-runs input").first.press("Tab")
    expect(page.locator("#ui-lane-now")).to_have_text("as it was")
    page.get_by_role("button", name="Remove Run 2").click()
    expect(page.locator("#ui-runs li")).to_have_count(1)


def test_a_finished_run_changes_from_its_start(open_lab: Any) -> None:
    page = open_lab("seed=1&label=5&steps=10&at=-1")
    page.locator("#ui-guidance").focus()
    for _ in range(2):
        page.keyboard.press("ArrowRight")
    expect(page.locator("#ui-notice")).to_contain_text("from its start")
    assert (state(page)["t"], state(page)["settings"]["guidance"]) == (999, 2)
    assert page.evaluate("branches.list.length") == 2, "one run for both presses"


def test_everything_by_keyboard(open_lab: Any) -> None:
    page = open_lab("steps=10")
    page.locator("body").press("ArrowRight")
    assert state(page)["t"] == 899
    page.locator("#ui-step").focus()
    page.keyboard.press("Enter")
    assert state(page)["t"] == 799
    page.locator("#ui-scrubber").focus()
    page.keyboard.press("ArrowLeft")
    assert state(page)["t"] == 899
    assert re.match(r"t = 899, signal", page.locator("#ui-scrubber").get_attribute("aria-valuetext"))
    page.keyboard.press("ArrowRight")
    page.locator("#ui-stroke").focus()
    page.keyboard.press("Enter")
    assert len(page.evaluate("lab.state().strokes")) == 1
    assert "Stroke made at t = 799: bar" in page.locator("#ui-said").evaluate("(one) => one.textContent")
    page.locator("input[name=label]:checked").focus()
    page.keyboard.press("ArrowRight")
    assert state(page)["settings"]["label"] == 6
    page.evaluate("document.activeElement.blur()")
    page.locator("body").press("End")
    settled(page)
    assert state(page)["t"] == -1
    page.locator("body").press("Space")
    expect(page.locator("#ui-play-name")).to_have_text("Stop")
    page.locator("body").press("Space")
    expect(page.locator("#ui-play-name")).to_have_text("Play")


def test_the_brush_paints_in_predicted_x0(open_lab: Any) -> None:
    page = open_lab("steps=10&at=599")
    before = state(page)
    box = page.locator("#ui-x0").bounding_box()
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + 30, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] - 30, middle, steps=6)
    page.mouse.move(box["x"] + 40, middle, steps=6)  # over the same place again
    page.mouse.up()
    after = state(page)
    stroke = page.evaluate("(({ink, coverage}) => [ink, [...coverage]])(lab.state().strokes[0])")
    ink, coverage = stroke[0], np.array(stroke[1])
    assert ink == 1
    assert coverage.max() == 1
    assert 20 < coverage.sum() < 200
    signal = np.sqrt(NoiseSchedule.named().alphas_cumprod[599])
    assert np.abs(after["x"] - (before["x"] + signal * coverage * (1 - before["x0"]))).max() < 1e-5
    assert page.evaluate("byId('outline').getAnimations().length") == 1, "the outline fades"
    page.locator("label", has_text="eraser").click()
    page.mouse.move(box["x"] + 60, middle)
    page.mouse.down()
    page.mouse.up()
    assert [one["ink"] for one in page.evaluate("lab.state().strokes")] == [1, -1]
    assert page.evaluate("branches.list.length") == 2


def test_a_drawing_is_held_or_begun_from(open_lab: Any) -> None:
    page = open_lab("steps=10&label=9&guidance=1&at=699")
    page.locator("label", has_text="upper half").click()
    page.locator("#ui-repaint").uncheck()
    page.locator("#ui-finish").click()
    settled(page)
    house = page.evaluate("[...lab.shownHold().known]")
    assert np.abs(state(page)["x"][:392] - np.array(house)[:392]).max() < 1e-6, "the held half is the drawing"
    page.locator("#ui-level").fill("199")
    page.locator("#ui-begin").click()
    settled(page)
    assert page.evaluate("lab.current.run.timesteps") == [199, 99]
    assert np.sqrt(np.mean((state(page)["x"] - np.array(house)) ** 2)) < 0.5, "from little noise it stays a house"
    expect(page.locator("#ui-runs li").last).to_contain_text("from your drawing at t = 199")


def test_a_task_by_link(open_lab: Any) -> None:
    page = open_lab("task=clock")
    expect(page.locator("#ui-task-title")).to_have_text("The wrong timestep")
    expect(page.locator("#ui-task-count")).to_have_text("Task 5 of 12")
    assert not page.locator("#ui-task-answer").is_visible()
    expect(page.locator("#ui-task-reveal")).to_be_disabled()
    page.get_by_label("about 97").check()
    page.locator("#ui-clock").select_option("frozen")
    page.locator("#ui-finish").click()
    settled(page)
    assert page.evaluate("lab.current.run.steps.every(({ t, settings }) => t === 500 || settings.told.t === 500)")
    assert page.evaluate("lab.other.run.finished !== null"), "the run with the right timesteps is the other lane"
    page.locator("#ui-task-reveal").click()
    expect(page.locator("#ui-task-verdict")).to_have_text("Measured: about 10.")
    expect(page.locator("#ui-task-measured")).to_contain_text("194 of 200")
    page.locator("#ui-task-next").click()
    expect(page.locator("#ui-task-count")).to_have_text("Task 6 of 12")
    assert page.evaluate("location.hash") == "#task=guidance"
    page.locator("#ui-task-leave").click()
    assert not page.locator("#ui-task").is_visible()


def test_a_link_holds_the_run(open_lab: Any) -> None:
    page = open_lab("seed=7&steps=10&label=2&guidance=3&change=599,label,7&change=399,offset,-50&at=299")
    first, link = state(page), page.evaluate("exchange.link()")
    assert page.evaluate("lab.current.run.steps.map(({ settings }) => settings.label)") == [2] * 4 + [7] * 4
    assert first["settings"]["told"]["t"] == 249
    other = open_lab(link.partition("#")[2])
    second = state(other)
    assert second["t"] == first["t"] == 299
    assert np.array_equal(second["x"], first["x"])
    wrong = open_lab("seed=x&steps=-3&label=99&guidance=1e9&change=a,b,c&change=5&eta=nan&at=")
    assert state(wrong)["t"] == 999
    assert state(wrong)["settings"]["label"] == 10, "brought into its range"
    assert state(wrong)["settings"]["guidance"] == 8


def test_a_run_as_a_file_and_back(open_lab: Any, tmp_path: Path) -> None:
    page = open_lab("seed=4&steps=10&label=3&change=599,share,0.4&at=399")
    page.locator("#ui-stroke").click()
    page.locator("#ui-finish").click()
    settled(page)
    before = state(page)
    with page.expect_download() as waited:
        page.locator("#ui-save-run").click()
    path = tmp_path / "run.json"
    waited.value.save_as(path)
    assert json.loads(path.read_text("utf-8"))["seed"] == 4
    page.locator("#ui-load").set_input_files(path)
    expect(page.locator("#ui-exchange-said")).to_have_text("Opened and computed again.")
    settled(page)
    assert np.array_equal(state(page)["x"], before["x"])
    path.write_text("{}", "utf-8")
    page.locator("#ui-load").set_input_files(path)
    expect(page.locator("#ui-exchange-said")).to_contain_text("no saved state")


def test_the_film_as_pictures(open_lab: Any, tmp_path: Path) -> None:
    page = open_lab("steps=10&at=-1")
    for button, name in (("save-gif", "run.gif"), ("save-png", "film.png")):
        with page.expect_download() as waited:
            page.locator(f"#ui-{button}").click()
        waited.value.save_as(tmp_path / name)
    shown = page.evaluate("branches.states(lab.current).map(({ x }) => [...x])")
    with Image.open(tmp_path / "run.gif") as frames:
        assert (frames.size, frames.n_frames) == ((280, 140), 11)
        for index in (0, 5, 10):
            frames.seek(index)
            found = np.asarray(frames.convert("L"), dtype=int)[2::5, 2:140:5]
            assert np.abs(found - (np.clip(np.reshape(shown[index], (28, 28)), -1, 1) + 1) * 127.5).max() <= 0.51
    with Image.open(tmp_path / "film.png") as picture:
        assert picture.size[0] > 800


def test_eight_ends_and_sixteen_votes(open_lab: Any) -> None:
    page = open_lab("steps=10&guidance=1&until=-1&at=199")
    page.locator("#ui-fork").click()
    settled(page)
    expect(page.locator("#ui-eight-result")).to_contain_text("From t = 199: 5: ")
    ends = [page.locator("#ui-eight canvas").nth(k).evaluate("(one) => one.toDataURL()") for k in range(8)]
    assert len(set(ends)) == 8, "each with its own noise"
    page.evaluate("lab.seek(0)")
    page.get_by_role("radio", name="0", exact=True).check(force=True)
    page.locator("#ui-vote").click()
    settled(page)
    without, changed = page.locator("#ui-votes .result").all_inner_texts()
    counts = [dict(re.findall(r"(\d): (\d+)", words)) for words in (without, changed)]
    assert int(counts[0]["5"]) >= 13
    assert int(counts[1]["0"]) >= 13
    assert [sum(map(int, one.values())) for one in counts] == [16, 16]


def test_lecturer_mode_with_pen_and_pointer(open_lab: Any) -> None:
    page = open_lab("task=guess")
    page.locator("body").press("l")
    assert not page.locator("h1").is_visible()
    assert page.locator("#ui-task-title").is_visible()
    page.locator("body").press("p")
    page.mouse.move(300, 300)
    page.mouse.down()
    page.mouse.move(500, 320, steps=4)
    page.mouse.up()
    written = page.evaluate("byId('ink').toDataURL()")
    page.locator("body").press("x")
    assert len(page.evaluate("byId('ink').toDataURL()")) < len(written), "wiped"
    page.locator("body").press("o")
    page.mouse.move(640, 400)
    box = page.locator("#ui-pointer").bounding_box()
    assert abs(box["x"] + box["width"] / 2 - 640) < 2
    page.locator("body").press("PageDown")
    expect(page.locator("#ui-task-count")).to_have_text("Task 2 of 12")
    page.locator("body").press("Escape")
    assert page.locator("h1").is_visible()


def test_damaged_weights_are_one_sentence(labs: dict[str, Path], visit: Visit, tmp_path: Path) -> None:
    html = labs["en"].read_text("utf-8")
    start = html.index('id="live-weights">') + len('id="live-weights">')
    path = tmp_path / "cut.html"
    path.write_text(html[: start + 40_000] + html[html.index("</script>", start) :], "utf-8")
    page = visit(path, ready=False).page
    failed = page.locator("#ui-failed")
    expect(failed).to_be_visible(timeout=SLOW)
    assert re.fullmatch(r"The weights in this file are damaged[^.]*\. [^.]*\.?", failed.inner_text())
    assert not page.locator("#ui-board").is_visible()


def test_without_webassembly_javascript_computes(chromium: Any, labs: dict[str, Path]) -> None:
    context = chromium.new_context(offline=True)
    context.add_init_script("delete globalThis.WebAssembly")
    page = context.new_page()
    page.goto(labs["en"].as_uri() + "#seed=1&label=5&steps=10")
    page.locator("html.ready").wait_for(timeout=SLOW)
    expect(page.locator("#ui-slow")).to_contain_text("ten times slower")
    assert page.evaluate("engine.kernels.kind") == "javascript"
    assert page.evaluate("lab.state().x0.every(Number.isFinite)")
    context.close()
