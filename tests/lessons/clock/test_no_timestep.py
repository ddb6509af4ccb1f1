"""No timestep: judged next to a twin that was trained equally, and told every way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from clock_results import answer_to, judged, planted
from lesson_context import deaf_to_time, make_context

from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.diffusion.unet import ModelConfig, SimpleUNet
from viz_diffusion.lessons.clock import arms as sampled_arms
from viz_diffusion.lessons.clock import border_sampler
from viz_diffusion.lessons.clock import lesson as clock
from viz_diffusion.lessons.clock.arms import KEPT, SAMPLERS, SampledArms
from viz_diffusion.lessons.clock.no_timestep import (
    BLIND,
    BLIND_BORDER,
    NO_TIMESTEP_ARMS,
    TWIN,
    ClockStudy,
    NoTimestep,
    measure_no_timestep,
)
from viz_diffusion.lessons.clock.wrong_timestep import prediction_losses
from viz_diffusion.lessons.precomputed import load_results
from viz_diffusion.training.run import Run


def study(
    ddim: Any = (20, 110, 185, 170), eta_1: Any = (25, 165, 180, 175), samples: int = 200, gap: float = 0.01
) -> ClockStudy:
    """Return counts, in the order of NO_TIMESTEP_ARMS, and losses as if they had been measured."""
    rng = np.random.default_rng(1)
    twin = 0.03 * rng.uniform(0.5, 1.5, 400)
    loss = np.stack([twin + gap + rng.normal(0, 0.005, 400), twin])
    read = np.array([ddim, eta_1])
    pixels = rng.uniform(-1, 1, (2, 4, 10, 28, 28)).astype(np.float32)
    wrong = planted(read=[samples // 2] * 7, smoothed=[samples // 2] * 7, samples=samples)
    return ClockStudy(wrong, NoTimestep(loss, SampledArms(pixels, samples, read, read), 2400))


def test_both_controls_were_trained_equally_and_differ_in_the_timestep_alone() -> None:
    blind, twin = (Run.control(name).config for name in (clock.CONTROL, clock.TWIN))
    assert twin == replace(blind, model=twin.model)
    assert blind.model == replace(twin.model, use_time=False, schedule=None)
    assert twin.model.use_time


def test_predictions_are_compared_digit_by_digit() -> None:
    for gap, expected, words in (
        (0.01, True, ("a difference of 0.0", "cannot have")),
        (-0.01, False, ("a difference of −0.0",)),
        (0.0, None, ("too small",)),
    ):
        found = study(gap=gap)
        assert judged(found)["none_costs"] is expected
        text = answer_to(found, "none_costs")
        assert "2400 steps" in text
        assert all(word in text for word in words), text


def test_the_samplers_timestep_is_the_cause_where_the_borders_mends_it() -> None:
    for ddim, expected, words in (
        ((20, 110, 185, 170), True, ("20 of 200", "reaches 110", "a part of the failure")),
        ((110, 20, 185, 170), False, ("surely not more",)),
        ((20, 25, 185, 170), None, ("too few",)),
    ):
        found = study(ddim=ddim)
        assert judged(found)["none_by_sampler"] is expected
        text = answer_to(found, "none_by_sampler")
        assert all(word in text for word in words), text


def test_it_is_as_good_as_its_twin_only_where_surely_little_is_lost() -> None:
    for ddim, eta_1, expected, words in (
        ((20, 195, 196, 190), (25, 194, 195, 190), True, ("195 of 200", "196 and 195", "Surely less than 10%")),
        ((20, 110, 185, 170), (25, 165, 180, 175), False, ("185 and 180", "170 and 175", "trained equally")),
        ((20, 180, 190, 170), (25, 180, 190, 175), None, ("too few",)),
    ):
        found = study(ddim, eta_1)
        assert judged(found)["none_as_good"] is expected
        text = answer_to(found, "none_as_good")
        assert all(word in text for word in words), text


def test_few_samples_decide_little() -> None:
    """85 of 100 next to 85: the first alone is surely above 75%, but their difference is not surely above -10%."""
    few, many = (study(*[(0, k, k, k)] * 2, samples=n) for k, n in ((85, 100), (850, 1000)))
    assert judged(few)["none_as_good"] is None
    assert judged(many)["none_as_good"] is True
    assert judged(study(*[(2, 3, 19, 19)] * 2, samples=20))["none_by_sampler"] is None


def test_without_controls_nothing_is_said_of_a_missing_timestep() -> None:
    found = ClockStudy(planted())
    assert not any(name.startswith("none") for name in judged(found))
    assert found.facts().blind_steps is None


def test_samples_are_made_of_digits_only(make_unet: Callable[..., SimpleUNet], tiny_config: ModelConfig) -> None:
    """Colours and other classes have no samples here: of them only the embeddings are measured."""
    network = replace(tiny_config, in_channels=3, num_labels=3)
    config = replace(Run.bundled().config, model=network, dataset="data-dir", class_names=("a", "b", "c"))
    context = make_context(make_unet(config=network), heldout=20)
    found = clock.measure(replace(context, run=Run(Path("own"), config)))
    assert found.study is None
    assert clock.claims(found) == ()
    assert list(clock.draw(found)) == ["time_embedding"]


def test_what_ships_says_what_the_lesson_tells() -> None:
    """A wrong ᾱ costs more digits than a wrong embedding alone; the border's timestep mends samples."""
    study = load_results([clock.LESSON], Run.bundled().load_model()[1])[ClockStudy]
    facts, blind = study.wrong.facts(), study.blind
    assert facts.clock_read_smoothed is not None
    for read in facts.clock_read_smoothed.values():
        assert read["right"] > 0.9 * facts.clock_samples
        for name in ("frozen", "reversed", "shuffled"):
            assert read[name] < read[f"embedding_{name}"]
    assert blind is not None
    assert blind.arms.read is not None
    assert np.all(blind.arms.read[:, BLIND] < blind.arms.read[:, BLIND_BORDER])
    assert np.all(blind.arms.read[:, BLIND_BORDER] < blind.arms.read[:, TWIN])
    assert blind.steps == Run.control(clock.TWIN).trained_steps == 2400


def test_facts_are_by_sampler_and_arm() -> None:
    facts = study().facts()
    assert facts.blind is not None
    assert facts.blind_steps == 2400
    assert list(facts.blind.no_timestep_read) == list(SAMPLERS)
    assert facts.blind.no_timestep_read["ddim"] == dict(zip(NO_TIMESTEP_ARMS, (20, 110, 185, 170), strict=True))
    low, high = facts.blind.no_timestep_interval["eta_1"]["blind_border"]
    assert low < 165 / 200 < high


def test_a_denoiser_that_ignores_t_answers_alike_whatever_its_role(monkeypatch: pytest.MonkeyPatch) -> None:
    """All arms get the same noise and digits; the estimated timestep changes the samples of both alike."""
    for module in (sampled_arms, border_sampler):
        monkeypatch.setattr(module, "STEPS", 4)
    context = make_context(heldout=50)
    model, schedule = deaf_to_time(context.model), NoiseSchedule.named("linear")
    black = (context.heldout.images == -1).all(dim=0).numpy()
    found = measure_no_timestep(model, model, schedule, context.heldout, black, 7, sizes=(20, 20))
    assert np.array_equal(found.loss[0], found.loss[1])
    assert np.array_equal(found.loss[0], prediction_losses((model,), schedule, context.heldout, 20, 0)[0])
    assert np.array_equal(found.arms.images[:, :2], found.arms.images[:, 2:])
    assert not np.array_equal(found.arms.images[:, 0], found.arms.images[:, 1])
    assert found.steps == 7
    plain = sampled_arms.sample_arm(model, schedule, "eta_1", 20)
    assert torch.equal(plain[:KEPT, 0], torch.from_numpy(found.arms.images[1, 0]))
