"""Mathematical symbols in running text as HTML: italic variables, subscripts, and drawn hats, tildes and bars.

Formulas on their own become MathML (:func:`formula`). In running text, many fonts misplace combining marks; so the
mark stays in the text, for copying and for screen readers, and ``symbols.css`` draws the visible one.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from importlib import resources

from markupsafe import Markup, escape

from viz_diffusion.errors import VizdiffUsageError

_MARKS = {"\u0302": "hat", "\u0303": "tilde", "\u0304": "bar"}
_SUBSCRIPTS = {"₀": "0", "ₜ": "t", "_t": "t", "_T": "T"}
_INDEX_SIGNS = {"₀": "0", "₁": "1", "₂": "2", "₋": "−", "ₜ": "t"}
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


def formula(text: str, block: bool = False) -> Markup:
    """Return a formula in plain text as MathML, which browsers draw themselves.

    Parameters
    ----------
    text
        Letters with a hat, a bar or a tilde and with subscripts (``xₜ₋₁``, ``x_t``), words (``log``), numbers, ``²``,
        ``′``, products (``·``), fractions (``a·b / (c + d)``, with spaces), roots (``√x``, ``√(a + b)``), parentheses,
        norms (``‖x‖``), sums, relations and arrows.
    block
        Whether fractions are as large as on a line of their own.

    Raises
    ------
    VizdiffUsageError
        Where the text is no formula.
    """
    style = Markup(' displaystyle="true"') if block else ""
    return Markup("<math{}>{}</math>").format(style, _FormulaReader(text).whole())


_TOKEN = re.compile(
    rf"""(?P<letter>[A-Za-z](?![A-Za-z])|[α-ω∂∅])(?P<mark>[{"".join(_MARKS)}])?(?P<index>_[tT]|[{"".join(_INDEX_SIGNS)}]+)?
    | (?P<word>[A-Za-z]{{2,}})
    | (?P<number>\d+(?:\.\d+)?|…)
    | (?P<power>[²′])
    | \s*(?P<operator>[=≈<←→+−±,|])\s*
    | (?P<fraction>\s+/\s+)
    | (?P<bracket>[()‖√·])
    | (?P<space>\s+)""",
    re.VERBOSE,
)
_ACCENTS = {"hat": "ˆ", "tilde": "˜", "bar": "¯"}


class _FormulaReader:
    """Reads a formula from left to right: a sequence of operators and quotients of products of factors."""

    def __init__(self, text: str) -> None:
        for composed, marked in _COMPOSED.items():
            text = text.replace(composed, marked)
        self._text = text
        self._tokens: list[re.Match[str]] = []
        end = 0
        while end < len(text):
            token = _TOKEN.match(text, end)
            if token is None:
                raise self._unexpected(text[end:])
            self._tokens.append(token)
            end = token.end()

    def whole(self) -> Markup:
        """Return all of it as MathML."""
        found = self._sequence()
        if self._tokens:
            raise self._unexpected(self._tokens[0][0])
        return found

    def _unexpected(self, rest: str) -> VizdiffUsageError:
        return VizdiffUsageError(f"the formula {self._text!r} cannot be read from {rest!r} on")

    def _next(self, *wanted: str) -> bool:
        return bool(self._tokens) and (self._tokens[0].lastgroup in wanted or self._tokens[0][0].strip() in wanted)

    def _take(self) -> re.Match[str]:
        if not self._tokens:
            raise self._unexpected("")
        return self._tokens.pop(0)

    def _sequence(self, closing: str = "") -> Markup:
        parts = []
        while self._tokens and not self._next(closing):
            if self._next(","):
                parts.append(Markup('<mo rspace="0.35em">{}</mo>').format(self._take()["operator"]))
            elif self._next("operator"):
                parts.append(Markup("<mo>{}</mo>").format(self._take()["operator"]))
            else:
                parts.append(self._quotient())
        return Markup("").join(parts)

    def _quotient(self) -> Markup:
        whole, bare = self._product()
        if not self._next("fraction"):
            return whole
        self._take()
        below = self._product()[1]
        return Markup("<mfrac><mrow>{}</mrow><mrow>{}</mrow></mfrac>").format(bare, below)

    def _product(self) -> tuple[Markup, Markup]:
        """Return a product, and the same without the parentheses around all of it."""
        group = self._next("(")
        whole, bare = self._factor()
        single = True
        while self._tokens and not self._next("operator", "fraction", ")", "‖"):
            single = False
            if self._next("·"):
                whole += Markup("<mo>{}</mo>").format(self._take()[0])
            elif self._next("space"):
                self._take()
                whole += Markup('<mspace width="0.25em"/>')
            whole += self._factor()[0]
        return whole, bare if single and group else whole

    def _factor(self) -> tuple[Markup, Markup]:
        """Return a letter, a word, a number, a root, or what brackets hold; and the same without its brackets."""
        token = self._take()
        kind = token.lastgroup
        if kind in ("letter", "mark", "index"):
            found = inner = _math_letter(token["letter"], token["mark"], token["index"])
        elif kind in ("word", "number"):
            found = inner = Markup("<{0}>{1}</{0}>").format("mi" if kind == "word" else "mn", token[0])
        elif token[0] == "√":
            found = inner = Markup("<msqrt>{}</msqrt>").format(self._factor()[1])
        elif token[0] in "(‖":
            closing = {"(": ")", "‖": "‖"}[token[0]]
            inner = self._sequence(closing)
            fence = Markup('<mo stretchy="false">{}</mo>')
            if self._take()[0] != closing:
                raise self._unexpected(token[0])
            found = Markup("<mrow>{}{}{}</mrow>").format(fence.format(token[0]), inner, fence.format(closing))
        else:
            raise self._unexpected(token[0])
        if self._next("power"):
            power = {"²": "<msup>{}<mn>2</mn></msup>", "′": "<mrow>{}<mo>′</mo></mrow>"}[self._take()[0]]
            found = inner = Markup(power).format(found)
        return found, inner


def _math_letter(letter: str, mark: str | None, index: str | None) -> Markup:
    upright = Markup(' mathvariant="normal"') if letter in "∂∅" else ""
    found = Markup("<mi{}>{}</mi>").format(upright, letter)
    if mark:
        found = Markup('<mover>{}<mo stretchy="false">{}</mo></mover>').format(found, _ACCENTS[_MARKS[mark]])
    if index:
        signs = (_INDEX_SIGNS.get(one, one) for one in index.removeprefix("_"))
        tags = (Markup("<{0}>{1}</{0}>").format(_index_tag(sign), sign) for sign in signs)
        found = Markup("<msub>{}<mrow>{}</mrow></msub>").format(found, Markup("").join(tags))
    return found


def _index_tag(sign: str) -> str:
    return "mn" if sign.isdigit() else "mi" if sign.isalpha() else "mo"
