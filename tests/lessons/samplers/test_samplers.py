"""Few steps: by a Gaussian whose every way is known in closed form, and by denoisers for which nothing is gained."""

from __future__ import annotations

from dataclasses import replace
from math import pi

import numpy as np
import pytest
import torch
from lesson_context import make_context, mute, outcomes, told_in_every_language
from matplotlib.text import Text

from viz_diffusion.data import load_digits
from viz_diffusion.diffusion.oracles import GaussianOracle, TruthOracle
from viz_diffusion.diffusion.samplers import ImageNoise, ddim_steps
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.diffusion.timesteps import spaced_timesteps
from viz_diffusion.lessons.base import Finding
from viz_diffusion.lessons.context import TRACED_SEED, record_traces
from viz_diffusion.lessons.samplers import lesson as samplers
from viz_diffusion.lessons.samplers.path_geometry import measure_paths, principal, straightness
from viz_diffusion.lessons.samplers.sampler_comparison import (
    Samplers,
    _judge,
    _PathKeeper,
    _sample,
    measure_samplers,
)

SCHEDULE = NoiseSchedule.named("linear")
STEPS = (2, 5, 10, 20, 50, 200)


def small_gaussian() -> GaussianOracle:
    """Return a perfect denoiser whose pictures are too faint to be clipped."""
    variances = np.geomspace(0.06, 0.005, 784)
    directions = np.linalg.qr(np.random.default_rng(0).standard_normal((784, 784)))[0]
    return GaussianOracle(SCHEDULE, np.full(784, -0.1), (directions * variances) @ directions.T)


@pytest.fixture(scope="module")
def gaussian() -> Samplers:
    oracle, digits = small_gaussian(), load_digits("test")
    traces = record_traces(oracle, SCHEDULE, 20, spaced_timesteps(1000, 300))
    return measure_samplers(oracle, traces, digits, digits, is_mnist=False, count=20, steps=STEPS)


@pytest.fixture(scope="module")
def read(gaussian: Samplers) -> Samplers:
    """Return the finding as if somebody could read it: 180 of 200 with 10 steps or more, 80 with fewer."""
    right = np.zeros((4, len(STEPS), 200), dtype=bool)
    right[:, :2, :80] = right[:, 2:, :180] = True
    all_right = np.zeros(200, dtype=bool)
    all_right[:184] = True
    return replace(gaussian, right=right, right_all=all_right, apart=np.repeat(gaussian.apart, 10, axis=2))


def test_both_samplers_near_the_exact_end_as_fast_as_their_order_says(gaussian: Samplers) -> None:
    oracle = small_gaussian()
    noise = ImageNoise(range(TRACED_SEED, TRACED_SEED + 20)).draw().double()
    exact = oracle.flow(noise, 999)[:, 0].numpy()
    shown = int(np.flatnonzero(np.arange(20) % 10 == gaussian.digit)[0])
    off = np.sqrt(np.square(gaussian.images[:, :, :, :] - exact[shown]).mean(axis=(2, 3)))
    ddim, solver = off[samplers.DDIM], off[samplers.SOLVER]
    assert (np.diff(ddim) < 0).all()
    assert (np.diff(solver) < 0).all()
    assert solver[-1] < 0.02 * exact.std()
    assert ddim[4] / ddim[5] == pytest.approx(4, rel=0.25)  # 50 and 200 steps: first order, 1/N
    assert solver[4] / solver[5] > 6  # more than first order
    assert gaussian.apart[1, -1].max() == 0
    assert np.allclose(gaussian.apart[0, :3].mean(axis=1), ddim[:3], rtol=0.5)
    assert outcomes(samplers.LESSON, gaussian) == {"second_order": True, "straighter": True, "flatter": True}


def test_control_where_the_guess_never_changes_looking_back_gains_nothing() -> None:
    """To the truth one straight step leads, and every sampler that throws nothing on is there at once."""
    digits = load_digits("test")
    known = digits.images[:20] * 0.9
    truth = TruthOracle(SCHEDULE, known)
    traces = record_traces(truth, SCHEDULE, 20, spaced_timesteps(1000, 100))
    found = measure_samplers(truth, traces, digits, digits, is_mnist=False, count=20, steps=(5, 10, 20))
    assert found.apart.max() < 1e-3
    same = replace(found, apart=np.zeros_like(found.apart))
    assert outcomes(samplers.LESSON, same)["second_order"] is False


def test_known_ways_have_their_known_straightness_and_axes() -> None:
    rng = np.random.default_rng(1)
    line = np.linspace(0, 1, 50)[:, None] * rng.standard_normal(30)
    assert straightness(line[None])[0] == pytest.approx(1)
    assert principal(line)[0] == pytest.approx([1, 0], abs=1e-9)
    angle = np.linspace(0, pi, 400)
    arc = np.stack([np.cos(angle), np.sin(angle)], axis=1)[None]
    share, length = straightness(arc)
    assert length == pytest.approx(pi, rel=1e-4)
    assert share == pytest.approx(2 / pi, rel=1e-4)
    walks = np.cumsum(rng.standard_normal((8, 401, 3000)), axis=1)
    assert straightness(walks)[0] == pytest.approx(np.full(8, 1 / 20), rel=0.05)
    shares = np.mean([principal(walk)[0] for walk in walks], axis=0)
    assert shares == pytest.approx([6 / pi**2, 6 / (4 * pi**2)], rel=0.03)


def test_the_map_keeps_distances_and_runs_to_the_right() -> None:
    way = np.cumsum(np.random.default_rng(2).standard_normal((40, 2)), axis=0) @ np.array([[1.0, 2, 0], [0, 1, 3]])
    _, drawn = principal(way)
    apart = np.linalg.norm(way[:, None] - way[None], axis=2)
    assert np.allclose(np.linalg.norm(drawn[:, None] - drawn[None], axis=2), apart)
    assert drawn[-1, 0] > drawn[0, 0]


def test_for_mnists_gaussian_the_way_is_as_straight_and_flat_as_is_known() -> None:
    """Known from another implementation, without the mean: chord over path 0.968 in x, 99.97% on two axes.

    With the mean digits are as long as noise, and the way from one to the other is nearly a quarter of a circle,
    whose chord is 2√2/π = 0.90 of it.
    """
    oracle = GaussianOracle.fit(SCHEDULE, load_digits("train").images)
    noise = ImageNoise(range(4)).draw().double()
    looks = [*spaced_timesteps(1000, 100).tolist(), None]
    for mean, straight, flat in ((torch.zeros(784), 0.968, 0.9997), (oracle._mean, 2 * 2**0.5 / pi, 0.999)):
        oracle._mean = mean.double()
        ways = torch.stack([noise if t == 999 else oracle.flow(noise, 999, t) for t in looks], dim=1)
        flat_ways = ways.flatten(2).numpy()
        assert straightness(flat_ways)[0].mean() == pytest.approx(straight, abs=0.007)
        assert np.mean([principal(way)[0].sum() for way in flat_ways]) == pytest.approx(flat, abs=5e-4)


def test_the_kept_ways_are_those_of_the_sampler() -> None:
    oracle = small_gaussian()
    keeper = _PathKeeper(23)
    asked = torch.arange(30) % 10
    _sample(oracle, SCHEDULE, asked, "ddim", "beta", 4, keeper)
    kept = keeper.states()
    assert kept.shape == (23, 5, 1, 28, 28)
    noise = ImageNoise(range(TRACED_SEED, TRACED_SEED + 23))
    steps = list(ddim_steps(oracle, SCHEDULE, noise, asked[:23], timesteps=spaced_timesteps(1000, 4)))
    states = torch.stack([*(step.x_t for step in steps), steps[-1].x_prev], dim=1).numpy()
    assert np.allclose(kept, states, atol=1e-5)


def test_control_two_ways_of_one_kind_are_not_told_apart(gaussian: Samplers) -> None:
    walk = np.cumsum(np.random.default_rng(3).standard_normal((20, 101, 28, 28)), axis=1).astype(np.float32)
    other = np.cumsum(np.random.default_rng(4).standard_normal((20, 101, 28, 28)), axis=1).astype(np.float32)
    answers = outcomes(samplers.LESSON, replace(gaussian, paths=measure_paths(walk, other)))
    assert answers["straighter"] is not True
    assert answers["flatter"] is not True


def test_the_first_number_of_steps_that_is_enough_for_good(read: Samplers) -> None:
    assert read.right is not None
    assert [read.first_enough(arm) for arm in range(4)] == [10] * 4
    relapsing = read.right.copy()
    relapsing[0, 4, :] = False  # with 50 steps it fails again
    assert replace(read, right=relapsing).first_enough(0) == 200
    never = np.zeros_like(read.right)
    assert replace(read, right=never).first_enough(0) is None
    assert samplers.facts(replace(read, right=never)).first_enough_told.endswith("2M: –")
    assert samplers.facts(read).first_enough_told == "DDPM β: 10, DDPM β̃: 10, DDIM: 10, 2M: 10"
    assert outcomes(samplers.LESSON, read)["few_strokes"] is True
    assert outcomes(samplers.LESSON, replace(read, right=never))["few_strokes"] is False
    unsure = np.zeros_like(read.right)
    unsure[:, :, :166] = True  # 0.9 of 184
    assert outcomes(samplers.LESSON, replace(read, right=unsure))["few_strokes"] is None


def named(data: Samplers) -> tuple[bool | None, int, str]:
    """Return the verdict on few steps, and which steps and sampler its answer names."""
    claim = samplers.claims(data)[0]
    return claim.holds, claim.facts["fewest"], claim.facts["quickest"]


def test_the_answer_names_the_run_that_was_found(read: Samplers) -> None:
    """DDPM β̃ is just above the limit with 2 steps already, and nobody can be sure of it; DDIM with 20 is."""
    right = np.zeros((4, len(STEPS), 200), dtype=bool)
    right[1, :, :168], right_all = True, np.arange(200) < 184  # 0.9 of 184 is 165.6
    right[2, 3:] = right[3, 4:] = np.arange(200) < 186
    planted = replace(read, right=right, right_all=right_all)
    assert planted.first_enough(1) == 2
    assert named(planted) == (True, 20, "DDIM")
    relapsing = right.copy()
    relapsing[2, 5, 60:] = False  # its longest run fails again, so that DDIM is out
    assert named(replace(planted, right=relapsing)) == (True, 50, "2M")
    relapsing[3, 5, 60:] = False
    assert named(replace(planted, right=relapsing))[0] is None


def test_few_agreeing_pairs_are_no_proof(read: Samplers) -> None:
    """64 of 64 beside 64 of 64: a standard error of 0, but a share of 0.875 is still possible at z = 3.02."""
    everyone = np.ones((4, len(STEPS), 64), dtype=bool)
    agreeing = replace(read, right=everyone, right_all=everyone[0, 0], apart=read.apart[:, :, :64])
    assert named(agreeing)[0] is None
    many = replace(read, right=np.ones_like(read.right), right_all=np.ones_like(read.right_all))
    assert named(many)[0] is True


def test_it_is_told_both_ways_and_without_a_reader(gaussian: Samplers, read: Samplers) -> None:
    assert read.right is not None
    context = make_context(mute())
    never, unsure = np.zeros_like(read.right), np.zeros_like(read.right)
    unsure[:, :, :166] = True
    far = replace(read, frechet=np.full((4, len(STEPS)), 12.3), frechet_all=5.0, frechet_real=1.5)
    cases = (
        (read, "Yes", 4),
        (replace(read, right=never), "No", 4),
        (replace(read, right=unsure), "Undecided", 4),
        (gaussian, "Yes", 3),
        (far, "Yes", 4),
    )
    for data, verdict, count in cases:
        told = told_in_every_language(Finding.of(samplers.LESSON, data, full=False), context)
        assert told["en"].answers[0].verdict == verdict
        assert len(told["en"].answers) == len(told["zh"].answers) == count
        assert all("{" not in one.text for lang in told.values() for one in lang.answers)
    assert told["en"].table.rows[0][1].endswith("; 12.3")
    assert told["en"].table.rows[-1][:2] == ("real digits", "1.5")


def test_only_a_full_measurement_has_distances_and_they_are_those_of_the_sets() -> None:
    test, training = load_digits("test"), load_digits("train")
    pictures = torch.stack([test.images[:40], training.images[:40]])[None].expand(4, -1, -1, -1, -1, -1)
    asked = test.labels[:40]
    quick = _judge(pictures, test.images[:40], asked, test, training, full=False)
    assert quick.frechet is quick.frechet_real is None
    judged = _judge(pictures, test.images[:40], asked, test, training, full=True)
    assert judged.frechet is not None
    assert judged.right is not None
    assert judged.right[:, 0].mean() > 0.9 > 0.4 > judged.right[:, 1].mean()
    assert judged.frechet_all == pytest.approx(judged.frechet[0, 0])
    assert np.allclose(judged.frechet, judged.frechet[:1])


def test_the_figures_show_what_was_found(read: Samplers) -> None:
    figures = samplers.draw(read)
    assert tuple(figures) == samplers.LESSON.figure_names
    shown = [image.get_array() for axes in figures["samplers"].axes for image in axes.images]
    assert len(shown) == 4 * len(STEPS) + 1
    factor = shown[0].shape[0] // 28
    for index, image in enumerate([*read.images.reshape(-1, 28, 28), read.image_all]):
        assert np.array_equal(shown[index][::factor, ::factor], image)
    said = [one.get_text() for one in figures["samplers"].findobj(Text) if one.get_text()]
    assert [word for word in said if word.startswith("D")] == [
        "DDPM,\nvariance β",
        "DDPM,\nvariance β̃",
        "DDIM,\nno noise added",
        "DPM-Solver++\n(2M), no noise",
    ]
    assert said.count("90%") == 4 * (len(STEPS) - 2)
    left, right = [axes for axes in figures["strokes"].axes if axes.lines and axes.get_zorder() == 0]
    lines = [line for line in left.lines if line.get_marker() == "o"]
    assert np.allclose([line.get_ydata() for line in lines], samplers.facts(read).accuracy)
    assert np.allclose(right.lines[0].get_ydata(), read.apart[0].mean(axis=1))
    maps = [axes for axes in figures["paths"].axes if len(axes.lines) > 10]
    for axes, drawn in zip(maps, read.paths.maps, strict=True):
        ways = [line for line in axes.lines if len(line.get_xdata()) == read.paths.maps.shape[2]]
        assert np.array_equal(np.stack([np.stack(line.get_data(), axis=1) for line in ways]), drawn)
