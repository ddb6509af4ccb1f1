"""A figure as the SVG of a web page: it takes the page's light or dark colours by itself.

Its colours are those of :mod:`viz_diffusion.plots.theme`; a dark page gets their counterparts, through a style sheet
inside the file that follows ``color-scheme``. Images inside the figure (digits, heat maps) keep their colours, and
become lossless WebPs, a third as large.
"""

from __future__ import annotations

import base64
import io
import re

from matplotlib.figure import Figure
from PIL import Image

from viz_diffusion.plots import theme
from viz_diffusion.plots.pixels import data_uri
from viz_diffusion.plots.saving import figure_bytes

_NAMES = {light: f"--c{index}" for index, light in enumerate(theme.DARK)}
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
"""What matplotlib writes of each text beside its outlines: without it, no name of a class stands in the file."""
_COLOUR = re.compile(r"(?P<property>fill|stroke): (?P<colour>#[0-9a-f]{6})\b")
_IMAGE = re.compile(r"data:image/png;base64,\s*([A-Za-z0-9+/=\s]+)")
_PATH = re.compile(r'(?<= d=")[^"]*')
_FINER = re.compile(r"(\.\d\d)\d+")
"""What a coordinate has beyond hundredths of a point: a thirtieth of a pixel of the page."""
_HEAD = re.compile(r"<style type=\"text/css\">")


def page_svg(figure: Figure) -> bytes:
    """Return a figure as an SVG with both colour schemes: the same bytes every time."""
    drawn = _COMMENT.sub("", figure_bytes(figure, "svg").decode("utf-8"))
    coloured = _COLOUR.sub(lambda found: f"{found['property']}: {_variable(found['colour'])}", drawn)
    rounded = _PATH.sub(lambda found: _FINER.sub(r"\1", found[0]), coloured)
    small = _IMAGE.sub(lambda found: _webp(base64.b64decode(found[1])), rounded)
    return _HEAD.sub(lambda found: found[0] + _schemes(), small, count=1).encode("utf-8")


def _webp(png: bytes) -> str:
    """Return a PNG's pixels as the address of a lossless WebP."""
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(png)) as image:
        opaque = "A" not in image.getbands() or image.getchannel("A").getextrema() == (255, 255)
        pixels = image.convert("RGB" if opaque else "RGBA")
        pixels.save(buffer, "WEBP", lossless=True, exact=True, method=3, quality=80)
    return data_uri(buffer.getvalue(), "image/webp")


def _variable(colour: str) -> str:
    return f"var({_NAMES[colour]})" if colour in _NAMES else colour


def _schemes() -> str:
    light = ";".join(f"{name}:{colour}" for colour, name in _NAMES.items())
    dark = ";".join(f"{name}:{theme.DARK[colour]}" for colour, name in _NAMES.items())
    return f":root{{{light}}}@media (prefers-color-scheme:dark){{:root{{{dark}}}}}"
