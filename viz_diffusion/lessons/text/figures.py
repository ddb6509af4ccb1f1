"""Samples of prompts, their measured shape, the attention to their words, and the similarity of prompts.

Knows nothing about how anything was measured.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from viz_diffusion.plots import raster, theme
from viz_diffusion.plots.panels import AxisScale, PanelBox, draw_curves
from viz_diffusion.plots.theme import Array
from viz_diffusion.plots.words import figure_words

Shapes = tuple[Array, Array, Array]
"""(N, 2) levels asked for, -1 or 1; (N, 2) measured slant and thickness; (2,) their correlations."""
REACH = 4.0
"""Standard deviations that the shapes' axis shows; values beyond stand at its ends."""
_COSINES = LinearSegmentedColormap.from_list("cosines", ("#fbf7f1", "#f6c57b", "#da842c", "#6c479d", "#36116c"))
"""From a small cosine to a large one; near the theme’s colours but none of them, since a dark page changes those."""


def draw_prompts(prompts: Sequence[str], images: Array) -> Figure:
    """Draw (P, K, H, W) samples of P prompts, two prompts in a row, each above its K samples."""
    with theme.use_theme():
        words = figure_words("prompts")
        figure = theme.new_figure(words("title"))
        side, factor, gap = images.shape[-1], 8, 30
        for index, prompt in enumerate(prompts):
            left, top = 110 + index % 2 * 1590, 300 + index // 2 * 350
            theme.write(figure, left, top - 26, f"“{prompt}”", 20, ha="left")
            for column, image in enumerate(images[index]):
                raster.place_digit(figure, left + column * (side * factor + gap), top, factor, image)
        theme.write(figure, 110, 1710, words("note"), 18, ha="left", color=theme.MUTED)
        return figure


def draw_attributes(made: Shapes, real: Shapes) -> Figure:
    """Draw slant (left) and thickness (right) of samples and real digits, in columns by what the prompt names."""
    with theme.use_theme():
        words = figure_words("attributes")
        figure = theme.new_figure(words("title"))
        for panel, name in enumerate(("slant", "thickness")):
            box: PanelBox = (390 + panel * 1480, 480, 1180, 900)
            _draw_shapes(figure, box, made, real, panel)
            for side, level in enumerate(("low", "high")):
                at = box[0] + box[2] * (0.26 + 0.48 * side)
                theme.write(figure, at, box[1] + box[3] + 185, words(f"{name}_{level}"), 20)
            theme.write(figure, box[0] - 90, box[1] - 150, words(name), 24, ha="left")
            said = words("correlation", made=f"{made[2][panel]:.2f}", real=f"{real[2][panel]:.2f}")
            theme.write(figure, box[0] - 90, box[1] - 70, said, 20, ha="left", color=theme.MUTED)
        theme.write(figure, 150, 930, words("vertical"), 20, va="center", rotation=90)
        theme.write(figure, 300, 1720, words("note"), 18, ha="left", color=theme.MUTED)
        return figure


def _draw_shapes(figure: Figure, box: PanelBox, made: Shapes, real: Shapes, panel: int) -> None:
    """Draw four columns of dots with their medians: samples and real digits of the low and of the high level."""
    words = figure_words("attributes")
    ticks = tuple(np.arange(-REACH, REACH + 1, 2.0))
    x = AxisScale(0.4, 4.6, (1, 2, 3, 4), labels=tuple(words(kind) for kind in ("made", "real") * 2))
    labels = tuple(f"{tick:+.0f}".replace("-", theme.MINUS) if tick else "0" for tick in ticks)
    axes = draw_curves(figure, box, (), x, AxisScale(-REACH, REACH, ticks, labels=labels))
    for column in range(4):
        levels, shapes, _ = real if column % 2 else made
        values = np.clip(shapes[levels[:, panel] == (1 if column > 1 else -1), panel], -REACH, REACH)
        colour = theme.MUTED if column % 2 else theme.PURPLE
        across = column + 0.82 + 0.36 * np.modf(np.arange(len(values)) * 0.618034)[0]
        axes.plot(across, values, "o", color=colour, ms=5, alpha=0.35, mew=0)
        axes.plot([column + 0.7, column + 1.3], [np.median(values)] * 2, color=theme.ORANGE, lw=6)


def draw_similarity(cosines: Array, distances: Array, half: Array, names: Sequence[str]) -> Figure:
    """Draw (10, 10) cosines of digits (rows) with prompts (left), and distances of images, with half intervals."""
    with theme.use_theme():
        words = figure_words("text_similarity")
        figure = theme.new_figure(words("title"))
        _draw_cosines(figure, cosines, words("digits"), words("prompts"))
        left, top, width, pitch = 2060, 470, 860, 230
        longest = float((distances + half).max())
        page = theme.page_axes(figure)
        theme.write(figure, left - 40, top - 120, words("distance"), 22, ha="left", linespacing=1.3)
        for row, name in enumerate(names):
            y, colour = top + row * pitch, theme.PURPLE if row < 3 else theme.ORANGE
            theme.write(figure, left - 40, y + 40, words(name), 20, ha="left")
            ends = [left - 40 + width * value / longest for value in (0, distances[row])]
            page.fill_between(ends, y + 70, y + 130, color=colour, lw=0)
            low, high = (ends[1] + width * sign * half[row] / longest for sign in (-1, 1))
            page.plot([low, high], [y + 100] * 2, color=theme.INK, lw=3)
            theme.write(figure, max(ends[1], high) + 24, y + 100, f"{distances[row]:.2f}", 20, ha="left", va="center")
        return figure


def _draw_cosines(figure: Figure, cosines: Array, digits: str, prompts: str) -> None:
    left, top, size = 330, 400, 124
    page = theme.page_axes(figure)
    low, span = float(cosines.min()), max(float(np.ptp(cosines)), 1e-6)
    for k in range(len(cosines)):
        theme.write(figure, left - 40, top + (k + 0.5) * size, f"{k}", 24, va="center_baseline")
        theme.write(figure, left + (k + 0.5) * size, top - 34, f"{k}", 24)
    for (row, column), value in np.ndenumerate(cosines):
        x, y, shade = left + column * size, top + row * size, _COSINES((value - low) / span)
        page.fill_between([x + 2, x + size - 2], y + 2, y + size - 2, color=shade, lw=0)
        ink = theme.ON_DARK if np.dot(shade[:3], (0.299, 0.587, 0.114)) < 0.48 else theme.ON_LIGHT
        said = f"{100 * value:z.0f}".replace("-", theme.MINUS)
        theme.write(figure, x + size / 2, y + size / 2, said, 18, va="center_baseline", color=ink)
    theme.write(figure, left + len(cosines) * size / 2, top - 130, prompts, 20)
    theme.write(figure, 90, top + len(cosines) * size / 2, digits, 22, ha="left", va="center", rotation=90)
