"""The channels of a noised latent, and the image decoded from predicted x_0, at some steps of a generation.

Knows nothing about how they were made.
"""

from __future__ import annotations

from dataclasses import dataclass

from matplotlib.figure import Figure

from viz_diffusion.errors import VizdiffInputError
from viz_diffusion.plots import raster, theme
from viz_diffusion.plots.class_names import fitted, has_letters
from viz_diffusion.plots.theme import Array
from viz_diffusion.plots.words import figure_words
from viz_diffusion.text.class_names import on_one_line

MOST_ROWS, MOST_CHANNELS = 6, 4
"""How many states the figure holds, and how many channels of each."""
_TOP, _BOTTOM, _LEFT, _RIGHT, _GAP = 340, 1590, 520, 3130, 24


@dataclass(frozen=True, eq=False)
class LatentFrames:
    """K states of one generation in latents, most noise first."""

    steps_left: Array
    """(K,) int: steps left before the state's step; 0 is the finished latent."""
    timesteps: Array
    """(K,) t; that of the finished latent is not shown."""
    x0_pred: Array
    """(K, H, W) or (K, H, W, 3) float, -1 to 1: the images decoded from predicted x_0."""
    x_t: Array
    """(K, C, h, w) float: the noised latents; of more than :data:`MOST_CHANNELS` channels the first are drawn."""
    prompt: str = ""
    """The prompt, which the figure names; empty where there is none."""

    def __post_init__(self) -> None:
        if not 1 <= len(self.x_t) <= MOST_ROWS or not self.x_t.shape[1]:
            raise VizdiffInputError(f"the figure holds 1 to {MOST_ROWS} states, found x_t of shape {self.x_t.shape}")


def draw_latent_channels(frames: LatentFrames) -> Figure:
    """Draw rows of states: the image decoded from predicted x_0, then the first channels of x_t from -3 to 3."""
    with theme.use_theme():
        words = figure_words("latent_channels")
        figure = theme.new_figure(words("title"))
        count, channels = len(frames.x_t), min(frames.x_t.shape[1], MOST_CHANNELS)
        pitch, across = (_BOTTOM - _TOP) / count, (_RIGHT - _LEFT) / (channels + 1)
        room = int(min(pitch - _GAP, across - 2 * _GAP))
        _write_notes(figure, frames)
        names = [words("decoded"), *(words("channel", number=n + 1) for n in range(channels))]
        for column, name in enumerate(names):
            theme.write(figure, _LEFT + (column + 0.5) * across, _TOP - 24, name, va="bottom", linespacing=1.2)
        for row, left in enumerate(frames.steps_left.tolist()):
            middle = _TOP + (row + 0.5) * pitch
            said = words("row", left=left, t=f"{frames.timesteps[row]:.5g}") if left else words("finished")
            theme.write(figure, _LEFT - 40, middle, said, ha="right", va="center", linespacing=1.4)
            for column in range(channels + 1):
                place = raster.place_noise if column else raster.place_digit
                whole = frames.x_t[row, column - 1] if column else frames.x0_pred[row]
                image, factor = raster.fitted(whole, room)
                height, width = (factor * length for length in image.shape[:2])
                place(figure, _LEFT + (column + 0.5) * across - width / 2, middle - height / 2, factor, image)
        for left, colours, limit, name in (
            (1000, theme.DIGIT_MAP, theme.DIGIT_LIMIT, words("image_scale")),
            (_RIGHT - 400, theme.NOISE_MAP, theme.NOISE_LIMIT, words("latent_scale")),
        ):
            theme.colour_bar(figure, (left, 1680, 400, 28), colours, limit)
            theme.write(figure, left - 64, 1716, name, ha="right")
        return figure


def _write_notes(figure: Figure, frames: LatentFrames) -> None:
    """Write the prompt under the title, and that more channels than the drawn ones are there."""
    words, channels = figure_words("latent_channels"), frames.x_t.shape[1]
    named = frames.prompt and has_letters(frames.prompt)
    notes = [f"“{fitted(on_one_line(frames.prompt), 2000, 20)}”"] if named else []
    if channels > MOST_CHANNELS:
        notes.append(words("first_channels", shown=MOST_CHANNELS, count=channels))
    theme.write(figure, 90, 200, " · ".join(notes), 20, ha="left", color=theme.MUTED)
