"""The label's bits, by an oracle for which they are its entropy; and a denoiser that is deaf to labels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from lesson_context import deaf_to_labels, make_context, told_in_every_language, with_comparison_runs

from viz_diffusion.data import Digits, load_digits
from viz_diffusion.diffusion.oracles import EmpiricalOracle
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.lessons.base import Finding
from viz_diffusion.lessons.label import lesson as label
from viz_diffusion.lessons.label.information import classify_digits, measure_label_information

SCHEDULE = NoiseSchedule.named("linear")


@pytest.fixture(scope="module")
def known() -> Digits:
    """Return 400 digits, all labels among them."""
    digits = load_digits("train")
    return Digits(digits.images[:400], digits.labels[:400])


@pytest.fixture(scope="module")
def oracle(known: Digits) -> EmpiricalOracle:
    return EmpiricalOracle(SCHEDULE, known.images, known.labels)


def test_for_the_ideal_denoiser_the_labels_bits_are_its_entropy_told_where_its_posterior_says(
    oracle: EmpiricalOracle, known: Digits
) -> None:
    found = measure_label_information(oracle, SCHEDULE, known, known, sizes=(300, 20, 6))
    counts = np.bincount(known.labels)
    entropy = -(counts / 400 * np.log2(counts / 400)).sum()
    assert found.entropy == pytest.approx(entropy)
    mean = found.bits.mean(axis=1)
    assert mean[-1] == pytest.approx(entropy, abs=2 * found.interval[-1] + 0.05)  # 0.05: 25 points of an integral
    assert found.bits_direct[-1] == pytest.approx(entropy, abs=2 * found.interval[-1])
    apart = np.abs(mean - found.ideal) / np.hypot(found.interval, found.ideal_error)
    assert np.median(apart) < 1
    claims = {claim.name: claim.holds for claim in found.claims()}
    assert claims["worth"] is not False  # 300 images cannot always tell 15%
    assert claims["spent"] is claims["reads"] is True
    assert found.read.hits == 20


def test_control_a_denoiser_deaf_to_labels_is_told_nothing_and_reads_by_chance(
    oracle: EmpiricalOracle, known: Digits
) -> None:
    deaf = deaf_to_labels(oracle)
    found = measure_label_information(deaf, SCHEDULE, known, known, sizes=(40, 20, 3))
    assert np.abs(found.bits).max() < 1e-9
    claims = {claim.name: claim.holds for claim in found.claims()}
    assert claims["worth"] is False
    assert claims["reads"] is False
    assert classify_digits(deaf, SCHEDULE, known, 60, 2).value < 0.4


def test_the_labels_worth_is_told_both_ways(oracle: EmpiricalOracle, known: Digits) -> None:
    context = with_comparison_runs(make_context(recorded_steps=7))
    for denoiser, verdict in ((oracle, "Found"), (deaf_to_labels(oracle), "Not found")):
        worth = measure_label_information(denoiser, SCHEDULE, known, known, sizes=(60, 10, 3))
        if verdict == "Found":  # as with very many images
            worth = replace(worth, bits=np.repeat(worth.ideal[:, None], 60, axis=1))
        orders = label.LabelStudy(label.measure_embedding(context.network), worth)
        here = replace(context, precomputed={label.LabelStudy: orders})
        told = told_in_every_language(Finding.measure(label.LESSON, here), here)
        assert told["en"].answers[0].verdict == verdict
        assert told["zh"].note
        assert [drawing.name for drawing in told["en"].drawings] == ["ten_digits", "label_embedding", "label_worth"]


def test_the_bundled_network_reads_digits() -> None:
    context = make_context()
    read = classify_digits(context.model, SCHEDULE, context.heldout, 20, 8)
    assert read.hits >= 15
