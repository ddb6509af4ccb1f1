"""Formulas as MathML, which browsers draw themselves: no script, no font, nothing to download."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.writers.html5 import HTML5Translator

MATHML = "http://www.w3.org/1998/Math/MathML"
ACCENTS = "ˆˉ˜"


def convert(node: nodes.math | nodes.math_block, as_block: bool) -> str:
    """Return a formula as MathML; stop the build where it cannot be converted."""
    try:
        return with_subscripts(tex2mathml(node.astext(), as_block=as_block))
    except MathError as error:
        raise ExtensionError(f"the formula {node.astext()!r} cannot be converted to MathML: {error}") from error


def with_subscripts(formula: str) -> str:
    """Return MathML in which the index of a letter with an accent is a subscript; docutils puts it under the letter."""
    ElementTree.register_namespace("", MATHML)
    root = ElementTree.fromstring(formula)
    for stacked in root.iter(f"{{{MATHML}}}munderover"):
        letter, index, accent = stacked
        if (accent.text or "") in ACCENTS:
            stacked.tag = f"{{{MATHML}}}msub"
            marked = ElementTree.Element(f"{{{MATHML}}}mover")
            marked.extend([letter, accent])
            stacked[:] = [marked, index]
    for marked in root.iter(f"{{{MATHML}}}mover"):
        marked.attrib.pop("accent", None)  # without a font for formulas, the accent would touch its letter
    return ElementTree.tostring(root, encoding="unicode")


def visit_inline(translator: HTML5Translator, node: nodes.math) -> None:
    """Write a formula in running text."""
    translator.body.append(convert(node, as_block=False))
    raise nodes.SkipNode


def visit_block(translator: HTML5Translator, node: nodes.math_block) -> None:
    """Write a formula on a line of its own."""
    translator.body.append(f'<div class="math">{convert(node, as_block=True)}</div>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the renderer."""
    app.add_html_math_renderer("mathml", inline_renderers=(visit_inline, None), block_renderers=(visit_block, None))
    app.config.html_math_renderer = "mathml"
    return {"parallel_read_safe": True, "parallel_write_safe": True}
