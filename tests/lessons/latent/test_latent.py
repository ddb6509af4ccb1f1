"""Lesson latent: a decoder that loses nothing, one that moves everything, denoisers that know the digits; claims."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from latent_results import Folded, study
from lesson_context import Answering, outcomes
from torch import Tensor, nn

from viz_diffusion.data import Digits, load_digits
from viz_diffusion.diffusion.autoencoder import Autoencoder, AutoencoderConfig
from viz_diffusion.diffusion.latent_space import LatentSpace
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.diffusion.unet import ModelConfig, SimpleUNet
from viz_diffusion.evaluation.classifier import DigitClassifier
from viz_diffusion.files import write_json
from viz_diffusion.lessons.latent.cost import measure_cost, median_interval, num_parameters, products, training_products
from viz_diffusion.lessons.latent.lesson import LESSON
from viz_diffusion.lessons.latent.reconstruction import measure_channels, measure_reconstruction
from viz_diffusion.lessons.latent.sample_quality import SCALES, Arm, Training, WithScale, measure_quality
from viz_diffusion.lessons.latent.walks import measure_walks

LINEAR = NoiseSchedule.named("linear")


@pytest.fixture(scope="module")
def digits() -> Digits:
    test = load_digits("test")
    return Digits(test.images[:100], test.labels[:100])


@pytest.fixture(scope="module")
def classifier() -> DigitClassifier:
    return DigitClassifier.bundled()[0]


# -- the autoencoder -----------------------------------------------------------------------------------


class Turned(Folded):
    """The same, with the decoded image upside down: what a place changes is on the other side."""

    def decode(self, latents: Tensor) -> Tensor:
        return super().decode(latents).flip(2, 3)


def test_a_decoder_that_loses_nothing_loses_nothing(digits: Digits, classifier: DigitClassifier) -> None:
    found = measure_reconstruction(Folded(), digits, classifier)
    assert np.array_equal(found.right, found.decoded_right)
    assert found.right.mean() > 0.9
    assert found.squared_error.max() == 0
    assert np.array_equal(found.images, found.decoded)
    assert found.latents.shape == (10, 16, 7, 7)
    assert found.channel_mean[0] == pytest.approx(digits.images[:, 0, ::4, ::4].mean())
    assert found.channel_deviation[5] == pytest.approx(digits.images[:, 0, 1::4, 1::4].std(correction=0))
    turned = measure_reconstruction(Turned(), digits, classifier)
    assert turned.decoded_right.mean() < 0.7
    assert turned.squared_error.mean() == pytest.approx((digits.images.flip(2, 3) - digits.images).square().mean())


def test_what_a_place_changes_is_near_it_or_not(digits: Digits, classifier: DigitClassifier) -> None:
    few = Digits(digits.images[:20], digits.labels[:20])
    found = measure_channels(Folded(), few, classifier, 3, 4)
    assert found.near == pytest.approx(1)  # each number is one pixel
    assert 0.15 < found.near_area < 0.33
    assert np.argwhere(found.change[0]).tolist() == [[12, 12]]
    assert found.change[5, 13, 13] == found.change[5].max() <= 1
    assert np.array_equal(found.whole, few.images[3, 0].numpy())
    assert found.without[0, ::4, ::4].max() == 0
    far = measure_channels(Turned(), few, classifier, 3, 4)
    assert far.near.mean() < 0.5
    assert outcomes(LESSON, study(channels=replace(found, near=far.near)))["local"] is False


def test_walks_between_folded_images_are_those_between_pixels(digits: Digits, classifier: DigitClassifier) -> None:
    walks = measure_walks(Folded(), digits, classifier, 1.0, 20)
    assert np.allclose(walks.latent_frames, walks.pixel_frames, atol=1e-6)
    assert np.array_equal(walks.latent_sure, walks.pixel_sure)
    assert np.array_equal(walks.latent_read, walks.pixel_read)
    assert walks.end_sure.mean() > 0.9 > walks.latent_sure.mean()
    assert np.array_equal(walks.latent_frames[:, 4], (walks.pixel_frames[:, 0] + walks.pixel_frames[:, -1]) / 2)
    assert len(walks.latent_sure) == 16  # of one label there are no more
    assert (walks.latent_read[:, 0] != walks.latent_read[:, -1]).all()


# -- cost ----------------------------------------------------------------------------------------------


def test_products_are_those_of_hand() -> None:
    convolution, linear = nn.Conv2d(3, 5, 3, padding=1), nn.Linear(6, 7)
    assert products(lambda: convolution(torch.zeros(1, 3, 8, 8))) == 5 * 3 * 9 * 8 * 8
    assert products(lambda: linear(torch.zeros(2, 6))) == 2 * 6 * 7
    query = torch.zeros(1, 1, 49, 16)
    attention = products(lambda: nn.functional.scaled_dot_product_attention(query, query, query))
    assert attention == 2 * 49 * 49 * 16
    assert num_parameters(linear) == 6 * 7 + 7


def test_rounds_are_timed_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("viz_diffusion.lessons.latent.cost.BATCH", 2)
    pixel = SimpleUNet(ModelConfig(channels=(8, 8), embedding_dim=16)).eval()
    latent = SimpleUNet(ModelConfig(image_size=7, in_channels=4, channels=(8, 8), embedding_dim=16, fold=1)).eval()
    latent.latent_space = LatentSpace(Autoencoder(AutoencoderConfig(channels=(8, 8))))
    ticks = iter([0.0, 2.0, 10.0, 20.0, 30.0, 33.0, 40.0, 50.0])  # 2 of 10, then 3 of 10
    cost = measure_cost((latent, LINEAR), (pixel, LINEAR), 2, 3, clock=lambda: next(ticks))
    assert cost.ratio.tolist() == [0.2, 0.3]
    assert cost.latent_seconds.tolist() == [1.0, 1.5]
    assert cost.latent_products < cost.pixel_products
    assert cost.latent_parameters == num_parameters(latent)
    short, long = (training_products(latent, (1, steps), (2, 3)) for steps in (0, 4))
    assert short == 3 * 2 * cost.latent_products
    assert long - short > 3 * 4 * 3 * cost.decoder_products
    assert training_products(pixel, (5, 0), (2, 0)) == 3 * 5 * 2 * cost.pixel_products
    assert cost.encoder_parameters + cost.decoder_parameters == num_parameters(latent.latent_space.autoencoder)


def test_the_median_lies_between_the_values_that_a_coin_allows() -> None:
    assert median_interval(np.arange(15.0)) == (3, 11)  # 1 - 2 P(X < 4) = 96.5%, X heads of 15 tosses
    assert median_interval(np.array([5.0, 1, 2, 3, 4, 6])) == (1, 6)
    assert median_interval(np.arange(5.0)) == (-np.inf, np.inf)


# -- quality -------------------------------------------------------------------------------------------


def knowing(digits: Digits, space: Folded | None) -> Answering:
    """Return a denoiser that leads from any noise to one digit of the label."""
    typical = torch.stack([digits.typical_of(label) for label in range(10)] + [torch.zeros(1, 28, 28)])
    known = typical if space is None else space.encode(typical)

    def answer(x: Tensor, timesteps: Tensor, labels: Tensor) -> Tensor:
        power = torch.from_numpy(LINEAR.alphas_cumprod).float()[timesteps][:, None, None, None]
        return (x - power.sqrt() * known[labels]) / (1 - power).sqrt()

    network = Answering(answer)
    network.latent_space = space  # type: ignore[assignment]
    return network


def test_a_scale_is_given_to_the_network() -> None:
    seen: list[Tensor] = []
    network = Answering(lambda x, _t, _y: seen.append(x) or x)  # type: ignore[func-returns-value]
    WithScale(network, 3.0)(torch.ones(2, 1, 4, 4), torch.zeros(2, dtype=torch.int64))
    assert torch.equal(seen[0], torch.full((2, 1, 4, 4), 3.0))


def test_samples_of_denoisers_that_know_the_digits() -> None:
    test, few = load_digits("test"), load_digits("train")
    training = Digits(few.images[:300], few.labels[:300])
    heldout = Digits(test.images[:400], test.labels[:400])
    latent = Arm(knowing(heldout, Folded()), LINEAR, Training(8, 5, 60.0, 2))
    pixel = Arm(knowing(heldout, None), LINEAR, Training(9, 5))
    found = measure_quality(latent, pixel, None, training, heldout, (40, 20))
    assert found.latent.right.all()
    assert found.pixel.right.all()
    assert np.allclose(found.latent.images, found.pixel.images, atol=1e-3)
    assert (found.latent.steps, found.latent.seconds, found.pixel.seconds) == (8, 60.0, None)
    assert found.short is None
    assert found.scales.tolist() == list(SCALES)
    assert np.array_equal(found.scaled[0].right, found.latent.right[:20])
    assert min(one.excess for one in found.scaled[1:]) > found.scaled[0].excess


def test_provenance_says_how_long_a_training_took(tmp_path: Path) -> None:
    assert Training.of(tmp_path, 5, 7) == Training(5, 7, None, None)
    write_json(tmp_path / "provenance.json", {"seconds": 12, "threads": 2})
    assert Training.of(tmp_path, 5, 7) == Training(5, 7, 12, 2)
