"""HTML fragments that stand alone, for notebooks: pixel-sharp pictures with labels, and folded facts.

Knows nothing about recordings or runs. Everything that is written is escaped, and Pillow is loaded when the first
picture is made. Colours of text and ground are the notebook's own, dark or light.
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
"""CSS pixels a picture is shown at, at least."""


def picture(image: NDArray[Any], alt: str) -> str:
    """Return a (C, H, W) image as an ``<img>``: -1 black, 1 white (as red, green and blue where C is 3).

    One PNG pixel is one pixel of the image; the browser enlarges it without blending. Of other numbers of channels
    the first is shown. An image that holds NaN or infinity gives an empty frame instead.
    """
    height, width = image.shape[1:]
    shown = max(1, round(SHOWN_WIDTH / max(width, 1)))
    size = f"width:{width * shown}px;height:{height * shown}px"
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
    """Return a row of pictures: ``cells`` are (label beneath, HTML of :func:`picture`)."""
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
    """Return (name, value) pairs as a table, folded under ``summary``."""
    rows = "".join(
        f'<tr><th scope="row" style="text-align:left">{escape(name)}</th>'
        f'<td style="text-align:left;overflow-wrap:anywhere">{escape(value)}</td></tr>'
        for name, value in pairs
    )
    return f"<details><summary>{escape(summary)}</summary><table>{rows}</table></details>"


def whole(title: str, note: str, *parts: str) -> str:
    """Return the fragment: a title in bold, a note, and the parts beneath."""
    return f"<div><div><b>{escape(title)}</b> {escape(note)}</div>{''.join(parts)}</div>"
