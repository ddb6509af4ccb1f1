"""The two ways of the timestep into the network: closed forms, and words for both outcomes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from lesson_context import make_context, told_in_every_language

from viz_diffusion.data import Digits
from viz_diffusion.diffusion.converted_unet import ConvertedUNet
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.diffusion.unet import ModelConfig, SimpleUNet
from viz_diffusion.lessons.base import Finding
from viz_diffusion.lessons.network import lesson as network
from viz_diffusion.lessons.network.architecture import measure_network
from viz_diffusion.lessons.network.timestep_paths import TimestepPaths, measure_timestep_paths

SCHEDULE = NoiseSchedule.named("linear")
Make = Callable[..., SimpleUNet]


def measured(model: SimpleUNet, few_digits: Digits, count: int = 60) -> TimestepPaths:
    return measure_timestep_paths(model, SCHEDULE, few_digits, torch.Generator().manual_seed(0), count)


def test_layers_that_say_nothing_leave_the_change_of_the_last_line_alone(few_digits: Digits) -> None:
    """A new network predicts v = 0, so that ε̂ = √(1-ᾱ) x_t: the change is that of the factor, and is known."""
    found = measured(SimpleUNet(ModelConfig(channels=(8, 8), embedding_dim=16, time_dim=8, num_heads=2)), few_digits)
    spread = np.sqrt(1 - SCHEDULE.alphas_cumprod)
    # x_t has a mean square of about 1, and t and its replacement are uniform and independent
    assert found.last_line == pytest.approx(np.sqrt(2) * spread.std(), rel=0.3)
    assert 0 < found.last_line_half < found.last_line
    assert (found.embedding, found.embedding_half) == (0, 0)
    assert found.amplification == pytest.approx(157.4, abs=0.1)
    assert (found.amplified_at, found.count) == (999, 60)


def test_control_without_a_last_line_only_the_embedding_counts(
    make_unet: Make, tiny_config: ModelConfig, few_digits: Digits
) -> None:
    found = measured(make_unet(config=replace(tiny_config, schedule=None)), few_digits)
    assert found.last_line == 0
    assert found.embedding > 0.01


def test_both_ways_count_where_there_are_two(make_unet: Make, few_digits: Digits) -> None:
    found = measured(make_unet(), few_digits)
    assert found.last_line > 0.05
    assert found.embedding > 0.01


def test_what_the_layers_predict_is_read_from_the_network(make_unet: Make, tiny_config: ModelConfig) -> None:
    direct = make_unet(config=replace(tiny_config, schedule=None))
    flow = make_unet(config=replace(tiny_config, schedule="flow"))
    for model, expected in (
        (make_unet(), "v"),
        (direct, "ε"),
        (ConvertedUNet(direct, "v_prediction", SCHEDULE), "v"),
        (ConvertedUNet(direct, "sample", SCHEDULE), "x₀"),
        (ConvertedUNet(flow, "flow", SCHEDULE), "v"),
    ):
        assert measure_network(model).layers_predict == expected


@pytest.mark.parametrize("schedule", ["linear", None])
def test_the_text_follows_the_network(schedule: str | None, make_unet: Make, tiny_config: ModelConfig) -> None:
    context = make_context(make_unet(config=replace(tiny_config, schedule=schedule)), heldout=30)
    finding = Finding.measure(network.LESSON, context)
    told = told_in_every_language(finding, context)
    answers = [answer.text for answer in told["en"].answers]
    assert [claim.holds for claim in finding.claims] == [schedule is not None, schedule is None]
    if schedule is None:
        assert answers[0].startswith("No.")
        assert "all that this network gets of t" in answers[0]
        assert answers[1].startswith("Yes. Their output is ε̂")
        assert "The layers predict ε;" in told["en"].text
    else:
        assert answers[0].startswith("Yes. With a random t in the output formula only")
        assert "not all that the network gets of t" in answers[0]
        assert answers[1].startswith("No. They predict v")
        assert "157 at t = 999" in answers[1]
        assert "The layers predict v;" in told["en"].text
    assert len(told["zh"].answers) == 2


def test_where_only_the_blocks_were_read_nothing_is_claimed(make_unet: Make) -> None:
    assert network.claims(network.read_network(make_unet())) == ()
