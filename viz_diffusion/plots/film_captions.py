"""Caption strips of a film: steps left and t beneath a frame, and a text above each image of a frame.

Knows nothing about films; strips hold numbers and symbols only.
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
"""The strip's height as a share of the image's; rounded to an even number of pixels."""
_NUMBER, _INDEX, _HEAD = 0.92, 0.62, 0.68
"""Font sizes as shares of the strip's height: steps left, t, and the text above an image."""
_BASELINE = 0.84
"""The baseline of the numbers, as a share of the strip's height from its top."""


Head = tuple[str, bool]
"""The text above an image, and whether it is highlighted."""


def strip_height(image_height: int) -> int:
    """Return a strip's height for an image of ``image_height`` pixels: an even number of pixels, at least 2."""
    return max(2, 2 * round(image_height * _SHARE / 2))


def counter_strip(width: int, height: int, steps_left: int, timestep: int | None) -> NDArray[np.uint8]:
    """Return a (height, width) uint8 grey strip: the steps left at the left, ``t = …`` at the right, on white.

    Parameters
    ----------
    width, height
        Size in pixels.
    steps_left
        Denoising steps left, at least 0.
    timestep
        t; None for the finished image.
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
    """Return a (height, width) uint8 grey strip with a text above each of several images side by side, on white.

    Texts are centred, dark where highlighted and grey otherwise; the font shrinks where a text does not fit.
    """
    image = Image.new("L", (width, height), 255)
    pen = ImageDraw.Draw(image)
    edge, room = round(height / 6), width / len(heads)
    for index, (text, is_highlighted) in enumerate(heads):
        size = round(_HEAD * height)
        while size > 1 and _font(size).getlength(text) > room - 2 * edge:
            size -= 1
        colour = _grey(theme.INK if is_highlighted else theme.MUTED)
        pen.text(((index + 0.5) * room, height / 2), text, fill=colour, font=_font(size), anchor="mm")
    return np.asarray(image)


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    """Return the bundled DejaVu Sans, so that films are the same on every machine."""
    data = resources.files("viz_diffusion").joinpath("assets", "fonts", "vizdiff-sans.ttf").read_bytes()
    return ImageFont.truetype(BytesIO(data), max(1, size))


def _grey(colour: str) -> int:
    """Return a colour of the palette as a grey of the same luma (ITU-R BT.601)."""
    red, green, blue = (int(colour[k : k + 2], 16) for k in (1, 3, 5))
    return round(0.299 * red + 0.587 * green + 0.114 * blue)
