"""Images without interpolation: each pixel is a block of a whole number of page pixels, on a fixed colour scale.

Knows nothing about what an image shows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.transforms import Affine2D

from viz_diffusion.errors import VizdiffInputError, VizdiffNonFiniteError
from viz_diffusion.plots.pixels import to_gray8
from viz_diffusion.plots.theme import (
    DIGIT_LIMIT,
    DIGIT_MAP,
    DPI,
    NOISE_LIMIT,
    NOISE_MAP,
    PAGE_HEIGHT,
    PAGE_WIDTH,
    SIGNED_MAP,
    Array,
    page_axes,
)

PICTURES = "pictures"
"""The gid of the axes that hold all placed images."""


def enlarge(image: Array, factor: int) -> Array:
    """Return a (H, W) or (H, W, C) image with each pixel repeated ``factor`` times along height and width."""
    return np.repeat(np.repeat(image, factor, axis=0), factor, axis=1)


class BlockImage(AxesImage):
    """An image whose pixels are blocks of a whole number of page pixels, at whole page pixels.

    At the page's own resolution its pixels are copied without resampling, which takes a tenth of the time.
    """

    def __init__(self, axes: Axes, image: Array, place: tuple[int, int, int], colours: str, limit: float) -> None:
        left, top, factor = place
        height, width = (factor * length for length in image.shape[:2])
        extent = (left, left + width, top + height, top)
        super().__init__(axes, cmap=colours, norm=Normalize(-limit, limit), interpolation="none", extent=extent)
        self._small, self._factor = image, factor
        self._corner = left, PAGE_HEIGHT - top - height
        self.set_data(enlarge(image, factor))

    def make_image(self, renderer: Any, magnification: float = 1.0, unsampled: bool = False) -> tuple[Any, ...]:
        """Return (H, W, 4) uint8 pixels, their offset (x, y) from the bottom left, and that offset as a transform."""
        if unsampled or magnification != 1 or renderer.dpi != DPI or not isinstance(renderer, RendererAgg):
            return super().make_image(renderer, magnification, unsampled)
        pixels = self.to_rgba(self._small, bytes=True)
        return enlarge(pixels, self._factor)[::-1], *self._corner, Affine2D().translate(*self._corner)


def _show(
    axes: Axes, image: Array, colours: str, limit: float, box: tuple[float, float, int] | None = None
) -> AxesImage:
    """Show a (H, W) image on a fixed scale, each pixel enlarged to a block of a whole number of page pixels.

    A colour image is (H, W, 3). The image fills ``axes``, or, with ``box`` (left, top, factor), is placed on the axes
    of :func:`page_axes` in page pixels.
    """
    if image.ndim != 2 and (image.ndim, image.shape[-1]) != (3, 3):
        raise VizdiffInputError(f"an image must have the shape (H, W) or (H, W, 3), found {image.shape}")
    if not np.all(np.isfinite(image)):
        raise VizdiffNonFiniteError("an image holds NaN or infinity; it cannot be drawn")
    axes.set_axis_off()
    if image.ndim == 3:
        image = to_gray8(image, limit)
    if box is not None:
        left, top, factor = box
        placed = BlockImage(axes, image, (round(left), round(top), factor), colours, limit)
        axes.add_image(placed)
        return placed
    factor = max(1, round(axes.get_position().width * PAGE_WIDTH / image.shape[1]))
    return axes.imshow(
        enlarge(image, factor),
        cmap=colours,
        vmin=-limit,
        vmax=limit,
        interpolation="none",
        aspect="auto",
        origin="upper",
    )


def show_signed(axes: Axes, image: Array, limit: float = 1.0, colours: str = SIGNED_MAP) -> AxesImage:
    """Show a signed (H, W) array in red (negative) and blue, or other ``colours``, fixed at -limit to limit."""
    return _show(axes, image, colours, limit)


def fitted(image: Array, room: int) -> tuple[Array, int]:
    """Return a (H, W) or (H, W, 3) image and the whole factor by which it is enlarged to fill at most ``room`` pixels.

    An image that is larger is reduced to ``room`` pixels along its longer side, each the mean of a block.
    """
    longest = max(image.shape[:2])
    if longest <= room:
        return image, room // longest
    for axis in (0, 1):
        length = image.shape[axis]
        starts = np.arange(max(1, length * room // longest)) * length // max(1, length * room // longest)
        counts = np.diff(np.append(starts, length)).reshape((-1, 1) if axis == 0 else (1, -1))
        sums = np.add.reduceat(image, starts, axis=axis, dtype=np.float64)
        image = sums / counts.reshape(counts.shape + (1,) * (image.ndim - 2))
    return image, 1


def fit_nearest(table: Array, height: int, width: int) -> Array:
    """Resample a (H, W) array to (height, width) by nearest neighbour."""
    rows = np.arange(height) * table.shape[0] // height
    columns = np.arange(width) * table.shape[1] // width
    return np.asarray(table[np.ix_(rows, columns)])


def place_digit(figure: Figure, left: float, top: float, factor: int, image: Array) -> AxesImage:
    """Place x_t or x̂_0 on the page, each pixel ``factor`` page pixels wide.

    Grey (H, W) or colour (H, W, 3), -1 black to 1 white; values beyond are clipped.
    """
    return _show(_picture_axes(figure), image, DIGIT_MAP, DIGIT_LIMIT, (left, top, factor))


def place_noise(figure: Figure, left: float, top: float, factor: int, image: Array) -> AxesImage:
    """Place ε or ε̂ (H, W) on the page, each pixel ``factor`` page pixels wide.

    Orange (negative) and purple, fixed at -3 to 3; values beyond are clipped.
    """
    return _show(_picture_axes(figure), image, NOISE_MAP, NOISE_LIMIT, (left, top, factor))


def place_signed(figure: Figure, left: float, top: float, factor: int, image: Array, limit: float) -> AxesImage:
    """Place a signed array on the page, each value ``factor`` page pixels wide; see :func:`show_signed`."""
    return _show(_picture_axes(figure), image, SIGNED_MAP, limit, (left, top, factor))


def _picture_axes(figure: Figure) -> Axes:
    """Return the axes that all placed images share: axes of their own would take most of the drawing time."""
    for axes in figure.axes:
        if axes.get_gid() == PICTURES:
            return axes
    axes = page_axes(figure)
    axes.set(gid=PICTURES, zorder=0)
    return axes
