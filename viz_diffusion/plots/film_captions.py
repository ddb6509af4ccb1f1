"""The strips of a film: beneath, how many steps are left and the time index t; above two runs, what each was told.

Knows nothing about films; numbers and symbols only.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib import resources
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from viz_diffusion.plots import theme

_SHARE = 1 / 8
"""The strip's height as a share of the picture's, made even."""
_NUMBER, _INDEX, _HEAD = 0.92, 0.62, 0.68
"""Type sizes as shares of the strip's height: the steps left, t, and what stands over a picture."""
_BASELINE = 0.84
"""Share of the strip's height above the line the numbers stand on."""


Head = tuple[str, bool]
"""What stands over a picture, and whether it is marked."""


def strip_height(picture_height: int) -> int:
    """Return the strip's height in pixels under a picture of so many pixels, an even number of at least 2."""
    return max(2, 2 * round(picture_height * _SHARE / 2))


def counter_strip(width: int, height: int, steps_left: int, timestep: int | None) -> NDArray[np.uint8]:
    """Return a (height, width) strip of greys: the steps left at the left, ``t = …`` at the right, on white.

    Parameters
    ----------
    width, height
        Its size in pixels.
    steps_left
        At least 0.
    timestep
        t; None for the finished picture, which has none.
    """
    image = Image.new("L", (width, height), 255)
    pen = ImageDraw.Draw(image)
    edge, line = round(height / 6), round(_BASELINE * height)
    pen.text((edge, line), str(steps_left), fill=_grey(theme.INK), font=_font(round(_NUMBER * height)), anchor="ls")
    if timestep is not None:
        small = _font(round(_INDEX * height))
        pen.text((width - edge, line), f"t = {timestep}", fill=_grey(theme.MUTED), font=small, anchor="rs")
    return np.asarray(image)


def head_strip(width: int, height: int, heads: Sequence[Head]) -> NDArray[np.uint8]:
    """Return a (height, width) strip of greys over pictures that stand side by side: some words over each, on white.

    Words stand in the middle, black where they are marked and grey elsewhere; type shrinks where they do not fit.
    """
    image = Image.new("L", (width, height), 255)
    pen = ImageDraw.Draw(image)
    edge, room = round(height / 6), width / len(heads)
    for index, (words, is_marked) in enumerate(heads):
        size = round(_HEAD * height)
        while size > 1 and _font(size).getlength(words) > room - 2 * edge:
            size -= 1
        colour = _grey(theme.INK if is_marked else theme.MUTED)
        pen.text(((index + 0.5) * room, height / 2), words, fill=colour, font=_font(size), anchor="mm")
    return np.asarray(image)


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    """Return the package's own DejaVu Sans, so that films look alike everywhere."""
    data = resources.files("viz_diffusion").joinpath("assets", "fonts", "vizdiff-sans.ttf").read_bytes()
    return ImageFont.truetype(BytesIO(data), max(1, size))


def _grey(colour: str) -> int:
    """Return a colour of the palette as a grey of the same luma (ITU-R BT.601)."""
    red, green, blue = (int(colour[k : k + 2], 16) for k in (1, 3, 5))
    return round(0.299 * red + 0.587 * green + 0.114 * blue)
