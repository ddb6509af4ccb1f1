"""The label's bits, by an oracle for which they are its entropy; and a denoiser that is deaf to labels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from lesson_context import Answering, deaf_to_labels, make_context, told_in_every_language, with_comparison_runs

from viz_diffusion.data import Digits, load_digits
from viz_diffusion.diffusion.oracles import EmpiricalOracle
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.evaluation.intervals import Share
from viz_diffusion.lessons.base import Finding
from viz_diffusion.lessons.label import lesson as label
from viz_diffusion.lessons.label.denoiser_as_classifier import classify_digits
from viz_diffusion.lessons.label.information import LabelInformation, measure_label_information
from viz_diffusion.lessons.precomputed import load_results
from viz_diffusion.training.run import Run

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
    assert found.bits_direct[-1].mean() == pytest.approx(entropy, abs=2 * found.interval[-1])
    apart = np.abs(mean - found.ideal) / np.hypot(found.interval, found.ideal_error)
    assert np.median(apart) < 1
    claims = {claim.name: claim.holds for claim in found.claims()}
    assert claims["saves_more"] is not True  # 300 images cannot always tell 15%
    assert claims["estimates"] is not False
    assert claims["spent"] is claims["reads"] is True
    assert "unlabelled" not in claims
    # without a label its prediction is the mixture of those under the labels, but for labels left out as unlikely
    assert np.abs(found.bits_mixed.mean(axis=1)).max() < 0.02
    assert found.read.hits == 20


def test_control_a_denoiser_deaf_to_labels_is_told_nothing_and_reads_by_chance(
    oracle: EmpiricalOracle, known: Digits
) -> None:
    deaf = deaf_to_labels(oracle)
    found = measure_label_information(deaf, SCHEDULE, known, known, sizes=(40, 20, 3))
    assert np.abs(found.bits).max() < 1e-9
    claims = {claim.name: claim.holds for claim in found.claims()}
    assert claims["saves_more"] is False
    assert claims["reads"] is False
    assert classify_digits(deaf, SCHEDULE, known, 60, 2).value < 0.4


@pytest.mark.parametrize(("later", "said"), [(0, True), (-50, None), (-200, False), (200, False)])
def test_the_same_amount_is_saved_at_the_same_timesteps_or_not(later: int, said: bool | None) -> None:
    """Half of what the label holds is compared, not half of what is saved in the end, which may be more."""
    found = load_results([label.LESSON], Run.bundled().load_model()[1])[label.LabelStudy].information
    t = found.timesteps.astype(float)
    moved = replace(found, ideal=np.interp(t + later, t[::-1], found.ideal[::-1]))
    claims = {claim.name: claim.holds for claim in moved.claims()}
    assert claims["spent"] is said
    facts, before = moved.facts(), found.facts()
    assert facts.half_bits == pytest.approx(found.entropy / 2)
    assert facts.half_t_ideal == pytest.approx(before.half_t_ideal - later, abs=10)
    more = replace(moved, bits=np.where(t[:, None] < 400, 2 * moved.bits, moved.bits))
    assert more.facts().half_t == before.half_t  # what is saved later does not count


def test_the_shown_error_is_a_part_of_what_guidance_multiplies() -> None:
    found = load_results([label.LESSON], Run.bundled().load_model()[1])[label.LabelStudy].information
    facts, start = found.facts(), found.mixed_from
    saved = (found.bits[-1] - found.bits[start - 1]).mean()
    assert facts.mixed_share == pytest.approx(facts.mixed_bits / saved)
    assert facts.mixed_share < 0.5


def with_error(oracle: EmpiricalOracle, *, labelled: bool) -> Answering:
    """Return the oracle with an error of ε̂ at t < 500 that is worth about 3 bits, under labels or without one."""
    error = torch.randn((1, 28, 28), generator=torch.Generator().manual_seed(1))
    error *= 0.9 / error.norm()

    def answer(x: torch.Tensor, timesteps: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        wrong = (timesteps < 500) & ((labels != 10) if labelled else (labels == 10))
        return oracle(x, timesteps, labels) + torch.where(wrong[:, None, None, None], error, torch.zeros(()))

    return Answering(answer)


@pytest.mark.parametrize("labelled", [False, True])
def test_an_excess_is_put_down_to_the_prediction_that_has_the_error(
    oracle: EmpiricalOracle, known: Digits, labelled: bool
) -> None:
    """½∫‖e‖²/SNR dSNR of an error e of ε̂ is ½‖e‖² times the range of log SNR, in nats."""
    found = measure_label_information(with_error(oracle, labelled=labelled), SCHEDULE, known, known, sizes=(120, 1, 1))
    exact = measure_label_information(oracle, SCHEDULE, known, known, sizes=(120, 1, 1))
    added = (found.bits - exact.bits).mean(axis=1)
    late = slice(found.mixed_from - 1, None)
    log_snr = SCHEDULE.log_snr[found.timesteps]
    expected = 0.9**2 / 2 * np.ptp(log_snr[late]) / np.log(2)
    assert added[-1] - added[found.mixed_from - 1] == pytest.approx(expected, rel=0.15)  # of a trapezoid rule
    claims = {claim.name: claim.holds for claim in found.claims()}
    assert claims["saves_more"] is True
    assert claims["unlabelled"] is not labelled
    if labelled:
        assert claims["estimates"] is False  # the squared errors say that nothing was saved
        assert found.bits_mixed[-1].mean() < -1
    else:
        assert found.bits_mixed[-1].mean() == pytest.approx(expected, rel=0.3)


def planted(saved: float, direct: float, mixed: float) -> LabelInformation:
    """Return results of 200 images that save so many bits, spread about them, where the label holds 3.32."""
    share = np.linspace(0, 1, 10)[:, None]
    spread = np.linspace(-1, 1, 200)
    return LabelInformation(
        timesteps=np.linspace(999, 100, 10).astype(np.int64),
        num_train_timesteps=1000,
        bits=share * (saved + spread),
        bits_direct=share * (direct + spread),
        bits_mixed=np.maximum(2 * share - 1, 0) * (mixed + spread),
        ideal=3.32 * share[:, 0],
        ideal_error=np.zeros(10),
        entropy=3.32,
        read=Share(190, 200),
        draws=3,
    )


def test_what_the_label_saves_is_told_every_way() -> None:
    """The sentences follow the numbers: more than the label holds or not, and whose error it is."""
    context = with_comparison_runs(make_context(recorded_steps=7))
    embedding = label.measure_embedding(context.network)
    for numbers, verdicts, said in (
        ((6.0, 6.0, 2.3), ["Yes", "Yes", "Yes"], "of the squared difference that guidance multiplies"),
        ((6.0, 4.0, 0.2), ["Yes", "No", "No"], "most of it has another cause"),
        ((6.0, 6.0, 1.4), ["Yes", "Yes", "Undecided"], "too few digits to decide whether"),
        ((3.4, 3.4, 0.1), ["No", "Yes"], "Half of what the label holds"),
        ((3.32 * 1.15, 3.9, 0.1), ["Undecided", "Yes"], "Half of what the label holds"),
    ):
        study = label.LabelStudy(embedding, planted(*numbers))
        here = replace(context, precomputed={label.LabelStudy: study})
        told = told_in_every_language(Finding.measure(label.LESSON, here), here)
        answers = told["en"].answers
        assert [one.verdict for one in answers[: len(verdicts)]] == verdicts
        assert len(answers) == len(told["zh"].answers) == len(verdicts) + 2
        assert said in answers[2].text
        assert ("cannot tell more than it holds" in answers[0].text) is (verdicts[0] == "Yes")
        assert [drawing.name for drawing in told["en"].drawings] == ["ten_digits", "label_embedding", "label_worth"]


def test_the_figure_of_the_bits_says_in_words_what_each_curve_is() -> None:
    study = planted(6.0, 6.0, 2.3)
    figure = label._draw_information(study)["label_worth"]
    (axes,) = [axes for axes in figure.axes if axes.axison]
    drawn = [line.get_ydata() for line in axes.lines[:3]]
    mean = study.bits.mean(axis=1)
    assert np.allclose(drawn, [study.ideal, mean - study.bits_mixed.mean(axis=1), mean])
    said = " ".join(text.get_text() for text in figure.texts)
    assert all(words in said for words in ("ideal denoiser", "no label", "under all labels", "generation →"))


def test_the_bundled_network_reads_digits() -> None:
    context = make_context()
    read = classify_digits(context.model, SCHEDULE, context.heldout, 20, 8)
    assert read.hits >= 15
