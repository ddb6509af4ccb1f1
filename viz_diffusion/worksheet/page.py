"""The two files of a worksheet: the students' page and the teacher's.

The students' page is rendered from a :class:`~viz_diffusion.worksheet.tasks.Sheet` alone, so it cannot hold what a
sheet does not: no answer in its words, its addresses or its pictures. All its pictures have one size in bytes (PNG
without compression, without metadata), or their lengths would tell how much noise is in them.
"""

from __future__ import annotations

import base64
import hashlib
import io
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image

from viz_diffusion.files import write_bytes
from viz_diffusion.plots.pixels import data_uri, to_gray8
from viz_diffusion.text.catalogue import Texts
from viz_diffusion.text.math_html import symbol_style, typeset
from viz_diffusion.worksheet.tasks import Key, Sheet

ENLARGED = 4
"""Picture pixels for each of a digit's own, so that printers and viewers do not blur them."""


def picture_uri(image: NDArray[Any]) -> str:
    """Return a (H, W) digit, on the fixed grey scale and enlarged, as a PNG whose length tells nothing."""
    pixels = np.repeat(np.repeat(to_gray8(image), ENLARGED, axis=0), ENLARGED, axis=1)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=0)
    return data_uri(buffer.getvalue(), "image/png")


def render_sheet(sheet: Sheet, texts: Texts) -> str:
    """Return the students' page: one HTML document that needs nothing beside it."""
    return _render("worksheet.html.j2", texts, sheet=sheet)


def render_key(sheet: Sheet, key: Key, command: str, texts: Texts) -> str:
    """Return the teacher's page; ``command`` makes both again."""
    return _render("key.html.j2", texts, sheet=sheet, key=key, command=command)


def write_worksheet(sheet: Sheet, key: Key, command: str, texts: Texts, folder: Path) -> tuple[Path, Path]:
    """Write ``worksheet.html`` and ``key.html``, each whole or not at all; return their paths."""
    pages = {
        "worksheet.html": render_sheet(sheet, texts),
        "key.html": render_key(sheet, key, command, texts),
    }
    for name, html in pages.items():
        write_bytes(folder / name, html.encode())
    return folder / "worksheet.html", folder / "key.html"


def _render(template: str, texts: Texts, **values: Any) -> str:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("viz_diffusion.worksheet", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    assert environment.loader is not None
    environment.filters["typeset"] = typeset
    style = symbol_style() + environment.loader.get_source(environment, "worksheet.css")[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode("ascii")
    policy = f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    return environment.get_template(template).render(
        text=texts, uri=picture_uri, style=Markup(style), csp=policy, zip=zip, **values
    )
