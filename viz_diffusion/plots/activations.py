"""Feature maps of a network's modules along one generation: a row for each module, a column for each frame.

Knows nothing about networks; maps, frames and channels are chosen by the caller.
"""

from __future__ import annotations

from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from viz_diffusion.errors import VizdiffInputError
from viz_diffusion.plots import theme
from viz_diffusion.plots.theme import Array

MOST_BLOCKS = 8
"""Rows there is room for."""
MOST_FRAMES = 6
"""Columns there is room for."""
_LEFT, _RIGHT = 430, 3000
_TOP, _HEADER, _FOOT, _GAP, _INNER = 40, 300, 130, 26, 6


@dataclass(frozen=True, eq=False)
class FeatureMaps:
    """Some channels of what one module gave at each frame."""

    maps: Array
    """(F, K, h, w) float: K channels at F frames."""
    channels: int
    """How many channels the module has in all."""
    limit: float
    """Above 0: the colours run from -limit to limit, in all frames alike."""


@dataclass(frozen=True, eq=False)
class ActivationFrames:
    """The frames of one run, most noise first, and what each module gave there."""

    x_t: Array
    """(F, H, W) float, about [-3, 3]: the state each step began with."""
    timesteps: Array
    """(F,) int, falling."""
    steps_left: Array
    """(F,) int, at least 1."""
    alphas_cumprod: Array
    """(F,) float, in (0, 1): the signal's share of power."""
    blocks: tuple[FeatureMaps, ...]
    """In the order in which the network has them."""

    def __post_init__(self) -> None:
        count = len(self.x_t)
        if not 1 <= count <= MOST_FRAMES or not 1 <= len(self.blocks) <= MOST_BLOCKS:
            raise VizdiffInputError(f"feature maps are drawn at 1 to {MOST_FRAMES} frames of 1 to {MOST_BLOCKS} blocks")
        if any(len(block.maps) != count for block in self.blocks):
            raise VizdiffInputError(f"every block needs its maps at all {count} frames")


def draw_activations(frames: ActivationFrames) -> Figure:
    """Draw x_t over a row of channels for each block: columns are frames.

    Over each column stand the steps left (large), t, and ᾱ with a gauge of the same. At the left of each row stand
    its number, channels x height x width; at its right a bar of its own colour scale, which all its frames share.
    """
    with theme.use_theme():
        figure = theme.new_figure()
        page = theme.page_axes(figure)
        count, rows = len(frames.x_t), len(frames.blocks)
        pitch = (_RIGHT - _LEFT) / count
        side = frames.x_t.shape[-1]
        factor = max(1, min(280 if rows <= 4 else 168, int(pitch) - 60) // side)
        first = _TOP + _HEADER
        begin = first + side * factor + _GAP + 14
        room = (theme.PAGE_HEIGHT - _FOOT - begin) / rows - _GAP
        for index in range(count):
            middle = _LEFT + (index + 0.5) * pitch
            _draw_head(figure, page, frames, index, middle, side * factor)
            theme.place_digit(figure, middle - side * factor / 2, first, factor, frames.x_t[index])
        theme.write(figure, _LEFT - 44, first + side * factor / 2 + 30, theme.X_T, 34, ha="right")
        theme.write(figure, _LEFT - 44, _TOP + 158, "$t$", 20, color=theme.MUTED, ha="right")
        theme.write(figure, _LEFT - 44, _TOP + 236, theme.ALPHA_BAR, 20, color=theme.MUTED, ha="right")
        theme.arrow(page, (_LEFT, _TOP - 8), (_RIGHT, _TOP - 8), mutation_scale=22)
        for row, block in enumerate(frames.blocks):
            _draw_block(figure, block, row, begin + row * (room + _GAP), room, pitch)
        return figure


def _draw_head(figure: Figure, page: Axes, frames: ActivationFrames, index: int, middle: float, width: float) -> None:
    """Write the steps left, t and ᾱ over a column, and draw ᾱ's gauge."""
    share = float(frames.alphas_cumprod[index])
    theme.write(figure, middle, _TOP + 80, str(int(frames.steps_left[index])), theme.NUMBER_SIZE)
    theme.write(figure, middle, _TOP + 158, str(int(frames.timesteps[index])), color=theme.MUTED)
    theme.write(figure, middle, _TOP + 236, theme.percent(share), color=theme.MUTED)
    for part, colour in ((1.0, theme.FAINT), (share, theme.PURPLE)):
        page.add_patch(Rectangle((middle - width / 2, _TOP + 264), width * part, 10, color=colour, lw=0))


def _draw_block(figure: Figure, block: FeatureMaps, row: int, top: float, room: float, pitch: float) -> None:
    """Draw one block's channels at every frame, as large as the row and the column allow."""
    shown, (height, width) = block.maps.shape[1], block.maps.shape[2:]
    across, size = _tiling(shown, pitch - 50, room)
    down = -(-shown // across)
    factor = size / max(height, width)
    factor = int(factor) if factor >= 1 else factor
    high, wide = round(height * factor), round(width * factor)
    begin = top + (room - down * high - (down - 1) * _INNER) / 2
    for index, maps in enumerate(block.maps):
        edge = _LEFT + (index + 0.5) * pitch - (across * wide + (across - 1) * _INNER) / 2
        for number, channel in enumerate(maps):
            x = edge + (number % across) * (wide + _INNER)
            y = begin + (number // across) * (high + _INNER)
            axes = theme.add_axes(figure, round(x), round(y), wide, high)
            theme.show_signed(axes, channel if factor >= 1 else theme.fit_nearest(channel, high, wide), block.limit)
    middle = top + room / 2
    theme.write(figure, 110, middle, str(row + 1), theme.NUMBER_SIZE, va="center_baseline")
    shape = f"{block.channels}×{height}×{width}"
    theme.write(figure, _LEFT - 44, middle, shape, color=theme.MUTED, ha="right", va="center_baseline")
    limit = f"±{theme.number(block.limit)}"
    theme.write(figure, _RIGHT + 16, middle, limit, color=theme.MUTED, ha="left", va="center_baseline")


def _tiling(count: int, width: float, height: float) -> tuple[int, float]:
    """Return how many of ``count`` squares stand beside each other, and their side, so that it is largest."""
    sides = {
        across: min((width - (across - 1) * _INNER) / across, (height + _INNER) / -(-count // across) - _INNER)
        for across in range(1, count + 1)
    }
    best = max(sides, key=lambda across: sides[across])
    return best, max(1.0, sides[best])
