"""Caption strips of a film: steps left and t beneath a frame, and a text above each image of a frame.

Knows nothing about films; the words are given.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib import resources
from io import BytesIO
from itertools import groupby

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from viz_diffusion.plots import theme

_SHARE = 1 / 8
"""The strip's height as a share of the image's; rounded to an even number of pixels."""
_NUMBER, _WORDS, _INDEX, _HEAD = 0.92, 0.56, 0.62, 0.68
"""Font sizes as shares of the strip's height: steps left, words beside it, t, and the text above an image."""
_BASELINE = 0.84
"""The baseline of the numbers, as a share of the strip's height from its top."""


Head = tuple[str, bool]
"""The text above an image, and whether it is highlighted."""


def strip_height(image_height: int) -> int:
    """Return a strip's height for an image of ``image_height`` pixels: an even number of pixels, at least 2."""
    return max(2, 2 * round(image_height * _SHARE / 2))


def counter_strip(
    width: int, height: int, steps_left: int, timestep: int | None, words: tuple[str, str] = ("", "")
) -> NDArray[np.uint8]:
    """Return a (height, width) uint8 grey strip: the steps left at the left, ``t = …`` at the right, on white.

    Parameters
    ----------
    width, height
        Size in pixels.
    steps_left
        Denoising steps left, at least 0.
    timestep
        t; None for the finished image.
    words
        What stands before and after the number of steps left, in smaller letters.

    All letters shrink where the strip is too narrow for them.
    """
    image = Image.new("L", (width, height), 255)
    pen = ImageDraw.Draw(image)
    edge, line, gap = round(height / 6), round(_BASELINE * height), height / 5
    parts = [(words[0], _WORDS), (str(steps_left), _NUMBER), (words[1], _WORDS)]
    right = "" if timestep is None else f"t = {timestep}"
    shrink = 1.0
    while True:
        sizes = [round(shrink * share * height) for _, share in parts]
        wide = sum(_length(text, size) + gap for (text, _), size in zip(parts, sizes, strict=True) if text)
        small = round(shrink * _INDEX * height)
        if shrink < 0.2 or wide + _length(right, small) + 2 * edge <= width:
            break
        shrink -= 0.04
    x = float(edge)
    for (text, _), size in zip(parts, sizes, strict=True):
        if text:
            x = _draw(pen, x, line, text, size, theme.INK, "ls") + gap
    _draw(pen, width - edge - _length(right, small), line, right, small, theme.MUTED, "ls")
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
        while size > 1 and _length(text, size) > room - 2 * edge:
            size -= 1
        left = (index + 0.5) * room - _length(text, size) / 2
        _draw(pen, left, height / 2, text, size, theme.INK if is_highlighted else theme.MUTED, "lm")
    return np.asarray(image)


def _draw(pen: ImageDraw.ImageDraw, x: float, y: float, text: str, size: int, colour: str, anchor: str) -> float:
    """Write a text from ``x`` to the right, Chinese letters in their own font; return where it ends."""
    for is_han, letters in groupby(text, _is_han):
        piece, font = "".join(letters), _font(size, is_han)
        pen.text((x, y), piece, fill=_grey(colour), font=font, anchor=anchor)
        x += font.getlength(piece)
    return x


def _length(text: str, size: int) -> float:
    """Return the width of a text in pixels."""
    return sum(_font(size, is_han).getlength("".join(letters)) for is_han, letters in groupby(text, _is_han))


def _is_han(letter: str) -> bool:
    return letter >= "\u2e80"


@cache
def _font(size: int, is_han: bool) -> ImageFont.FreeTypeFont:
    """Return one of the bundled fonts, so that films are the same on every machine."""
    name = "vizdiff-han.ttf" if is_han else "vizdiff-sans.ttf"
    data = resources.files("viz_diffusion").joinpath("assets", "fonts", name).read_bytes()
    return ImageFont.truetype(BytesIO(data), max(1, size))


def _grey(colour: str) -> int:
    """Return a colour of the palette as a grey of the same luma (ITU-R BT.601)."""
    red, green, blue = (int(colour[k : k + 2], 16) for k in (1, 3, 5))
    return round(0.299 * red + 0.587 * green + 0.114 * blue)
