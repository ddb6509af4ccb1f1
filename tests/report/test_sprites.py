"""Colour scales of frames, and sprite sheets decoded again."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from viz_diffusion.errors import VizdiffNonFiniteError, VizdiffUsageError
from viz_diffusion.plots.pixels import PUOR, share_beyond, to_diverging8, to_gray8
from viz_diffusion.report.sprites import SpriteSheet, make_sprite_sheet


def cells(sprite: SpriteSheet, count: int) -> np.ndarray:
    """Cut a decoded sheet into its ``count`` frames, as the page's script does."""
    sheet = np.asarray(Image.open(io.BytesIO(sprite.webp)).convert("RGB"))
    frames = []
    for index in range(count):
        row, column = divmod(index, sprite.columns)
        top, left = row * sprite.height, column * sprite.width
        frames.append(sheet[top : top + sprite.height, left : left + sprite.width])
    return np.stack(frames)


def test_gray8_hand_computed() -> None:
    values = np.array([-7, -1, -0.5, 0, 0.5, 1, 7], dtype=np.float32)
    # (v + 1) * 127.5 = 0, 0, 63.75, 127.5, 191.25, 255, 255; the half goes to the even 128.
    assert to_gray8(values).tolist() == [0, 0, 64, 128, 191, 255, 255]
    assert to_gray8(values).dtype == np.uint8
    assert to_gray8(4 * values, limit=4).tolist() == to_gray8(values).tolist()


def test_diverging8_ends_and_middle() -> None:
    colours = to_diverging8(np.array([-3, -30, 3, 30, 0, 1.5]))
    assert colours[0].tolist() == colours[1].tolist() == [0x7F, 0x3B, 0x08]
    assert colours[2].tolist() == colours[3].tolist() == [0x2D, 0x00, 0x4B]
    assert abs(colours[4].astype(int) - 0xF7).max() <= 1, "zero is PuOr's near-white"
    assert colours[5, 2] > colours[5, 1], "above zero is purple"


def test_diverging8_differs_little_from_the_full_scale() -> None:
    eps = np.linspace(-3, 3, 5001)
    exact = PUOR[np.round((eps / 3 + 1) * 127.5).astype(int)].astype(int)
    shown = to_diverging8(eps).astype(int)
    assert len(np.unique(shown, axis=0)) == 65
    assert np.abs(shown - exact).max() <= 8, "of 255, compared with the full scale"
    assert shown[0].tolist() == exact[0].tolist()
    assert shown[-1].tolist() == exact[-1].tolist()


def test_diverging_colours_are_colorbrewers_with_straight_lines_between() -> None:
    anchors = "7f3b08 b35806 e08214 fdb863 fee0b6 f7f7f7 d8daeb b2abd2 8073ac 542788 2d004b"
    colours = np.array([list(bytes.fromhex(colour)) for colour in anchors.split()], dtype=np.float64)
    places = np.linspace(0, 10, 256)
    wanted = np.stack([np.interp(places, np.arange(11), channel) for channel in colours.T], axis=1)
    assert np.array_equal(PUOR, np.round(wanted))


def test_diverging_colours_are_all_different() -> None:
    assert len({tuple(colour) for colour in PUOR.tolist()}) == 256


@pytest.mark.parametrize("count", [1, 2, 5, 51, 1001])
def test_sprite_round_trip_grey(count: int) -> None:
    frames = np.random.default_rng(count).integers(0, 256, (count, 28, 28), dtype=np.uint8)
    decoded = cells(make_sprite_sheet(frames), count)
    assert np.array_equal(decoded, np.repeat(frames[..., None], 3, axis=3))


def test_sprite_round_trip_colour_and_oblong() -> None:
    frames = np.random.default_rng(1).integers(0, 256, (13, 20, 34, 3), dtype=np.uint8)
    assert np.array_equal(cells(make_sprite_sheet(frames), 13), frames)


def test_sprite_is_near_square() -> None:
    sprite = make_sprite_sheet(np.zeros((1001, 28, 28), dtype=np.uint8))
    assert Image.open(io.BytesIO(sprite.webp)).size == (32 * 28, 32 * 28)


@pytest.mark.parametrize(
    "frames",
    [
        np.zeros((0, 28, 28), dtype=np.uint8),
        np.zeros((3, 28, 28), dtype=np.float32),
        np.zeros((28, 28), dtype=np.uint8),
        np.zeros((3, 28, 28, 4), dtype=np.uint8),
    ],
)
def test_sprite_refuses_other_shapes(frames: np.ndarray) -> None:
    with pytest.raises(VizdiffUsageError, match="uint8 frames"):
        make_sprite_sheet(frames)


def test_sprite_refuses_what_webp_cannot_hold() -> None:
    with pytest.raises(VizdiffUsageError, match="do not fit"):
        make_sprite_sheet(np.zeros((2, 16384, 1), dtype=np.uint8))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_non_finite_is_refused(bad: float) -> None:
    with pytest.raises(VizdiffNonFiniteError, match="NaN or infinity"):
        to_gray8(np.array([0.0, bad]))


def test_share_beyond() -> None:
    assert share_beyond(np.array([-2.0, -1.0, 0.0, 1.5]), 1.0) == 0.5
