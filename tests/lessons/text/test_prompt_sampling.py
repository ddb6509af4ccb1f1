"""A tiny network of prompts: sums of prompts, attention to words; and what ships."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from viz_diffusion.data.caption_words import DIGIT_WORDS, VOCABULARY
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.diffusion.text_encoder import TextConfig, TextEncoder
from viz_diffusion.diffusion.unet import ModelConfig, SimpleUNet
from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.files import sha256_file
from viz_diffusion.lessons.precomputed import load_results
from viz_diffusion.lessons.text import prompt_sampling
from viz_diffusion.lessons.text.lesson import LESSON
from viz_diffusion.lessons.text.prompt_sampling import NetworkSampler, PromptSum
from viz_diffusion.lessons.text.text_study import TextStudy
from viz_diffusion.training.bundled_runs import BUNDLED_RUNS, BUNDLED_TEXT
from viz_diffusion.training.run import Run
from viz_diffusion.training.text_run import TEXT_ENCODER


@pytest.fixture(scope="module")
def tiny() -> NetworkSampler:
    torch.manual_seed(0)
    config = TextConfig(VOCABULARY, width=16, num_heads=2)
    network = SimpleUNet(
        ModelConfig(channels=(8, 8), num_blocks=1, num_heads=2, time_dim=8, embedding_dim=16, text=config)
    )
    network = network.eval().requires_grad_(False)
    for parameter in network.parameters():  # the layers that begin at zero
        parameter.add_(0.1 * torch.randn(parameter.shape))
    return NetworkSampler(network, TextEncoder(config).eval(), NoiseSchedule.named("linear"))


@pytest.fixture(autouse=True)
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prompt_sampling, "STEPS", 2)


def test_a_sum_that_adds_nothing_is_its_start(tiny: NetworkSampler) -> None:
    plain = tiny.sample(["a one", "a two"], [5, 6])
    start = [PromptSum(prompt, "a thick six", "a thick six") for prompt in ("a one", "a two")]
    torch.testing.assert_close(tiny.sample_sums(start, [5, 6]), plain, atol=1e-4, rtol=0)
    thick = [PromptSum("a one", "a thick six", "a six"), start[1]]
    changed = tiny.sample_sums(thick, [5, 6])
    assert not torch.allclose(changed[0], plain[0], atol=1e-3)
    torch.testing.assert_close(changed[1], plain[1], atol=1e-4, rtol=0)


def test_samples_are_the_same_while_attention_is_kept(tiny: NetworkSampler) -> None:
    prompts = [f"a thick slanted {DIGIT_WORDS['en'][k % 10]}" for k in range(21)]  # two batches
    found = tiny.sample_with_attention(prompts, range(21))
    assert torch.equal(found.images, tiny.sample(prompts, range(21)))
    assert found.maps.shape == (21, 2, 5, 7, 7)
    assert found.x0_pred.shape == (21, 2, 28, 28)
    assert np.allclose(found.maps.sum(axis=2), 1, atol=1e-5)
    assert not np.allclose(found.maps[0], found.maps[1])  # of each image's own prompt
    assert found.timesteps.tolist() == [999, 499]
    assert np.allclose(found.x0_pred[20, -1], found.images[20, 0].numpy(), atol=1e-5)
    assert len(tiny.network.word_attention.maps._forward_hooks) == 0


def test_prompts_of_different_lengths_have_no_common_maps(tiny: NetworkSampler) -> None:
    with pytest.raises(VizdiffUsageError, match=r"same number of words, found \[2, 3\]"):
        tiny.sample_with_attention(["a one", "a thick one"], [0, 1])


# -- what ships ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shipped() -> Any:
    return load_results([LESSON], Run.bundled().load_model()[1])[TextStudy]


def test_what_ships_was_measured_on_the_run_of_prompts_that_ships(shipped: TextStudy) -> None:
    run = Run.open(BUNDLED_RUNS[BUNDLED_TEXT])
    assert shipped.text_sha256 == run.load_model()[1]
    assert shipped.encoder_sha256 == sha256_file(run.path / TEXT_ENCODER)
    assert shipped.trained_steps == run.trained_steps
    assert len(shipped.plain_right) == 1000


def test_what_ships_reaches_what_was_aimed_at(shipped: TextStudy) -> None:
    facts = LESSON.facts(shipped)
    assert facts.zero_accuracy >= 0.97
    assert facts.plain_accuracy >= 0.97
    assert min(facts.shape_ratio) >= 0.9
    assert abs(facts.held_accuracy - facts.seen_accuracy) < 0.03
    assert max(map(abs, facts.shuffled_shape)) < 0.1
