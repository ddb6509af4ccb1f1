"""Grades over t, against a Gaussian whose loss is known in closed form; and denoisers that must not pass."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from lesson_context import make_context, mute, outcomes, told_in_every_language

from viz_diffusion.data import Digits, load_digits
from viz_diffusion.diffusion.oracles import GaussianOracle
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.evaluation.decoders import DecoderBits
from viz_diffusion.evaluation.likelihood import bits_per_loss, gaussian_losses
from viz_diffusion.lessons.base import Finding
from viz_diffusion.lessons.training import lesson as training
from viz_diffusion.lessons.training import loss_by_timestep as loss_by_timestep
from viz_diffusion.lessons.training.bound_terms import LABEL_BITS, PUBLISHED
from viz_diffusion.lessons.training.training_steps import Training

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


@pytest.fixture(scope="module")
def measured() -> Training:
    """Return what the lesson measures on the bundled network, with the quick sizes."""
    data: Training = training.measure(make_context())
    return data


def test_what_training_taught_is_told_both_ways(measured: Training) -> None:
    context = make_context(mute())
    for data, holds in ((measured, True), (training.measure(context), False)):
        found = Finding.of(training.LESSON, data, full=False)
        assert {claim.name: claim.holds for claim in found.claims}["beats_gaussian"] is holds
        told = told_in_every_language(found, context)
        assert told["en"].answers[0].verdict == ("Yes" if holds else "No")
        assert all("{" not in one.text for lang in told.values() for one in lang.answers)


def with_decoders(data: Training, gaussian: float, categorical: float, spread: float = 0.01) -> Training:
    """Return the same with other bits of 500 digits: these means, and a spread that the pairs do not share."""
    noise = np.linspace(-spread, spread, 500)
    decoders = DecoderBits(gaussian + noise, categorical - noise, 1000)
    by_timestep = data.loss_by_timestep
    return replace(data, loss_by_timestep=replace(by_timestep, ends=replace(by_timestep.ends, decoders=decoders)))


def test_the_three_terms_of_the_bound_are_given_apart_and_add_up(measured: Training) -> None:
    found = training.facts(measured).by_timestep.bound
    middle = training.facts(measured).by_timestep.bits
    assert found.bound == pytest.approx(found.bits_last + middle.bits + found.decoder_bits)
    assert found.bound - found.bound_categorical == pytest.approx(found.decoder_gap)
    assert found.decoder_gap == pytest.approx(found.decoder_bits - found.categorical_bits)
    assert found.bound_interval == pytest.approx(np.hypot(middle.bits_interval, found.decoder_bits_interval))
    assert 0 < found.bits_last < 1e-4
    context = make_context()
    told = told_in_every_language(Finding.of(training.LESSON, measured, full=False), context)
    for words in told.values():
        text = words.advanced_text
        assert all(f"{value:.2f}" in text for value in (middle.bits, found.bound, found.bound_categorical))
        assert all(f"{value:.3f}" in text for value in (found.decoder_bits, found.categorical_bits))
        assert "0.51" in text


def test_a_tables_paired_difference_decides_whether_the_gaussian_decoder_costs_bits(measured: Training) -> None:
    assert outcomes(training.LESSON, measured)["decoder_costs"] is True
    context = make_context(mute())
    for gaussian, categorical, holds, verdict in (
        (0.89, 0.42, True, "Yes"),
        (0.42, 0.89, False, "No"),
        (0.42, 0.4199, None, "Undecided"),
    ):
        data = with_decoders(measured, gaussian, categorical)
        assert outcomes(training.LESSON, data)["decoder_costs"] is holds
        told = told_in_every_language(Finding.of(training.LESSON, data, full=False), context)
        (answer,) = [one for one in told["en"].answers if "Gaussian decoder" in one.question]
        assert answer.verdict == verdict
        assert f"{gaussian:.3f}" in answer.text


def test_published_bits_are_compared_where_they_mean_the_same(measured: Training) -> None:
    middle = training.facts(measured).by_timestep.bits
    at_best = PUBLISHED[0] - middle.bits - LABEL_BITS
    assert abs(LABEL_BITS - 0.00424) < 1e-5
    for categorical, holds, word in (
        (at_best - 0.4, True, "Yes."),
        (at_best + 0.4, False, "No."),
        (at_best, None, "Undecided."),
    ):
        data = with_decoders(measured, 3.0, categorical)
        assert outcomes(training.LESSON, data)["below_published"] is holds
        told = told_in_every_language(Finding.of(training.LESSON, data, full=False), make_context(mute()))
        text = next(one.text for one in told["en"].answers if "published" in one.question)
        assert text.startswith(word)
        assert "0.97 to 1.06" in text
    other = replace(measured, is_mnist=False)
    assert "below_published" not in outcomes(training.LESSON, other), "of other images nothing was published here"
