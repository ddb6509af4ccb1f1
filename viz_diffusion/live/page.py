"""The live page: one HTML file without external files, in which the network runs.

Knows nothing about networks; it gets their data, and puts the scripts of ``templates`` around them.
"""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from viz_diffusion.files import to_json, write_bytes
from viz_diffusion.live.network_data import NetworkData
from viz_diffusion.text.catalogue import Texts

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
LAB_SCRIPTS: tuple[str, ...] = ()
"""What the reader sees and does; included after :data:`ENGINE_SCRIPTS`."""
LAB_STYLES: tuple[str, ...] = ()


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
    styles = [_inline(environment, name) for name in LAB_STYLES]
    scripts = [_inline(environment, name) for name in (*ENGINE_SCRIPTS, *LAB_SCRIPTS)]
    return environment.get_template("live.html.j2").render(
        text=texts,
        facts=data.facts,
        csp=policy(styles, scripts),
        styles=styles,
        scripts=scripts,
        data=_json_for_html(data.facts),
        kernels=_base64((LIVE_DIR / "kernels.wasm").read_bytes()),
        weights=_base64(data.weights),
        classifier="" if data.classifier is None else _base64(data.classifier),
    )


def write_page(data: NetworkData, texts: Texts, path: Path) -> None:
    """Render the page and write it to ``path`` atomically, as UTF-8."""
    write_bytes(path, render(data, texts).encode())


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


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _json_for_html(value: Any) -> Markup:
    """Return strict JSON without characters that could end its <script>, open a comment or break a line."""
    text = to_json(value)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)
