"""Latents: digits with their channels, walks, what a channel holds, and cost and quality against pixels.

Knows nothing about how anything was measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from viz_diffusion.plots import raster, theme
from viz_diffusion.plots.theme import Array
from viz_diffusion.plots.words import figure_words

NAMES_AT = 500
"""Where the names of rows end, in page pixels."""
FIRST = NAMES_AT + 60
"""Where the first column begins."""


@dataclass(frozen=True)
class Bar:
    """One value with its interval."""

    name: str
    """Its name in the catalogue."""
    value: float
    """The value."""
    low: float
    """Lower end of the interval."""
    high: float
    """Upper end."""
    text: str
    """The value in words."""
    colour: str = theme.PURPLE
    """Its colour."""


def draw_latent_space(images: Array, latents: Array, decoded: Array) -> Figure:
    """Draw (L, H, W) digits, their (L, c, h, w) latents and their (L, H, W) reconstructions, a digit a column."""
    with theme.use_theme():
        words = figure_words("latent_space")
        figure = theme.new_figure(words("title"))
        count, channels = latents.shape[:2]
        pitch = (3130 - FIRST) / count
        large = max(1, int(pitch - 36) // images.shape[-1])
        room = (1800 - 330 - 2 * (large * images.shape[-2] + 40)) / channels - 22
        small = max(1, int(room) // latents.shape[-2])
        names = [words("digit", pixels=images[0].size)]
        names += [words("channel", number=k + 1, numbers=latents[0, 0].size) for k in range(channels)]
        factors, top = [large, *[small] * channels, large], 210
        rows = [images, *np.moveaxis(latents, 1, 0), decoded]
        for row, (name, factor) in enumerate(zip([*names, words("decoded")], factors, strict=True)):
            height = factor * rows[row].shape[-2]
            theme.write(figure, NAMES_AT, top + height / 2, name, 20, ha="right", va="center", linespacing=1.3)
            place = raster.place_digit if factor == large and row in (0, channels + 1) else raster.place_noise
            for column in range(count):
                left = FIRST + (column + 0.5) * pitch - factor * rows[row].shape[-1] / 2
                place(figure, left, top, factor, rows[row][column])
            top += height + (40 if row in (0, channels) else 22)
        theme.colour_bar(figure, (FIRST, top + 24, 560, 28), theme.NOISE_MAP, theme.NOISE_LIMIT)
        theme.write(figure, FIRST + 640, top + 56, words("scale"), ha="left", color=theme.MUTED)
        return figure


def draw_channel_contents(whole: Array, without: Array, shares: Sequence[str], change: Array, limit: float) -> Figure:
    """Draw a digit decoded from its whole latent and without each channel, and what moving one number changes.

    Parameters
    ----------
    whole, without
        (H, W), and (c, H, W) with one channel at its mean.
    shares
        1 + c texts: the accuracy of such reconstructions.
    change
        (c, H, W) mean change of the image by one number of the channel, drawn from -limit to limit.
    """
    with theme.use_theme():
        words = figure_words("channel_contents")
        figure = theme.new_figure(words("title"))
        pitch = (3130 - FIRST) / (1 + len(without))
        factor = max(1, min(int(pitch - 50), 520) // whole.shape[-1])
        size, tops = factor * whole.shape[-1], (350, 1070)
        for top, name in zip(tops, ("without", "change"), strict=True):
            theme.write(figure, NAMES_AT, top + size / 2, words(name), 20, ha="right", va="center", linespacing=1.3)
        for column in range(1 + len(without)):
            left = FIRST + (column + 0.5) * pitch - size / 2
            name = words("whole") if column == 0 else words("channel", number=column)
            theme.write(figure, left + size / 2, tops[0] - 50, name, 22)
            raster.place_digit(figure, left, tops[0], factor, whole if column == 0 else without[column - 1])
            theme.write(figure, left + size / 2, tops[0] + size + 70, words("share", share=shares[column]))
            if column:
                axes = theme.add_axes(figure, left, tops[1], size, size)
                raster.show_signed(axes, change[column - 1], limit)
        bar = (FIRST + 0.1 * pitch, tops[1] + size / 2, int(0.75 * pitch), 28)
        theme.colour_bar(figure, bar, theme.SIGNED_MAP, limit)
        theme.write(figure, bar[0] + bar[2] / 2, bar[1] - 50, words("scale"), linespacing=1.3)
        return figure


def draw_latent_walk(
    walks: Sequence[Array], read: Sequence[Array], sure: Sequence[Array], shares: Sequence[Bar]
) -> Figure:
    """Draw walks between two digits, between latents and between pixels, with what the classifier reads.

    Parameters
    ----------
    walks, read, sure
        Between latents and between pixels: (D, F, H, W) images, (D, F) labels that are read, (D, F) probabilities.
    shares
        Shares of middles that are read surely.
    """
    with theme.use_theme():
        words = figure_words("latent_walk")
        figure = theme.new_figure(words("title"))
        pairs, frames = walks[0].shape[:2]
        pitch = (3130 - FIRST) / frames
        factor = max(1, min(int(pitch - 50), 250) // walks[0].shape[-1])
        size = factor * walks[0].shape[-1]
        for pair in range(pairs):
            for row, name in enumerate(("latent", "pixel")):
                top = 215 + pair * 690 + row * 325
                theme.write(figure, NAMES_AT, top + size / 2, words(name), 20, ha="right", va="center", linespacing=1.3)
                for frame in range(frames):
                    left = FIRST + (frame + 0.5) * pitch - size / 2
                    raster.place_digit(figure, left, top, factor, walks[row][pair, frame])
                    text = words("read", digit=int(read[row][pair, frame]), share=sure[row][pair, frame])
                    theme.write(figure, left + size / 2, top + size + 52, text, color=theme.MUTED)
        theme.write(figure, 90, 1640, words("middles"), 20, ha="left")
        for place, bar in enumerate(shares):
            text = words("share", name=words(f"{bar.name}_middle"), share=bar.text)
            theme.write(figure, 90 + 1040 * place, 1735, text, ha="left", color=bar.colour)
        return figure
