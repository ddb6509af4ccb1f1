"""HTML of a report page: one document with all styles, scripts and pictures inside.

Knows nothing about sampling or drawing; it gets finished arrays, pictures and texts.
"""

from __future__ import annotations

import base64
import hashlib
import re
import urllib.parse
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup

from viz_diffusion.diffusion.timesteps import SAMPLERS
from viz_diffusion.files import to_json, write_bytes
from viz_diffusion.plots import pixels
from viz_diffusion.plots.theme import NOISE_LIMIT
from viz_diffusion.report.line_chart import DrawnChart, draw_chart
from viz_diffusion.report.page import Page
from viz_diffusion.report.player import Player
from viz_diffusion.report.snr_chart import snr_curve
from viz_diffusion.report.terms import TermMarker
from viz_diffusion.text.catalogue import Texts, load_texts
from viz_diffusion.text.glossary import glossary
from viz_diffusion.text.math_html import formula, typeset

_SURROGATE = re.compile("[\ud800-\udfff]")


STYLES = ("symbols.css", "report.css", "player.css", "lecture.css", "pen.css", "print.css")
STILL_STYLES = ("symbols.css", "report.css", "player.css", "print.css")
"""Those of a page without scripts."""
HEAD_SCRIPT = "head.js"
SCRIPTS = ("player.js", "charts.js", "lab_link.js", "terms.js", "notes.js", "pen.js", "lecture.js", "page.js")
"""Template files included verbatim, in this order; later scripts use earlier ones."""
LECTURE_SCRIPTS = ("notes.js", "pen.js", "lecture.js")
"""Those of the lecturer mode, which shows the speaker notes."""
LAB_SCRIPTS = ("lab_link.js",)
"""Those of a page with a live lab beside it."""


def render(page: Page) -> str:
    """Return the page as one HTML document without external files."""
    texts = load_texts(page.lang).for_classes(page.class_names).for_space(page.space).for_prompts(page.prompts)
    if page.recording_only:
        texts = texts.preferring("alone")
    environment = _environment()
    terms, chapters = glossary(texts), page.shown_chapters
    left_out = (LECTURE_SCRIPTS if page.is_for_students else ()) + (() if page.lab else LAB_SCRIPTS)
    used = [name for name in SCRIPTS if name not in left_out]
    style = Markup("\n").join(_inline(environment, name) for name in STYLES)
    head_script, *scripts = (_inline(environment, name) for name in (HEAD_SCRIPT, *used))
    main = page.players[0]
    curve = snr_curve(main.alphas_cumprod, by_timestep=main.total != len(main.alphas_cumprod))
    runs = [(index, player, _png(player.finished)) for index, player in enumerate(page.players)]
    charts = {chapter.id: [draw_chart(chart) for chart in chapter.charts] for chapter in chapters}
    chart_data = [
        _chart_data(drawn, np.array_equal(chart.steps_left, main.left))
        for chapter in chapters
        for chart, drawn in zip(chapter.charts, charts[chapter.id], strict=True)
    ]
    html = environment.get_template("report.html.j2").render(
        page=page,
        text=texts,
        curve=curve,
        charts=charts,
        chapters=chapters,
        terms=terms,
        markers={chapter.id: TermMarker(terms) for chapter in chapters},
        titles={chapter.id: chapter.title for chapter in chapters},
        csp=_policy(style, head_script, *scripts),
        style=style,
        head_script=head_script,
        scripts=scripts,
        runs=sorted(runs, key=lambda run: run[1].digit or 0),
        compared=list(enumerate(page.comparisons, start=len(page.players))),
        icon=runs[0][2],
        grey_bar=_png(np.arange(255, -1, -1, dtype=np.uint8)[:, None]),
        noise_bar=_png(pixels.PUOR[::-1, None]),
        beyond=_beyond(main),
        data=_json_for_html(
            {
                "runs": [_run_data(player) for player in (*page.players, *page.comparisons)],
                "digits": len(page.players),
                "curve": asdict(curve.axes),
                "charts": chart_data,
                "lab": urllib.parse.quote(page.lab),
                "text": texts.section("interface.script"),
            }
        ),
    )
    return _SURROGATE.sub("�", html)


def write_report(page: Page, path: Path) -> None:
    """Render the page and write it to ``path`` atomically, as UTF-8."""
    write_bytes(path, render(page).encode())


def render_still(template: str, texts: Texts, **values: Any) -> str:
    """Return a page without scripts as one HTML document without external files; its template gets ``values``."""
    environment = _environment()
    style = Markup("\n").join(_inline(environment, name) for name in STILL_STYLES)
    return environment.get_template(template).render(text=texts, style=style, csp=_policy(style), **values)


def _environment() -> jinja2.Environment:
    """Return the environment of the templates."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("viz_diffusion.report", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["typeset"] = typeset
    environment.filters["formula"] = formula
    return environment


def _beyond(player: Player) -> dict[str, str]:
    """Return the shares of values that lie outside the scales of the player."""
    eps = player.eps_pred
    return {
        "first": f"{pixels.share_beyond(player.x_t[0], 1):.1%}",
        "all": f"{pixels.share_beyond(player.x_t, 1):.1%}",
        "eps": "–" if eps is None else f"{pixels.share_beyond(eps, NOISE_LIMIT):.2%}",
    }


def _inline(environment: jinja2.Environment, name: str) -> Markup:
    """Return the text of a template file, to be included verbatim in <style> or <script>."""
    assert environment.loader is not None
    return Markup(environment.loader.get_source(environment, name)[0])


def _policy(style: str, *scripts: str) -> str:
    """Return a content security policy that allows only this style, these scripts and ``data:`` pictures."""

    def source(text: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}'"

    allowed = f"script-src {' '.join(map(source, scripts))}; " if scripts else ""
    return f"default-src 'none'; img-src data:; style-src {source(style)}; {allowed}base-uri 'none'; form-action 'none'"


def _json_for_html(value: Any) -> Markup:
    """Return strict JSON without characters that could end its <script>, open a comment or break a line."""
    text = to_json(value)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def _png(picture: pixels.UInt8) -> str:
    return pixels.data_uri(pixels.encode(picture, "PNG"), "image/png")


def _run_data(player: Player) -> dict[str, Any]:
    """Return the data of one generation for the script; the frames of each field are one sprite sheet."""
    return {
        "digit": player.shown,
        "sampler": SAMPLERS.get(player.sampler, player.sampler),
        "guidance": f"{player.guidance_scale:g}",
        "total": player.total,
        "space": player.space,
        "note": player.note,
        "lab": player.lab_run,
        "height": player.x_t.shape[1],
        "width": player.x_t.shape[2],
        "left": [int(n) for n in player.left],
        "timesteps": [round(t, 2) for t in player.timesteps.tolist()],
        "share": [float(f"{share:.10g}") for share in player.shares],
        "sprites": {
            name: sprite and {"uri": sprite.uri, "columns": sprite.columns} for name, sprite in player.sheets.items()
        },
    }


def _chart_data(drawn: DrawnChart, linked: bool) -> dict[str, Any]:
    """Return the data of a chart for the script; no values if its steps are not those of the recording."""
    lines = [{"name": line.label.text, "values": line.values} for line in drawn.lines] if linked else None
    return {"axes": asdict(drawn.axes), "decimals": drawn.decimals, "lines": lines}
