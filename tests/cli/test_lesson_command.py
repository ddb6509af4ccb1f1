"""Measurements of the lessons, against known values."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from viz_diffusion.data import Digits, load_digits
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.diffusion.unet import ModelConfig, SimpleUNet
from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.lessons.clock import lesson as clock
from viz_diffusion.lessons.label.label_embedding import embedding_facts, measure_embedding
from viz_diffusion.lessons.network.architecture import measure_network
from viz_diffusion.lessons.noising import lesson as noising
from viz_diffusion.lessons.noising.forward_process import measure_noising
from viz_diffusion.views import frames as frames_view


@pytest.fixture(scope="module")
def model() -> SimpleUNet:
    torch.manual_seed(0)
    return SimpleUNet(ModelConfig(channels=(8, 16), embedding_dim=24, num_blocks=2)).eval()


@pytest.fixture(scope="module")
def digits() -> Digits:
    return load_digits("test")


def test_default_frames_are_the_papers_count_of_steps_left() -> None:
    assert (1000 - frames_view.choose_frames(1000)).tolist() == [1000, 800, 650, 550, 450, 350, 250, 150, 50]
    assert (50 - frames_view.choose_frames(50)).tolist() == [50, 40, 32, 28, 22, 18, 12, 8, 2]
    assert frames_view.choose_frames(1).tolist() == [0]


@pytest.mark.parametrize(
    ("frames", "left"),
    [("1", [10]), ("10", list(range(10, 0, -1))), ("1,10", [10, 1]), ("10,10,3", [10, 3])],
)
def test_frames_by_number_or_list(frames: str, left: list[int]) -> None:
    assert (10 - frames_view.choose_frames(10, frames)).tolist() == left


@pytest.mark.parametrize("frames", ["0", "11", "0,1", "11,1", "", "a", "1,", "1.5"])
def test_impossible_frames_are_refused(frames: str) -> None:
    with pytest.raises(VizdiffUsageError, match="frames"):
        frames_view.choose_frames(10, frames)


def test_sinusoids_are_as_alike_as_the_formula_says(model: SimpleUNet) -> None:
    facts = clock.facts(clock.measure_embeddings(model))
    assert facts.offsets == (1, 10, 100, 500, 999)
    assert np.round(facts.cosine_raw, 2).tolist() == [0.97, 0.67, 0.48, 0.30, 0.18]


def test_the_mlps_codes_are_shown_without_their_mean_and_sorted_by_their_peak(model: SimpleUNet) -> None:
    embedding = clock.measure_embeddings(model).embedding
    with torch.no_grad():
        codes = model.time_mlp(torch.arange(1000)).numpy().T
    assert np.allclose(embedding.mlp.mean(axis=1), 0, atol=1e-5)
    assert np.all(np.diff(embedding.mlp.argmax(axis=1)) >= 0)
    assert np.allclose(np.sort(embedding.mlp.std(axis=1)), np.sort(codes.std(axis=1)), atol=1e-6)


def test_label_cosines_and_components_are_those_of_the_embedding(model: SimpleUNet) -> None:
    data = measure_embedding(model)
    vectors = model.label_emb.weight[:10].detach().double().numpy()
    for i, j in ((0, 1), (3, 8), (9, 9)):
        expected = vectors[i] @ vectors[j] / np.linalg.norm(vectors[i]) / np.linalg.norm(vectors[j])
        assert data.cosine[i, j] == pytest.approx(expected)
    variances = np.linalg.eigvalsh(np.cov(vectors.T))[::-1]
    assert np.allclose(data.pca_share, variances[:2] / variances.sum())
    assert data.tsne.shape == (3, 10, 2)
    assert not np.allclose(data.tsne[0], data.tsne[1])  # three seeds are three maps, not one shown thrice
    assert embedding_facts(data).tsne_perplexity == 3


def test_the_network_is_read_block_by_block(model: SimpleUNet) -> None:
    shape = measure_network(model)
    assert [(block.channels, block.resolution) for block in shape.down] == [(8, 14), (8, 14), (16, 7), (16, 7)]
    assert [(block.channels, block.resolution) for block in shape.up] == [(16, 7), (16, 7), (8, 14), (8, 14)]
    assert shape.num_parameters == sum(weight.numel() for weight in model.parameters())


def test_noising_follows_the_closed_form(digits: Digits) -> None:
    schedule = NoiseSchedule.named("linear")
    data = measure_noising(digits, schedule, digit=8, seed=3)
    assert data.labels.tolist() == [8, 9, 0, 1, 2]
    for row in range(5):
        for column, t in enumerate(data.timesteps, start=1):
            rest = data.images[row, column] - np.sqrt(schedule.alphas_cumprod[t]) * data.images[row, 0]
            noise = rest / np.sqrt(1 - schedule.alphas_cumprod[t])
            if (row, column) == (0, 1):
                first = noise
            assert np.allclose(noise, first, atol=1e-4)  # one noise throughout
    assert 0.9 < first.std() < 1.1
    assert noising.facts(data).crossing == 259


def test_the_typical_digit_is_nearest_to_the_mean_of_its_kind(digits: Digits) -> None:
    kind = digits.images[digits.labels == 5]
    chosen = digits.typical_of(5)
    distance = (chosen - kind.mean(dim=0)).square().sum()
    assert distance == (kind - kind.mean(dim=0)).square().sum(dim=(1, 2, 3)).min()
