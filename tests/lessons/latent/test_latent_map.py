"""The map of latents of two numbers: its cells, paths in closed form, regions that are known, and the figure."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from latent_results import hits, plane, study
from lesson_context import Answering
from torch import Tensor

from viz_diffusion.data import Digits
from viz_diffusion.diffusion.sampler_config import SamplerConfig
from viz_diffusion.diffusion.samplers import ImageNoise
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.evaluation.classifier import DigitClassifier
from viz_diffusion.lessons.latent.latent_map import LIMIT, SHADES, STEPS, FlatNetwork, cell_middles, measure_map, trace
from viz_diffusion.lessons.latent.lesson import LESSON
from viz_diffusion.plots import theme
from viz_diffusion.plots.words import use_texts
from viz_diffusion.text.catalogue import languages, load_texts

LINEAR = NoiseSchedule.named("linear")
ANGLES = 2 * torch.pi * torch.arange(10) / 10
PLACES = 2 * torch.stack([ANGLES.cos(), ANGLES.sin()], dim=1)
"""(10, 2) where each digit lies."""


class Clock:
    """A latent space of two numbers in which the digits stand around a clock; every point is the digit next to it."""

    latent_shape = (2, 1, 1)

    def __init__(self, digits: Digits, classifier: DigitClassifier) -> None:
        self.typical = torch.stack([digits.typical_of(label) for label in range(10)])
        self.classifier = classifier

    def encode(self, images: Tensor) -> Tensor:
        return PLACES[self.classifier.read(images)][:, :, None, None]

    def decode(self, latents: Tensor) -> Tensor:
        return self.typical[torch.cdist(latents[:, :, 0, 0].float(), PLACES).argmin(dim=1)]


def leading_to(place: Any, space: Any) -> Answering:
    """Return a denoiser whose predicted x_0 is always ``place(x, labels)``, (B, 2)."""

    def answer(x: Tensor, timesteps: Tensor, labels: Tensor) -> Tensor:
        power = torch.from_numpy(LINEAR.alphas_cumprod).float()[timesteps][:, None, None, None]
        return (x - power.sqrt() * place(x, labels)[:, :, None, None]) / (1 - power).sqrt()

    network = Answering(answer)
    network.latent_space = space  # type: ignore[assignment]  # latents are not clipped
    return network


@pytest.fixture(scope="module")
def classifier() -> DigitClassifier:
    return DigitClassifier.bundled()[0]


@pytest.fixture(scope="module")
def digits(test_digits: Digits) -> Digits:
    return Digits(test_digits.images[:100], test_digits.labels[:100])


@pytest.fixture(scope="module")
def space(digits: Digits, classifier: DigitClassifier) -> Any:
    return Clock(digits, classifier)


def test_cells_are_counted_from_the_bottom_left() -> None:
    assert cell_middles(2)[:, :, 0, 0].tolist() == [[-1.5, -1.5], [1.5, -1.5], [-1.5, 1.5], [1.5, 1.5]]
    assert cell_middles(3)[4].flatten().tolist() == [0, 0]
    assert cell_middles(4).max() == LIMIT * 0.75


def test_paths_to_known_places_are_those_of_the_closed_form(space: Any) -> None:
    """DDIM keeps ε where predicted x_0 stays the same: x_t = √ᾱ x_0 + √(1-ᾱ) ε (Song et al. 2021, eq. 12)."""
    flat = FlatNetwork(leading_to(lambda _x, labels: PLACES[labels], space), LINEAR, space, "")
    labels = torch.tensor([0, 7, 7])
    paths = trace(flat, labels, [4, 4, 5])
    assert paths.shape == (3, STEPS + 1, 2)
    start = ImageNoise([4, 4, 5], (2, 1, 1)).draw()[:, :, 0, 0]
    assert torch.equal(paths[:, 0], start)
    power = torch.from_numpy(LINEAR.alphas_cumprod[SamplerConfig("ddim", STEPS).timesteps(1000)]).float()
    noise = (start - power[0].sqrt() * PLACES[labels]) / (1 - power[0]).sqrt()
    expected = power.sqrt()[:, None] * PLACES[labels][:, None] + (1 - power).sqrt()[:, None] * noise[:, None]
    torch.testing.assert_close(paths[:, :-1], expected, atol=1e-4, rtol=0)
    torch.testing.assert_close(paths[:, -1], PLACES[labels], atol=1e-4, rtol=0)


def test_paths_that_follow_their_label_end_in_its_region(
    space: Any, digits: Digits, classifier: DigitClassifier
) -> None:
    flat = FlatNetwork(leading_to(lambda _x, labels: PLACES[labels], space), LINEAR, space, "e" * 64)
    found = measure_map(flat, digits, classifier, 3, (11, 13))
    assert found.inside[-1].all()
    assert not found.shuffled.any()
    assert found.inside[0].mean() == pytest.approx(0.1)  # all ten paths start at one point: in one region of ten
    assert found.right.tolist() == (classifier.read(digits.images) == digits.labels).tolist()
    assert found.outside == 0
    assert found.paths.shape == (10, 12, STEPS + 1, 2)
    assert np.array_equal(found.frames[-1], space.typical[3, 0].numpy())
    # the region of a digit is where the classifier finds it: the cells around its place
    middles = cell_middles(11)[:, :, 0, 0]
    nearest = torch.cdist(middles, PLACES).argmin(dim=1).reshape(11, 11)
    assert np.array_equal(found.probability.argmax(axis=0), nearest.numpy())
    assert found.tiles.max() == SHADES - 1
    corner = space.typical[int(torch.cdist(cell_middles(17)[:1, :, 0, 0], PLACES).argmin()), 0].numpy()
    assert np.array_equal(found.tiles[0, 0], np.rint((corner + 1) / 2 * (SHADES - 1)).astype(np.uint8))


def test_paths_that_follow_the_noise_end_in_the_same_region_with_any_label(
    space: Any, digits: Digits, classifier: DigitClassifier
) -> None:
    """The control that must fail: a denoiser to which the label is nothing."""

    def place(x: Tensor, _labels: Tensor) -> Tensor:
        return PLACES[torch.cdist(x[:, :, 0, 0], PLACES).argmin(dim=1)]

    found = measure_map(FlatNetwork(leading_to(place, space), LINEAR, space, ""), digits, classifier, 3, (5, 20))
    assert found.inside[-1].mean() == pytest.approx(found.shuffled.mean(), abs=0.05)
    claims = {claim.name: claim.holds for claim in LESSON.claims(study(plane=replace(found, right=hits(10_000, 0.8))))}
    assert not claims["map_label"]
    assert claims["map_ends"] is False


@pytest.mark.parametrize("lang", languages())
def test_the_map_is_drawn_with_its_paths(lang: str) -> None:
    known = plane()
    with use_texts(load_texts(lang)):
        figure = LESSON.draw(study(plane=known))["latent_map"]
    axes = next(one for one in figure.axes if one.get_images() and one.get_xlim() == (-LIMIT, LIMIT))
    lines = [line for line in axes.get_lines() if len(np.asarray(line.get_xydata())) == STEPS + 1]
    drawn = {line.get_color(): np.asarray(line.get_xydata()) for line in lines}
    assert len(lines) == 10
    np.testing.assert_allclose(drawn[theme.ORANGE], known.paths[5, 0], atol=1e-6)
    ends = {text.get_text() for text in axes.texts}
    assert ends >= set("0123456789")
    # a cell is drawn where its latent lies: the picture's first rows are the top of the map
    image = axes.get_images()[0]
    assert list(image.get_extent()) == [-LIMIT, LIMIT, -LIMIT, LIMIT]
    factor = 1430 // (3 * 28)
    assert np.asarray(image.get_array()).shape == (3 * 28 * factor, 3 * 28 * factor, 4)
    written = " ".join(text.get_text() for text in figure.texts)
    assert "100%" in written
    assert "10%" in written


def test_rows_of_the_map_are_drawn_from_the_top() -> None:
    tiles = np.zeros((3, 3, 28, 28), np.uint8)
    tiles[0, 2] = SHADES - 1  # the lower right corner
    figure = LESSON.draw(study(plane=plane(tiles=tiles)))["latent_map"]
    axes = next(one for one in figure.axes if one.get_images() and one.get_xlim() == (-LIMIT, LIMIT))
    rows, columns = np.nonzero(np.asarray(axes.get_images()[0].get_array())[..., 3])
    assert (rows.min(), columns.min()) == (2 * 28 * 17, 2 * 28 * 17)
