"""HTML pages of a worksheet: the students' exercises and the teacher's answers.

The students' page is rendered from a :class:`~viz_diffusion.worksheet.tasks.Worksheet` only, which holds no answer, so
neither the page's text nor its attributes nor its pictures can hold one. All pictures have the same size in bytes (PNG
without compression or metadata): a compressed picture would be longer the more noise it contains.
"""

from __future__ import annotations

import base64
import hashlib
import io
import urllib.parse
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
from viz_diffusion.worksheet.tasks import AnswerKey, Worksheet

ENLARGED = 4
"""Picture pixels along each side of one image pixel, so that printers and viewers do not blur the image."""

LIVE_TASKS = {"guess": "decide", "pixel": "guess"}
"""From an exercise to the live lab's task on the same question."""


def picture_uri(image: NDArray[Any]) -> str:
    """Return a (H, W[, 3]) image, enlarged, on the fixed scale, as a ``data:`` PNG whose length never varies."""
    pixels = np.repeat(np.repeat(to_gray8(image), ENLARGED, axis=0), ENLARGED, axis=1)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=0)
    return data_uri(buffer.getvalue(), "image/png")


def render_worksheet(sheet: Worksheet, texts: Texts, warning: str = "", lab: str | None = None) -> str:
    """Return the students' page: one HTML document without external files.

    Parameters
    ----------
    warning
        Stands below the heading.
    lab
        The live lab's file, from the page's folder; empty where its tasks are named without a link, None where they
        are not about these weights.
    """
    tasks = {} if lab is None else LIVE_TASKS
    address = urllib.parse.quote(lab or "")
    return _render("worksheet.html.j2", texts, sheet=sheet, warning=warning, tasks=tasks, lab=address)


def render_answer_key(sheet: Worksheet, key: AnswerKey, command: str, texts: Texts, warning: str = "") -> str:
    """Return the teacher's page; ``command`` is the command line that makes both pages again."""
    return _render("key.html.j2", texts, sheet=sheet, key=key, command=command, warning=warning)


def write_worksheet(
    sheet: Worksheet,
    key: AnswerKey,
    command: str,
    texts: Texts,
    folder: Path,
    warning: str = "",
    lab: str | None = None,
) -> tuple[Path, Path]:
    """Write ``worksheet.html`` and ``key.html``, each atomically; return their paths.

    ``warning`` and ``lab`` are as of :func:`render_worksheet`.
    """
    pages = {
        "worksheet.html": render_worksheet(sheet, texts, warning, lab),
        "key.html": render_answer_key(sheet, key, command, texts, warning),
    }
    for name, html in pages.items():
        write_bytes(folder / name, html.encode())
    return folder / "worksheet.html", folder / "key.html"


def _names(texts: Texts) -> str:
    """Return the names of the classes as one text; empty for digits."""
    comma = texts["report.comma"]
    return comma.join(texts.label(label) for label in range(len(texts.class_names)))


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
        text=texts, class_names=_names(texts), uri=picture_uri, style=Markup(style), csp=policy, zip=zip, **values
    )
