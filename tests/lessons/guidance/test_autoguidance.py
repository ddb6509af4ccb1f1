"""Guidance by a worse network: exact algebra, a guide that is no worse, and words both ways."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from lesson_context import Answering, deaf_to_labels, make_context, mute, outcomes, told_in_every_language
from scipy.stats import binomtest

from viz_diffusion.data import Digits, load_digits
from viz_diffusion.diffusion.oracles import EmpiricalOracle
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.diffusion.unet import ModelConfig
from viz_diffusion.lessons.base import Finding
from viz_diffusion.lessons.guidance import lesson as guidance
from viz_diffusion.lessons.guidance.autoguidance import SCALES, Autoguidance, Autoguided, measure_autoguidance
from viz_diffusion.lessons.guidance.guidance_scales import NO_GUIDANCE, STRONG, Guidance, measure_guidance
from viz_diffusion.lessons.guidance.lesson import GuidanceStudy
from viz_diffusion.lessons.precomputed import load_results
from viz_diffusion.training.run import Run

SCHEDULE = NoiseSchedule.named("linear")


@pytest.fixture(scope="module")
def known() -> Digits:
    return load_digits("train").first_of_each(300)


@pytest.fixture(scope="module")
def shipped() -> GuidanceStudy:
    study: GuidanceStudy = load_results([guidance.LESSON], Run.bundled().load_model()[1])[GuidanceStudy]
    return study


def test_the_prediction_goes_from_the_worse_through_the_better() -> None:
    good, bad = Answering(lambda x, _t, y: 2 * x + y[:, None, None, None]), Answering(lambda x, _t, _y: -x)
    x, t, y = torch.randn(3, 1, 4, 4), torch.tensor([5, 5, 5]), torch.tensor([0, 1, 2])
    assert torch.allclose(Autoguided(good, bad, 1.0)(x, t, y), good(x, t, y), atol=1e-5)
    assert torch.equal(Autoguided(good, bad, 0.0)(x, t, y), bad(x, t, y))
    expected = -x + 3 * (2 * x + y[:, None, None, None] + x)
    assert torch.allclose(Autoguided(good, bad, 3.0)(x, t, y), expected)


def test_a_guide_that_is_no_worse_changes_nothing_and_a_deaf_one_is_guidance_by_the_label(known: Digits) -> None:
    oracle = EmpiricalOracle(SCHEDULE, known.images, known.labels)
    same = measure_autoguidance(oracle, oracle, SCHEDULE, known, 20, (1, "x"), steps=6)
    assert (same.right == same.right[0]).all()
    assert (same.covered == same.covered[0]).all()
    # a guide that never gets the label is the null label of classifier-free guidance
    deaf = measure_autoguidance(oracle, deaf_to_labels(oracle), SCHEDULE, known, 20, (1, "x"), steps=6)
    free = measure_guidance(oracle, SCHEDULE, known, known, count=20, steps=6)
    assert free.right is not None
    for row, scale in enumerate(SCALES):
        assert np.array_equal(deaf.right[row], free.right[free.arm(scale)])
    assert (deaf.guide_steps, deaf.guide_sha256) == (1, "x")


def _planted(shipped: GuidanceStudy, gained: int, covered: int) -> tuple[Guidance, Autoguidance]:
    """Return the study as if autoguidance gained some samples and covered so many more real digits."""
    scales, auto = shipped.scales, shipped.auto
    assert auto is not None
    assert scales.right is not None
    assert scales.covered is not None
    plain, strong, own = scales.arm(NO_GUIDANCE), scales.arm(STRONG), SCALES.index(STRONG)
    right, reached, auto_right, auto_reached = (
        array.copy() for array in (scales.right, scales.covered, auto.right, auto.covered)
    )
    for array, row, count in (
        (right, plain, 300),
        (auto_right, own, 300 + gained),
        (reached, strong, 300),
        (auto_reached, own, 300 + covered),
    ):
        array[row] = np.arange(array.shape[1]) < count
    return replace(scales, right=right, covered=reached), replace(auto, right=auto_right, covered=auto_reached)


@pytest.mark.parametrize(
    ("gained", "covered", "said"),
    [(40, 40, (True, True)), (-40, -40, (False, False)), (1, 1, (None, None)), (40, -40, (True, False))],
)
def test_autoguidance_is_told_every_way(
    shipped: GuidanceStudy, gained: int, covered: int, said: tuple[bool | None, bool | None]
) -> None:
    data = GuidanceStudy(*_planted(shipped, gained, covered))
    found = outcomes(guidance.LESSON, data)
    assert (found["auto_obeys"], found["auto_covers"]) == said
    told = told_in_every_language(Finding.of(guidance.LESSON, data, full=False), make_context(heldout=10))
    verdicts = {True: "Yes", False: "No", None: "Undecided"}
    assert [answer.verdict for answer in told["en"].answers[-3:-1]] == [verdicts[one] for one in said]


def test_a_gain_whose_interval_ends_near_0_needs_the_exact_test_too(shipped: GuidanceStudy) -> None:
    """14 samples gained and 5 lost of 500: the interval begins at 0.02%, and the exact p is 0.06."""
    scales, auto = _planted(shipped, 0, 0)
    right = auto.right.copy()
    own = SCALES.index(STRONG)
    right[own] = scales.right[scales.arm(NO_GUIDANCE)] if scales.right is not None else False
    right[own, :5], right[own, -14:] = False, True
    claim = replace(auto, right=right).claims(scales)[0]
    assert claim.facts["low"] > 0
    assert claim.facts["p"] == pytest.approx(binomtest(5, 19).pvalue)
    assert (claim.facts["only_one"], claim.facts["only_other"], claim.holds) == (14, 5, None)
    right[own, -17:] = True  # 17 gained
    assert replace(auto, right=right).claims(scales)[0].holds is True


@pytest.mark.parametrize(
    ("accurate", "covered", "said"),
    [
        (490, 450, True),  # as accurate as the scale 1.5, and covers more
        (480, 350, False),  # the scale 1.5 is more accurate and covers more
        (480, 450, None),  # less accurate, and covers more: not comparable
        (490, 400, None),  # as accurate, and covers as many
    ],
)
def test_an_advantage_at_equal_accuracy_needs_an_equal_accuracy(
    shipped: GuidanceStudy, accurate: int, covered: int, said: bool | None
) -> None:
    scales, auto = shipped.scales, shipped.auto
    assert auto is not None
    assert scales.right is not None
    assert scales.covered is not None
    own, order = SCALES.index(STRONG), np.arange(scales.count)
    right, reached = np.ones_like(scales.right), np.zeros_like(scales.covered)
    right[scales.arm(1.5)], reached[scales.arm(1.5)] = order < 490, order < 400
    auto_right, auto_reached = auto.right.copy(), auto.covered.copy()
    auto_right[own], auto_reached[own] = order < accurate, order < covered
    claims = replace(auto, right=auto_right, covered=auto_reached).claims(replace(scales, right=right, covered=reached))
    claim = claims[-1]
    assert (claim.name, claim.holds) == ("auto_equal", said)
    assert (claim.facts["near"], claim.facts["near_right"], claim.facts["near_reach"]) == (1.5, 0.98, 0.8)


def test_the_shipped_answer_tells_what_autoguidance_gives_up(shipped: GuidanceStudy) -> None:
    claims = {claim.name: claim for claim in guidance.claims(shipped)}
    found = claims["auto_covers"].facts
    assert found["right_high"] < 0  # surely less accurate at the same scale
    assert found["kept_low"] < 0  # does not surely cover more than no guidance
    assert found["kept_change"] < 0
    assert claims["auto_equal"].holds is None


def test_what_ships_was_measured_with_the_guide_that_ships(shipped: GuidanceStudy) -> None:
    run = Run.control(guidance.GUIDE)
    assert shipped.auto is not None
    assert shipped.auto.guide_sha256 == run.load_model()[1]
    assert shipped.auto.guide_steps == run.trained_steps == 500
    assert shipped.auto.right.shape[1] == shipped.scales.count >= 500
    assert run.config.model == Run.bundled().config.model


@pytest.mark.parametrize(("full", "schedule"), [(True, "linear"), (False, "linear"), (True, "cosine")])
def test_it_is_measured_with_full_sizes_where_the_schedule_is_the_guides(
    full: bool, schedule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fake(*_given: object, **_named: object) -> str:
        return "measured"

    class Scales:
        count = 20

    monkeypatch.setattr(guidance, "measure_guidance", lambda *_given, **_named: Scales())
    monkeypatch.setattr(guidance, "measure_autoguidance", fake)
    context = make_context(mute(), heldout=20, full=full)
    config = replace(context.run.config, schedule=schedule, model=ModelConfig(schedule=schedule))
    study = guidance.measure(replace(context, run=replace(context.run, config=config)))
    assert study.auto == ("measured" if full and schedule == "linear" else None)


def test_the_figure_shows_both_kinds_of_guidance(shipped: GuidanceStudy) -> None:
    figure = guidance.draw(shipped)["autoguidance"]
    facts = guidance.facts(shipped)
    assert facts.auto is not None
    lines = [line for axes in figure.axes for line in axes.lines]
    plain = facts.guidance_scales.index(NO_GUIDANCE)
    for free, auto in (
        (facts.guidance_accuracy, facts.auto.auto_accuracy),
        (facts.guidance_recall, facts.auto.auto_recall),
    ):
        assert free is not None
        assert any(np.allclose(line.get_ydata(), [free[plain], *auto]) for line in lines if len(line.get_ydata()) == 5)
