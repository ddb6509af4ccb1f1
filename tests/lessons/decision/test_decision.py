"""When a digit is chosen: ideal denoisers that must turn back and fork as closed forms say, and who must not settle."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from lesson_context import Answering, make_context, mute, outcomes, told_in_every_language
from torch import nn

from viz_diffusion.data import Digits, load_digits
from viz_diffusion.diffusion.oracles import EmpiricalOracle, GaussianOracle
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.diffusion.unet import ModelConfig, SimpleUNet
from viz_diffusion.evaluation.calibration import Calibration
from viz_diffusion.evaluation.classifier import DigitClassifier
from viz_diffusion.lessons.base import Finding
from viz_diffusion.lessons.decision import class_probability
from viz_diffusion.lessons.decision import lesson as decision
from viz_diffusion.lessons.decision.class_probability import finish_noised_digits, nearest, visited
from viz_diffusion.lessons.decision.forks import FORKED, fork_generations, settling_timesteps
from viz_diffusion.lessons.decision.ideal_paths import IdealPaths, noised_stepwise, settled_from_the_end
from viz_diffusion.lessons.decision.settling import Decision, half_interval
from viz_diffusion.study.wording import wording
from viz_diffusion.text.catalogue import load_texts

SCHEDULE = NoiseSchedule.named("linear")


@pytest.fixture(scope="module")
def classifier() -> DigitClassifier:
    return DigitClassifier.bundled()[0]


@pytest.fixture(scope="module")
def known(classifier: DigitClassifier) -> Digits:
    """Return 300 training digits that the classifier reads as labelled."""
    digits = load_digits("train")
    some = Digits(digits.images[:400], digits.labels[:400])
    right = classifier.read(some.images) == some.labels
    return Digits(some.images[right][:300], some.labels[right][:300])


@pytest.fixture(scope="module")
def ideal(known: Digits, classifier: DigitClassifier) -> Decision:
    """Return what is measured of the ideal denoiser of 300 digits, asked about those digits."""
    oracle = EmpiricalOracle(SCHEDULE, known.images, known.labels)
    noised = finish_noised_digits(oracle, SCHEDULE, known, known, classifier, 100, torch.Generator().manual_seed(1))
    paths, forks = fork_generations(oracle, SCHEDULE, (known, known), classifier, (50, 4, 4, 30))
    return Decision(noised, paths, forks, 1000, Calibration.bundled())


def random_network(seed: int = 0) -> SimpleUNet:
    """Return a small network of the bundled kind that learned nothing, its zero layers filled as well."""
    torch.manual_seed(seed)
    network = SimpleUNet(ModelConfig(channels=(8, 8), embedding_dim=16, time_dim=8, num_heads=2))
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d) and not layer.weight.any():
            nn.init.kaiming_normal_(layer.weight)
    return network.eval().requires_grad_(False)


def test_an_ideal_denoiser_brings_digits_back_as_often_as_its_posterior_says(ideal: Decision) -> None:
    noised = ideal.noised
    assert noised.returned is not None
    chance = noised.ideal.mean(axis=1)
    error = np.sqrt((noised.ideal * (1 - noised.ideal)).sum(axis=1)) / noised.ideal.shape[1]
    # exact but for the draws of 100 Bernoulli variables, and 100 steps in the place of 1000
    assert np.all(np.abs(noised.returned.mean(axis=1) - chance) < 3 * error + 0.03)
    assert noised.returned[0].mean() < 0.3
    assert noised.returned[-1].all()


def test_an_ideal_denoisers_generations_settle_in_its_own_window(ideal: Decision) -> None:
    names = ("settles", "as_ideal", "posterior_as_ideal", "turn", "fixed_by_ddim")
    found = outcomes(decision.LESSON, ideal)
    assert found.pop("fixed_by_ddpm") is False
    assert set(found) == set(names)
    assert False not in found.values()  # 40 generations cannot always tell 50 timesteps
    first, last = ideal.window
    quartiles = ideal.quartiles()
    assert quartiles is not None
    assert last < quartiles.median < first
    assert ideal.paths.commit is not None
    assert (ideal.paths.commit >= 0).mean() > 0.8  # it ends in training digits, which are read


def test_the_ideals_window_on_mnist_is_the_known_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """t = 665 and 435 were computed apart from this code, over 400 digits.

    Only the timesteps around both are measured: a crossing outside them would be put at 749, 599, 499 or 399.
    """
    monkeypatch.setattr(class_probability, "TIMESTEPS", (749, 699, 649, 599, 499, 449, 399))
    context = make_context(mute())
    noised = finish_noised_digits(
        mute(), SCHEDULE, context.heldout, context.training, None, 100, torch.Generator().manual_seed(3)
    )
    few = Digits(context.training.images[:50], context.training.labels[:50])
    paths, forks = fork_generations(mute(), SCHEDULE, (few, few), None, (4, 2, 2, 2))
    first, last = Decision(noised, paths, forks, 1000).window
    assert abs(first - 665) < 40
    assert abs(last - 435) < 25
    at_500 = noised.ideal.mean(axis=1)[list(noised.timesteps).index(499)]
    assert at_500 == pytest.approx(0.55, abs=0.12)  # 100 digits


def test_forks_of_a_gaussian_differ_by_its_posterior_variance() -> None:
    """Var(x_0 | x_t) along an eigenvector is λ(1-ᾱ)/(ᾱλ + 1-ᾱ), whatever x_t is."""
    rng = np.random.default_rng(0)
    directions, _ = np.linalg.qr(rng.standard_normal((784, 784)))
    variances = np.zeros(784)
    variances[:60] = np.geomspace(0.3, 0.003, 60)  # within the grey scale: clipping must not matter
    oracle = GaussianOracle(SCHEDULE, np.zeros(784), (directions * variances) @ directions.T)
    digits = load_digits("train")
    few = Digits(digits.images[:50], digits.labels[:50])
    _, forks = fork_generations(oracle, SCHEDULE, (few, few), None, (150, 4, 25, 1))
    grid = nearest(visited(SCHEDULE), FORKED)
    assert np.array_equal(forks.timesteps, grid)
    shares = SCHEDULE.alphas_cumprod[grid][:, None]
    expected = (variances * (1 - shares) / (shares * variances + 1 - shares)).sum(axis=1) / variances.sum()
    assert forks.spread.mean(axis=1) == pytest.approx(expected, rel=0.08, abs=0.005)
    assert forks.spread[0].mean() == pytest.approx(1, abs=0.08)
    assert forks.ddim_spread == 0
    assert forks.agree is None


def test_where_a_generation_settles() -> None:
    """Of digit 1: the first wavers, the second is sure from the start, the third never, the fourth at the end alone."""
    sure, unsure = [0.02, 0.98], [0.5, 0.5]
    read = torch.tensor([[unsure, sure, unsure, sure], [sure] * 4, [unsure] * 4, [unsure] * 4])
    finished = torch.tensor([sure, sure, [0.4, 0.6], sure])
    assert settling_timesteps(read, finished, np.array([999, 700, 400, 100])).tolist() == [100, 999, -1, 0]


def test_control_random_weights_settle_on_nothing_and_bring_nothing_back(
    known: Digits, classifier: DigitClassifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(class_probability, "STEPS", 20)
    network = random_network()
    noised = finish_noised_digits(network, SCHEDULE, known, known, classifier, 8, torch.Generator().manual_seed(1))
    paths, forks = fork_generations(network, SCHEDULE, (known, known), classifier, (16, 2, 2, 6))
    found = Decision(noised, paths, forks, 1000, Calibration.bundled())
    answers = outcomes(decision.LESSON, found)
    assert answers["settles"] is answers["turn"] is False
    assert "as_ideal" not in answers


def test_control_what_cannot_be_read_before_the_last_step_has_not_settled_on_the_way(
    ideal: Decision, known: Digits, classifier: DigitClassifier
) -> None:
    """The guess of the last step is the finished picture: whoever is read at all is read there."""
    sure = torch.softmax(classifier(known.images), dim=1).max(dim=1).values
    digit = known.images[sure.argmax()]
    last = int(visited(SCHEDULE)[-1])
    late = Answering(
        lambda x, t, _: SCHEDULE.predict_eps(x, torch.where(t[0] == last, digit, torch.zeros(())).expand_as(x), t)
    )
    paths, forks = fork_generations(late, SCHEDULE, (known, known), classifier, (40, 2, 2, 12))
    assert paths.commit is not None
    assert set(paths.commit) == {last}
    found = replace(ideal, paths=paths, forks=forks)
    answers = outcomes(decision.LESSON, found)
    assert answers["settles"] is False
    assert "as_ideal" not in answers
    told = told_in_every_language(Finding.of(decision.LESSON, found, full=False), make_context(mute()))
    assert "40 of them only at t < 100" in told["en"].answers[0].text


def test_to_settle_is_what_more_than_half_do(ideal: Decision) -> None:
    for settled, expected in ((80, True), (60, True), (42, None), (20, False), (12, False)):
        commit = np.where(np.arange(80) < settled, 500, 9)
        data = replace(ideal, paths=replace(ideal.paths, commit=commit))
        assert outcomes(decision.LESSON, data)["settles"] is expected, settled


def test_control_digits_that_come_back_a_hundred_timesteps_later_are_not_as_predicted(
    ideal: Decision,
) -> None:
    returned = ideal.noised.returned
    assert returned is not None
    later = np.concatenate([returned[:2], returned[:-2]])
    assert outcomes(decision.LESSON, replace(ideal, noised=replace(ideal.noised, returned=later)))["turn"] is False


def settled_at(t: int, spread: int = 20, count: int = 80) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return so many t about one, the largest and the smallest of them ``spread`` away."""
    return t + np.linspace(-spread, spread, count).round().astype(np.int64)


def with_commits(data: Decision, ours: int, theirs: int, spread: int = 20) -> Decision:
    """Return the measurement as if both ways to settle had these medians, of the network and of the ideal denoiser."""
    own, other = settled_at(ours, spread), settled_at(theirs, spread)
    return replace(data, paths=replace(data.paths, commit=own, ideal=IdealPaths(own, other, other, other)))


@pytest.mark.parametrize(
    ("ours", "theirs", "spread", "expected", "start"),
    [
        (470, 460, 20, True, "Yes."),
        (360, 460, 20, False, "No."),
        (560, 460, 20, False, "No."),
        (510, 460, 150, None, "Undecided."),
    ],
)
def test_settled_like_the_ideal_is_told_every_way(
    ideal: Decision, ours: int, theirs: int, spread: int, expected: bool | None, start: str
) -> None:
    data = with_commits(ideal, ours, theirs, spread)
    finding = Finding.of(decision.LESSON, data, full=False)
    told = told_in_every_language(finding, make_context(mute()))
    for name in ("as_ideal", "posterior_as_ideal"):
        place = next(k for k, claim in enumerate(finding.claims) if claim.name == name)
        assert finding.claims[place].holds is expected
        assert told["en"].answers[place].text.startswith(start)
        assert f"The difference is {ours - theirs:+d}".replace("-", "−") in told["en"].answers[place].text
        assert told["zh"].answers[place].text.startswith({True: "是", False: "否", None: "无法"}[expected])


def test_the_first_noise_fixes_the_image_in_two_answers_and_both_ways(ideal: Decision) -> None:
    for spread, ddim, answers in ((1.0, 0.0, ("Yes.", "No.")), (0.1, 0.4, ("No.", "Yes."))):
        fixed = np.full_like(ideal.forks.spread, spread) + 0.01 * np.arange(ideal.forks.spread.shape[1])
        data = replace(ideal, forks=replace(ideal.forks, spread=fixed, ddim_spread=ddim))
        told = told_in_every_language(Finding.of(decision.LESSON, data, full=False), make_context(mute()))
        assert tuple(one.text.split()[0] for one in told["en"].answers[-2:]) == answers


def test_the_ideals_own_states_are_the_forward_process() -> None:
    """One step after another: mean √ᾱ x_0 and variance 1-ᾱ at every t, and the correlation of two states."""
    x0 = torch.full((4000, 1, 1, 1), 0.7)
    states = dict(noised_stepwise(SCHEDULE, x0, [99, 499, 899], torch.Generator().manual_seed(0)))
    for t, x in states.items():
        share = SCHEDULE.alphas_cumprod[t]
        assert float(x.mean()) == pytest.approx(0.7 * share**0.5, abs=4 * ((1 - share) / 4000) ** 0.5)
        assert float(x.var()) == pytest.approx(1 - share, rel=0.1)
    kept = SCHEDULE.alphas_cumprod[499] / SCHEDULE.alphas_cumprod[99]
    covariance = torch.cov(torch.stack([states[99].flatten(), states[499].flatten()]))[0, 1]
    assert float(covariance) == pytest.approx(kept**0.5 * (1 - SCHEDULE.alphas_cumprod[99]), abs=0.02)


def test_a_class_is_settled_from_the_end_on() -> None:
    """Of two classes: always sure, sure up to t = 2, sure at 3 again (too late), and never sure."""
    sure = {1: [1, 1, 1, 0], 2: [1, 1, 0, 0], 3: [1, 0, 1, 0]}
    states = [(t, torch.tensor(values).float()[:, None]) for t, values in sure.items()]

    def probability(x: torch.Tensor, _t: int) -> torch.Tensor:
        return torch.cat([0.6 + 0.35 * x, 0.4 - 0.35 * x], dim=1)

    assert settled_from_the_end(probability, states).tolist() == [3, 2, 1, 0]


def test_the_decision_is_told_where_nobody_can_read(ideal: Decision) -> None:
    context, texts = make_context(mute()), load_texts("en")
    never = replace(ideal.paths, commit=np.full(80, -1))
    nobody = replace(
        ideal,
        noised=replace(ideal.noised, x0_probability=None, returned=None),
        paths=replace(ideal.paths, commit=None, ideal=replace(ideal.paths.ideal, own_read=None)),
        forks=replace(ideal.forks, agree=None, chance=None),
        calibration=None,
    )
    for data, count in ((ideal, 6), (replace(ideal, paths=never), 5), (nobody, 3)):
        finding = Finding.of(decision.LESSON, data, full=False)
        told = told_in_every_language(finding, context)
        assert len(told["en"].answers) == len(told["zh"].answers) == count
        assert [drawing.name for drawing in told["zh"].drawings] == ["decision", "settling", "forks"]
        assert len(told["zh"].table.rows) == len(data.noised.timesteps)
        details = texts("picture.decision.details", **wording(finding.facts_by_name, texts))
        assert ("log loss falls from 0.056 to 0.009" in details) is (data is not nobody)


def test_the_answer_tells_at_every_t_how_many_pairs_agree(ideal: Decision) -> None:
    assert ideal.forks.agree is not None
    agree = np.linspace(0.1, 1.0, len(ideal.forks.timesteps))[:, None] * np.ones_like(ideal.forks.agree)
    told = decision.facts(replace(ideal, forks=replace(ideal.forks, agree=agree))).forks.fork_agreed_told
    parts = told.split("; ")
    assert len(parts) == len(ideal.forks.timesteps)
    assert parts[0] == f"{ideal.forks.timesteps[0]}: 10%"
    assert parts[-1] == f"{ideal.forks.timesteps[-1]}: 100%"


def test_intervals_over_few_states_are_students() -> None:
    values = np.array([0.2, 0.4, 0.6, 0.1, 0.9, 0.5, 0.3, 0.8])
    assert half_interval(values) == pytest.approx(2.365 * values.std(ddof=1) / np.sqrt(8), rel=1e-3)
