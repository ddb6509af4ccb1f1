"""Deterministic PNG, SVG and PDF files of figures, independent of the user's matplotlib settings."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.files import atomic_write
from viz_diffusion.plots.theme import DPI, TITLE, use_theme

_WITH_TITLES: ContextVar[bool] = ContextVar("with_titles", default=True)


@contextmanager
def titles_left_out() -> Iterator[None]:
    """Leave the titles out of all figures that are written to files within the block."""
    token = _WITH_TITLES.set(False)
    try:
        yield
    finally:
        _WITH_TITLES.reset(token)


@contextmanager
def untitled(figure: Figure) -> Iterator[None]:
    """Hide a figure's title within the block."""
    titles = [text for text in figure.texts if text.get_gid() == TITLE and text.get_visible()]
    for title in titles:
        title.set_visible(False)
    try:
        yield
    finally:
        for title in titles:
            title.set_visible(True)


def written_bytes(figure: Figure, format: str, **options: Any) -> bytes:
    """Return the bytes of a file to write: :func:`figure_bytes`, without the title in :func:`titles_left_out`."""
    with nullcontext() if _WITH_TITLES.get() else untitled(figure):
        return figure_bytes(figure, format, **options)


def figure_bytes(
    figure: Figure, format: str, *, description: str = "", dpi: float = DPI, transparent: bool = False
) -> bytes:
    """Return a figure as the bytes of a file: the same bytes every time.

    Parameters
    ----------
    figure
        The figure.
    format
        ``png`` (3200x1800), ``svg`` or ``pdf`` (one page, its fonts embedded).
    description
        Stored inside the file.
    dpi
        Pixels per inch of a PNG; the page is 13.33 inches wide.
    transparent
        Whether the page background is transparent.

    Raises
    ------
    VizdiffUsageError
        Where ``format`` is none of them.
    """
    metadata: dict[str, str | None]
    options: dict[str, Any] = {}
    if format == "png":
        options = {"pil_kwargs": {"compress_level": 3}}  # half the time of 6, for files at most a tenth larger
        metadata = {"Software": None, **({"Description": description} if description else {})}
    elif format == "svg":
        metadata = {"Date": None, "Creator": None, **({"Description": description} if description else {})}
    elif format == "pdf":
        metadata = {"CreationDate": None, "Creator": "viz_diffusion", "Producer": None, "Subject": description or None}
    else:
        raise VizdiffUsageError(f"picture format {format!r} is unknown; choose png, svg or pdf")
    buffer = io.BytesIO()
    with use_theme():
        figure.savefig(buffer, format=format, dpi=dpi, metadata=metadata, transparent=transparent, **options)
    return buffer.getvalue()


def figure_pixels(figure: Figure) -> NDArray[np.uint8]:
    """Return a figure's pixels, (1800, 3200, 3) uint8, as its PNG would hold them."""
    before = figure.canvas
    canvas: Any = FigureCanvasAgg(figure)
    with use_theme():
        canvas.draw()
    pixels = np.array(canvas.buffer_rgba())[..., :3]  # a copy: the canvas reuses its buffer
    figure.set_canvas(before)  # else the figure would keep the 23 MB of that buffer
    return pixels


def save_figure(figure: Figure, path: Path, *, description: str = "") -> None:
    """Write a figure to ``path`` atomically; the suffix (.png, .svg, .pdf) selects the format.

    ``description`` is stored inside the file: PNG text, or the SVG's metadata. Within :func:`titles_left_out` the
    figure's title is left out.
    """
    data = written_bytes(figure, Path(path).suffix.lower().lstrip("."), description=description)
    with atomic_write(Path(path)) as handle:
        handle.write(data)
