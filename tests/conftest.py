"""Small things that several test files share: a tiny network, the linear schedule, MNIST's test digits."""

from __future__ import annotations

import functools
import gc
import itertools
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

if "PYTEST_XDIST_WORKER" in os.environ and "OMP_NUM_THREADS" not in os.environ:
    # a worker a core: more threads than cores would only wait for each other
    os.environ["OMP_NUM_THREADS"] = "1"  # for torch, and for the commands that tests start
    threadpool_limits(1)  # for NumPy, which zarr's pytest plugin has loaded already

if sys.dont_write_bytecode:
    # else each of the commands that tests start compiles the package anew, and each worker all tests
    sys.dont_write_bytecode = False
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="viz-diffusion-cache-")  # no test sees the user's own studies

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from viz_diffusion.data import Digits, load_digits
from viz_diffusion.diffusion.sampler_config import SamplerConfig
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.diffusion.unet import ModelConfig, SimpleUNet
from viz_diffusion.evaluation import likelihood
from viz_diffusion.recording import comparison_sampling
from viz_diffusion.recording.comparison_runs import ComparisonRuns, Generation, save_comparison_runs
from viz_diffusion.recording.generation import record_generation
from viz_diffusion.training.run import Run

pytest_plugins = ["figure_fixtures", "shared_digits", "shared_pictures", "short_evaluations"]

SLOWEST = (
    "browser/test_real_pages_in_browser.py",
    "training/test_kills_and_signals.py",
    "cli/test_own_data.py",
    "browser/test_live_exchange_in_browser.py",
    "cli/test_standard_streams.py",
    "cli/test_train_command.py",
    "training/test_processes.py",
    "recording/test_pipeline_store.py",
    "browser/test_recording_pages_in_browser.py",
    "cli/test_objectives.py",
    "plots/test_matplotlib_import.py",
    "evaluation/test_evaluate.py",
    "training/test_trainer.py",
    "plots/test_figure_texts.py",
    "cli/test_commands.py",
    "test_process_state.py",
    "browser/test_report_in_browser.py",
    "plots/test_theme.py",
    "lessons/test_shipped_lessons.py",
    "lessons/decision/test_decision.py",
    "browser/test_live_lab_in_browser.py",
    "cli/test_diffusers_pipeline.py",
    "recording/test_async_writer.py",
    "cli/test_latent_prompts.py",
    "cli/test_small_data_sets.py",
    "cli/test_other_network.py",
    "browser/test_terms_in_browser.py",
    "browser/test_boxes_in_browser.py",
    "browser/test_live_link_in_browser.py",
    "cli/test_record.py",
    "browser/test_accessibility_in_browser.py",
    "lessons/layers/test_layers.py",
    "diffusion/test_oracles.py",
    "diffusion/test_samplers_and_diffusers.py",
    "recording/test_comparison_runs.py",
    "training/test_checkpoint_faults.py",
    "lessons/step/test_step.py",
    "browser/test_side_by_side_in_browser.py",
    "cli/test_intervention_options.py",
    "browser/test_lecture_in_browser.py",
    "training/test_resume.py",
    "diffusion/test_empirical_oracle.py",
    "deck/test_slide_words.py",
    "cli/test_prompts.py",
    "training/test_objective.py",
    "reliability/test_signals.py",
    "browser/test_live_tasks_in_browser.py",
    "cli/test_recording_report.py",
    "cli/test_compare_command.py",
    "test_imports.py",
    "cli/test_latent_commands.py",
    "report/test_html.py",
    "diffusion/test_ode_samplers.py",
    "cli/test_many.py",
    "docs/test_notebook.py",
    "cli/test_evaluate_command.py",
    "lessons/samplers/test_samplers.py",
    "lessons/label/test_switching.py",
    "lessons/latent/test_latent.py",
    "browser/test_notes_window_in_browser.py",
    "recording/many/test_kills_and_workers.py",
    "training/test_save_syscalls.py",
)
"""Files that take twelve seconds or more on two cores, the longest first."""

_NUMBERS = itertools.count()
TINY = ModelConfig(channels=(8, 8), embedding_dim=16, time_dim=8, num_heads=2)


def pytest_xdist_auto_num_workers() -> int:
    """One worker more than cores: tests that wait for a browser, a disk or another process leave a core free."""
    return len(os.sched_getaffinity(0)) + 1 if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the slowest files, then those with the most tests: the last files are short, and no worker waits."""
    order = {Path(__file__).parent / name: place for place, name in enumerate(SLOWEST)}
    counts = Counter(item.path for item in items)
    items.sort(key=lambda item: (order.get(item.path, len(order)), -counts[item.path], item.path))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Leave what is loaded by then, a million objects, out of garbage collection: each pass would walk through it."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Hand out tests by :func:`scope`: the study of the tests of decks takes ten seconds to make."""
    if config.getoption("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class ByStudy(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return scope(nodeid)

    return ByStudy(config, log)


def scope(nodeid: str) -> str:
    """Return what one worker runs as a whole: the file of a test, or the folder of all tests of decks."""
    return "tests/deck" if nodeid.startswith("tests/deck/") else nodeid.partition("::")[0]


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Give each test a cache folder of its own: a study that one test keeps is not found by another."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / f"cache-{next(_NUMBERS)}"))


@pytest.fixture(scope="session")
def tiny_config() -> ModelConfig:
    return TINY


@pytest.fixture(scope="session")
def make_unet() -> Callable[..., SimpleUNet]:
    """Build a network whose zero-initialised layers hold random numbers, so that every path counts."""

    def make(seed: int = 0, config: ModelConfig = TINY) -> SimpleUNet:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            unet = SimpleUNet(config)
            for module in unet.modules():
                if isinstance(module, nn.Conv2d) and not module.weight.any():
                    nn.init.normal_(module.weight, std=0.2)
        return unet.eval().requires_grad_(False)

    return make


@pytest.fixture(scope="session")
def linear() -> NoiseSchedule:
    return NoiseSchedule.named("linear")


@pytest.fixture(scope="session")
def test_digits() -> Digits:
    return load_digits("test")


@pytest.fixture
def few_digits(test_digits: Digits) -> Digits:
    return Digits(test_digits.images[:40], test_digits.labels[:40])


@pytest.fixture
def short_tsne(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw maps by t-SNE of 250 iterations, the fewest that it makes, not of 1000."""
    from sklearn import manifold

    monkeypatch.setattr(manifold, "TSNE", functools.partial(manifold.TSNE, max_iter=250))


@pytest.fixture
def few_compared_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compare a recording by another sampler than DDPM with DDPM in 50 steps, not in 1000."""
    other = comparison_sampling._other_sampler
    monkeypatch.setattr(comparison_sampling, "_other_sampler", lambda own, _: other(own, 50))


@pytest.fixture
def few_likelihoods(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let ``vizdiff evaluate`` measure the loss on two images at each timestep, not on twenty."""
    few = functools.partial(likelihood.measure_likelihood, count=2, decoder_counts=(40, 100))
    monkeypatch.setattr(likelihood, "measure_likelihood", few)


class FixedNoise:
    """Gives a first state and then fresh draws of any dtype; stands in for ImageNoise."""

    def __init__(self, first: Tensor, seed: int = 0) -> None:
        self.first: Tensor | None = first
        self.like = first
        self.generator = torch.Generator().manual_seed(seed)

    def draw(self, device: object = "cpu") -> Tensor:
        assert str(device) == "cpu"
        if self.first is not None:
            first, self.first = self.first, None
            return first
        return torch.randn(self.like.shape, generator=self.generator, dtype=self.like.dtype)


@pytest.fixture(scope="session")
def fixed_noise() -> type[FixedNoise]:
    return FixedNoise


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def make_recording(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Make folders like ``vizdiff trajectory``'s: some DDIM steps of the bundled network, and companions.

    The nine other digits are made of the recording itself, shifted, so that no network has to run for them.
    """

    def make(steps: int, asked: int = 5) -> Path:
        folder = tmp_path_factory.mktemp("recording")
        run = Run.bundled()
        model, digest = run.load_model()
        recorded = record_generation(
            model,
            run.config.noise_schedule,
            torch.tensor([asked]),
            [0],
            SamplerConfig("ddim", steps, guidance_scale=1.5),
            weights_sha256=digest,
        )
        recorded.save(folder / "trajectory.zarr")
        states = np.concatenate([recorded.x_t[0, :, 0], recorded.x0[0]])
        others = tuple(
            Generation(
                digit,
                "ddim",
                1.5,
                steps,
                recorded.timesteps,
                recorded.steps_left,
                np.roll(states, digit, axis=2),
                np.roll(recorded.x0_pred[0, :, 0], digit, axis=2),
            )
            for digit in range(10)
            if digit != asked
        )
        save_comparison_runs(ComparisonRuns(others, ()), recorded, folder / "companions.npz")
        return folder

    return make


@pytest.fixture(scope="session")
def short_recording(make_recording: Callable[..., Path]) -> Path:
    """Return a folder with a recording of twelve steps."""
    return make_recording(12)
