"""Caption strips of a film, read with glyphs that matplotlib renders."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from viz_diffusion.plots.film_captions import counter_strip, head_strip, strip_height

CELL = (24, 16)


def glyphs(ink: np.ndarray) -> list[tuple[np.ndarray, float]]:
    """Split (H, W) ink at its empty columns; return each glyph resized to ``CELL``, and its width-to-height ratio."""
    filled = np.flatnonzero(np.diff(np.concatenate([[0], (ink > 0.25).any(axis=0), [0]])))
    pieces = []
    for left, right in filled.reshape(-1, 2):
        rows = np.flatnonzero((ink[:, left:right] > 0.25).any(axis=1))
        piece = ink[rows[0] : rows[-1] + 1, left:right]
        image = Image.fromarray((255 * piece).astype(np.uint8)).resize(CELL[::-1], Image.Resampling.BILINEAR)
        pieces.append((np.asarray(image) / 255.0, piece.shape[1] / piece.shape[0]))
    return pieces


@pytest.fixture(scope="module")
def alphabet() -> dict[str, tuple[np.ndarray, float]]:
    """Return the glyphs of a strip as matplotlib renders them in DejaVu Sans; ``=`` is recognised by its shape."""
    letters = "0123456789t"
    figure = Figure(figsize=(6, 1), dpi=200)
    figure.text(0.02, 0.3, "  ".join(letters), fontsize=30, family="DejaVu Sans")
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    rendered = glyphs(1 - np.asarray(canvas.buffer_rgba())[..., 0] / 255.0)
    assert len(rendered) == len(letters)
    return dict(zip(letters, rendered, strict=True))


def read(strip: np.ndarray, alphabet: dict[str, tuple[np.ndarray, float]]) -> str:
    """Return the text of a strip: for each glyph the letter that differs least from it."""
    ink = 1 - strip / 255.0
    text = ""
    for piece, shape in glyphs(ink / max(ink.max(), 1e-9)):
        if shape > 1.2:
            text += "="
            continue
        text += min(alphabet, key=lambda name: np.abs(alphabet[name][0] - piece).mean())
    return text


@pytest.mark.parametrize(("left", "t"), [(1000, 999), (678, 677), (254, 253), (31, 30), (9, 8), (1, 0)])
@pytest.mark.parametrize("width", [224, 448, 696])
def test_steps_left_and_t_can_be_read(left: int, t: int, width: int, alphabet: dict) -> None:  # type: ignore[type-arg]
    height = strip_height(min(width, 448))
    strip = counter_strip(width, height, left, t)
    assert strip.shape == (height, width)
    assert strip.dtype == np.uint8
    gap = width // 2
    assert read(strip[:, :gap], alphabet) == str(left)
    assert read(strip[:, gap:], alphabet) == f"t={t}"


@pytest.mark.parametrize("words", [("", "steps left"), ("剩余", "步")])
@pytest.mark.parametrize("width", [224, 448, 696])
def test_words_stand_beside_the_steps_left_and_meet_nothing(words: tuple[str, str], width: int) -> None:
    """Ink grows, and a gap stays before t; control: without words the same strip has less ink at the left."""
    height = strip_height(min(width, 448))
    with_words, without = (counter_strip(width, height, 1000, 999, said) < 200 for said in (words, ("", "")))
    assert with_words.sum() > 1.2 * without.sum()
    columns = np.flatnonzero(with_words.any(axis=0))
    assert columns[0] >= height / 8
    assert columns[-1] < width - height / 8
    assert np.diff(columns).max() >= height / 5  # the gap before t
    assert counter_strip(width, height, 1000, 999, words).shape == (height, width)


def test_chinese_words_are_drawn_with_letters_of_their_own() -> None:
    """Two different words of equal length differ; a font without the letters would draw the same box twice."""
    first, second = (counter_strip(448, 56, 5, None, ("", said)) for said in ("剩余", "完成"))
    assert not np.array_equal(first, second)


def test_the_finished_image_has_0_steps_left_and_no_t(alphabet: dict) -> None:  # type: ignore[type-arg]
    assert read(counter_strip(448, 56, 0, None), alphabet) == "0"


def test_control_another_number_is_read_as_another(alphabet: dict) -> None:  # type: ignore[type-arg]
    assert read(counter_strip(448, 56, 8, None), alphabet) != read(counter_strip(448, 56, 3, None), alphabet)


def test_the_strip_is_readable_and_even() -> None:
    for side in (28, 224, 336, 448, 449):
        assert strip_height(side) % 2 == 0
        assert strip_height(side) <= side / 6
    strip = counter_strip(448, 56, 1000, 999)
    ink = np.flatnonzero((strip < 128).any(axis=1))
    assert np.ptp(ink) > 0.6 * 56 * 0.9
    assert strip.min() < 40


def test_heads_are_centred_above_their_images_and_shrink_to_fit() -> None:
    strip = head_strip(400, 40, (("y = 3", False), ("y′ = 3 → 8", True)))
    assert strip.shape == (40, 400)
    ink = strip < 200
    left, right = (np.flatnonzero(half.any(axis=0)) for half in (ink[:, :200], ink[:, 200:]))
    assert abs(left.mean() - 100) < 12
    assert abs(right.mean() - 100) < 12
    assert strip[:, 200:].min() < strip[:, :200].min()  # highlighted text is darker
    long = head_strip(400, 40, (("y = 3", False), ("t′ = 999 → 500  s′ = 1.5 → 1", True))) < 200
    columns = np.flatnonzero(long.any(axis=0))
    assert columns[-1] < 398
    assert np.array_equal(long[:, :200], ink[:, :200])
