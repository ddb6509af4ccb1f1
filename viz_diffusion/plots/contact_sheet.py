"""A plain sheet of many small images, pixel for pixel.

Knows nothing about labels or what the images are.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SCALE = 4
GAP = 1


def contact_sheet(pixels: NDArray[np.uint8]) -> Image.Image:
    """Return a grey image of (N, H, W) bytes in rows of ten (as near to square as that allows beyond 100).

    Each pixel becomes 4 x 4, with a gap of one image pixel in mid-grey between images.
    """
    count, height, width = pixels.shape
    columns = min(count, max(10, math.ceil(math.sqrt(count))))
    rows = math.ceil(count / columns)
    sheet = np.full((rows * (height + GAP) + GAP, columns * (width + GAP) + GAP), 128, np.uint8)
    for index, image in enumerate(pixels):
        row, column = divmod(index, columns)
        top, left = GAP + row * (height + GAP), GAP + column * (width + GAP)
        sheet[top : top + height, left : left + width] = image
    return Image.fromarray(np.kron(sheet, np.ones((SCALE, SCALE), np.uint8)))
