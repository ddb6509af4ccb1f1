"""One step in four notations: closed forms at every t, recorded steps of every sampler, and controls that must fail."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from lesson_context import make_context, outcomes, told_in_every_language
from sampler_arguments import with_config

from viz_diffusion.diffusion.oracles import GaussianOracle
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.lessons.base import Finding
from viz_diffusion.lessons.spellings import lesson as spellings
from viz_diffusion.lessons.spellings.lesson import LESSON, ROUNDING
from viz_diffusion.lessons.spellings.notations import (
    KINDS,
    NOISE,
    X0,
    V,
    direct_weights,
    measure_notations,
    notation_weights,
    posterior_weights,
)
from viz_diffusion.recording.generation import record_generation
from viz_diffusion.recording.trajectory import Trajectory

SCHEDULE = NoiseSchedule.named("linear")


def gaussian(schedule: NoiseSchedule = SCHEDULE) -> GaussianOracle:
    """Return a perfect denoiser of images of 784 independent pixels, some of which are clipped."""
    return GaussianOracle(schedule, np.full(784, -0.4), np.diag(np.geomspace(0.5, 0.01, 784)))


def record(sampler: str = "ddpm", steps: int | None = 60, **options: object) -> Trajectory:
    arguments = with_config({"sampler": sampler, "steps": steps, **options}, guidance_scale=1.0)
    return record_generation(gaussian(), SCHEDULE, torch.tensor([3]), [11], **arguments)


def test_the_pair_of_the_lesson_is_ddpms_step_at_t_499_and_500_and_at_no_other() -> None:
    """0.9941 x_t + 0.0031 x̂_0 is Ho et al. 2020, eq. 7, and 1.0051 x_t - 0.0105 ε̂ is their eq. 11."""
    w, u = posterior_weights(SCHEDULE)
    alpha, beta, share = SCHEDULE.alphas, SCHEDULE.betas, SCHEDULE.alphas_cumprod
    of_noise = beta / np.sqrt(alpha * (1 - share))  # eq. 11, written by hand
    texts = zip(w, u, 1 / np.sqrt(alpha), of_noise, strict=True)
    pair = ["0.9941", "0.0031", "1.0051", "0.0105"]
    assert [t for t, numbers in enumerate(texts) if [f"{one:.4f}" for one in numbers] == pair] == [499, 500]
    steps = NoiseSchedule.named("cosine")
    assert f"{posterior_weights(steps)[0][500]:.4f}" != "0.9941"  # control: another schedule


@pytest.mark.parametrize("schedule", ["linear", "cosine", "flow"])
@pytest.mark.parametrize("update", ["posterior", "direct"])
def test_every_notation_is_the_same_state_at_every_timestep(schedule: str, update: str) -> None:
    process = NoiseSchedule.named(schedule)
    if update == "posterior" and schedule == "flow":
        process = NoiseSchedule.named("linear", 17)
    w, u = posterior_weights(process) if update == "posterior" else direct_weights(process)
    kept = process.signal_scale > 0  # the flow ends without signal
    w, u, a, b = (table[kept] for table in (w, u, process.signal_scale, process.noise_scale))
    rng = np.random.default_rng(0)
    x0, eps = rng.standard_normal((2, len(a)))
    x_t = a * x0 + b * eps
    v = (a * eps - b * x0) / np.hypot(a, b)  # of the state of unit power
    by_hand = {"epsilon": eps, "sample": x0, "v_prediction": v, "score": -eps / b, "flow": eps - x0}
    expected = w * x_t + u * x0
    for kind, prediction in by_hand.items():
        one, two = notation_weights(kind, w, u, a, b)
        assert np.allclose(one * x_t + two * prediction, expected, rtol=0, atol=1e-11), kind
        wrong = one * x_t - two * prediction
        assert np.abs(wrong - expected).max() > 1e-3, kind  # control: a swapped sign


def test_posterior_weights_are_those_of_diffusers() -> None:
    """An independent implementation: with x_t = 0 or ε̂ = 0 only one weight is left of its step."""
    from diffusers import DDPMScheduler

    theirs = DDPMScheduler(1000, 1e-4, 0.02, "linear", clip_sample=False)
    zero, one = torch.zeros(1, 1, dtype=torch.float64), torch.ones(1, 1, dtype=torch.float64)
    weights = notation_weights("epsilon", *posterior_weights(SCHEDULE), SCHEDULE.signal_scale, SCHEDULE.noise_scale)
    for t in (100, 250, 499, 500, 999):  # its tables are float32, which matters at t near 0
        for index, (eps, x_t) in enumerate(((zero, one), (one, zero))):
            found = theirs.step(eps, t, x_t, generator=torch.Generator().manual_seed(0))
            noise = torch.randn(1, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
            mean = float(found.prev_sample - theirs._get_variance(t) ** 0.5 * noise)
            assert mean == pytest.approx(weights[index][t], abs=2e-6), (t, index)


@pytest.mark.parametrize(
    ("sampler", "options"),
    [
        ("ddpm", {}),
        ("ddpm", {"variance": "beta_tilde"}),
        ("ddpm", {"clip": False}),
        ("ddpm", {"steps": None}),
        ("ddim", {}),
        ("ddim", {"eta": 0.7}),
        ("euler", {}),
        ("ddim", {"timestep_spacing": "linspace"}),
    ],
)
def test_all_notations_end_in_the_recorded_states(sampler: str, options: dict[str, object]) -> None:
    data = measure_notations(record(sampler, **{"steps": 60, **options}))
    assert data.compared == len(data.timesteps) * 784
    assert data.difference < 1e-12
    assert data.difference_float32 < ROUNDING
    assert data.from_recorded is not None
    assert data.from_recorded < ROUNDING
    assert data.wrong_sign > 1000 * ROUNDING  # controls: what must not agree
    assert data.wrong_timestep > 1000 * ROUNDING


@pytest.mark.parametrize("sampler", ["dpm-solver++", "heun"])
def test_steps_of_second_order_are_not_compared_with_the_recording(sampler: str) -> None:
    data = measure_notations(record(sampler))
    assert data.from_recorded is None
    assert "recorded_state" not in outcomes(LESSON, data)


def test_a_recording_whose_noise_is_not_its_seeds_is_not_compared() -> None:
    recorded = record()
    assert measure_notations(replace(recorded, seeds=np.array([12]))).from_recorded is None
    assert measure_notations(replace(recorded, seeds=np.array([-1]))).from_recorded is None


def test_a_recorded_state_that_no_notation_gives_is_told() -> None:
    recorded = record("ddim")
    recorded.x_t[0, 30] += 0.01
    data = measure_notations(recorded)
    assert data.from_recorded == pytest.approx(0.01, rel=0.5)
    assert outcomes(LESSON, data)["recorded_state"] is False


def test_errors_grow_as_the_closed_form_says() -> None:
    data = measure_notations(record())
    a, b = data.signal_scale, data.noise_scale
    assert np.allclose(data.x0_error, [b / a, np.ones_like(a), b], rtol=1e-6)
    assert np.allclose(data.eps_error, [np.ones_like(a), a / b, a], rtol=1e-6)
    assert np.allclose(data.state_error, np.abs(data.of_prediction[:3]), rtol=1e-6)
    assert data.x0_error[NOISE, 0] == pytest.approx(157.4, abs=0.1)  # t = 999
    assert (data.x0_error[V] <= 1).all()
    assert (data.eps_error[X0, -1], data.eps_error[NOISE, -1]) == pytest.approx((a[-1] / b[-1], 1))


def test_claims_are_decided_by_the_measurement() -> None:
    data = measure_notations(record())
    found = dict.fromkeys(("same_state", "recorded_state", "paints", "noise_grows", "x0_grows", "v_least"), True)
    assert outcomes(LESSON, data) == found
    broken = replace(data, difference_float32=0.1, from_recorded=0.1)
    worse = replace(broken, x0_error=data.x0_error / 1e4, eps_error=data.eps_error / 1e4)
    worse = replace(worse, state_error=data.state_error[[X0, V, NOISE]], sum_to_image=np.array([0.8, 0.9, 0.9]))
    assert not any(outcomes(LESSON, worse).values())


def test_what_predictions_add_up_to_is_what_the_states_leave() -> None:
    """Without fresh noise Σ u p is the way from x_T to the image, less what the weights of x_t change."""
    recorded = record("ddim")
    data = measure_notations(recorded)
    x_t, image = recorded.x_t[0].reshape(60, -1).astype(np.float64), recorded.x0[0].reshape(-1).astype(np.float64)
    for kind in (NOISE, X0, V):
        total = image - x_t[0] - (data.of_x_t[kind] - 1) @ x_t
        cosine = total @ image / np.linalg.norm(total) / np.linalg.norm(image)
        assert data.sum_to_image[kind] == pytest.approx(cosine, abs=1e-4)
    assert data.sum_to_image[X0] > 0.9 > 0.3 > data.sum_to_image[NOISE]


def test_carving_and_painting_are_told_both_ways() -> None:
    context = make_context(gaussian(), recorded=record("ddim"))
    data = spellings.measure(context)
    for sums, verdict, words in (
        (data.sum_to_image, "Yes", "two ways to write the same steps"),
        (np.array([0.8, 0.9, 0.9]), "No", "the predicted noise 0.80"),
        (np.array([-0.1, 0.2, 0.1]), "No", "the predicted noise −0.10"),
    ):
        finding = Finding.of(LESSON, replace(data, sum_to_image=sums), full=False)
        told = told_in_every_language(finding, context)
        answer = told["en"].answers[2]
        assert (answer.verdict, words in answer.text) == (verdict, True)
        assert len(told["zh"].answers) == len(told["en"].answers) == 6


def test_a_recording_of_the_flow_process_leaves_out_the_step_without_signal() -> None:
    process = NoiseSchedule.named("flow", 50)
    arguments = with_config({"sampler": "euler", "steps": None}, guidance_scale=1.0)

    class Velocity(torch.nn.Module):
        prediction_type = "flow"

        def forward(self, x: torch.Tensor, _t: torch.Tensor, _y: torch.Tensor | None = None) -> torch.Tensor:
            return 0.5 * x

    recorded = record_generation(Velocity(), process, torch.tensor([3]), [11], **arguments)
    data = measure_notations(recorded)
    assert len(data.timesteps) == 49
    facts = spellings.facts(data)
    assert np.isfinite(data.of_prediction).all()
    assert facts.first_t == 48


def test_facts_words_and_figures() -> None:
    context = make_context(gaussian(), recorded=record("ddpm", None))
    finding = Finding.measure(LESSON, context)
    assert finding.facts.formula_noise == "1.0051 x_t − 0.0105 ε̂"
    assert finding.facts.exercise_pixel == pytest.approx(1.005058 - 0.9 * 0.010512, abs=1e-6)
    assert finding.facts.formula_x0 == "0.9941 x_t + 0.0031 x̂₀"
    assert finding.facts.formula_v == "0.9950 x_t − 0.0029 v̂"
    assert len(KINDS) == len(finding.facts.state_weight) == 4
    told = told_in_every_language(finding, context)
    assert len(told) == 2
    assert all("1.0051 x_t − 0.0105 ε̂" in repr(one) for one in told.values())
    assert set(LESSON.draw(finding.data)) == set(LESSON.figure_names)
    figures = LESSON.draw(finding.data)
    words = {text.get_text() for name in figures for text in figures[name].texts}
    assert {"Weight of the image xₜ", "Weight of the prediction", "timestep t (more noise →)"} <= words
