"""Generations of the live page in Chromium against the package's samplers: every method, every objective, seeds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from live_engine import FLOW, LINEAR, Float32, Mistake, decoded, given_network, in_engine, network_and_given, run_config

from viz_diffusion.diffusion.sampler_config import SamplerConfig
from viz_diffusion.diffusion.samplers import ImageNoise
from viz_diffusion.diffusion.sampling import sampling_steps
from viz_diffusion.diffusion.timesteps import spaced_timesteps
from viz_diffusion.diffusion.unet import SimpleUNet
from viz_diffusion.live.network_data import network_data
from viz_diffusion.training.config import RunConfig
from viz_diffusion.training.run import Run

pytest.importorskip("playwright.sync_api")
pytestmark = pytest.mark.browser
Make = Callable[..., SimpleUNet]
CLOSE = 1e-4
STATES = """
    const branch = engine.newBranch(args.options);
    branch.finish();
    return branch.timesteps.map((_, k) => sent(branch.state(k))).concat([sent(branch.finished)]);
"""


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
