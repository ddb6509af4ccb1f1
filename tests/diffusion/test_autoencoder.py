"""The autoencoder: its latents' scale, its loss, its training, and the bundled one."""

from __future__ import annotations

import pytest
import torch
from latent_runs import AUTOENCODER, tiny_autoencoder, wrongly_scaled
from torch.distributions import Normal, kl_divergence

from viz_diffusion.data import Digits
from viz_diffusion.diffusion.autoencoder import AutoencoderConfig, Posterior
from viz_diffusion.diffusion.latent_space import LatentSpace
from viz_diffusion.diffusion.samplers import ImageNoise
from viz_diffusion.errors import VizdiffInputError, VizdiffNonFiniteError, VizdiffUsageError
from viz_diffusion.evaluation.classifier import DigitClassifier
from viz_diffusion.files import read_json
from viz_diffusion.training.autoencoder_training import new_autoencoder, train_autoencoder
from viz_diffusion.training.bundled_runs import BUNDLED_RUNS
from viz_diffusion.training.loop import heldout_loss
from viz_diffusion.training.run import Run


def test_latents_have_mean_0_and_deviation_1_in_each_channel(few_digits: Digits) -> None:
    latents = tiny_autoencoder(few_digits).encode(few_digits.images)
    assert latents.shape == (40, 4, 7, 7)
    deviations, means = torch.std_mean(latents.double(), dim=(0, 2, 3), correction=0)
    torch.testing.assert_close(means, torch.zeros(4).double(), atol=1e-5, rtol=0)
    torch.testing.assert_close(deviations, torch.ones(4).double(), atol=1e-5, rtol=0)


def test_the_kl_divergence_is_that_of_two_normal_distributions() -> None:
    mean, log_variance = torch.randn(2, 1, 4, 7, 7, generator=torch.Generator().manual_seed(0)).unbind()
    expected = kl_divergence(Normal(mean, (log_variance / 2).exp()), Normal(0.0, 1.0))
    torch.testing.assert_close(Posterior(mean, log_variance).kl(), expected)


def test_a_decoded_encoding_has_the_error_of_the_loss_without_noise(few_digits: Digits) -> None:
    autoencoder, images = tiny_autoencoder(few_digits), few_digits.images
    decoded = autoencoder.decode(autoencoder.encode(images))
    reconstructed = autoencoder.reconstruct(autoencoder.posterior(images).mean)
    torch.testing.assert_close(decoded, reconstructed.clamp(-1, 1))  # the scale goes in and comes out again
    error, _ = autoencoder.loss(images, torch.zeros(40, 4, 7, 7))
    assert (reconstructed - images).square().mean().item() == pytest.approx(error.item(), rel=1e-5)
    assert (decoded - images).square().mean() <= error


def test_training_follows_from_the_seed_and_lowers_the_loss(few_digits: Digits) -> None:
    config = AutoencoderConfig(channels=(8, 8), steps=60, batch_size=8)
    found = []
    for _ in range(2):
        autoencoder = new_autoencoder(config)
        steps = list(train_autoencoder(autoencoder, few_digits))
        found.append(torch.cat([values.flatten() for values in autoencoder.state_dict().values()]))
    assert torch.equal(*found)
    assert [step.step for step in steps] == list(range(1, 61))
    assert steps[-1].error < 0.8 * steps[0].error


def test_training_on_numbers_that_are_not_finite_stops(few_digits: Digits) -> None:
    broken = Digits(few_digits.images / 0, few_digits.labels)
    with pytest.raises(VizdiffNonFiniteError, match="step 1 of the autoencoder"):
        next(train_autoencoder(new_autoencoder(AUTOENCODER), broken))


def test_fully_connected_layers_make_a_point_of_an_image(few_digits: Digits) -> None:
    config = AutoencoderConfig(latent_channels=2, fully_connected=True, channels=(64, 32), steps=150, batch_size=8)
    autoencoder = new_autoencoder(config)
    steps = list(train_autoencoder(autoencoder, few_digits))
    assert steps[-1].error < 0.8 * steps[0].error
    points = autoencoder.encode(few_digits.images)
    assert points.shape == (40, *config.latent_shape) == (40, 2, 1, 1)
    deviations, means = torch.std_mean(points[:, :, 0, 0], dim=0, correction=0)
    torch.testing.assert_close(means, torch.zeros(2), atol=1e-5, rtol=0)
    torch.testing.assert_close(deviations, torch.ones(2), atol=1e-5, rtol=0)
    assert autoencoder.decode(points).shape == few_digits.images.shape
    assert AutoencoderConfig.from_dict(config.to_dict()) == config


def test_configs_of_latents_with_places_are_written_as_before() -> None:
    """A new entry would change every run in latents that is resumed."""
    written = AutoencoderConfig().to_dict()
    assert "fully_connected" not in written
    assert written == read_json(BUNDLED_RUNS["bundled-latent"] / "config.json")["autoencoder"]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"image_size": 30}, "image_size must be divisible by 4, found 30"),
        ({"latent_channels": 0}, "latent_channels must be a whole number of at least 1, found 0"),
        ({"channels": (8, 12)}, r"channels must be two numbers divisible by 8, found \[8, 12\]"),
        ({"kl_weight": float("nan")}, "kl_weight must be a number above 0, found nan"),
        ({"fully_connected": 1}, "fully_connected must be true or false, found 1"),
        ({"seed": -1}, "seed must be a whole number of at least 0, found -1"),
    ],
)
def test_an_impossible_config_is_refused(values: dict, words: str) -> None:
    with pytest.raises(VizdiffUsageError, match=words):
        AutoencoderConfig(**values)
    with pytest.raises(VizdiffInputError, match=words):
        AutoencoderConfig.from_dict(values)


def test_an_unknown_entry_of_a_config_is_refused() -> None:
    assert AutoencoderConfig.from_dict(AUTOENCODER.to_dict()) == AUTOENCODER
    with pytest.raises(VizdiffInputError, match="does not fit this version"):
        AutoencoderConfig.from_dict({"depth": 3})


# -- the bundled run -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def space() -> LatentSpace:
    found = Run.choose("bundled-latent").load_model()[0].latent_space
    assert found is not None
    return found


def test_the_bundled_autoencoder_keeps_what_a_digit_is(space: LatentSpace, test_digits: Digits) -> None:
    part = Digits(test_digits.images[:1000], test_digits.labels[:1000])
    decoded = space.decode(space.encode(part.images))
    read = DigitClassifier.bundled()[0].read(decoded)
    assert (read == part.labels).double().mean() >= 0.985
    assert (decoded - part.images).square().mean() < 0.01


def test_the_bundled_latents_of_other_digits_have_nearly_unit_variance(space: LatentSpace, test_digits: Digits) -> None:
    deviations, means = torch.std_mean(space.encode(test_digits.images[:1000]), dim=(0, 2, 3))
    assert (deviations - 1).abs().max() < 0.05
    assert means.abs().max() < 0.05


def test_the_bundled_points_have_unit_variance_and_keep_most_digits(test_digits: Digits) -> None:
    part = Digits(test_digits.images[:1000], test_digits.labels[:1000])
    flat = Run.choose("bundled-latent-2d").load_model()[0].latent_space
    assert flat is not None
    points = flat.encode(part.images)
    deviations, means = torch.std_mean(points[:, :, 0, 0], dim=0)
    assert (deviations - 1).abs().max() < 0.1
    assert means.abs().max() < 0.1
    read = DigitClassifier.bundled()[0].read(flat.decode(points))
    assert 0.6 < (read == part.labels).double().mean() < 0.9  # the price of two numbers


def test_latents_of_the_wrong_scale_are_no_input_for_the_network(space: LatentSpace, test_digits: Digits) -> None:
    """The control that must fail: its loss is that of a network that knows next to nothing."""
    run = Run.choose("bundled-latent")
    model, schedule = run.load_model()[0], run.config.noise_schedule
    part = Digits(test_digits.images[:120], test_digits.labels[:120])

    def loss(factor: float) -> float:
        latents = Digits(wrongly_scaled(space, factor).encode(part.images), part.labels)
        found = heldout_loss(model, schedule, latents, count=120)
        assert found is not None
        return sum(found) / len(found)

    assert loss(4.0) > 1.5 * loss(1.0)


def test_sampled_latents_decoded_at_the_wrong_scale_are_no_digits(space: LatentSpace, test_digits: Digits) -> None:
    latents, labels = space.encode(test_digits.images[:200]), test_digits.labels[:200]
    judge = DigitClassifier.bundled()[0]
    right, wrong = (
        (judge.read(decoder.decode(latents)) == labels).double().mean() for decoder in (space, wrongly_scaled(space, 5))
    )
    assert right > 0.97
    assert wrong < 0.8
    assert ImageNoise([0], space.latent_shape).draw().shape == (1, 4, 7, 7)
