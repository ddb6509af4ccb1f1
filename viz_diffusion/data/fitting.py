"""Images of any size and mode as bytes of one size, grey or RGB.

An image larger than the target is shrunk, a smaller one is not enlarged; both keep their proportions, and what is left
of the square is filled with the median colour of the image's own border.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from viz_diffusion.errors import VizdiffInputError

UInt8 = NDArray[np.uint8]
COLOURED = 8
"""Levels of 255: the channels of a coloured image differ by more; those of a grey one saved as JPEG by less."""


def read_image(path: Path) -> UInt8:
    """Return an image file as (H, W) or (H, W, 3) bytes, turned as its EXIF data say, transparent parts on white.

    Raises
    ------
    VizdiffInputError
        Where it cannot be read; the message names it.
    """
    try:
        if not path.stat().st_size:
            raise VizdiffInputError(f"{path}: the file is empty; remove it or save it again")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                image.load()
                return _bytes(ImageOps.exif_transpose(image), path)
    except VizdiffInputError:
        raise
    except Exception as error:  # a damaged file raises errors of many types in its decoder
        reason = " ".join(str(error).split()).replace(f"'{path}'", "").replace(str(path), "").strip()
        reason = reason or type(error).__name__
        raise VizdiffInputError(f"{path}: cannot be read as an image ({reason}); remove it or save it again") from error


def _bytes(image: Image.Image, path: Path) -> UInt8:
    if image.mode.startswith("I"):  # 16 bits of grey
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise VizdiffInputError(f"{path}: expected 8 or 16 bits a channel, found values up to {values.max():,}")
        return np.round(values / 257).astype(np.uint8)
    if image.mode == "F":
        raise VizdiffInputError(f"{path}: expected 8 or 16 bits a channel, found floating-point numbers")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    elif image.mode == "1":
        image = image.convert("L")
    elif image.mode != "L":
        image = image.convert("RGB")
    return np.asarray(image)


def is_coloured(image: UInt8) -> bool:
    """Return whether the channels of an image differ."""
    return image.ndim == 3 and bool((np.ptp(image, axis=2) > COLOURED).any())


def fit(image: UInt8, size: int, channels: int) -> UInt8:
    """Return (size, size) bytes for one channel, or (size, size, 3) for three, from an (H, W) or (H, W, 3) image."""
    picture = Image.fromarray(image).convert("RGB" if channels == 3 else "L")
    if max(picture.size) > size:
        scale = size / max(picture.size)
        width, height = (max(1, round(side * scale)) for side in picture.size)
        picture = picture.resize((width, height), Image.Resampling.BILINEAR)
    pixels = np.asarray(picture)
    height, width = pixels.shape[:2]
    if (height, width) == (size, size):
        return pixels
    square = np.empty((size, size, *pixels.shape[2:]), np.uint8)
    square[:] = border_colour(pixels)
    top, left = (size - height) // 2, (size - width) // 2
    square[top : top + height, left : left + width] = pixels
    return square


def border_colour(image: UInt8) -> UInt8:
    """Return the median over the outermost pixels of an (H, W) or (H, W, 3) image, each channel by itself."""
    border = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
    return np.median(border, axis=0).astype(np.uint8)


def choose_size(sides: NDArray[np.int64], sizes: tuple[int, ...]) -> int:
    """Return the smallest of ``sizes`` that holds every image, or the largest one.

    Parameters
    ----------
    sides
        (N, 2) int64: height and width of each image.
    """
    return next((size for size in sizes if sides.max() <= size), sizes[-1])


def fitting_note(sides: NDArray[np.int64], size: int) -> str | None:
    """Return how images of (N, 2) heights and widths were fitted into squares of ``size``; None where nothing was."""
    if (sides == size).all():
        return None
    smallest, largest = sides[sides.prod(axis=1).argmin()], sides[sides.prod(axis=1).argmax()]
    shown = "{} x {}".format(*smallest[::-1])
    if (sides != sides[0]).any():
        shown += " to {} x {}".format(*largest[::-1])
    done = []
    if (sides.max(axis=1) > size).any():
        done.append("larger ones were shrunk to fit, with their proportions")
    if (sides < size).any() or (sides[:, 0] != sides[:, 1]).any():
        done.append("the rest of the square was filled with the colour of each image's border")
    return f"images of {shown} pixels became {size} x {size}: {'; '.join(done)}"
