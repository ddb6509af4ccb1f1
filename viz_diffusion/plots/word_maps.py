"""Where a network attends to each word of a prompt, over predicted x_0 at some steps of a generation.

Knows nothing about how anything was measured.
"""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from viz_diffusion.plots import raster, theme
from viz_diffusion.plots.class_names import fitted, has_letters
from viz_diffusion.plots.theme import Array
from viz_diffusion.plots.words import figure_words

MOST_WORDS, MOST_STEPS = 11, 6
"""How many rows of words and columns of steps the figure holds."""
_LEFT, _TOP, _HEIGHT, _LARGEST, _PITCH = 560, 320, 1370, 224, 330


def draw_word_maps(
    timesteps: Array,
    x0_pred: Array,
    maps: Array,
    prompt: Sequence[str],
    on_ink: tuple[Array, Array] | None = None,
) -> Figure:
    """Draw predicted x̂_0 (F, H, W) or (F, H, W, 3) over (F, L, h, w) maps of the L words of a prompt.

    Parameters
    ----------
    timesteps
        (F,) t of the columns, at most :data:`MOST_STEPS`.
    prompt
        The words; of more than :data:`MOST_WORDS` the first are drawn, and the figure says so.
    on_ink
        (L,) attention on ink over that on the average position, and half its interval, at the right of each word.
    """
    with theme.use_theme():
        words, shown = figure_words("word_maps"), list(prompt)[:MOST_WORDS]
        figure = theme.new_figure(words("title"))
        pitch = min(272, _HEIGHT // (len(shown) + 1))
        size, largest = min(_LARGEST, pitch - 48), float(maps[:, : len(shown)].max())
        for row, word in enumerate((None, *shown)):
            y = _TOP + row * pitch
            name = words("predicted_x0") if word is None else f"“{_written(word, row)}”"
            theme.write(figure, _LEFT - 60, y + size / 2, name, 22, ha="right", va="center", linespacing=1.3)
            for column, t in enumerate(timesteps):
                x = _LEFT + column * _PITCH
                if word is None:
                    _place(figure, x, y, size, x0_pred[column])
                    theme.write(figure, x + size / 2, y - 40, f"t = {t:.5g}", 20)
                else:
                    _place(figure, x, y, size, 2 * maps[column, row - 1] / largest - 1)
            if word is not None and on_ink is not None:
                said = f"{on_ink[0][row - 1]:.2f} ± {on_ink[1][row - 1]:.2f}"
                theme.write(figure, 2850, y + size / 2, said, 24, va="center")
        if on_ink is not None:
            theme.write(figure, 2850, _TOP + size / 2, words("on_ink"), 20, va="center", linespacing=1.3)
        note = words("scale", largest=f"{largest:.0%}")
        if len(prompt) > len(shown):
            note += words("first_words", shown=len(shown), count=len(prompt))
        theme.write(figure, 90, 1750, note, 18, ha="left", color=theme.MUTED)
        return figure


def _written(word: str, number: int) -> str:
    """Return a word as the figure writes it: no longer than its column, and its number where a font lacks a letter."""
    return fitted(word, _LEFT - 180, 22) if has_letters(word) else f"#{number}"


def _place(figure: Figure, left: float, top: float, size: int, image: Array) -> None:
    """Place an image in the middle of a square of ``size`` page pixels, as large as it holds."""
    image, factor = raster.fitted(image, size)
    height, width = (factor * length for length in image.shape[:2])
    raster.place_digit(figure, left + (size - width) // 2, top + (size - height) // 2, factor, image)
