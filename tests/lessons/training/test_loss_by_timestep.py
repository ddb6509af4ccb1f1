"""Grades over t, against a Gaussian whose loss is known in closed form; and denoisers that must not pass."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from lesson_context import make_context, mute, told_in_every_language

from viz_diffusion.data import Digits, load_digits
from viz_diffusion.diffusion.oracles import GaussianOracle
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.evaluation.likelihood import bits_per_loss, gaussian_losses
from viz_diffusion.lessons.base import Finding
from viz_diffusion.lessons.training import lesson as training
from viz_diffusion.lessons.training import loss_by_timestep as loss_by_timestep

SCHEDULE = NoiseSchedule.named("linear")


def drawn(count: int = 3000, size: int = 6) -> Digits:
    """Return draws from two labels' Gaussians that have one and the same mean and covariance."""
    generator = torch.Generator().manual_seed(1)
    root = torch.randn(size * size, size * size, generator=generator) / size / 2
    images = torch.randn(count, size * size, generator=generator) @ root
    return Digits(images.reshape(count, 1, size, size), torch.arange(count) % 2)


@pytest.fixture(scope="module")
def gaussian() -> tuple[GaussianOracle, Digits]:
    digits = drawn()
    return GaussianOracle.fit(SCHEDULE, digits.images), digits


def test_strata_cover_every_t_once_and_hold_the_quarters() -> None:
    for T in (1000, 100, 8):
        edges = loss_by_timestep.strata(T)
        assert edges[0] == 0
        assert edges[-1] == T
        assert (np.diff(edges) > 0).all()
        assert {0, 1, T // 4, T // 2, T} <= set(edges.tolist())


def test_the_best_denoiser_of_a_gaussian_is_graded_as_the_closed_form_says(
    gaussian: tuple[GaussianOracle, Digits],
) -> None:
    oracle, digits = gaussian
    found = loss_by_timestep.measure_loss_by_timestep(oracle, SCHEDULE, digits, digits, each=40)
    mean, half = found.mean(found.loss.mean(axis=2))
    expected = oracle.eps_error()
    assert mean == pytest.approx(expected.mean(), abs=2 * half)
    assert half < 0.02 * mean
    facts = found.facts()
    bits = (bits_per_loss(SCHEDULE) * expected).sum()
    assert facts.bits.bits == pytest.approx(bits, abs=2 * facts.bits.bits_interval)
    assert found.by_t().gaussian_bits.sum() == pytest.approx(bits)
    claims = {claim.name: claim.holds for claim in found.claims()}
    assert claims["beats_gaussian"] is not True
    assert claims["digits_differ"] is False  # both labels have one distribution


def test_control_a_denoiser_that_shrinks_its_answer_is_graded_worse(gaussian: tuple[GaussianOracle, Digits]) -> None:
    oracle, digits = gaussian

    class Shrinking(GaussianOracle):
        def forward(self, x: torch.Tensor, timesteps: torch.Tensor, labels: torch.Tensor | None = None) -> torch.Tensor:
            return 0.8 * super().forward(x, timesteps, labels)

    worse = Shrinking.fit(SCHEDULE, digits.images)
    grades = [
        loss_by_timestep.measure_loss_by_timestep(one, SCHEDULE, digits, digits, each=20).facts()
        for one in (oracle, worse)
    ]
    assert grades[1].heldout_mean - grades[0].heldout_mean > 5 * grades[0].heldout_interval_mean


def test_both_baselines_are_those_of_mnist_and_come_from_one_pass() -> None:
    one, per_label = gaussian_losses(SCHEDULE, load_digits("train"))
    assert one.mean() == pytest.approx(0.0745, abs=5e-5)
    assert per_label.mean() == pytest.approx(0.0581, abs=5e-5)
    assert (per_label < one).all()


def test_what_training_taught_is_told_both_ways() -> None:
    for denoiser, holds in ((None, True), (mute(), False)):
        context = make_context(denoiser)
        found = Finding.measure(training.LESSON, context)
        assert {claim.name: claim.holds for claim in found.claims}["beats_gaussian"] is holds
        told = told_in_every_language(found, context)
        assert told["en"].answers[0].verdict == ("Found" if holds else "Not found")
        assert all("{" not in one.text for lang in told.values() for one in lang.answers)
