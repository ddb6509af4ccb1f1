"""Generations of the live page in Chromium against the package's samplers and interventions; files there and back."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from live_engine import Float32, Mistake, decoded, encoded, given_network, in_engine

from viz_diffusion.diffusion.interventions import ForkedNoise
from viz_diffusion.diffusion.sampler_config import SamplerConfig
from viz_diffusion.diffusion.samplers import ImageNoise
from viz_diffusion.diffusion.sampling import sampling_steps
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.diffusion.timesteps import spaced_timesteps
from viz_diffusion.diffusion.unet import ModelConfig, SimpleUNet
from viz_diffusion.live.network_data import network_data
from viz_diffusion.live.replay import Replay, replay_branch
from viz_diffusion.live.saved_branch import read_branch
from viz_diffusion.training.config import RunConfig
from viz_diffusion.training.run import Run
from viz_diffusion.training.train_config import TrainConfig

pytest.importorskip("playwright.sync_api")
pytestmark = pytest.mark.browser
Make = Callable[..., SimpleUNet]
LINEAR, FLOW = NoiseSchedule.named("linear"), NoiseSchedule.named("flow")
SMALL = {"image_size": 8, "channels": (8, 8), "num_heads": 2, "embedding_dim": 16, "time_dim": 8}
CLOSE = 1e-4
STATES = """
    const branch = engine.newBranch(args.options);
    branch.finish();
    return branch.timesteps.map((_, k) => sent(branch.state(k))).concat([sent(branch.finished)]);
"""


@pytest.fixture(scope="module")
def blank(chromium: Any) -> Iterator[Any]:
    context = chromium.new_context(offline=True)
    yield context.new_page()
    context.close()


def run_config(objective: str, **model: Any) -> RunConfig:
    schedule = {"epsilon": "linear", "flow": "flow"}.get(objective)
    config = ModelConfig(**{**SMALL, "schedule": schedule, **model})
    return RunConfig(config, TrainConfig(objective=objective), "linear", 1000, "mnist")


def network_and_given(make_unet: Make, config: RunConfig) -> tuple[SimpleUNet, dict[str, Any]]:
    """Return a run's network as it is loaded, and what the page gets of it."""
    unet, flow = make_unet(config=config.model), config.training.objective == "flow"
    schedules = [FLOW, LINEAR] if flow else [LINEAR]
    return config.denoiser(unet), given_network(unet, schedules, config.training.prediction_type)


def states(config: RunConfig, network: SimpleUNet, sampler: SamplerConfig, seed: int, label: int) -> Float32:
    """Return the (S + 1, ...) states that the package's own sampler visits."""
    denoiser, schedule = config.sampled(network, sampler.sampler)
    noise = ImageNoise([seed], config.image_shape)
    steps = list(sampling_steps(denoiser, schedule, noise, torch.tensor([label]), sampler))
    return torch.stack([*(step.x_t for step in steps), steps[-1].x_prev])[:, 0].numpy()


def test_noise_is_torchs(blank: Any, make_unet: Make) -> None:
    _, given = network_and_given(make_unet, run_config("epsilon"))
    seeds = (0, 1, 12345, 2**31, 2**32 - 1)
    body = """
        const draws = (noise) => [2, 0].map((k) => sent(noise.draw(k)));
        return args.seeds.map((seed) => draws(new NoiseStream(seed, 784)));
    """
    for seed, found in zip(seeds, in_engine(blank, given, body, seeds=seeds), strict=True):
        noise = ImageNoise([seed])
        draws = [noise.draw().numpy().ravel() for _ in range(3)]
        assert np.abs(decoded(found[0]) - draws[2]).max() < 1e-6
        assert np.abs(decoded(found[1]) - draws[0]).max() < 1e-6


@pytest.mark.parametrize("count", [1, 7, 10, 16, 30, 50, 333, 999, 1000])
def test_timesteps_are_the_packages(blank: Any, make_unet: Make, count: int) -> None:
    _, given = network_and_given(make_unet, run_config("epsilon"))
    found = in_engine(blank, given, "return spacedTimesteps(1000, args.count);", count=count)
    assert found == spaced_timesteps(1000, count).tolist()


SAMPLERS = {
    "ddim": SamplerConfig("ddim", 10),
    "ddim, guided, eta 0.6": SamplerConfig("ddim", 13, 2.5, eta=0.6),
    "ddim, guidance 0": SamplerConfig("ddim", 10, 0.0),
    "ddpm": SamplerConfig("ddpm", 20, 1.5),
    "ddpm, beta_tilde": SamplerConfig("ddpm", 20, variance="beta_tilde"),
    "ddpm, 200 steps": SamplerConfig("ddpm", 200),
    "euler": SamplerConfig("euler", 10, 1.5),
}


@pytest.mark.parametrize(
    ("objective", "name"),
    [
        *(("epsilon", name) for name in SAMPLERS),
        *(
            (objective, name)
            for objective in ("v", "x0", "flow")
            for name in ("ddim, guided, eta 0.6", "ddpm", "euler")
        ),
    ],
)
def test_whole_runs_of_every_objective(blank: Any, make_unet: Make, objective: str, name: str) -> None:
    config, sampler = run_config(objective), SAMPLERS[name]
    network, given = network_and_given(make_unet, config)
    other = "engine.otherSampler" if objective == "flow" and sampler.sampler != "euler" else "engine.sampler"
    options = {
        "seed": 3,
        "label": 4,
        "steps": sampler.num_steps(1000),
        "guidance": sampler.guidance_scale,
        "method": sampler.sampler,
        "eta": sampler.eta,
        "variance": sampler.variance,
    }
    body = STATES.replace("args.options", f"{{ ...args.options, sampler: {other} }}")
    found = np.stack([decoded(text, *config.image_shape) for text in in_engine(blank, given, body, options=options)])
    wanted = states(config, network, sampler, 3, 4)
    assert np.abs(found - wanted).max() < CLOSE
    assert np.abs(wanted[-1]).max() > 0.1


@pytest.mark.parametrize("flow", [False, True])
def test_whole_runs_of_the_bundled_networks(blank: Any, flow: bool) -> None:
    run = Run.control("flow") if flow else Run.bundled()
    network, _ = run.load_model()
    sampler = SamplerConfig("euler", 20) if flow else SamplerConfig("ddim", 50, 1.5)
    given = given_network(
        network, [FLOW if flow else LINEAR], run.config.training.prediction_type, weights=network_data(run).weights
    )
    options = {"seed": 2, "label": 4, "steps": sampler.steps, "guidance": sampler.guidance_scale}
    found = np.stack([decoded(text, 1, 28, 28) for text in in_engine(blank, given, STATES, options=options)])
    assert np.abs(found - states(run.config, network, sampler, 2, 4)).max() < CLOSE


MISTAKES: dict[str, Mistake] = {
    "the noise of the step before": ("draw(k - first + 1)", "draw(k - first)"),
    "noise in the last step": ("tNext < 0 ? 0 : sigma, noise);\n    }", "sigma, noise ?? x);\n    }"),
    "guidance of the wrong half": ("unconditional.values[i] + guidance *", "value + guidance *"),
    "no clipping": ("x0: x0Raw.map((value) => Math.min(1, Math.max(-1, value)))", "x0: x0Raw"),
    "t off by one in the schedule": ("t < 0 ? 1 : this.alphasCumprod[t]", "t < 1 ? 1 : this.alphasCumprod[t - 1]"),
    "eta without the posterior": ("eta * Math.sqrt(posteriorVariance)", "eta * Math.sqrt(beta)"),
    "steps rounded down": ("const up = Math.round(value)", "const up = Math.floor(value)"),
    "another seed": ("this.state[0] = seed", "this.state[0] = seed + 1"),
}


def test_mistakes_show(blank: Any, make_unet: Make) -> None:
    """Each of them takes a run of DDPM or DDIM further away than the tests above allow."""
    config = run_config("epsilon")
    network, given = network_and_given(make_unet, config)
    runs = {
        SamplerConfig("ddpm", 7, 2.0): {"method": "ddpm", "variance": "beta"},
        SamplerConfig("ddim", 7, 2.0, eta=0.6): {"method": "ddim", "eta": 0.6},
    }

    def error(*mistakes: Mistake) -> float:
        worst = 0.0
        for sampler, settings in runs.items():
            options = {"seed": 3, "label": 4, "steps": 7, "guidance": 2.0, **settings}
            found = in_engine(blank, given, STATES, mistakes, options=options)
            wanted = states(config, network, sampler, 3, 4)
            worst = max(worst, float(np.abs(np.stack([decoded(one, 1, 8, 8) for one in found]) - wanted).max()))
        return worst

    assert error() < CLOSE
    assert [name for name, mistake in MISTAKES.items() if not error(mistake) > 1e-3] == []


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
    assert {name: one for name, change in changes.items() if (one := ends(change).deviation) < 5e-5} == {}
    assert ends(lambda _: None).deviation < 1e-5


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


def test_ten_labels_at_once_are_ten_predictions(blank: Any, make_unet: Make) -> None:
    _, given = network_and_given(make_unet, run_config("epsilon"))
    body = """
        const x = new NoiseStream(5, 64).draw(0);
        const before = engine.sampler.evaluations;
        const all = engine.sampler.predictLabels(x, 500, { guidance: 2 });
        const made = engine.sampler.evaluations - before;
        const alone = (label) => engine.sampler.predict(x, 500, { label, guidance: 2 });
        return { made, apart: all.map((one, label) => distance(one.x0Raw, alone(label).x0Raw)) };
    """
    found = in_engine(blank, given, body)
    assert found["made"] == 11
    assert found["apart"] == [0] * 11


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


@pytest.mark.parametrize("cut", [4, 100, -2])
def test_weights_that_are_cut_off_are_refused(blank: Any, make_unet: Make, cut: int) -> None:
    _, given = network_and_given(make_unet, run_config("epsilon"))
    found = in_engine(
        blank,
        given,
        "try { readSafetensors(bytesOf(given.weights).subarray(0, args.cut)); } catch (error) { return error.key; }",
        cut=cut,
    )
    assert found == "weights_damaged"


def test_changed_weights_are_refused(blank: Any, make_unet: Make) -> None:
    _, given = network_and_given(make_unet, run_config("epsilon"))
    found = in_engine(
        blank,
        given,
        "await checkSha256(bytesOf(given.weights), given.facts.weights_sha256); return crypto.subtle && 'accepted';",
    )
    assert found is None or found["error"] == "weights_damaged"
