"""Branches of the live page in Chromium: strokes, held pixels, forks, mixtures, wrong timesteps; their files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from live_engine import LINEAR, decoded, encoded, given_network, in_engine, network_and_given, run_config

from viz_diffusion.diffusion.interventions import ForkedNoise
from viz_diffusion.diffusion.sampler_config import SamplerConfig
from viz_diffusion.diffusion.samplers import ImageNoise
from viz_diffusion.diffusion.sampling import sampling_steps
from viz_diffusion.diffusion.timesteps import spaced_timesteps
from viz_diffusion.diffusion.unet import SimpleUNet
from viz_diffusion.live.network_data import network_data
from viz_diffusion.live.replay import Replay, replay_branch
from viz_diffusion.live.saved_branch import read_branch
from viz_diffusion.training.config import RunConfig
from viz_diffusion.training.run import Run

pytest.importorskip("playwright.sync_api")
pytestmark = pytest.mark.browser
Make = Callable[..., SimpleUNet]
CLOSE = 1e-4
# a branch with everything that can be changed on the way, its fork, its state in the middle, a drawing as start
BRANCHES = """
    const side = engine.denoiser.config.image_size;
    const drawing = floats(args.drawing);
    const branch = engine.newBranch({ seed: 7, steps: 12, guidance: 1.5, label: 2, method: args.methods[0] });
    const results = {};
    const settings = (more) => branch.change(more);
    branch.step();
    settings({ label: [0, 0.5, 0, 0, 0.5, 0, 0, 0, 0, 0, 0] });
    branch.step();
    settings({ label: 6, told: { t: 300, where: "everywhere" }, guidance: 3 });
    branch.step();
    settings({ told: { t: 400, where: "embedding" } });
    branch.step();
    settings({ told: null, eta: 0.7, method: args.methods[1], guidance: 1 });
    branch.step();
    branch.beginStroke(1);
    branch.stroke(strokeCoverage(side, readyStroke("bar", side), 2));
    branch.stroke(strokeCoverage(side, readyStroke("slash", side), 1.5));
    settings({ label: 1 });
    branch.beginStroke(-1);
    branch.stroke(strokeCoverage(side, readyStroke("dot", side), 2));
    branch.step();
    branch.hold({ mask: halfMask("upper", side), known: drawing, rounds: 3 });
    branch.step();
    branch.step();
    results.middle = branch.copyAt(8);
    const fork = branch.copyAt(7, 99);
    fork.finish();
    branch.hold({ mask: inkMask(drawing, side), known: drawing, rounds: 1 });
    branch.step();
    branch.hold(null);
    branch.finish();
    Object.assign(results, { branch, fork });
    results.drawing = engine.branchFromDrawing(drawing, 610, { seed: 4, steps: 12, label: 3 });
    results.drawing.finish();
    const files = {};
    for (const [name, one] of Object.entries(results)) {
        const file = branchToObject(one, engine.facts);
        const again = runToEnd(branchFromObject(engine, JSON.parse(JSON.stringify(file))));
        const end = (some) => some.finished ?? some.present.x;
        files[name] = { file, apart: distance(end(one), end(again)), end: sent(end(one)) };
    }
    return files;
"""


@pytest.fixture(scope="module", params=["epsilon", "flow"])
def branches(
    request: pytest.FixtureRequest, blank: Any, make_unet: Make, tmp_path_factory: pytest.TempPathFactory
) -> tuple[RunConfig, SimpleUNet, dict[str, Any], dict[str, Path]]:
    """Branches that the page made and saved, with the network."""
    config = run_config(request.param)
    network, given = network_and_given(make_unet, config)
    methods = ["euler", "euler"] if request.param == "flow" else ["ddim", "ddpm"]
    drawing = np.clip(np.linspace(-2, 2, 64).reshape(8, 8), -1, 1)
    found = in_engine(blank, given, BRANCHES, drawing=encoded(drawing), methods=methods)
    folder = tmp_path_factory.mktemp(f"branches_{request.param}")
    files = {name: folder / f"{name}.json" for name in found}
    for name, path in files.items():
        path.write_text(json.dumps(found[name]["file"]))
    return config, network, found, files


@pytest.mark.parametrize("name", ["branch", "fork", "middle", "drawing"])
def test_a_saved_branch_is_the_same_in_pytorch_and_in_the_page(branches: Any, name: str) -> None:
    config, network, found, files = branches
    assert found[name]["apart"] == 0
    saved = read_branch(files[name])
    assert np.array_equal(saved.last_state.ravel(), decoded(found[name]["end"]))
    replay = replay_branch(saved, network, config)
    assert replay.deviation < CLOSE
    assert replay.trajectory.num_steps == len(saved.timesteps)
    assert saved.finished == (name != "middle")


def test_what_was_changed_is_named(branches: Any) -> None:
    config, network, _, files = branches
    words = replay_branch(read_branch(files["branch"]), network, config).trajectory.interventions
    for word in ("label 0.5x1+0.5x4@916", "told 300 everywhere@832", "stroke@582", "hold@499", "hold off@249"):
        assert word in words, words


def test_everything_that_was_changed_matters(branches: Any) -> None:
    """Without any one of the changes the replay ends somewhere else."""
    config, network, _, files = branches
    values = json.loads(files["branch"].read_text())

    def ends(change: Callable[[dict[str, Any]], None]) -> Replay:
        other = json.loads(json.dumps(values))
        change(other)
        path = files["branch"].with_name("other.json")
        path.write_text(json.dumps(other))
        return replay_branch(read_branch(path), network, config)

    def told(one: dict[str, Any]) -> None:
        for change in one["changes"]:
            change["settings"]["told"] = None

    def embedding(one: dict[str, Any]) -> None:
        for change in one["changes"]:
            if change["settings"]["told"]:
                change["settings"]["told"]["where"] = "embedding"

    def strokes(one: dict[str, Any]) -> None:
        for change in one["changes"]:
            change["strokes"] = []

    def rounds(one: dict[str, Any]) -> None:
        for change in one["changes"]:
            if change["hold"]:
                change["hold"]["rounds"] = 1

    def mixture(one: dict[str, Any]) -> None:
        one["changes"][1]["settings"]["label"] = 1

    changes = {"told": told, "where": embedding, "strokes": strokes, "rounds": rounds, "mixture": mixture}
    rounding = ends(lambda _: None).deviation
    assert rounding < CLOSE / 2
    assert {name: one for name, change in changes.items() if (one := ends(change).deviation) < 2 * rounding} == {}


def test_a_fork_is_the_packages_forked_noise(blank: Any, make_unet: Make) -> None:
    config = run_config("epsilon")
    network, given = network_and_given(make_unet, config)
    body = """
        const branch = engine.newBranch({ seed: 1, steps: 10, label: 3, eta: 1 });
        for (let k = 0; k < 4; k++) branch.step();
        const fork = branch.copyAt(4, 11);
        return [sent(branch.state(4)), sent(fork.finish()), sent(branch.finish())];
    """
    frozen, fork, own = (torch.tensor(decoded(text, 1, 8, 8)) for text in in_engine(blank, given, body))
    timesteps = spaced_timesteps(1000, 10)[4:]
    noise = ForkedNoise(frozen, ImageNoise([11], (1, 8, 8)))
    sampler = SamplerConfig("ddim", eta=1)
    *_, last = sampling_steps(network, LINEAR, noise, torch.tensor([3]), sampler, timesteps=timesteps)
    assert float((last.x_prev[0] - fork).abs().max()) < CLOSE
    assert float((fork - own).abs().max()) > 0.1


def test_a_stroke_moves_the_prediction_to_its_ink(blank: Any) -> None:
    """Coverage adds up against the state before the stroke: covered twice is covered once."""
    network, _ = Run.bundled().load_model()
    given = given_network(network, [LINEAR], weights=network_data(Run.bundled()).weights)
    body = """
        const branch = engine.newBranch({ seed: 1, steps: 50, label: 5 });
        while (branch.present.t > 300) branch.step();
        const before = branch.present;
        const coverage = strokeCoverage(28, readyStroke("bar", 28), 3);
        branch.beginStroke(1);
        branch.stroke(coverage);
        const once = branch.present.x;
        branch.stroke(coverage);
        const after = branch.present;
        return [before.x, before.prediction.x0, coverage, once, after.x, after.prediction.x0].map(sent);
    """
    x, x0, coverage, once, twice, after = (decoded(text) for text in in_engine(blank, given, body))
    share = LINEAR.alphas_cumprod[299]
    assert np.array_equal(once, twice)
    assert np.abs(once - (x + np.sqrt(share) * coverage * (1 - x0))).max() < 1e-6
    full = coverage == 1
    assert full.sum() > 20
    assert np.all(once[coverage == 0] == x[coverage == 0])
    assert after[full].mean() > x0[full].mean() + 0.2


@pytest.mark.parametrize(
    ("spoil", "key"),
    [
        ("file.weights_sha256 = 'x'", "state_of_other_weights"),
        ("file.format = 'png'", "state_unreadable"),
        ("file.schedule = 'cosine'", "state_unreadable"),
        ("file.arrays = []", "state_unreadable"),
        ("file.arrays = file.arrays.map(() => 'AAAA')", "state_unreadable"),
        ("file.changes = 3", "state_unreadable"),
        ("file.timesteps = null", "state_unreadable"),
    ],
)
def test_a_spoilt_file_is_refused(blank: Any, make_unet: Make, spoil: str, key: str) -> None:
    _, given = network_and_given(make_unet, run_config("epsilon"))
    body = f"""
        const branch = engine.branchFromDrawing(new Float32Array(64), 500, {{ steps: 3 }});
        const file = branchToObject(branch, engine.facts);
        runToEnd(branchFromObject(engine, file));
        {spoil};
        runToEnd(branchFromObject(engine, file));
        return "accepted";
    """
    assert in_engine(blank, given, body)["error"] == key
