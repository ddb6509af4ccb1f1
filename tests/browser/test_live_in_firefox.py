"""The live page in Firefox, where one is installed: it opens offline, and its run is PyTorch's."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from firefox import Firefox, started_firefox
from live_engine import decoded

from viz_diffusion.diffusion.sampler_config import SamplerConfig
from viz_diffusion.diffusion.samplers import ImageNoise
from viz_diffusion.diffusion.sampling import sampling_steps
from viz_diffusion.live.network_data import network_data
from viz_diffusion.live.page import write_page
from viz_diffusion.text.catalogue import load_texts
from viz_diffusion.training.run import Run

pytestmark = pytest.mark.browser
NAMES = ("firefox", "firefox-esr")


@pytest.fixture
def firefox(tmp_path: Path) -> Iterator[Firefox]:
    executable = next(filter(None, map(shutil.which, NAMES)), None)
    if executable is None:
        pytest.skip(f"no Firefox on PATH: looked for {', '.join(NAMES)}")
    with started_firefox(executable, tmp_path / "profile") as started:
        yield started


def test_a_generation_is_pytorchs(firefox: Firefox, tmp_path: Path) -> None:
    page = tmp_path / "live.html"
    write_page(network_data(Run.bundled()), load_texts("en"), page)
    firefox.open(page)
    found = firefox.ask("""(async () => {
        const engine = await openEngine();
        const branch = engine.newBranch({ seed: 3, label: 8, steps: 20, guidance: 1.5 });
        const finished = base64Of(new Uint8Array(branch.finish().buffer));
        return { kind: engine.kernels.kind, finished, seen: [...engine.classifier.probabilities(branch.finished)] };
    })()""")
    assert found["kind"] == "wasm"
    network, _ = Run.bundled().load_model()
    schedule, noise = Run.bundled().config.noise_schedule, ImageNoise([3])
    *_, last = sampling_steps(network, schedule, noise, torch.tensor([8]), SamplerConfig("ddim", 20, 1.5))
    assert np.abs(decoded(found["finished"], 1, 1, 28, 28) - last.x_prev.numpy()).max() < 1e-4
    assert int(np.argmax(found["seen"])) == 8
