"""A data set in words, for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from viz_diffusion.data import DataSet


def data_summary(data: DataSet) -> str:
    """Return one line: how many images, of which classes, size and colour."""
    names = data.class_names or tuple(map(str, range(10)))
    few = ", ".join(names[:6]) + ", …" * (len(names) > 6)
    colour = "RGB" if data.channels == 3 else "grey"
    held_out = len(data.test)
    classes = "1 class" if len(names) == 1 else f"{len(names)} classes"
    return (
        f"{data.kind}: {len(data.train):,} training and {held_out:,} held-out images of {classes} ({few}), "
        f"{data.image_size} x {data.image_size}, {colour}"
    )
