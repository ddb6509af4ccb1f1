"""Where the images of a figure stand."""

from __future__ import annotations

from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.transforms import Bbox


def images(figure: Figure, colours: str | None = None, least: int = 0) -> list[AxesImage]:
    """Return the images of a figure in the order they were placed in: of one colour map, higher than ``least``."""
    found = [image for axes in figure.axes for image in axes.images]
    return [image for image in found if colours in (None, image.get_cmap().name) and image.get_array().shape[0] > least]


def picture_boxes(figure: Figure, colours: str | None = None, least: int = 0) -> list[Bbox]:
    """Return the boxes of :func:`images` in shares of the page, y upwards."""
    boxes = []
    for image in images(figure, colours, least):
        found = image.get_window_extent().transformed(figure.transFigure.inverted())
        boxes.append(Bbox([[found.xmin, found.ymin], [found.xmax, found.ymax]]))
    return boxes
