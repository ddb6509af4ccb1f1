"""Feature maps of a network's modules along one generation: a row for each module, a column for each frame.

Knows nothing about networks; the caller chooses modules, channels and frames.
"""

from __future__ import annotations

from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from viz_diffusion.errors import VizdiffInputError
from viz_diffusion.plots import raster, theme
from viz_diffusion.plots.frame_header import (
    Columns,
    Frame,
    draw_direction,
    draw_header,
    header_height,
    name_row,
)
from viz_diffusion.plots.theme import Array
from viz_diffusion.plots.words import figure_words

MOST_BLOCKS = 8
"""The largest number of rows."""
MOST_FRAMES = 6
"""The largest number of columns."""
LIMIT = 3.0
"""The colour scale runs from -LIMIT to LIMIT root mean squares (RMS) of the module's output at the frame."""
_LEFT, _RIGHT, _TOP, _END, _LINE = 570, 2920, 200, 1650, 72
_GAP, _INNER, _GAUGE = 30, 6, 10
_LETTERS = 14
"""Letters of a module's name."""


@dataclass(frozen=True, eq=False)
class FeatureMaps:
    """Selected channels of one module's output at each frame."""

    maps: Array
    """(F, K, h, w) float: K channels at F frames."""
    rms: Array
    """(F,) float, at least 0: the RMS over all channels of the module at each frame."""
    name: str = ""
    """The module's dotted name."""


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
    latent_channels: int = 0
    """How many channels of a latent the pictures of x_t show; 0 where x_t is an image."""

    def __post_init__(self) -> None:
        count = len(self.x_t)
        if not 1 <= count <= MOST_FRAMES or not 1 <= len(self.blocks) <= MOST_BLOCKS:
            raise VizdiffInputError(f"feature maps are drawn at 1 to {MOST_FRAMES} frames of 1 to {MOST_BLOCKS} blocks")
        if any(len(block.maps) != count or len(block.rms) != count for block in self.blocks):
            raise VizdiffInputError(f"every block needs its maps at all {count} frames")


def draw_activations(frames: ActivationFrames) -> Figure:
    """Draw x_t, and beneath it a row of feature maps h for each module; columns are frames.

    The header of each column gives the steps left (large), t, and ᾱ with a gauge. Each map is divided by the RMS of its
    module at its frame, and all share one colour scale, whose bar is at the foot. The gauge beneath the maps shows that
    RMS as a share of the largest one in the row, which is written at the right. The module's name is at the left.
    """
    with theme.use_theme():
        words = figure_words("activations")
        figure = theme.new_figure(words("title"))
        page = theme.page_axes(figure)
        side = frames.x_t.shape[2]
        factor = max(1, (224 if len(frames.blocks) <= 4 else 168) // side)
        count = len(frames.x_t)
        columns = Columns(_LEFT, (_RIGHT - _LEFT) / count, side * factor)
        said = [
            Frame(int(left), float(t), float(share))
            for left, t, share in zip(frames.steps_left, frames.timesteps, frames.alphas_cumprod, strict=True)
        ]
        draw_direction(page, columns, count, _TOP)
        draw_header(figure, page, columns, said, _TOP + 24, _LINE)
        top = _TOP + 24 + header_height(_LINE)
        begin = top + side * factor + _GAP
        name_row(figure, columns, top + side * factor / 2, words("noised_image", channels=frames.latent_channels))
        for index in range(count):
            raster.place_digit(figure, columns.middle(index) - side * factor / 2, top, factor, frames.x_t[index])
        room = (_END - begin) / len(frames.blocks)
        for row, block in enumerate(frames.blocks):
            _draw_block(figure, page, block, columns, begin + row * room, room - _GAP)
        theme.write(figure, _RIGHT + 130, begin - 36, words("rms"), va="bottom", linespacing=1.2)
        bar = (_RIGHT - 400, _END + 40, 400, 28)
        theme.colour_bar(figure, bar, theme.SIGNED_MAP, LIMIT)
        theme.write(figure, bar[0] - 64, bar[1] + 36, words("scale"), ha="right")
        return figure


def _draw_block(figure: Figure, page: Axes, block: FeatureMaps, columns: Columns, top: float, room: float) -> None:
    """Draw one module's channels at every frame, as large as row and column allow, and its RMS."""
    shown, (height, width) = block.maps.shape[1], block.maps.shape[2:]
    maps_room = room - _GAUGE - 2 * _INNER
    across, size = _tiling(shown, columns.pitch - 60, maps_room)
    down = -(-shown // across)
    factor = int(size / max(height, width))
    high, wide = height * factor, width * factor
    if not factor:  # the map is larger than its cell: values are skipped
        high, wide = (max(1, int(side * size / max(height, width))) for side in (height, width))
    total_high, total_wide = (n * length + (n - 1) * _INNER for n, length in ((down, high), (across, wide)))
    begin, largest = top + (maps_room - total_high) / 2, float(block.rms.max())
    for index, (maps, rms) in enumerate(zip(block.maps, block.rms.tolist(), strict=True)):
        middle = columns.middle(index)
        for number, channel in enumerate(maps / rms if rms > 0 else maps):
            x = middle - total_wide / 2 + (number % across) * (wide + _INNER)
            y = begin + (number // across) * (high + _INNER)
            image = channel if factor else raster.fit_nearest(channel, high, wide)
            raster.place_signed(figure, x, y, max(1, factor), image, LIMIT)
        share = rms / largest if largest else 0.0
        theme.gauge(page, middle - total_wide / 2, begin + total_high + 2 * _INNER, total_wide, share, _GAUGE)
    middle = begin + total_high / 2
    name_row(figure, columns, middle, short_name(block.name))
    theme.write(figure, _RIGHT + 130, middle, theme.number(largest), color=theme.MUTED, va="center_baseline")


def short_name(name: str) -> str:
    """Return a module's dotted name; of a long one the end, from a dot on where there is one."""
    if len(name) <= _LETTERS:
        return name
    ends = [name[at + 1 :] for at, letter in enumerate(name) if letter == "." and len(name) - at <= _LETTERS]
    return f"…{ends[0] if ends else name[1 - _LETTERS :]}"


def _tiling(count: int, width: float, height: float) -> tuple[int, float]:
    """Return the number of columns and the largest side of ``count`` squares arranged in full rows."""
    sides = {
        across: min((width - (across - 1) * _INNER) / across, (height + _INNER) / -(-count // across) - _INNER)
        for across in range(1, count + 1)
        if count % across == 0
    }
    best = max(sides, key=lambda across: sides[across])
    return best, max(1.0, sides[best])
