"""The channels of a noised latent, and the image decoded from predicted x_0, at some steps of a generation.

Knows nothing about how they were made.
"""

from __future__ import annotations

from dataclasses import dataclass

from matplotlib.figure import Figure

from viz_diffusion.errors import VizdiffInputError
from viz_diffusion.plots import raster, theme
from viz_diffusion.plots.theme import Array
from viz_diffusion.plots.words import figure_words

MOST_ROWS, MOST_CHANNELS = 6, 8
_TOP, _BOTTOM, _LEFT, _RIGHT, _GAP = 340, 1590, 520, 3130, 24


@dataclass(frozen=True, eq=False)
class LatentFrames:
    """K states of one generation in latents, most noise first."""

    steps_left: Array
    """(K,) int: steps left before the state's step."""
    timesteps: Array
    """(K,) t."""
    x0_pred: Array
    """(K, H, W) or (K, H, W, 3) float, -1 to 1: the images decoded from predicted x_0."""
    x_t: Array
    """(K, C, h, w) float: the noised latents."""

    def __post_init__(self) -> None:
        count, channels = self.x_t.shape[:2]
        if not 1 <= count <= MOST_ROWS or not 1 <= channels <= MOST_CHANNELS:
            raise VizdiffInputError(
                f"the figure holds {MOST_ROWS} states of {MOST_CHANNELS} channels at most, found {count} of {channels}"
            )


def draw_latent_channels(frames: LatentFrames) -> Figure:
    """Draw rows of states: the image decoded from predicted x_0, then each channel of x_t from -3 to 3."""
    with theme.use_theme():
        words = figure_words("latent_channels")
        figure = theme.new_figure(words("title"))
        count, channels, side = frames.x_t.shape[:3]
        pitch, across = (_BOTTOM - _TOP) / count, (_RIGHT - _LEFT) / (channels + 1)
        room = min(pitch - _GAP, across - 2 * _GAP)
        picture, cell = max(1, int(room) // frames.x0_pred.shape[1]), max(1, int(room) // side)
        names = [words("decoded"), *(words("channel", number=n + 1) for n in range(channels))]
        for column, name in enumerate(names):
            theme.write(figure, _LEFT + (column + 0.5) * across, _TOP - 40, name)
        for row in range(count):
            middle = _TOP + (row + 0.5) * pitch
            said = words("row", left=int(frames.steps_left[row]), t=f"{frames.timesteps[row]:g}")
            theme.write(figure, _LEFT - 40, middle, said, ha="right", va="center", linespacing=1.4)
            for column in range(channels + 1):
                size = picture * frames.x0_pred.shape[1] if column == 0 else cell * side
                place = figure, _LEFT + (column + 0.5) * across - size / 2, middle - size / 2
                if column == 0:
                    raster.place_digit(*place, picture, frames.x0_pred[row])
                else:
                    raster.place_noise(*place, cell, frames.x_t[row, column - 1])
        for left, colours, limit, name in (
            (1000, theme.DIGIT_MAP, theme.DIGIT_LIMIT, words("image_scale")),
            (_RIGHT - 400, theme.NOISE_MAP, theme.NOISE_LIMIT, words("latent_scale")),
        ):
            theme.colour_bar(figure, (left, 1680, 400, 28), colours, limit)
            theme.write(figure, left - 64, 1716, name, ha="right")
        return figure
