"""Feature maps of a network's modules along one generation: a row for each module, a column for each frame.

Knows nothing about networks; maps, frames and channels are chosen by the caller.
"""

from __future__ import annotations

from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from viz_diffusion.errors import VizdiffInputError
from viz_diffusion.plots import raster, theme
from viz_diffusion.plots.theme import Array

MOST_BLOCKS = 8
"""Rows there is room for."""
MOST_FRAMES = 6
"""Columns there is room for."""
LIMIT = 3.0
"""The colours run from -LIMIT to LIMIT root mean squares of the module at the frame."""
_LEFT, _RIGHT = 250, 2930
_HEADER, _END = 372, 1620
_GAP, _INNER, _GAUGE = 30, 6, 10


@dataclass(frozen=True, eq=False)
class FeatureMaps:
    """Some channels of what one module gave at each frame."""

    maps: Array
    """(F, K, h, w) float: K channels at F frames."""
    rms: Array
    """(F,) float, at least 0: the root mean square of all the module's channels at each frame."""


@dataclass(frozen=True, eq=False)
class ActivationFrames:
    """The frames of one run, most noise first, and what each module gave there."""

    x_t: Array
    """(F, H, W) float, or (F, H, W, 3), about [-3, 3]: the state each step began with."""
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
        if any(len(block.maps) != count or len(block.rms) != count for block in self.blocks):
            raise VizdiffInputError(f"every block needs its maps at all {count} frames")


def draw_activations(frames: ActivationFrames) -> Figure:
    """Draw x_t over a row of channels h for each block: columns are frames.

    Over each column stand the steps left (large), t, and ᾱ with a gauge of the same. Each map is divided by a, the
    root mean square of its module at its frame, and shown on one scale, whose bar is at the foot. A gauge beneath the
    maps shows a as a share of the row's largest, which stands at the row's right.
    """
    with theme.use_theme():
        figure = theme.new_figure()
        page = theme.page_axes(figure)
        pitch = (_RIGHT - _LEFT) / len(frames.x_t)
        side = frames.x_t.shape[2]
        factor = max(1, (224 if len(frames.blocks) <= 4 else 168) // side)
        begin = _HEADER + side * factor + _GAP
        room = (_END - begin) / len(frames.blocks)
        theme.arrow(page, (_LEFT, 56), (_RIGHT, 56), mutation_scale=22)
        theme.write(figure, _LEFT - 30, 240, "$t$", 20, color=theme.MUTED, ha="right")
        theme.write(figure, _LEFT - 30, 318, theme.ALPHA_BAR, 20, color=theme.MUTED, ha="right")
        theme.write(figure, _LEFT - 30, _HEADER + side * factor / 2 + 30, theme.X_T, 34, ha="right")
        for index in range(len(frames.x_t)):
            middle = _LEFT + (index + 0.5) * pitch
            _draw_head(figure, page, frames, index, middle, side * factor)
            raster.place_digit(figure, middle - side * factor / 2, _HEADER, factor, frames.x_t[index])
        for row, block in enumerate(frames.blocks):
            _draw_block(figure, page, block, row, begin + row * room, room - _GAP, pitch)
        theme.write(figure, _RIGHT + 40, begin - 24, "$a$", 24, color=theme.MUTED, ha="left")
        bar = (_RIGHT - 420, _END + 50, 400, 28)
        theme.colour_bar(figure, bar, theme.SIGNED_MAP, LIMIT, "$h/a$")
        return figure


def _draw_head(figure: Figure, page: Axes, frames: ActivationFrames, index: int, middle: float, width: float) -> None:
    """Write the steps left, t and ᾱ over a column, and draw ᾱ's gauge."""
    share = float(frames.alphas_cumprod[index])
    theme.write(figure, middle, 160, str(int(frames.steps_left[index])), theme.NUMBER_SIZE)
    theme.write(figure, middle, 240, f"{float(frames.timesteps[index]):g}", color=theme.MUTED)
    theme.write(figure, middle, 318, theme.percent(share), color=theme.MUTED)
    _gauge(page, middle, _HEADER - 26, width, share)


def _gauge(page: Axes, middle: float, top: float, width: float, share: float) -> None:
    """Draw an empty bar and in it its filled share."""
    for part, colour in ((1.0, theme.FAINT), (share, theme.PURPLE)):
        page.add_patch(Rectangle((middle - width / 2, top), width * part, _GAUGE, color=colour, lw=0))


def _draw_block(
    figure: Figure, page: Axes, block: FeatureMaps, row: int, top: float, room: float, pitch: float
) -> None:
    """Draw one block's channels at every frame, as large as the row and the column allow, and its size."""
    shown, (height, width) = block.maps.shape[1], block.maps.shape[2:]
    maps_room = room - _GAUGE - 2 * _INNER
    across, size = _tiling(shown, pitch - 60, maps_room)
    down = -(-shown // across)
    factor = int(size / max(height, width))
    high, wide = height * factor, width * factor
    if not factor:  # larger than its room: some of its values are skipped
        high, wide = (max(1, int(side * size / max(height, width))) for side in (height, width))
    whole_high, whole_wide = (n * one + (n - 1) * _INNER for n, one in ((down, high), (across, wide)))
    begin, largest = top + (maps_room - whole_high) / 2, float(block.rms.max())
    for index, (maps, rms) in enumerate(zip(block.maps, block.rms.tolist(), strict=True)):
        middle = _LEFT + (index + 0.5) * pitch
        for number, channel in enumerate(maps / rms if rms > 0 else maps):
            x = middle - whole_wide / 2 + (number % across) * (wide + _INNER)
            y = begin + (number // across) * (high + _INNER)
            image = channel if factor else raster.fit_nearest(channel, high, wide)
            raster.place_signed(figure, x, y, max(1, factor), image, LIMIT)
        _gauge(page, middle, begin + whole_high + 2 * _INNER, whole_wide, rms / largest if largest else 0.0)
    middle = begin + whole_high / 2
    theme.write(figure, _LEFT - 66, middle, str(row + 1), theme.NUMBER_SIZE, va="center_baseline")
    theme.write(figure, _RIGHT + 40, middle, theme.number(largest), color=theme.MUTED, ha="left", va="center_baseline")


def _tiling(count: int, width: float, height: float) -> tuple[int, float]:
    """Return how many of ``count`` squares stand beside each other in full rows, and their side, as large as can be."""
    sides = {
        across: min((width - (across - 1) * _INNER) / across, (height + _INNER) / -(-count // across) - _INNER)
        for across in range(1, count + 1)
        if count % across == 0
    }
    best = max(sides, key=lambda across: sides[across])
    return best, max(1.0, sides[best])
