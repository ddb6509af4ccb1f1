"""Orders changed on the way, by an oracle that obeys at every t; and by a denoiser that is deaf to labels."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from figure_data import draw_label_switch, draw_switch_pairs
from lesson_context import deaf_to_labels, make_context, told_in_every_language, with_comparison_runs
from matplotlib.text import Text

from viz_diffusion.data import Digits, load_digits
from viz_diffusion.diffusion.interventions import WithInterventions, switch_label
from viz_diffusion.diffusion.oracles import EmpiricalOracle
from viz_diffusion.diffusion.sampler_config import SamplerConfig
from viz_diffusion.diffusion.samplers import ImageNoise, ddim_steps
from viz_diffusion.diffusion.sampling import sampling_steps
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.diffusion.timesteps import spaced_timesteps
from viz_diffusion.evaluation.classifier import DigitClassifier
from viz_diffusion.lessons.base import Finding
from viz_diffusion.lessons.label import lesson as label
from viz_diffusion.lessons.label.information import measure_label_information
from viz_diffusion.lessons.label.switching import SEED, STEPS, LabelSwitches, switch_labels
from viz_diffusion.lessons.precomputed import PRECOMPUTED_DIR, load_results
from viz_diffusion.plots.words import use_texts
from viz_diffusion.text.catalogue import load_texts

SCHEDULE = NoiseSchedule.named("linear")


@pytest.fixture(scope="module")
def known() -> Digits:
    """Return 200 digits, all labels among them."""
    digits = load_digits("train")
    return Digits(digits.images[:200], digits.labels[:200])


@pytest.fixture(scope="module")
def oracle(known: Digits) -> EmpiricalOracle:
    return EmpiricalOracle(SCHEDULE, known.images, known.labels)


@pytest.fixture(scope="module")
def obeying(oracle: EmpiricalOracle, known: Digits) -> LabelSwitches:
    return switch_labels(oracle, SCHEDULE, known, 2)


@pytest.fixture(scope="module")
def deaf(oracle: EmpiricalOracle, known: Digits) -> LabelSwitches:
    return switch_labels(deaf_to_labels(oracle), SCHEDULE, known, 2)


PLACES = np.random.default_rng(1).normal(size=(10, 3))
APART = np.linalg.norm(PLACES[:, None] - PLACES[None], axis=-1)
"""(10, 10) distances between ten places."""


def planted(lasts: np.ndarray, repeats: int = 10) -> LabelSwitches:
    """Return generations that are b where the change comes at t >= (10, 10) ``lasts``, and a otherwise."""
    timesteps = np.append(np.arange(999, 0, -100), -1)
    pairs = np.array([(a, b) for a in range(10) for b in range(10) if a != b])
    obeys = timesteps[:, None] >= lasts[pairs[:, 0], pairs[:, 1]]
    read = np.where(obeys, pairs[:, 1], pairs[:, 0]).astype(np.int8)
    shown = np.array([0, 3])
    images = np.zeros((2, len(timesteps), 28, 28), np.float32)
    return LabelSwitches(timesteps, 1000, 20, pairs, np.repeat(read[:, None], repeats, axis=1), APART, shown, images)


def test_the_ideal_denoiser_obeys_at_every_t(obeying: LabelSwitches) -> None:
    new, old = obeying.new_shares(), obeying.old_shares()
    assert obeying.timesteps.tolist() == [*range(999, 0, -100), -1]
    assert min(share.value for share in new[:-1]) > 0.9  # the classifier misreads a few of its copies
    assert old[-1].value > 0.9
    assert new[-1].value < 0.1
    claims = {claim.name: claim for claim in obeying.claims()}
    assert claims["obeyed"].holds is True
    assert claims["obeyed"].facts["at"] == 99
    assert claims["ignored"].holds is False


def test_control_a_denoiser_deaf_to_labels_gives_the_same_digit_whatever_the_order(deaf: LabelSwitches) -> None:
    assert np.array_equal(deaf.images, np.repeat(deaf.images[:, :1], deaf.images.shape[1], axis=1))
    assert (deaf.read == deaf.read[:1]).all()
    claims = {claim.name: claim.holds for claim in deaf.claims()}
    assert claims["obeyed"] is False
    assert claims["alike_later"] is False
    assert deaf.half is None


def test_at_its_ends_a_change_is_a_plain_run_to_the_bit(oracle: EmpiricalOracle, obeying: LabelSwitches) -> None:
    for end, order in ((0, 1), (-1, 0)):
        labels = torch.from_numpy(obeying.pairs[:, order])
        for step in sampling_steps(
            oracle, SCHEDULE, ImageNoise(range(SEED, SEED + 90)), labels, SamplerConfig("ddim", STEPS)
        ):
            finished = step.x_prev
        assert np.array_equal(finished[obeying.shown, 0].numpy(), obeying.images[:, end])
        read = DigitClassifier.bundled()[0].read(finished).numpy()
        assert np.array_equal(read, obeying.read[end, 0])


def test_a_switch_in_the_middle_is_the_intervention_on_the_label(
    oracle: EmpiricalOracle, obeying: LabelSwitches
) -> None:
    visited = spaced_timesteps(1000, STEPS)
    for row, pair in enumerate(obeying.shown):
        old, new = obeying.pairs[pair].tolist()
        for j in (2, 5, 8):
            told = WithInterventions(oracle, switch_label(new, at=int(obeying.timesteps[j])))
            noise = ImageNoise([SEED + int(pair)])
            *_, last = ddim_steps(told, SCHEDULE, noise, torch.tensor([old]), timesteps=visited)
            assert np.allclose(last.x_prev[0, 0].numpy(), obeying.images[row, j], atol=1e-4)


def test_the_matrix_says_until_when_and_from_where_to_where() -> None:
    rng = np.random.default_rng(0)
    lasts = 200.0 + 100 * rng.integers(0, 7, (10, 10))
    found = planted(lasts)
    off = ~np.eye(10, dtype=bool)
    table = found.matrix()
    assert np.isnan(np.diag(table)).all()
    # obeyed at 299 and not at 199: until 249, for every pair by itself
    assert np.allclose(table[off], np.ceil((lasts[off] + 1) / 100) * 100 - 51)
    assert np.allclose(planted(np.full((10, 10), -1.0)).matrix()[off], -1)
    assert np.allclose(planted(np.full((10, 10), 1000.0)).matrix()[off], 999)


def test_half_is_read_between_two_changes() -> None:
    lasts = np.full((10, 10), 450.0)
    lasts[:5] = 350.0  # half of all pairs obey at 399
    assert planted(lasts).half == pytest.approx(399)
    assert planted(np.full((10, 10), 450.0)).half == pytest.approx(449)


def test_claims_are_decided_by_intervals() -> None:
    sharp = {claim.name: claim for claim in planted(np.full((10, 10), 450.0)).claims()}
    assert sharp["obeyed"].holds is sharp["ignored"].holds is True
    assert (sharp["obeyed"].facts["at"], sharp["ignored"].facts["at"]) == (499, 399)
    late = sharp["ignored"].facts
    assert (late["share"], late["neither"], late["later"]) == (0, 1 - late["old"], 299)
    assert late["old"] == late["later_old"] > 0.9
    lasts = np.full((10, 10), 50.0)
    lasts[:5] = 950.0  # half obey always, half never but from the start
    open_ = {claim.name: claim.holds for claim in planted(lasts).claims()}
    assert open_["obeyed"] is open_["ignored"] is None


def test_alike_digits_later_is_told_from_the_contrary_and_from_chance() -> None:
    rising = 199 + 600 * APART / APART.max()

    def answer(lasts: np.ndarray) -> bool | None:
        return planted(lasts).claims()[2].holds

    assert answer(rising) is True
    assert answer(1100 - rising) is False  # surely the other way
    by_chance = [answer(np.random.default_rng(seed).uniform(199, 799, (10, 10))) for seed in range(40)]
    assert sum(map(bool, by_chance)) <= 4  # of 40, 1 is expected


@pytest.mark.parametrize("verdict", ["Yes", "No"])
def test_it_is_told_both_ways_in_every_language(
    verdict: str, obeying: LabelSwitches, deaf: LabelSwitches, oracle: EmpiricalOracle, known: Digits
) -> None:
    worth = measure_label_information(oracle, SCHEDULE, known, known, sizes=(20, 4, 2))
    context = with_comparison_runs(make_context(recorded_steps=7))
    orders = label.LabelStudy(label.measure_embedding(context.network), worth, obeying if verdict == "Yes" else deaf)
    context = replace(context, precomputed={label.LabelStudy: orders})
    told = told_in_every_language(Finding.measure(label.LESSON, context), context)
    answers = {one.question: one.verdict for one in told["en"].answers}
    assert answers["Does the generation follow a label that is changed early?"] == verdict
    drawn = [name for name in label.LESSON.figure_names if name != "conditioning_map"]  # not measured here
    for one in told.values():
        assert [drawing.name for drawing in one.drawings] == drawn


def test_what_is_open_is_said_too(obeying: LabelSwitches, oracle: EmpiricalOracle, known: Digits) -> None:
    lasts = np.full((10, 10), 50.0)
    lasts[:5] = 950.0
    worth = measure_label_information(oracle, SCHEDULE, known, known, sizes=(20, 4, 2))
    switches = replace(planted(lasts), shown=obeying.shown, images=obeying.images)
    context = with_comparison_runs(make_context(recorded_steps=7))
    context = replace(
        context,
        precomputed={label.LabelStudy: label.LabelStudy(label.measure_embedding(context.network), worth, switches)},
    )
    for one in told_in_every_language(Finding.measure(label.LESSON, context), context).values():
        assert len(one.answers) == 7


def test_the_bundled_network_obeys_early_and_not_late() -> None:
    weights = json.loads((PRECOMPUTED_DIR / "label.json").read_text())["weights_sha256"]
    found = load_results([label.LESSON], weights)[label.LabelStudy].switches
    claims = {claim.name: claim.holds for claim in found.claims()}
    assert claims["obeyed"] is claims["ignored"] is True


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_figures_say_how_many_generations_they_rest_on(lang: str) -> None:
    with use_texts(load_texts(lang)):
        written = [
            [text.get_text() for text in figure.findobj(Text)] for figure in (draw_label_switch(), draw_switch_pairs())
        ]
    for number, texts in zip(("900", "10"), written, strict=True):
        unit = "generations" if lang == "en" else "次生成"
        assert any(number in text and unit in text for text in texts)
