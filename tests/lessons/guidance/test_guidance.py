"""What strong guidance costs: ends equal to plain runs, a variance in closed form, and denoisers not to be found so."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from lesson_context import Answering, deaf_to_labels, make_context, mute, outcomes, told_in_every_language
from matplotlib.text import Text

from viz_diffusion.data import Digits, load_digits
from viz_diffusion.diffusion.oracles import EmpiricalOracle
from viz_diffusion.diffusion.sampler_config import SamplerConfig
from viz_diffusion.diffusion.sampling import sample_images
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.diffusion.timesteps import spaced_timesteps
from viz_diffusion.evaluation.metrics import covered, precision_recall
from viz_diffusion.lessons.base import Finding
from viz_diffusion.lessons.guidance import lesson as guidance
from viz_diffusion.lessons.guidance.guidance_scales import (
    SCALES,
    SEED,
    WINDOW,
    Guidance,
    _white_real,
    measure_guidance,
    spread_within,
    windows_of,
)
from viz_diffusion.lessons.guidance.lesson import GuidanceStudy

SCHEDULE = NoiseSchedule.named("linear")


@pytest.fixture(scope="module")
def known() -> Digits:
    digits = load_digits("train")
    return Digits(digits.images[:300], digits.labels[:300])


@pytest.fixture(scope="module")
def ideal(known: Digits) -> Guidance:
    """Return what is measured on the ideal denoiser of 300 digits."""
    oracle = EmpiricalOracle(SCHEDULE, known.images, known.labels)
    return measure_guidance(oracle, SCHEDULE, known, known, count=60, steps=8)


def test_the_spread_within_labels_has_the_variance_as_its_mean() -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(30000) % 3
    scale = torch.tensor([1.0, 2.0, 3.0])[labels, None, None, None]
    images = 5.0 * labels[:, None, None, None] + scale * torch.randn(30000, 1, 3, 3, generator=generator)
    found = spread_within(images, labels)
    assert found.mean() == pytest.approx((1 + 4 + 9) / 3, rel=0.01)
    two = spread_within(images[:2], torch.zeros(2, dtype=torch.int64))
    assert two.mean() == pytest.approx(images[:2].flatten(1).var(dim=0).mean().item(), rel=1e-5)  # divided by n-1


def test_recall_is_the_share_of_covered_real_points() -> None:
    rng = np.random.default_rng(0)
    real, made = rng.standard_normal((80, 4)), 0.5 * rng.standard_normal((60, 4))
    precision, recall = precision_recall(real, made)
    assert covered(real, made).mean() == recall
    assert covered(made, real).mean() == precision
    assert covered(made, made).all()
    assert not covered(real + 1000, made).any()


def test_the_ends_are_plain_runs_bit_for_bit() -> None:
    """s = 0 is the run without an order, s = 1 the one with it: not one bit of guidance in either."""
    denoiser = Answering(lambda x, t, y: 0.9 * x + 0.01 * (y / 10 + t / 1000)[:, None, None, None])
    found = measure_guidance(
        denoiser, SCHEDULE, load_digits("test"), load_digits("test"), is_mnist=False, count=20, steps=5
    )
    asked = torch.arange(20) % 10
    for scale, labels in ((0.0, torch.full_like(asked, 10)), (1.0, asked)):
        plain = next(sample_images(denoiser, SCHEDULE, labels, range(SEED, SEED + 20), SamplerConfig("ddim", 5))).clamp(
            -1, 1
        )
        assert np.array_equal(found.images[found.arm(scale)], plain[asked == 5, 0].numpy())
    assert found.windows.shape == (0, 2)
    assert found.right is found.covered is None
    assert len(found.scales) == len(SCALES)


def test_the_ideal_denoiser_obeys_a_plain_order_and_none_without_one(ideal: Guidance) -> None:
    assert ideal.right is not None
    share = ideal.right.mean(axis=1)
    assert share[ideal.arm(0)] < 0.35
    assert share[ideal.arm(1)] > 0.9
    assert outcomes(guidance.LESSON, GuidanceStudy(ideal))["obeys"] is not True  # nothing is left to be gained
    assert ideal.spread.mean(axis=1)[ideal.arm(0)] > 1.2 * ideal.spread.mean(axis=1)[ideal.arm(1)]


def test_control_to_a_denoiser_deaf_to_labels_no_scale_makes_a_difference(known: Digits) -> None:
    deaf = deaf_to_labels(EmpiricalOracle(SCHEDULE, known.images, known.labels))
    found = measure_guidance(deaf, SCHEDULE, known, known, count=20, steps=6)
    assert np.allclose(found.images[0], found.images[-2], atol=1e-3)
    answers = outcomes(
        guidance.LESSON, GuidanceStudy(replace(found, spread=found.spread[:1].repeat(len(found.scales), 0)))
    )
    # of the share of 20 all that is known is that it is not far from the other's
    assert answers | {"saturates": None} == {
        "obeys": None,
        "narrows": False,
        "forgets": None,
        "saturates": None,
        "window": None,
    }


def planted(ideal: Guidance, gain: int, lost: int, ratio: float, within: int, after: int = 0) -> Guidance:
    """Return the finding as if strong guidance gained some of 60 samples, lost some real digits, and scaled the spread.

    In the window ``within`` are gained, just after it ``after``, and before it none.
    """
    assert ideal.right is not None
    assert ideal.covered is not None
    right, covered_, spread = np.zeros_like(ideal.right), np.ones_like(ideal.covered), ideal.spread.copy()
    plain, strong = ideal.arm(1), ideal.arm(3)
    right[plain, :30] = right[strong, : 30 + gain] = right[-3, : 30 + within] = right[-2, :30] = True
    right[-1, : 30 + after] = True
    covered_[strong if lost > 0 else plain, : abs(lost)] = False
    spread[strong] = ratio * spread[plain]
    return replace(ideal, right=right, covered=covered_, spread=spread)


@pytest.mark.parametrize(
    ("gain", "lost", "ratio", "within", "after", "expected"),
    [
        (20, 30, 0.7, 19, 0, (True, True, True, True)),
        (-20, -30, 1.3, 0, 0, (False, False, False, None)),
        (20, 0, 0.7, 1, 0, (True, True, None, False)),
        (1, 1, 0.7, 0, 0, (None, True, None, None)),
        # the window keeps most of the gain, but so do other steps, or others do better
        (20, 30, 0.7, 19, 18, (True, True, True, None)),
        (20, 30, 0.7, 15, 30, (True, True, True, False)),
    ],
)
def test_each_answer_follows_what_was_measured(
    ideal: Guidance,
    gain: int,
    lost: int,
    ratio: float,
    within: int,
    after: int,
    expected: tuple[bool | None, ...],
) -> None:
    answers = outcomes(guidance.LESSON, GuidanceStudy(planted(ideal, gain, lost, ratio, within, after)))
    assert tuple(answers[name] for name in ("obeys", "narrows", "forgets", "window")) == expected


@pytest.mark.parametrize(
    ("within", "after", "lost", "expected"),
    [
        (19, 19, 30, False),  # as accurate just after, where more is covered
        (19, 19, 0, None),
        (19, 0, 30, None),  # surely more accurate in the window, which covers less: neither is better
        (19, 0, 0, True),
    ],
)
def test_a_window_is_not_better_where_others_keep_more_variety(
    ideal: Guidance, within: int, after: int, lost: int, expected: bool | None
) -> None:
    data = planted(ideal, 20, 30, 0.7, within, after)
    assert data.covered is not None
    reached = data.covered.copy()
    reached[-3, :lost] = False
    claims = {claim.name: claim for claim in guidance.claims(GuidanceStudy(replace(data, covered=reached)))}
    assert claims["window"].holds is expected
    assert claims["window"].facts["reach_ahead"] == pytest.approx(-lost / reached.shape[1])


def test_what_is_lost_is_what_a_reader_gets_by_subtracting(ideal: Guidance) -> None:
    context = make_context(mute())
    data = planted(ideal, 20, 13, 0.7, 19, 0)
    told = told_in_every_language(Finding.of(guidance.LESSON, GuidanceStudy(data), full=False), context)
    claims = {claim.name: claim.facts for claim in guidance.claims(GuidanceStudy(data))}
    for name, (gone, left) in {"forgets": ("plain", "strong"), "obeys": ("strong", "plain")}.items():
        one = claims[name]
        assert one[f"{gone}_hits"] - one[f"{left}_hits"] == one["change_hits"] == {"forgets": 13, "obeys": 20}[name]
    text = next(answer.text for answer in told["en"].answers if "cover fewer" in answer.question)
    found = re.match(r"Yes\. Of (\d+) real digits, .* cover (\d+) \(.* cover (\d+) \(.*loses (\d+), ", text)
    assert found is not None
    count, plain, strong, lost = map(int, found.groups())
    assert (plain - strong, count) == (lost, ideal.count)


def test_strokes_are_white_beside_those_of_real_digits(ideal: Guidance) -> None:
    """Plain samples are pale: to come up to real digits is not to be whiter than they."""

    def said(loud: float, real: float, error: float = 0.001) -> bool | None:
        white = np.full_like(ideal.white, 0.02) + 0.01 * (-1.0) ** np.arange(ideal.count)
        white[ideal.arm(8)] += loud - 0.02
        shown = replace(ideal, white=white, white_real=real, white_real_error=error)
        return outcomes(guidance.LESSON, GuidanceStudy(shown))["saturates"]

    assert said(0.08, 0.05) is True
    assert said(0.08, 0.08) is None
    assert said(0.08, 0.11) is False
    assert said(0.08, 0.05, error=0.05) is None


def test_every_label_counts_alike_among_real_white_pixels() -> None:
    images = torch.full((10, 1, 2, 2), -1.0)
    images[:8, :, 0] = 1  # half of the pixels of label 0
    images[9] = 1  # of label 1 none, and all
    mean, error = _white_real(Digits(images, torch.tensor([0] * 8 + [1, 1])))
    assert mean == pytest.approx(0.5)
    assert error == pytest.approx(np.sqrt(0.5 / 2) / 2)  # the variance of 0 and 1 is 0.5
    assert _white_real(Digits(images[:9], torch.tensor([0] * 8 + [1])))[0] == pytest.approx(0.25)


def test_the_interval_of_a_ratio_is_that_of_a_bootstrap(ideal: Guidance) -> None:
    rng = np.random.default_rng(0)
    spread = rng.gamma(2.0, size=(len(ideal.scales), 400))
    plain, strong = spread[ideal.arm(1)], spread[ideal.arm(3)] / 2
    spread[ideal.arm(3)] = strong
    claim = guidance._narrows(replace(ideal, spread=spread))
    again = rng.integers(400, size=(4000, 400))
    ratios = strong[again].mean(axis=1) / plain[again].mean(axis=1)
    assert claim.facts["high"] - claim.facts["low"] == pytest.approx(
        np.ptp(np.quantile(ratios, (0.025, 0.975))), rel=0.08
    )
    assert claim.facts["ratio"] == pytest.approx(strong.mean() / plain.mean())


@pytest.mark.parametrize("steps", [1, 2, 5, 8, 20, 50])
def test_the_windows_beside_hold_as_many_steps_and_touch_it(steps: int) -> None:
    visited = spaced_timesteps(1000, steps)
    spans = windows_of(1000, steps)
    inside, before, after = [visited[(visited >= a) & (visited <= b)] for a, b in spans]
    assert tuple(spans[0]) == WINDOW
    assert len(before) == min(len(inside), (visited > WINDOW[1]).sum())
    assert len(after) == min(len(inside), (visited < WINDOW[0]).sum())
    together = visited[(visited >= after.min(initial=435)) & (visited <= before.max(initial=665))]
    assert np.array_equal(np.sort(np.concatenate([after, inside, before])), np.sort(together))


def test_it_is_told_both_ways_and_without_a_reader(ideal: Guidance) -> None:
    context = make_context(deaf_to_labels(Answering(lambda x, _t, _y: x)))
    nobody = replace(
        ideal,
        right=None,
        covered=None,
        covered_real=None,
        windows=ideal.windows[:0],
        scales=ideal.scales[:-3],
        spread=ideal.spread[:-3],
        white=ideal.white[:-3],
        images=ideal.images[:-3],
    )
    cases = (planted(ideal, 20, 30, 0.7, 19), planted(ideal, -20, -30, 1.3, 0), planted(ideal, 1, 1, 0.7, 0), nobody)
    for data, verdict, count in zip(cases, ("Yes", "No", "Undecided", None), (5, 5, 5, 2), strict=True):
        told = told_in_every_language(Finding.of(guidance.LESSON, GuidanceStudy(data), full=False), context)
        assert len(told["en"].answers) == len(told["zh"].answers) == count
        assert verdict is None or told["en"].answers[0].verdict == verdict
        assert all("{" not in one.text for lang in told.values() for one in lang.answers)
        assert len(told["en"].table.rows) == len(data.scales)


def test_the_figures_show_what_was_found(ideal: Guidance) -> None:
    figures = guidance.draw(GuidanceStudy(ideal))
    assert tuple(figures) == guidance.LESSON.figure_names[:2]
    shown = [image.get_array() for axes in figures["guidance"].axes for image in axes.images]
    kept = ideal.images.shape[1]
    assert len(shown) == len(SCALES) * kept
    factor = shown[0].shape[0] // 28
    for column in range(len(SCALES)):
        for row in range(kept):
            assert np.array_equal(shown[column * kept + row][::factor, ::factor], ideal.images[column, row])
    said = [one.get_text() for one in figures["guidance"].findobj(Text) if one.get_text()]
    rows = ["guidance\nscale s", "accuracy", "variance", "recall"]
    assert [word for word in said if word in rows] == rows
    facts = guidance.facts(GuidanceStudy(ideal))
    dots = [line for axes in figures["price"].axes for line in axes.lines if line.get_marker() == "o"]
    for line, name in zip(dots, ("accuracy", "recall", "variance"), strict=True):
        assert np.allclose(line.get_ydata(), getattr(facts, f"guidance_{name}")[: len(SCALES)])
