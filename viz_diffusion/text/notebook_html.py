"""Self-contained HTML fragments for notebooks: images without interpolation, and collapsible tables.

Knows nothing about recordings or runs. All text is escaped; Pillow is imported with the first image; text and
background have the notebook's own colours.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

SHOWN_WIDTH = 96
"""The intended width of an image in CSS pixels; rounded to a whole multiple of its own width."""


def picture(image: NDArray[Any], alt: str) -> str:
    """Return a (C, H, W) image as an ``<img>``: -1 black, 1 white; red, green and blue where C is 3.

    The PNG has the image's own size; the browser enlarges it without interpolation. With another number of channels
    the first is shown. An image with NaN or infinity gives an empty frame.
    """
    height, width = image.shape[1:]
    factor = max(1, round(SHOWN_WIDTH / max(width, 1)))
    size = f"width:{width * factor}px;height:{height * factor}px"
    if not image.size or not np.isfinite(image).all():
        return (
            f'<span role="img" aria-label="{escape(alt)}" style="display:inline-block;border:1px dashed;{size}"></span>'
        )
    from PIL import Image

    pixels = np.round((np.clip(image.astype(np.float64), -1, 1) + 1) * 127.5).astype(np.uint8)
    buffer = BytesIO()
    Image.fromarray(pixels.transpose(1, 2, 0) if len(pixels) == 3 else pixels[0]).save(buffer, "PNG")
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    style = f"display:block;max-width:none;margin:0;image-rendering:pixelated;{size}"
    return f'<img src="data:image/png;base64,{data}" alt="{escape(alt)}" style="{style}">'


def strip(name: str, cells: Iterable[tuple[str, str]]) -> str:
    """Return a row of images named ``name``: ``cells`` are (label beneath, HTML of :func:`picture`)."""
    figures = "".join(
        f'<figure style="margin:0">{html}<figcaption style="font-size:smaller;text-align:center">{escape(label)}'
        "</figcaption></figure>"
        for label, html in cells
    )
    return (
        f'<div style="margin:0.4em 0"><div style="font-size:smaller">{escape(name)}</div>'
        f'<div style="display:flex;flex-wrap:wrap;gap:6px">{figures}</div></div>'
    )


def facts(summary: str, pairs: Sequence[tuple[str, str]]) -> str:
    """Return (name, value) pairs as a table in a ``<details>`` element with ``summary``."""
    rows = "".join(
        f'<tr><th scope="row" style="text-align:left">{escape(name)}</th>'
        f'<td style="text-align:left;overflow-wrap:anywhere">{escape(value)}</td></tr>'
        for name, value in pairs
    )
    return f"<details><summary>{escape(summary)}</summary><table>{rows}</table></details>"


def whole(title: str, note: str, *parts: str) -> str:
    """Return a complete fragment: a title in bold, a note, and the HTML ``parts`` beneath."""
    return f"<div><div><b>{escape(title)}</b> {escape(note)}</div>{''.join(parts)}</div>"
