"""The player's link to the live lab, followed in a browser: the lab opens at the frame that was recorded."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from live_lab import SLOW, settled, state
from page_reading import seek
from report_fakes import fake_page

from viz_diffusion.diffusion.sampler_config import SamplerConfig
from viz_diffusion.recording.comparison_runs import ComparisonRuns
from viz_diffusion.recording.generation import record_generation
from viz_diffusion.recording.trajectory import Trajectory
from viz_diffusion.report import write_report
from viz_diffusion.report.assembly import players
from viz_diffusion.training.run import Run

pytest.importorskip("playwright.sync_api")
pytestmark = pytest.mark.browser


def recorded(sampler: SamplerConfig, seed: int, label: int) -> Trajectory:
    run = Run.bundled()
    model, digest = run.load_model()
    labels = torch.tensor([label])
    return record_generation(model, run.config.noise_schedule, labels, [seed], sampler, weights_sha256=digest)


def reported(trajectory: Trajectory, folder: Path, lab: Path) -> Path:
    """Write a report with the recording's player beside the lab."""
    study: Any = SimpleNamespace(trajectory=trajectory, comparison_runs=ComparisonRuns((), ()), run=Run.bundled())
    (folder / "a live.html").write_bytes(lab.read_bytes())
    page = dataclasses.replace(fake_page(players(study).runs), comparisons=(), lab="a live.html")
    write_report(page, folder / "report.html")
    return folder / "report.html"


@pytest.mark.parametrize(
    ("sampler", "frames"),
    [
        (SamplerConfig("ddpm"), (300,)),
        (SamplerConfig("ddpm", 40, guidance_scale=1.0, variance="beta_tilde"), (30,)),
        (SamplerConfig("ddim", 50, guidance_scale=2.5), (0, 31, 50)),
        (SamplerConfig("ddim", 50, eta=0.5), (25,)),
    ],
    ids=["ddpm-1000", "ddpm-beta-tilde", "ddim-50", "ddim-eta"],
)
def test_the_lab_opens_at_the_frame(
    sampler: SamplerConfig,
    frames: tuple[int, ...],
    labs: dict[str, Path],
    chromium: Any,
    visit: Callable[..., Any],
    tmp_path: Path,
) -> None:
    trajectory = recorded(sampler, seed=4_000_000_000, label=3)
    seen = visit(reported(trajectory, tmp_path, labs["en"]))
    for frame in frames:
        seek(seen.page, frame)
        address = seen.page.locator("#ui-lab").evaluate("(link) => link.href")
        page = chromium.new_context(offline=True).new_page()
        page.goto(address)
        page.locator("html.ready").wait_for(timeout=SLOW)
        page.set_default_timeout(SLOW)
        settled(page)
        found, finished = state(page), frame == trajectory.num_steps
        assert found["t"] == (-1 if finished else trajectory.timesteps[frame])
        wanted = trajectory.x0[0] if finished else trajectory.x_t[0, frame]
        assert np.abs(found["x"] - wanted.ravel()).max() < 1e-3
        if not finished:
            assert np.abs(found["x0"] - trajectory.x0_pred[0, frame].ravel()).max() < 1e-3
        page.context.close()


def test_a_click_opens_the_lab_in_a_window_of_its_own(labs: dict[str, Path], chromium: Any, tmp_path: Path) -> None:
    report = reported(recorded(SamplerConfig("ddim", 5), 1, 5), tmp_path, labs["en"])
    context = chromium.new_context(offline=True, reduced_motion="reduce")
    page = context.new_page()
    page.goto(report.as_uri())
    page.locator("#ui-scrubber[aria-valuetext]").wait_for(timeout=SLOW)
    seek(page, 2)
    with context.expect_page() as opened:
        page.get_by_role("link", name="Continue from here, live").click()
    lab = opened.value
    lab.locator("html.ready").wait_for(timeout=SLOW)
    settled(lab)
    assert re.search(r"/a%20live\.html#seed=1&steps=5&label=5&guidance=1\.0&method=ddim&at=599$", lab.url)
    assert state(lab)["t"] == 599
    context.close()


def test_a_run_that_the_lab_cannot_make_has_no_link(
    labs: dict[str, Path], visit: Callable[..., Any], tmp_path: Path
) -> None:
    page = visit(reported(recorded(SamplerConfig("dpm-solver++", 5), 1, 5), tmp_path, labs["en"])).page
    assert page.locator("#ui-lab").is_hidden()
    write_report(fake_page(), tmp_path / "alone.html")
    assert visit(tmp_path / "alone.html").page.locator("#ui-lab").count() == 0
