"""The strip beneath a film's picture: how many steps are left, and small beside it the time index t.

Knows nothing about films; numbers and one symbol only.
"""

from __future__ import annotations

from functools import cache
from importlib import resources
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from viz_diffusion.plots import theme

_SHARE = 1 / 8
"""The strip's height as a share of the picture's, made even."""
_NUMBER, _INDEX = 0.92, 0.62
"""Type sizes as shares of the strip's height: the steps left, and t."""
_BASELINE = 0.84
"""Share of the strip's height above the line the numbers stand on."""


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


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    """Return the package's own DejaVu Sans, so that films look alike everywhere."""
    data = resources.files("viz_diffusion").joinpath("assets", "fonts", "vizdiff-sans.ttf").read_bytes()
    return ImageFont.truetype(BytesIO(data), max(1, size))


def _grey(colour: str) -> int:
    """Return a colour of the palette as a grey of the same luma (ITU-R BT.601)."""
    red, green, blue = (int(colour[k : k + 2], 16) for k in (1, 3, 5))
    return round(0.299 * red + 0.587 * green + 0.114 * blue)
