"""A data set in words, for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from viz_diffusion.cli.console import Terminal

if TYPE_CHECKING:
    from viz_diffusion.data import DataSet


def data_summary(data: DataSet, terminal: Terminal) -> str:
    """Return one line: how many images, of which classes, size and colour."""
    names = data.class_names or tuple(map(str, range(10)))
    few = ", ".join(names[:6]) + ", …" * (len(names) > 6)
    return terminal.text(
        f"data_{data.kind.replace(' ', '_').lower()}",
        train=len(data.train),
        heldout=len(data.test),
        classes=terminal.text("one_class" if len(names) == 1 else "classes", count=len(names)),
        names=few,
        size=data.image_size,
        colour=terminal.text("colour" if data.channels == 3 else "grey"),
    )
