"""Flow: samplers in the plane against known flows; digits by denoisers with known answers."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from lesson_context import Answering, make_context, outcomes, told_in_every_language
from torch import Tensor

from viz_diffusion.data import Digits, load_digits
from viz_diffusion.diffusion.oracles import TruthOracle
from viz_diffusion.diffusion.samplers import ddim_steps
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.diffusion.timesteps import spaced_timesteps
from viz_diffusion.evaluation.metrics import frechet_distance
from viz_diffusion.lessons.base import Finding
from viz_diffusion.lessons.flow import lesson as flow
from viz_diffusion.lessons.flow import ring_samplers
from viz_diffusion.lessons.flow.digit_samplers import Arm, FlowDigits, jackknife_half, measure_digits
from viz_diffusion.lessons.flow.lesson import LESSON, FlowStudy
from viz_diffusion.lessons.flow.ring_mixture import RingMixture
from viz_diffusion.lessons.flow.ring_samplers import (
    DDIM,
    DDPM,
    EULER_ODE,
    FLOW,
    RingStudy,
    euler_flow,
    exact_end,
    measure_ring,
)
from viz_diffusion.lessons.precomputed import load_results
from viz_diffusion.training.config import RunConfig
from viz_diffusion.training.run import Run

LINEAR = NoiseSchedule.named("linear")
RING = RingMixture()


@pytest.fixture(scope="module")
def ring() -> RingStudy:
    return measure_ring(400)


@pytest.fixture(scope="module")
def noise() -> Any:
    return np.random.default_rng(7).standard_normal((300, 2))


# -- samplers in the plane -----------------------------------------------------------------------------


def test_ddim_in_the_plane_is_the_packages_ddim(noise: Any) -> None:
    class Given:
        def draw(self, device: torch.device | str = "cpu") -> Tensor:
            return torch.from_numpy(noise)[:, None, None].to(device)

    def denoiser(x: Tensor, timesteps: Tensor) -> Tensor:
        t = int(timesteps[0])
        scale = LINEAR.signal_scale[t], LINEAR.noise_scale[t]
        return torch.from_numpy(RING.predict_eps(x[:, 0, 0].numpy(), *scale))[:, None, None]

    visited = spaced_timesteps(1000, 10)
    *_, last = ddim_steps(denoiser, LINEAR, Given(), None, timesteps=visited, clip=False)
    mine = ring_samplers._by_method(RING, noise, 10, DDIM, LINEAR, np.random.default_rng(0))
    assert np.allclose(mine[:, -1], last.x_prev[:, 0, 0].numpy(), atol=1e-9)


def test_ddim_is_eulers_step_of_the_flow_at_its_own_noise_levels(noise: Any) -> None:
    visited = spaced_timesteps(1000, 10)
    a, b = LINEAR.signal_scale[visited], LINEAR.noise_scale[visited]
    sigmas = np.append(b / (a + b), 0)
    x = noise / (a[0] + b[0])
    for now, after in pairwise(sigmas):
        x = x + (after - now) * RING.velocity(x, now)
    mine = ring_samplers._by_method(RING, noise, 10, DDIM, LINEAR, np.random.default_rng(0))
    assert np.allclose(mine[:, -1], x, atol=1e-9)


@pytest.mark.parametrize("method", [EULER_ODE, DDIM, FLOW])
def test_errors_fall_like_one_over_the_steps(method: int, noise: Any) -> None:
    total = LINEAR.signal_scale[-1] + LINEAR.noise_scale[-1]
    start = (noise, 1.0) if method == FLOW else (noise / total, float(LINEAR.noise_scale[-1] / total))
    exact, rng = exact_end(RING, *start), np.random.default_rng(0)
    off = [
        np.median(np.linalg.norm(ring_samplers._by_method(RING, noise, n, method, LINEAR, rng)[:, -1] - exact, axis=1))
        for n in (100, 200)
    ]
    assert off[0] / off[1] == pytest.approx(2, rel=0.3)


def test_ddpm_with_all_steps_draws_the_data() -> None:
    rng = np.random.default_rng(0)
    z = rng.standard_normal((1000, 2))
    end = ring_samplers._by_method(RING, z, 1000, DDPM, LINEAR, rng)[:, -1]
    assert np.square(RING.distance(end)).mean() == pytest.approx(2 * RING.std**2, rel=0.15)


def test_what_is_found_in_the_plane(ring: RingStudy) -> None:
    found = outcomes(LESSON, FlowStudy(ring))
    assert found == {
        "ode_straighter": True,
        "flow_straighter": False,
        "flow_nearer": True,
        "one_step": True,
        "guidance_outwards": True,
    }
    again = measure_ring(400)
    assert np.array_equal(again.off, ring.off)
    assert euler_flow(RING, np.zeros((1, 2)), 3).shape == (1, 4, 2)


def test_controls_turn_the_claims_of_the_plane(ring: RingStudy) -> None:
    turned = replace(
        ring,
        off=ring.off[::-1],
        straight=ring.straight[::-1],
        guided=ring.guided[::-1],
        control_off=0.1,
    )
    found = outcomes(LESSON, FlowStudy(turned))
    assert found == {
        "ode_straighter": True,  # the ODE's are still in the middle
        "flow_straighter": False,
        "flow_nearer": False,
        "one_step": False,
        "guidance_outwards": False,
    }
    same = replace(
        ring, straight=np.repeat(ring.straight[:1], 3, axis=0) + np.random.default_rng(0).normal(size=(3, 400))
    )
    assert outcomes(LESSON, FlowStudy(same))["flow_straighter"] is None


def test_facts_words_and_figures_without_digits(ring: RingStudy) -> None:
    data = FlowStudy(ring)
    finding = Finding.of(LESSON, data, full=False)
    assert finding.facts.near_exact == pytest.approx(0.98889, abs=1e-5)
    assert "flow_accuracy" not in finding.facts_by_name
    assert len(told_in_every_language(finding, make_context(Answering(lambda x, _t, _y: x), heldout=10))) == 2
    figures = LESSON.draw(data)
    assert list(figures) == ["score_field", "flow_paths", "flow_errors", "flow_guidance"]
    assert all(figures[name].axes for name in figures)


# -- digits --------------------------------------------------------------------------------------------


class Straight(torch.nn.Module):
    """A flow-matching network that knows the clean images: its velocity is exact and constant along each path."""

    prediction_type = "flow"

    def __init__(self, x0: Tensor) -> None:
        super().__init__()
        self.register_buffer("x0", x0)
        self.schedule = NoiseSchedule.named("flow")

    def forward(self, x: Tensor, timesteps: Tensor, labels: Tensor | None = None) -> Tensor:  # noqa: ARG002
        sigma = torch.from_numpy(self.schedule.noise_scale[timesteps.numpy()]).float()[:, None, None, None]
        return (x - self.x0) / sigma


def known_digits() -> Digits:
    """Return twenty test digits, 0 to 9 twice, as the samples are asked for."""
    digits = load_digits("test")
    rows = [torch.nonzero(digits.labels == k)[turn, 0] for turn in range(2) for k in range(10)]
    return Digits(digits.images[torch.stack(rows)], digits.labels[torch.stack(rows)])


@pytest.fixture(scope="module")
def digits() -> FlowDigits:
    """The truth by every arm but the first, which sees no noise at all."""
    known = known_digits()
    deaf = Answering(lambda x, _t, _y: torch.zeros_like(x))
    truth, straight = TruthOracle(LINEAR, known.images), Straight(known.images)
    arms = [
        Arm(deaf, LINEAR, "ddpm"),
        Arm(truth, LINEAR, "ddim"),
        Arm(straight, NoiseSchedule.named("flow"), "euler"),
        Arm(truth, LINEAR, "ddim"),
    ]
    return measure_digits(arms, load_digits("test"), load_digits("test"), (4000, 5000), count=20)


def test_the_truth_is_classified_and_straight_and_a_deaf_network_is_neither(digits: FlowDigits) -> None:
    assert digits.right[1:].mean() > 0.94
    assert digits.right[0].mean() < 0.5  # control
    assert digits.straight[2].min() > 1 - 1e-5  # constant velocity
    assert digits.straight[0].mean() < 0.5
    images = known_digits().images
    assert np.allclose(digits.images[2], images[5, 0].numpy(), atol=1e-4)
    assert digits.frechet is not None
    assert (digits.frechet[0] > digits.frechet[2]).all()
    assert digits.images.shape == (4, 5, 28, 28)


def test_words_and_figures_with_digits(digits: FlowDigits, ring: RingStudy) -> None:
    context = make_context(Answering(lambda x, _t, _y: x), heldout=10)
    lesson = replace(LESSON, precomputed=flow.PRECOMPUTED)
    data = FlowStudy(ring, digits)
    finding = Finding.of(lesson, data, full=True)
    assert finding.facts_by_name["noise_steps"] == 4000
    assert len(told_in_every_language(finding, context)) == 2
    assert set(lesson.draw(data)) == set(lesson.figure_names)
    assert lesson.draw(data)["flow_digits"].axes
    quality = lesson.draw(replace(data, digits=replace(digits, frechet_real=0.3)))["flow_quality"]
    levels = [line for axes in quality.axes if axes.axison for line in axes.lines if len(set(line.get_ydata())) == 1]
    assert [line.get_ydata()[0] for line in levels if len(line.get_xdata()) == 2] == [0.3]
    assert "real\ndigits" in [text.get_text() for text in quality.texts]
    found = outcomes(lesson, data)
    assert found["digits_straighter"] is True
    ramp = 0.01 * np.linspace(-1, 1, digits.straight.shape[1])
    for of_flow_by_ddim, holds in ((0.90, False), (0.98, True), (0.94, None)):
        means = np.array([0.1, 0.90, 0.98, of_flow_by_ddim])[:, None]
        paths = np.repeat(means, len(ramp), axis=1) + np.array([0, 0, 0, 1])[:, None] * ramp
        claims = Finding.of(lesson, replace(data, digits=replace(digits, straight=paths)), full=True).claims
        (claim,) = (one for one in claims if one.name == "straight_by_training")
        assert claim.holds is holds  # of the difference of 0.08
        assert claim.facts["trained"] == pytest.approx(of_flow_by_ddim - 0.90)
    assert found["timesteps_matter"] is not True  # the truth needs no good timesteps
    assert digits.frechet is not None
    far = np.full_like(digits.frechet, 5.0)
    far[2] = 2.0
    for distances, half, holds in ((far, 0.5, True), (10 - far, 0.5, False), (far, 9.0, None)):
        told = replace(digits, frechet=distances, frechet_half=np.full_like(far, half))
        assert outcomes(lesson, replace(data, digits=told))["two_nearer"] is holds
    more = np.zeros((4, 5, 300), dtype=bool)
    more[2] = True
    assert outcomes(lesson, replace(data, digits=replace(digits, right=more)))["flow_obeys"] is True
    assert outcomes(lesson, replace(data, digits=replace(digits, right=more[::-1])))["flow_obeys"] is False
    few = replace(digits, frechet=None, frechet_half=None, frechet_real=None)
    assert Finding.of(lesson, replace(data, digits=few), full=False).facts.digits.flow_frechet is None
    assert lesson.draw(replace(data, digits=few))["flow_quality"].axes


def test_what_ships_was_measured_on_the_two_networks_that_ship() -> None:
    results = load_results([LESSON], Run.bundled().load_model()[1])[FlowDigits]
    noise, other = Run.control(flow.NOISE), Run.control(flow.FLOW)
    assert (results.noise_sha256, results.flow_sha256) == (noise.load_model()[1], other.load_model()[1])
    assert results.noise_steps == results.flow_steps == noise.trained_steps == other.trained_steps
    assert results.count >= 500


def test_the_shipped_difference_in_straightness_is_not_made_by_training() -> None:
    """The flow network has, by DDIM, the straightness of the noise network."""
    results = load_results([LESSON], Run.bundled().load_model()[1])[FlowDigits]
    _, ddim, flow_euler, flow_ddim = results.straight.mean(axis=1)
    assert flow_euler - ddim > 0.07
    assert abs(flow_ddim - ddim) < 0.005


def test_guidance_that_leaves_the_points_in_the_data_does_not_lead_out(ring: RingStudy) -> None:
    """The distance from the centre alone does not say it: ends may lie farther out and within the data."""
    outcome = "guidance_outwards"
    assert outcomes(LESSON, FlowStudy(ring))[outcome] is True
    farther = ring.guided[:1] * (1 + 0.2 * ring.mixture.std)
    within = replace(ring, guided=np.concatenate([ring.guided[:2], farther]))
    assert outcomes(LESSON, FlowStudy(within))[outcome] is not True
    back = replace(ring, guided=ring.guided[::-1])
    assert outcomes(LESSON, FlowStudy(back))[outcome] is False


def test_the_two_networks_differ_in_their_objective_only() -> None:
    noise, other = (Run.control(name).config for name in (flow.NOISE, flow.FLOW))
    same = replace(other.training, objective="epsilon", weight_exponent=noise.training.weight_exponent)
    assert noise == replace(other, model=replace(other.model, schedule="linear"), training=same)
    assert noise != other


def test_the_jackknife_covers_what_drawing_again_shows() -> None:
    """Its half-width is near 1.96 standard deviations of the distance over fresh draws."""
    rng = np.random.default_rng(0)
    real = rng.standard_normal((500, 4))
    draws = [rng.standard_normal((500, 4)) + 0.5 for _ in range(60)]
    spread = 1.96 * np.std([frechet_distance(draw, real) for draw in draws], ddof=1)
    half = np.mean([jackknife_half(draw, real) for draw in draws[:20]])
    assert half == pytest.approx(spread, rel=0.35)


def test_digits_need_mnist_whatever_the_network_of_the_run_predicts() -> None:
    context = make_context(Answering(lambda x, _t, _y: x), heldout=10)
    config = context.run.config
    trained = replace(config.training, objective="flow")
    other = RunConfig(replace(config.model, schedule="flow"), trained)
    assert flow.can_compare(context) is flow.has_network()
    assert flow.can_compare(replace(context, run=replace(context.run, config=other))) is flow.has_network()
    assert not flow.can_compare(replace(context, run=replace(context.run, config=replace(config, dataset="kmnist"))))
