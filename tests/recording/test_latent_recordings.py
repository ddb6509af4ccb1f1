"""Recordings of latents: pictures at every step, nothing clipped, channels side by side, kept on disk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from latent_runs import MODEL, tiny_space

from viz_diffusion.data import Digits
from viz_diffusion.diffusion.oracles import TruthOracle
from viz_diffusion.diffusion.sampler_config import SamplerConfig
from viz_diffusion.diffusion.sampling import sample_images
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.diffusion.unet import SimpleUNet
from viz_diffusion.errors import VizdiffInputError, VizdiffUsageError
from viz_diffusion.recording.comparison_sampling import sample_comparison_runs
from viz_diffusion.recording.generation import record_generation
from viz_diffusion.recording.latent_pictures import PicturedLatents, is_latent, pictured, side_by_side
from viz_diffusion.recording.trajectory import Trajectory
from viz_diffusion.views.latent_channels import draw_channels

CONFIG = SamplerConfig("ddim", 4, guidance_scale=1.5)


@pytest.fixture(scope="module")
def network(make_unet: Callable[..., SimpleUNet], test_digits: Digits) -> SimpleUNet:
    unet = make_unet(config=MODEL)
    unet.latent_space = tiny_space(Digits(test_digits.images[:40], test_digits.labels[:40]))
    return unet


@pytest.fixture(scope="module")
def recorded(network: SimpleUNet, linear: NoiseSchedule) -> Trajectory:
    return record_generation(network, linear, torch.tensor([3, 5]), [0, 1], CONFIG)


def test_every_step_is_recorded_with_its_picture(network: SimpleUNet, recorded: Trajectory) -> None:
    assert recorded.x_t.shape == (2, 4, 4, 7, 7)
    assert not recorded.clip
    assert recorded.decoded is not None
    assert recorded.decoded.shape == (2, 5, 1, 28, 28)
    assert recorded.decoded_steps is not None
    assert recorded.decoded_steps.tolist() == [0, 1, 2, 3, 4]
    assert network.latent_space is not None
    for step, latents in ((2, recorded.x0_pred[:, 2]), (4, recorded.x0)):
        expected = network.latent_space.decode(torch.from_numpy(latents)).numpy()
        np.testing.assert_allclose(recorded.decoded[:, step], expected, atol=1e-5)


@pytest.mark.parametrize("name", ["mine.zarr", "mine.zip"])
def test_a_recording_of_latents_is_the_same_from_disk(recorded: Trajectory, name: str, tmp_path: Path) -> None:
    recorded.save(tmp_path / name)
    opened = Trajectory.open(tmp_path / name)
    assert is_latent(opened)
    for field in ("x_t", "eps_pred", "x0_pred", "x0", "decoded", "decoded_steps", "labels"):
        np.testing.assert_array_equal(getattr(opened, field), getattr(recorded, field))


def test_a_store_holds_the_pictures_too(network: SimpleUNet, linear: NoiseSchedule, tmp_path: Path) -> None:
    returned = record_generation(network, linear, torch.tensor([3, 5]), [0, 1], CONFIG, store=tmp_path / "mine.zarr")
    assert is_latent(returned)
    np.testing.assert_array_equal(returned.x0, Trajectory.open(tmp_path / "mine.zarr").x0)


def test_latents_beyond_1_are_not_clipped(network: SimpleUNet, linear: NoiseSchedule) -> None:
    """The oracle returns to its latents exactly; without a latent space, clipping takes what lies beyond 1."""
    latents = 2.5 * torch.randn(2, 4, 7, 7, generator=torch.Generator().manual_seed(0))
    oracle = TruthOracle(linear, latents)
    labels, config = torch.tensor([0, 1]), SamplerConfig("ddim", 10)
    clipped = record_generation(oracle, linear, labels, [0, 1], config, image_shape=(4, 7, 7))
    oracle.latent_space = network.latent_space  # type: ignore[assignment]
    whole = record_generation(oracle, linear, labels, [0, 1], config)
    np.testing.assert_allclose(whole.x0, latents.numpy(), atol=1e-4)
    assert np.abs(clipped.x0).max() <= 1


def test_bulk_samples_of_latents_are_pictures(network: SimpleUNet, linear: NoiseSchedule, recorded: Trajectory) -> None:
    images = torch.cat(list(sample_images(network, linear, torch.tensor([3, 5]), [0, 1], CONFIG)))
    assert images.shape == (2, 1, 28, 28)
    assert recorded.decoded is not None
    np.testing.assert_allclose(images.numpy(), recorded.decoded[:, -1], atol=1e-4)


def test_channels_stand_side_by_side_in_the_quarters_of_a_picture() -> None:
    x = np.arange(4 * 49, dtype=np.float32).reshape(4, 7, 7)
    shown = side_by_side(x, (1, 28, 28))
    assert shown.shape == (1, 28, 28)
    for channel, (top, left) in enumerate(((0, 0), (0, 14), (14, 0), (14, 14))):
        quarter = shown[0, top : top + 14, left : left + 14]
        np.testing.assert_array_equal(quarter[::2, ::2], x[channel])
        np.testing.assert_array_equal(quarter[1::2, 1::2], x[channel])
    three = side_by_side(x[:3], (3, 28, 28))
    assert not three[:, 14:, 14:].any()


def test_two_numbers_are_the_halves_of_a_picture() -> None:
    halves = side_by_side(np.array([1, -2], np.float32)[:, None, None], (1, 28, 28))[0]
    assert (np.unique(halves[:, :14]), np.unique(halves[:, 14:])) == (1, -2)


def test_a_pictured_recording_shows_decoded_images_and_channels(recorded: Trajectory) -> None:
    shown = pictured(recorded)
    assert isinstance(shown, PicturedLatents)
    assert recorded.decoded is not None
    np.testing.assert_array_equal(shown.x0_pred, recorded.decoded[:, :4])
    np.testing.assert_array_equal(shown.x0, recorded.decoded[:, 4])
    np.testing.assert_array_equal(shown.x_t[0, 1], side_by_side(recorded.x_t[0, 1], (1, 28, 28)) / np.float32(3))
    assert not shown.x0_beyond_scale.any()
    assert pictured(shown) is shown  # what is not of latents stays as it is


def test_comparison_runs_are_pictures(network: SimpleUNet, linear: NoiseSchedule) -> None:
    one = record_generation(network, linear, torch.tensor([3]), [0], CONFIG)
    runs = sample_comparison_runs(network, one, labels=[3, 5], comparisons=False)
    (other,) = runs.others
    assert other.x_t.shape == (len(other.timesteps) + 1, 28, 28)
    assert other.x0_pred.shape == (len(other.timesteps), 28, 28)
    whole = record_generation(network, linear, torch.tensor([5]), [0], CONFIG)
    np.testing.assert_allclose(other.x_t[-1], pictured(whole).x0[0, 0], atol=1e-4)
    np.testing.assert_allclose(other.x_t[0], pictured(whole).x_t[0, 0, 0], atol=1e-4)


def test_the_figure_of_channels_has_a_row_for_each_state(recorded: Trajectory) -> None:
    figure = draw_channels(recorded, 1)
    texts = [text.get_text() for text in figure.texts]
    assert sum("left" in text for text in texts) == 4  # four of the shares are different steps
    assert sum(text.startswith("channel ") for text in texts) == 4
    with pytest.raises(VizdiffUsageError, match=r"sample must lie in 0\.\.1 here, found 2"):
        draw_channels(recorded, 2)
    with pytest.raises(VizdiffInputError, match="holds no latents"):
        draw_channels(replace(recorded, decoded=None, decoded_steps=None))
