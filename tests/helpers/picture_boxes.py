"""The images of a figure and their boxes on the page."""

from __future__ import annotations

from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.transforms import Bbox


def images(figure: Figure, colours: str | None = None, least: int = 0) -> list[AxesImage]:
    """Return the images of a figure in drawing sequence: of one colour map, more than ``least`` pixels high."""
    drawn = [image for axes in figure.axes for image in axes.images]
    return [image for image in drawn if colours in (None, image.get_cmap().name) and image.get_array().shape[0] > least]


def picture_boxes(figure: Figure, colours: str | None = None, least: int = 0) -> list[Bbox]:
    """Return the boxes of :func:`images` as shares of the page, y upwards."""
    boxes = []
    for image in images(figure, colours, least):
        extent = image.get_window_extent().transformed(figure.transFigure.inverted())
        boxes.append(Bbox([[extent.xmin, extent.ymin], [extent.xmax, extent.ymax]]))
    return boxes
