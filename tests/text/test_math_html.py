"""Mathematical symbols in running text, as HTML."""

from __future__ import annotations

import re
import unicodedata

import pytest
from report_fakes import HOSTILE

from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.text.catalogue import languages, load_texts
from viz_diffusion.text.math_html import formula, symbol_style, typeset


def plain(html: str) -> str:
    """Return the text of an HTML fragment, without tags and escapes."""
    text = re.sub("<[^>]*>", "", html)
    for entity, character in (("&lt;", "<"), ("&gt;", ">"), ("&#34;", '"'), ("&#39;", "'"), ("&amp;", "&")):
        text = text.replace(entity, character)
    return text


def variable(letter: str, mark: str = "", sign: str = "", sub: str = "") -> str:
    base = f'<span class="{mark}"><span>{letter}</span><span>{sign}</span></span>' if mark else letter
    return f"<var>{base}{f'<sub>{sub}</sub>' if sub else ''}</var>"


X_T, X_0 = variable("x", sub="t"), variable("x", sub="0")
X0_PRED, EPS_PRED = variable("x", "hat", "\u0302", "0"), variable("ε", "hat", "\u0302")
ALPHA_BAR = variable("α", "bar", "\u0304")


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("the picture x_t, the guess x̂₀", f"the picture {X_T}, the guess {X0_PRED}"),
        ("画面 xₜ、噪声 ε̂（±3）", f"画面 {X_T}、噪声 {EPS_PRED}（±3）"),
        ("√ᾱ·x₀", f'<span class="whole">√{ALPHA_BAR}·{X_0}</span>'),
        ("√((1−ᾱ)/ᾱ) < 1", f'<span class="whole">√((1−{ALPHA_BAR})/{ALPHA_BAR})</span> &lt; 1'),
        (unicodedata.normalize("NFC", "ᾱ 13%"), f"{ALPHA_BAR} 13%"),
        (unicodedata.normalize("NFD", "ᾱ 13%"), f"{ALPHA_BAR} 13%"),
        ("(σ² = β̃)", f"({variable('σ')}² = {variable('β', 'tilde', chr(0x303))})"),
        ("T = 1000, at every t", f'<span class="whole">{variable("T")} = 1000</span>, at every {variable("t")}'),
        ("t-SNE isn’t part; don't sit at T, x, 3x_ty", "t-SNE isn’t part; don&#39;t sit at T, x, 3x_ty"),
    ],
)
def test_symbols_become_variables(text: str, html: str) -> None:
    assert typeset(text) == html


@pytest.mark.parametrize("lang", languages())
def test_typesetting_keeps_every_text_of_the_catalogues(lang: str) -> None:
    texts = load_texts(lang)
    changed = 0
    for key in texts:
        html = str(typeset(texts[key]))
        changed += "<var>" in html
        expected = re.sub(r"([xL])_([tT])(?!\w)", r"\1\2", unicodedata.normalize("NFD", texts[key]))
        typeset_text = unicodedata.normalize("NFD", plain(html))
        for subscript, letter in (("₀", "0"), ("ₜ", "t")):
            expected = expected.replace(subscript, letter)
            typeset_text = typeset_text.replace(subscript, letter)
        assert typeset_text == expected, key
    assert changed > 40


@pytest.mark.parametrize("words", HOSTILE)
def test_nothing_but_symbols_becomes_markup(words: str) -> None:
    html = str(typeset(f"{words} x_t {words}"))
    assert set(re.findall("<[^>]*>", html)) <= {"<var>", "</var>", "<sub>", "</sub>"}
    assert plain(html) == f"{words} xt {words}"


def test_the_style_draws_each_mark() -> None:
    for mark in ("hat", "bar", "tilde"):
        assert f".{mark}::before" in symbol_style()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x_t", "sub(i(x)row(i(t)))"),
        ("xₜ₋₁", "sub(i(x)row(i(t)o(−)n(1)))"),
        ("x̂₀", "sub(over(i(x)o(ˆ))row(n(0)))"),
        ("√ᾱₜ·x", "sqrt(sub(over(i(α)o(¯))row(i(t))))o(·)i(x)"),
        ("√(1−a)", "sqrt(n(1)o(−)i(a))"),
        ("a·b / (c + d)", "frac(row(i(a)o(·)i(b))row(i(c)o(+)i(d)))"),
        ("(a) / b·c + d", "frac(row(i(a))row(i(b)o(·)i(c)))o(+)i(d)"),
        ("(a)(b) / 2", "frac(row(row(o(()i(a)o()))row(o(()i(b)o())))row(n(2)))"),
        ("‖x‖²", "sup(row(o(‖)i(x)o(‖))n(2))"),
        ("log 2", "i(log)space()n(2)"),
        ("f(x, y)", "i(f)row(o(()i(x)o(,)i(y)o()))"),
        ("θ ← ∂L", "i(θ)o(←)i(∂)i(L)"),
        ("1 < 2.5", "n(1)o(&lt;)n(2.5)"),
        ("0, …, T−1", "n(0)o(,)n(…)o(,)i(T)o(−)n(1)"),
    ],
)
def test_a_formula_becomes_mathml(text: str, expected: str) -> None:
    html = re.sub(r"<m(\w+)[^>]*/>", r"\1()", str(formula(text)))
    calls = re.sub(r"<m(\w+)[^>]*>", r"\1(", html)
    assert re.sub(r"</m\w+>", ")", calls) == f"ath({expected})"


@pytest.mark.parametrize("text", ["(a", "a)", "a + √", "‖x", "a / ", "<script>", "a $ b", "x\\hat"])
def test_what_is_no_formula_is_refused(text: str) -> None:
    with pytest.raises(VizdiffUsageError, match=r"the formula .* cannot be read"):
        formula(text)


def test_a_formula_on_its_own_line_has_large_fractions() -> None:
    assert str(formula("a / b", block=True)).startswith('<math displaystyle="true">')
    assert str(formula("a / b")).startswith("<math>")
