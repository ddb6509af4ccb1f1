"""Lessons on a network in latents: oracles whose predictions are known, and pictures in place of latents."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from latent_runs import latent_config, tiny_space

from viz_diffusion.data import Digits
from viz_diffusion.diffusion.latent_space import LatentSpace
from viz_diffusion.diffusion.oracles import EmpiricalOracle
from viz_diffusion.diffusion.sampler_config import SamplerConfig
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.evaluation.classifier import DigitClassifier
from viz_diffusion.evaluation.latent_classifier import LatentClassifier
from viz_diffusion.lessons.base import all_lessons
from viz_diffusion.lessons.coarse_fine.emergence import measure_coarse_fine
from viz_diffusion.lessons.context import record_traces
from viz_diffusion.lessons.decision.forks import fork_generations
from viz_diffusion.lessons.guess.ideal_denoiser import compare_with_ideal
from viz_diffusion.lessons.samplers.sampler_comparison import measure_samplers
from viz_diffusion.lessons.step import lesson as step
from viz_diffusion.lessons.suitability import reason_to_leave_out
from viz_diffusion.recording.generation import record_generation
from viz_diffusion.training.latent_run import encoded

IN_LATENTS = {"guess", "step", "coarse_fine", "decision", "samplers"}


@pytest.fixture(scope="module")
def digits(test_digits: Digits) -> Digits:
    return test_digits.first_of_each(60)


@pytest.fixture(scope="module")
def space(digits: Digits) -> LatentSpace:
    return tiny_space(digits)


@pytest.fixture(scope="module")
def latents(digits: Digits, space: LatentSpace) -> Digits:
    return encoded(digits, space)


@pytest.fixture(scope="module")
def oracle(latents: Digits, space: LatentSpace, linear: NoiseSchedule) -> EmpiricalOracle:
    """The perfect denoiser of sixty latents."""
    found = EmpiricalOracle(linear, latents.images, latents.labels)
    found.latent_space = space  # type: ignore[assignment]
    return found


def test_lessons_that_measure_pixels_are_left_out() -> None:
    left_out = {one.name for one in all_lessons() if reason_to_leave_out(one, latent_config()) == "latent"}
    assert {one.name for one in all_lessons()} - left_out >= IN_LATENTS
    assert not left_out & IN_LATENTS
    assert {"label", "noising"} <= left_out


def test_the_ideal_denoiser_of_the_latents_is_as_good_as_itself(
    oracle: EmpiricalOracle, latents: Digits, linear: NoiseSchedule
) -> None:
    found = compare_with_ideal(oracle, linear, latents, latents, count=6)
    assert found.error == pytest.approx(found.ideal_error, abs=1e-4)
    assert found.images.x_t.shape == found.images.x0_pred.shape == (len(found.timesteps), 28, 28)
    # at little noise each latent is recognised, and its picture is that of the digit's own latent
    own = oracle.latent_space.decode(latents.images)  # type: ignore[union-attr, operator]
    assert np.abs(own[:, 0].numpy() - found.images.ideal[-1]).max(axis=(1, 2)).min() < 1e-3


def test_a_step_in_latents_is_drawn_as_channels(oracle: EmpiricalOracle, linear: NoiseSchedule) -> None:
    recorded = record_generation(oracle, linear, torch.tensor([3]), [0], SamplerConfig("ddpm", 20))
    parts = step.measure_steps(recorded)
    sums = parts.rescaled + parts.removed + parts.injected
    np.testing.assert_allclose(sums, np.diff(np.concatenate([recorded.x_t[0], recorded.x0]), axis=0), atol=1e-4)
    figure = step.draw(parts)["ledger"]
    images = [image for axes in figure.axes for image in axes.get_images() if image.get_array().shape[0] == 28 * 12]
    assert len(figure.axes) > 0
    assert all(np.isfinite(image.get_array()).all() for image in images)
    assert any("latent" in text.get_text() or "image" in text.get_text() for text in figure.texts)


def test_samplers_return_pictures_of_the_same_latents(
    oracle: EmpiricalOracle, digits: Digits, linear: NoiseSchedule, space: LatentSpace
) -> None:
    traces = record_traces(oracle, linear, 4, np.array([999, 700, 400, 100]))
    assert traces.x_t.shape == (4, 4, 4, 7, 7)
    assert not traces.clip
    found = measure_samplers(oracle, traces, digits, digits, count=4, steps=(2, 4))
    assert found.images.shape == (4, 2, 28, 28)
    expected = space.decode(torch.from_numpy(traces.x0))[:, 0].numpy()
    assert np.abs(expected - found.image_all).max(axis=(1, 2)).min() < 1e-5
    assert found.paths.ends.shape[2:] == (28, 28)


def test_frequencies_are_those_of_decoded_images(
    oracle: EmpiricalOracle, digits: Digits, linear: NoiseSchedule, space: LatentSpace
) -> None:
    traces = record_traces(oracle, linear, 10, np.array([999, 600, 200, 0]))
    found = measure_coarse_fine(oracle, traces, digits, digits, frames=4, resamples=3)
    shown = space.decode(torch.from_numpy(traces.x0_pred[:, -1]))[:, 0].numpy()
    assert np.abs(shown - found.bands.x0_pred[-1]).max(axis=(1, 2)).min() < 1e-5
    assert found.shared[-1].min() > 0.9  # the last prediction is nearly the finished image, at every frequency


def test_a_classifier_of_latents_reads_their_pictures(latents: Digits, space: LatentSpace) -> None:
    judge = DigitClassifier.bundled()[0]
    reader = LatentClassifier(judge, space)
    assert torch.equal(reader.read(latents.images), judge.read(space.decode(latents.images)))
    found = reader.probabilities(latents.images, temperature=2.0)
    torch.testing.assert_close(found, judge.probabilities(space.decode(latents.images), temperature=2.0))


def test_forks_of_latents_are_drawn_as_channels_and_pictures(latents: Digits, space: LatentSpace) -> None:
    short = NoiseSchedule.named("linear", 40)
    judge = LatentClassifier(DigitClassifier.bundled()[0], space)
    small = EmpiricalOracle(short, latents.images, latents.labels)
    small.latent_space = space  # type: ignore[assignment]
    paths, forks = fork_generations(small, short, (latents, latents), judge, (4, 2, 2, 2))
    assert paths.strip.shape[1:] == (28, 28)
    assert forks.tree.shape[1:] == (3, 28, 28)
    assert forks.ddim_spread == 0
    assert forks.spread.shape == (len(forks.timesteps), 2)
