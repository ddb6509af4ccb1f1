"""Feature maps of a network's modules along one generation: a row for each module, a column for each frame.

Knows nothing about networks; the caller chooses modules, channels and frames.
"""

from __future__ import annotations

from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from viz_diffusion.errors import VizdiffInputError
from viz_diffusion.plots import raster, theme
from viz_diffusion.plots.theme import Array

MOST_BLOCKS = 8
"""The largest number of rows."""
MOST_FRAMES = 6
"""The largest number of columns."""
LIMIT = 3.0
"""The colour scale runs from -LIMIT to LIMIT root mean squares (RMS) of the module's output at the frame."""
_LEFT, _RIGHT = 250, 2930
_HEADER, _END = 372, 1620
_GAP, _INNER, _GAUGE = 30, 6, 10


@dataclass(frozen=True, eq=False)
class FeatureMaps:
    """Selected channels of one module's output at each frame."""

    maps: Array
    """(F, K, h, w) float: K channels at F frames."""
    rms: Array
    """(F,) float, at least 0: the RMS over all channels of the module at each frame."""


@dataclass(frozen=True, eq=False)
class ActivationFrames:
    """The frames of one generation, most noise first, and each module's feature maps there."""

    x_t: Array
    """(F, H, W) float, or (F, H, W, 3), about [-3, 3]: the state x_t at the start of each step."""
    timesteps: Array
    """(F,) int, falling."""
    steps_left: Array
    """(F,) int, at least 1."""
    alphas_cumprod: Array
    """(F,) float, in (0, 1): ᾱ, the signal's share of power."""
    blocks: tuple[FeatureMaps, ...]
    """A row for each module, in the sequence of the network."""

    def __post_init__(self) -> None:
        count = len(self.x_t)
        if not 1 <= count <= MOST_FRAMES or not 1 <= len(self.blocks) <= MOST_BLOCKS:
            raise VizdiffInputError(f"feature maps are drawn at 1 to {MOST_FRAMES} frames of 1 to {MOST_BLOCKS} blocks")
        if any(len(block.maps) != count or len(block.rms) != count for block in self.blocks):
            raise VizdiffInputError(f"every block needs its maps at all {count} frames")


def draw_activations(frames: ActivationFrames) -> Figure:
    """Draw x_t, and beneath it a row of feature maps h for each module; columns are frames.

    The header of each column gives the steps left (large), t, and ᾱ with a gauge. Each map is divided by a, the RMS of
    its module at its frame, and all share one colour scale, whose bar is at the foot. The gauge beneath the maps shows
    a as a share of the largest a in the row, which is written at the right.
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
            _draw_header(figure, page, frames, index, middle, side * factor)
            raster.place_digit(figure, middle - side * factor / 2, _HEADER, factor, frames.x_t[index])
        for row, block in enumerate(frames.blocks):
            _draw_block(figure, page, block, row, begin + row * room, room - _GAP, pitch)
        theme.write(figure, _RIGHT + 40, begin - 24, "$a$", 24, color=theme.MUTED, ha="left")
        bar = (_RIGHT - 420, _END + 50, 400, 28)
        theme.colour_bar(figure, bar, theme.SIGNED_MAP, LIMIT, "$h/a$")
        return figure


def _draw_header(figure: Figure, page: Axes, frames: ActivationFrames, index: int, middle: float, width: float) -> None:
    """Write the steps left, t and ᾱ over a column, and draw the gauge of ᾱ."""
    share = float(frames.alphas_cumprod[index])
    theme.write(figure, middle, 160, str(int(frames.steps_left[index])), theme.NUMBER_SIZE)
    theme.write(figure, middle, 240, f"{float(frames.timesteps[index]):g}", color=theme.MUTED)
    theme.write(figure, middle, 318, theme.percent(share), color=theme.MUTED)
    theme.gauge(page, middle - width / 2, _HEADER - 26, width, share, _GAUGE)


def _draw_block(
    figure: Figure, page: Axes, block: FeatureMaps, row: int, top: float, room: float, pitch: float
) -> None:
    """Draw one module's channels at every frame, as large as row and column allow, and its RMS."""
    shown, (height, width) = block.maps.shape[1], block.maps.shape[2:]
    maps_room = room - _GAUGE - 2 * _INNER
    across, size = _tiling(shown, pitch - 60, maps_room)
    down = -(-shown // across)
    factor = int(size / max(height, width))
    high, wide = height * factor, width * factor
    if not factor:  # the map is larger than its cell: values are skipped
        high, wide = (max(1, int(side * size / max(height, width))) for side in (height, width))
    total_high, total_wide = (n * length + (n - 1) * _INNER for n, length in ((down, high), (across, wide)))
    begin, largest = top + (maps_room - total_high) / 2, float(block.rms.max())
    for index, (maps, rms) in enumerate(zip(block.maps, block.rms.tolist(), strict=True)):
        middle = _LEFT + (index + 0.5) * pitch
        for number, channel in enumerate(maps / rms if rms > 0 else maps):
            x = middle - total_wide / 2 + (number % across) * (wide + _INNER)
            y = begin + (number // across) * (high + _INNER)
            image = channel if factor else raster.fit_nearest(channel, high, wide)
            raster.place_signed(figure, x, y, max(1, factor), image, LIMIT)
        share = rms / largest if largest else 0.0
        theme.gauge(page, middle - total_wide / 2, begin + total_high + 2 * _INNER, total_wide, share, _GAUGE)
    middle = begin + total_high / 2
    theme.write(figure, _LEFT - 66, middle, str(row + 1), theme.NUMBER_SIZE, va="center_baseline")
    theme.write(figure, _RIGHT + 40, middle, theme.number(largest), color=theme.MUTED, ha="left", va="center_baseline")


def _tiling(count: int, width: float, height: float) -> tuple[int, float]:
    """Return the number of columns and the largest side of ``count`` squares arranged in full rows."""
    sides = {
        across: min((width - (across - 1) * _INNER) / across, (height + _INNER) / -(-count // across) - _INNER)
        for across in range(1, count + 1)
        if count % across == 0
    }
    best = max(sides, key=lambda across: sides[across])
    return best, max(1.0, sides[best])
