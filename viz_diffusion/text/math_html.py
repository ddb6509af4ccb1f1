"""Mathematical symbols in running text as HTML: italic variables, subscripts, and drawn hats, tildes and bars.

Many fonts misplace combining marks; so the mark stays in the text, for copying and for screen readers, and
``symbols.css`` draws the visible one.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from importlib import resources

from markupsafe import Markup, escape

_MARKS = {"\u0302": "hat", "\u0303": "tilde", "\u0304": "bar"}
_SUBSCRIPTS = {"₀": "0", "ₜ": "t", "_t": "t", "_T": "T"}
_COMPOSED = {unicodedata.normalize("NFC", marked): marked for marked in ("α\u0304", "s\u0302")}
_SYMBOL = re.compile(
    rf"""(?P<letter>[xεαβσvs])(?P<mark>[{"".join(_MARKS)}])(?P<sub>[₀ₜ])?   # x̂₀, ε̂, ᾱ, β̃
    | (?<!\w)(?P<indexed>[xL])(?P<index>[₀ₜ]|_[tT](?!\w))                   # x₀, x_t, L_T
    | (?P<bare>[εαβσ]|(?<![\w’'-])t(?![\w’'-])|(?<!\w)T(?=\ =))            # ε, t, T = 1000""",
    re.VERBOSE,
)
_UNBROKEN = re.compile(
    rf"√(?:\((?:[^()]|\([^()]*\))*\)|\w[{''.join(_MARKS)}]?)(?:·[xε][{''.join(_MARKS)}]?[₀ₜ]?)?"  # √ᾱ·x₀
    r"|(?<![\w’'-])[tT] = \w+"  # t = 259
)


def typeset(text: str) -> Markup:
    """Return plain text as HTML in which mathematical symbols are ``<var>`` elements; all else is escaped.

    Symbols are the letters x, v, s, ε, α, β and σ with a hat, a bar or a tilde, x and L with the subscripts 0, t and T
    (``x₀``, ``x_t``, ``L_T``), and single t and T. A square root and ``t = 259`` are kept on one line.
    """
    for composed, marked in _COMPOSED.items():
        text = text.replace(composed, marked)
    return _replace(text, _UNBROKEN, _unbroken, _symbols)


def _symbols(text: str) -> Markup:
    return _replace(text, _SYMBOL, _variable, escape)


def _replace(
    text: str,
    pattern: re.Pattern[str],
    convert_match: Callable[[re.Match[str]], Markup],
    convert_text: Callable[[str], Markup],
) -> Markup:
    """Return ``text`` as HTML: each match of ``pattern`` by ``convert_match``, the text between by ``convert_text``."""
    parts, end = [], 0
    for match in pattern.finditer(text):
        parts += [convert_text(text[end : match.start()]), convert_match(match)]
        end = match.end()
    return Markup("").join([*parts, convert_text(text[end:])])


def _unbroken(match: re.Match[str]) -> Markup:
    return Markup('<span class="whole">{}</span>').format(_symbols(match[0]))


def _variable(match: re.Match[str]) -> Markup:
    base: str | Markup = match["letter"] or match["indexed"] or match["bare"]
    if match["mark"]:
        marked = Markup('<span class="{}"><span>{}</span><span>{}</span></span>')
        base = marked.format(_MARKS[match["mark"]], base, match["mark"])
    index = match["sub"] or match["index"]
    subscript = Markup("<sub>{}</sub>").format(_SUBSCRIPTS[index]) if index else ""
    return Markup("<var>{}{}</var>").format(base, subscript)


def symbol_style() -> str:
    """Return the CSS that the HTML of :func:`typeset` needs."""
    return resources.files("viz_diffusion.report").joinpath("templates", "symbols.css").read_text(encoding="utf-8")
