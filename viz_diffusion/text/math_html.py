"""Mathematical symbols in running text, as HTML: variables slanted, subscripts lowered, hats and bars drawn.

A combining mark is placed by the font, and many fonts place it badly; so the mark stays in the text, for copying and
for screen readers, but ``symbols.css`` draws what is seen.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from importlib import resources

from markupsafe import Markup, escape

_MARKS = {"\u0302": "hat", "\u0303": "tilde", "\u0304": "bar"}
_SUBSCRIPTS = {"₀": "0", "ₜ": "t", "_t": "t"}
_MACRON_ALPHA = unicodedata.normalize("NFC", "α\u0304")
_SYMBOL = re.compile(
    rf"""(?P<letter>[xεαβσ])(?P<mark>[{"".join(_MARKS)}])(?P<sub>[₀ₜ])?   # x̂₀, ε̂, ᾱ, β̃
    | (?<!\w)(?P<indexed>x)(?P<index>[₀ₜ]|_t(?!\w))                        # x₀, x_t
    | (?P<bare>[εαβσ]|(?<![\w’'-])t(?![\w’'-])|(?<!\w)T(?=\ =))            # ε, t, T = 1000""",
    re.VERBOSE,
)
_WHOLE = re.compile(
    rf"√(?:\((?:[^()]|\([^()]*\))*\)|\w[{''.join(_MARKS)}]?)(?:·[xε][{''.join(_MARKS)}]?[₀ₜ]?)?"  # √ᾱ·x₀
    r"|(?<![\w’'-])[tT] = \w+"  # t = 259
)


def typeset(text: str) -> Markup:
    """Return plain text as HTML in which the symbols of the papers are ``<var>``; all else is escaped.

    Known are the letters x, ε, α, β and σ with a hat, a bar or a tilde, the subscripts 0 and t (``x₀``, ``xₜ``,
    ``x_t``), and t and T where they stand alone. A root and ``t = 259`` are never broken at the end of a line.
    """
    return _replace(text.replace(_MACRON_ALPHA, "α\u0304"), _WHOLE, _whole, _symbols)


def _symbols(text: str) -> Markup:
    return _replace(text, _SYMBOL, _variable, escape)


def _replace(
    text: str,
    pattern: re.Pattern[str],
    found: Callable[[re.Match[str]], Markup],
    between: Callable[[str], Markup],
) -> Markup:
    """Return a text with each match of ``pattern`` written by ``found``, and what lies between by ``between``."""
    parts, end = [], 0
    for match in pattern.finditer(text):
        parts += [between(text[end : match.start()]), found(match)]
        end = match.end()
    return Markup("").join([*parts, between(text[end:])])


def _whole(found: re.Match[str]) -> Markup:
    return Markup('<span class="whole">{}</span>').format(_symbols(found[0]))


def _variable(found: re.Match[str]) -> Markup:
    base: str | Markup = found["letter"] or found["indexed"] or found["bare"]
    if found["mark"]:
        drawn = Markup('<span class="{}"><span>{}</span><span>{}</span></span>')
        base = drawn.format(_MARKS[found["mark"]], base, found["mark"])
    index = found["sub"] or found["index"]
    lowered = Markup("<sub>{}</sub>").format(_SUBSCRIPTS[index]) if index else ""
    return Markup("<var>{}{}</var>").format(base, lowered)


def symbol_style() -> str:
    """Return the style sheet that :func:`typeset` needs."""
    return resources.files("viz_diffusion.report").joinpath("templates", "symbols.css").read_text(encoding="utf-8")
