"""The contrastive loss by hand, an encoder that ignores padding, and one that learns nothing of shuffled captions."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from viz_diffusion.data.caption_words import PLAIN_PROMPTS, VOCABULARY
from viz_diffusion.data.captions import CaptionedDigits
from viz_diffusion.diffusion.text_encoder import TextConfig, TextEncoder, info_nce
from viz_diffusion.errors import VizdiffInputError, VizdiffUsageError
from viz_diffusion.training.text_encoder_training import new_text_encoder, train_text_encoder

CONFIG = TextConfig(VOCABULARY, width=16, num_heads=2)


@pytest.fixture(scope="module")
def encoder() -> TextEncoder:
    return new_text_encoder(CONFIG, seed=0).eval()


def test_info_nce_by_hand() -> None:
    images = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    texts = torch.tensor([[0.6, 0.8], [0.0, 1.0]])
    # logits at scale 2: rows (1.2, 0), (1.6, 2)
    rows = [math.log(1 + math.exp(0 - 1.2)), math.log(1 + math.exp(1.6 - 2))]
    columns = [math.log(1 + math.exp(1.6 - 1.2)), math.log(1 + math.exp(0 - 2))]
    expected = (sum(rows) / 2 + sum(columns) / 2) / 2
    assert info_nce(images, texts, 2.0).item() == pytest.approx(expected, rel=1e-6)


def test_info_nce_of_equal_vectors_is_the_logarithm_of_the_batch() -> None:
    vectors = torch.ones(8, 4) / 2
    assert info_nce(vectors, vectors, 10.0).item() == pytest.approx(math.log(8), rel=1e-5)


def test_padding_changes_nothing(encoder: TextEncoder) -> None:
    alone = encoder.encode(["a seven"])
    beside = encoder.encode(["a seven", "a thick wide slanted tall seven"])
    torch.testing.assert_close(alone.pooled[0], beside.pooled[0])
    torch.testing.assert_close(alone.pooled[-1], beside.pooled[-1])  # the empty prompt
    assert beside.mask.sum(dim=1).tolist() == [3, 7, 1]
    assert alone.words.shape == (2, 3, 16)


def test_order_and_words_matter(encoder: TextEncoder) -> None:
    pooled = encoder.encode(["a thick seven", "thick a seven", "a thin seven"]).pooled
    assert not torch.allclose(pooled[0], pooled[1])
    assert (pooled[0] - pooled[1]).norm() < (pooled[0] - pooled[2]).norm()


def test_unknown_words_are_refused(encoder: TextEncoder) -> None:
    with pytest.raises(VizdiffUsageError, match="sevn"):
        encoder.encode(["a sevn"])


def strokes(count: int) -> CaptionedDigits:
    """Return images of a vertical bar, labelled with its place, thick or thin in turn."""
    labels = torch.arange(count) % 10
    levels = np.zeros((count, 4), np.int8)
    levels[:, 1] = np.where(np.arange(count) // 10 % 2, 1, -1)
    images = -torch.ones(count, 1, 28, 28)
    for image, place, thick in zip(images, labels.tolist(), levels[:, 1].tolist(), strict=True):
        image[:, 4:24, 2 * place + 3 : 2 * place + 5 + (thick > 0)] = 1
    noise = torch.rand(images.shape, generator=torch.Generator().manual_seed(1))
    return CaptionedDigits(images + 0.2 * noise, labels, (), levels)


class Shuffled(CaptionedDigits):
    """The control: every image gets the caption of another one."""

    def draw_labels(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        others = torch.randint(len(self), rows.shape, generator=generator)
        return super().draw_labels(others, generator)


def zero_shot(data: CaptionedDigits) -> float:
    """Train a small encoder and return the share of images that it classifies right without a classifier."""
    encoder = new_text_encoder(CONFIG, seed=0)
    losses = [step.loss for step in train_text_encoder(encoder, data, seed=0, steps=100, batch_size=32)]
    assert len(losses) == 100
    assert not encoder.training
    return float((encoder.classify(data.images, PLAIN_PROMPTS) == data.labels).float().mean())


def test_an_encoder_learns_its_captions_and_nothing_from_shuffled_ones() -> None:
    data = strokes(100)
    assert zero_shot(data) > 0.6
    assert zero_shot(Shuffled(data.images, data.labels, (), data.levels)) < 0.3


def test_training_is_the_same_for_the_same_seed() -> None:
    data, weights = strokes(40), []
    for seed in (0, 0, 1):
        encoder = new_text_encoder(CONFIG, seed)
        list(train_text_encoder(encoder, data, seed, steps=3, batch_size=8))
        weights.append(encoder.text.qkv.weight)
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


@pytest.mark.parametrize(
    "change",
    [{"vocabulary": ()}, {"vocabulary": ("a", "a")}, {"width": 0}, {"width": 20, "num_heads": 4}, {"num_heads": -1}],
)
def test_impossible_configs_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(VizdiffInputError, match="text encoder"):
        replace(CONFIG, **change)


def test_a_config_survives_json_and_an_unknown_entry_is_refused() -> None:
    values = {"vocabulary": list(VOCABULARY), "width": 16, "num_heads": 2}
    assert TextConfig.from_dict(values) == CONFIG
    with pytest.raises(VizdiffInputError, match="does not fit"):
        TextConfig.from_dict({**values, "depth": 3})
    with pytest.raises(VizdiffInputError, match="does not fit"):
        TextConfig.from_dict({"width": 16})
