"""Films: selection of frames, durations and pixels."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageSequence

from viz_diffusion.errors import VizdiffInputError, VizdiffNonFiniteError, VizdiffUsageError
from viz_diffusion.plots import film
from viz_diffusion.plots.pixels import to_gray8


def ramp(count: int) -> np.ndarray:
    frames = np.linspace(-1.4, 1.4, 28 * 28).reshape(1, 28, 28).repeat(count, axis=0)
    return np.stack([np.roll(frame, 31 * index) for index, frame in enumerate(frames)])


def test_gif_holds_every_frame_enlarged_and_the_last_one_longer(tmp_path: Path) -> None:
    frames = ramp(12)
    film.write_gif(frames, tmp_path / "a.gif", scale=3, frame_ms=50, hold_ms=1500)
    grey = np.rint((np.clip(frames, -1, 1) + 1) / 2 * 255).astype(np.uint8)
    with Image.open(tmp_path / "a.gif") as image:
        assert image.info["loop"] == 0
        shown = [(np.asarray(f.convert("RGB")), f.info["duration"]) for f in ImageSequence.Iterator(image)]
    assert [duration for _, duration in shown] == [50] * 11 + [1500]
    for (pixels, _), wanted in zip(shown, grey, strict=True):
        assert pixels.shape == (84, 84, 3)
        assert np.array_equal(pixels, np.kron(wanted, np.ones((3, 3), np.uint8))[..., None].repeat(3, axis=2))
    assert [path.name for path in tmp_path.iterdir()] == ["a.gif"]


def test_gif_of_one_frame_and_the_same_bytes_twice(tmp_path: Path) -> None:
    for name in ("a.gif", "b.gif"):
        film.write_gif(ramp(1), tmp_path / name)
    assert (tmp_path / "a.gif").read_bytes() == (tmp_path / "b.gif").read_bytes()
    with Image.open(tmp_path / "a.gif") as image:
        assert (image.size, image.n_frames) == ((224, 224), 1)


def test_two_films_are_joined_side_by_side_with_a_white_gap() -> None:
    both = film.side_by_side(ramp(3), -ramp(3), gap=4)
    assert both.shape == (3, 28, 60)
    assert np.array_equal(both[..., :28], ramp(3))
    assert np.array_equal(both[..., 32:], -ramp(3))
    assert (both[..., 28:32] == 1).all()


@pytest.mark.parametrize(
    ("name", "scale", "page"), [(None, 8, None), ("720p", 22, (1280, 720)), ("1080p", 34, (1920, 1080))]
)
def test_a_film_of_a_named_size_is_sharp_and_fills_it(
    name: str | None, scale: int, page: tuple[int, int] | None
) -> None:
    assert film.film_page(28, 28, name, 8) == (scale, page)
    (shown,) = film.page_frames(ramp(1), [(1000, 999)], scale, None, page)
    assert shown.shape == ((page[1], page[0]) if page else (28 * 8 + 28, 28 * 8))
    if page:  # each image pixel is a block of one grey
        left, top = (page[0] - 28 * scale) // 2, int(np.flatnonzero((shown < 255).any(axis=1))[0])
        block = shown[top : top + 28 * scale, left : left + 28 * scale]
        assert np.array_equal(block, np.kron(to_gray8(ramp(1))[0], np.ones((scale, scale), np.uint8)))


def test_webp_is_lossless_and_unknown_formats_are_named() -> None:
    with Image.open(io.BytesIO(film.film_bytes(ramp(4), "webp", scale=2, frame_ms=40, hold_ms=900))) as image:
        shown = [np.asarray(frame.convert("L")) for frame in ImageSequence.Iterator(image)]
    for pixels, wanted in zip(shown, to_gray8(ramp(4)), strict=True):
        assert np.array_equal(pixels[::2, ::2], wanted)
    with pytest.raises(VizdiffUsageError, match="'avi'"):
        film.film_bytes(ramp(2), "avi")


def test_a_failed_film_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(VizdiffNonFiniteError):
        film.write_gif(np.full((2, 28, 28), np.nan), tmp_path / "a.gif")
    with pytest.raises(VizdiffInputError, match=r"\(28, 28\)"):
        film.write_gif(np.zeros((28, 28)), tmp_path / "a.gif")
    with pytest.raises(VizdiffInputError):
        film.write_gif(np.zeros((0, 28, 28)), tmp_path / "a.gif")
    with pytest.raises(VizdiffUsageError):
        film.write_gif(ramp(2), tmp_path / "a.gif", scale=0)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("num", "count"), [(1000, 60), (1001, 60), (10, 10), (7, 3), (2, 2), (5, 90)])
def test_film_frames_are_even_and_keep_both_ends(num: int, count: int) -> None:
    chosen = film.film_frames(num, count)
    assert (chosen[0], chosen[-1]) == (0, num - 1)
    assert len(chosen) == min(num, count)
    steps = np.diff(chosen)
    assert steps.min() >= 1
    assert steps.max() - steps.min() <= 1


def test_film_of_one_frame_is_the_last() -> None:
    assert film.film_frames(10, 1).tolist() == [9]
    assert film.film_frames(1, 5).tolist() == [0]
    with pytest.raises(VizdiffUsageError, match="num=0"):
        film.film_frames(0, 5)
