"""The live lab in a browser: tasks, links, files and pictures; many runs at once; what can go wrong."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from live_lab import SLOW, settled, state
from PIL import Image

from viz_diffusion.diffusion.embedded_timestep import embedded_timesteps
from viz_diffusion.diffusion.sampler_config import SamplerConfig
from viz_diffusion.diffusion.samplers import ImageNoise
from viz_diffusion.diffusion.sampling import sampling_steps
from viz_diffusion.live.replay import replay_branch
from viz_diffusion.live.saved_branch import read_branch
from viz_diffusion.training.run import Run

expect = pytest.importorskip("playwright.sync_api").expect
pytestmark = pytest.mark.browser
Visit = Callable[..., SimpleNamespace]


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
    expect(page.locator("#ui-task-measured")).to_contain_text("197 of 200")
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


def test_the_timestep_in_the_embedding_only(open_lab: Any, tmp_path: Path) -> None:
    """By the controls, by link, as a file and in PyTorch: the last line keeps the true timestep."""
    page = open_lab("steps=5&guidance=1&label=3&seed=6")
    page.locator("#ui-clock").select_option("frozen")
    page.locator("#ui-where").select_option("embedding")
    expect(page.locator("#ui-t")).to_have_text("999 (given 500)")
    page.locator("#ui-finish").click()
    settled(page)
    found, link = state(page)["x"], page.evaluate("exchange.link()")
    assert "where=embedding" in link
    with page.expect_download() as waited:
        page.locator("#ui-save-run").click()
    waited.value.save_as(tmp_path / "run.json")

    network, _ = Run.bundled().load_model()
    steps = (torch.tensor([3]), SamplerConfig("ddim", 5))
    schedule = Run.bundled().config.noise_schedule
    with embedded_timesteps(network, torch.tensor([500])):
        *_, last = sampling_steps(network, schedule, ImageNoise([6]), *steps)
    assert np.abs(last.x_prev.numpy().ravel() - found).max() < 1e-4
    replay = replay_branch(read_branch(tmp_path / "run.json"), network, Run.bundled().config)
    assert replay.deviation < 1e-4
    assert replay.trajectory.interventions == "told 500 embedding@999"

    linked = open_lab(link.partition("#")[2])
    assert np.array_equal(state(linked)["x"], found)
    linked.locator("#ui-load").set_input_files(tmp_path / "run.json")
    expect(linked.locator("#ui-exchange-said")).to_have_text("Opened and computed again.")
    settled(linked)
    assert np.array_equal(state(linked)["x"], found)
    assert linked.locator("#ui-where").input_value() == "embedding"
    linked.evaluate("lab.seek(2)")
    linked.locator("#ui-where").select_option("everywhere")
    expect(linked.locator("#ui-runs")).to_contain_text("network given 500 in place of 599")
    assert np.abs(state(linked)["x0"] - linked.evaluate("[...branches.states(lab.other)[2].x0]")).max() > 0.1


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
