"""What stands above the columns of frames: steps left, the timestep t and the signal's share of power, in words.

Strips, comparisons and feature maps share it. Knows nothing about the images beneath.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from viz_diffusion.plots import theme
from viz_diffusion.plots.words import figure_words

LABELS = 430
"""Page pixels at the left that the names of lines and rows take."""
GAUGE = 10
"""Page pixels: the height of the gauge of the signal's share."""
_BESIDE = 44
"""Page pixels between a name and the first column."""


@dataclass(frozen=True)
class Columns:
    """Columns of equal width, in page pixels."""

    left: float
    """The left edge of the first column."""
    pitch: float
    """From one column to the next."""
    width: float
    """The width of the images, in the middle of their columns."""

    def middle(self, place: float) -> float:
        """Return the middle of a column, counted from 0."""
        return self.left + (place + 0.5) * self.pitch


@dataclass(frozen=True)
class Frame:
    """What is said of one frame."""

    steps_left: int
    """Denoising steps left; 0 for the finished image."""
    timestep: float | None
    """t; None for the finished image."""
    share: float
    """ᾱ, the signal's share of power, in [0, 1]."""


def header_height(line: float) -> float:
    """Return the height of a header whose lines are ``line`` page pixels high, down to the images."""
    return 3 * line + GAUGE + 42


def draw_header(
    figure: Figure, page: Axes, columns: Columns, frames: Sequence[Frame], top: float, line: float = 92
) -> None:
    """Write three lines over the columns, their names at the left, and draw the gauge of ᾱ beneath them.

    The finished image has neither t nor ᾱ; the second line says that it is finished.
    """
    words = figure_words("frames")
    baselines = [top + (n + 1) * line - 12 for n in range(3)]
    for name, baseline in zip(("steps_left", "timestep", "signal"), baselines, strict=True):
        name_row(figure, columns, baseline, words(name), va="baseline")
    size = max(float(theme.TEXT_SIZE), min(float(theme.NUMBER_SIZE), line / 3.4, columns.pitch / 9.6))
    for place, frame in enumerate(frames):
        middle = columns.middle(place)
        theme.write(figure, middle, baselines[0], str(frame.steps_left), size)
        second = words("finished") if frame.timestep is None else str(round(frame.timestep))
        theme.write(figure, middle, baselines[1], second, color=theme.MUTED)
        if frame.timestep is not None:
            theme.write(figure, middle, baselines[2], theme.percent(frame.share), color=theme.MUTED)
        theme.gauge(page, middle - columns.width / 2, top + 3 * line + 20, columns.width, frame.share, GAUGE)


def draw_direction(page: Axes, columns: Columns, count: int, y: float) -> None:
    """Draw an arrow over ``count`` columns, in the direction of sampling."""
    theme.arrow(page, (columns.left, y), (columns.left + columns.pitch * count, y), mutation_scale=22)


def name_row(figure: Figure, columns: Columns, y: float, name: str, va: str = "center") -> None:
    """Write the name of a row at the left of its columns, about ``y``."""
    theme.write(figure, columns.left - _BESIDE, y, name, ha="right", va=va, linespacing=1.2)
