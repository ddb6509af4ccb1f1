"""A contact sheet: many small images in one grid.

Knows nothing about labels or what the images are.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SCALE = 4
"""Sheet pixels for each image pixel, along each side."""
GAP = 1
"""Image pixels between two images."""


def contact_sheet(pixels: NDArray[np.uint8]) -> Image.Image:
    """Return (N, H, W[, 3]) uint8 images as one image: rows of ten, or a nearly square grid beyond 100 images.

    Each pixel becomes a block of 4 x 4; gaps of one image pixel between images are mid-grey.
    """
    count, height, width = pixels.shape[:3]
    columns = min(count, max(10, math.ceil(math.sqrt(count))))
    rows = math.ceil(count / columns)
    sheet = np.full((rows * (height + GAP) + GAP, columns * (width + GAP) + GAP, *pixels.shape[3:]), 128, np.uint8)
    for index, image in enumerate(pixels):
        row, column = divmod(index, columns)
        top, left = GAP + row * (height + GAP), GAP + column * (width + GAP)
        sheet[top : top + height, left : left + width] = image
    return Image.fromarray(sheet.repeat(SCALE, axis=0).repeat(SCALE, axis=1))
