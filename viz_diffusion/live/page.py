"""The live page: one HTML file without external files, in which the network runs.

Knows nothing about networks; it gets their data, and puts the scripts of ``templates`` around them.
"""

from __future__ import annotations

import base64
import hashlib
import re
from contextlib import suppress
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import jinja2
from markupsafe import Markup

from viz_diffusion.files import write_bytes
from viz_diffusion.live.lab_context import json_for_html, lab_context
from viz_diffusion.live.network_data import NetworkData
from viz_diffusion.text.catalogue import Texts
from viz_diffusion.text.math_html import typeset

LIVE_DIR = Path(__file__).parent
ENGINE_SCRIPTS = (
    "weights.js",
    "kernels.js",
    "random.js",
    "network.js",
    "classifier.js",
    "sampler.js",
    "interventions.js",
    "branch.js",
    "state.js",
    "engine.js",
)
"""The network and its samplers; each begins with its interface. They share one scope, later ones use earlier ones."""
LAB_SCRIPTS = (
    "lab_words.js",
    "settings.js",
    "branches.js",
    "lab.js",
    "jobs.js",
    "pictures.js",
    "shapes.js",
    "brush.js",
    "film.js",
    "view.js",
    "many.js",
    "controls.js",
    "drawing_board.js",
    "branch_list.js",
    "many_view.js",
    "gif.js",
    "exchange.js",
    "tasks.js",
    "lab_lecture.js",
    "start.js",
)
"""What the reader sees and does; included after :data:`ENGINE_SCRIPTS`."""
REPORT_STYLES = ("symbols.css", "report.css", "pen.css")
REPORT_SCRIPTS = ("pen.js",)
"""What all pages share, included before :data:`LAB_STYLES` and :data:`LAB_SCRIPTS`; files of the report."""
LAB_STYLES = ("lab.css", "lab_lecture.css")
HEAD_BYTES = 1 << 20
"""The language and the facts of a page lie within its first bytes, before the weights."""


@dataclass(frozen=True)
class PageFacts:
    """What a page says of itself."""

    language: str
    """Its language tag, such as ``en``."""
    weights_sha256: str
    """Of the weights that it runs."""


def render(data: NetworkData, texts: Texts) -> str:
    """Return the page as one HTML document.

    Its policy allows only these scripts and styles, by their SHA-256, and WebAssembly; no request leaves it.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("viz_diffusion.live", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    styles = [*map(_of_report, REPORT_STYLES), *(_inline(environment, name) for name in LAB_STYLES)]
    scripts = [_inline(environment, name) for name in ENGINE_SCRIPTS]
    scripts += [*map(_of_report, REPORT_SCRIPTS), *(_inline(environment, name) for name in LAB_SCRIPTS)]
    environment.filters["typeset"] = typeset
    return environment.get_template("live.html.j2").render(
        text=texts,
        facts=data.facts,
        **lab_context(data.facts, texts),
        csp=policy(styles, scripts),
        styles=styles,
        scripts=scripts,
        data=json_for_html(data.facts),
        kernels=_base64((LIVE_DIR / "kernels.wasm").read_bytes()),
        weights=_base64(data.weights),
        classifier="" if data.classifier is None else _base64(data.classifier),
    )


def write_page(data: NetworkData, texts: Texts, path: Path) -> None:
    """Render the page and write it to ``path`` atomically, as UTF-8."""
    write_bytes(path, render(data, texts).encode())


def page_facts(path: Path) -> PageFacts | None:
    """Return what a file says of itself; None where it is no live page, or cannot be read."""
    head = ""
    with suppress(OSError), path.open("rb") as handle:
        head = handle.read(HEAD_BYTES).decode("utf-8", "replace")
    language = re.search(r'<html lang="([\w-]+)"', head)
    weights = re.search(r'id="live-data">.*?"weights_sha256": "([0-9a-f]{64})"', head)
    return PageFacts(language[1], weights[1]) if language and weights else None


def policy(styles: list[Markup], scripts: list[Markup]) -> str:
    """Return a content security policy that allows only these styles and scripts, WebAssembly and own pictures."""

    def sources(texts: list[Markup]) -> str:
        digests = (hashlib.sha256(text.encode()).digest() for text in texts)
        return " ".join(f"'sha256-{base64.b64encode(digest).decode('ascii')}'" for digest in digests) or "'none'"

    return (
        f"default-src 'none'; img-src data: blob:; style-src {sources(styles)}; "
        f"script-src {sources(scripts)} 'wasm-unsafe-eval'; base-uri 'none'; form-action 'none'"
    )


def _inline(environment: jinja2.Environment, name: str) -> Markup:
    """Return the text of a template file, to be included verbatim in <style> or <script>."""
    assert environment.loader is not None
    return Markup(environment.loader.get_source(environment, name)[0])


def _of_report(name: str) -> Markup:
    """Return the text of a template file of the report."""
    return Markup(resources.files("viz_diffusion.report").joinpath("templates", name).read_text(encoding="utf-8"))


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
