"""Figures as SVGs of a page: both colour schemes, images unchanged, words in the language in use."""

from __future__ import annotations

import base64
import io
import re
from urllib.parse import unquote
from xml.etree.ElementTree import fromstring

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from viz_diffusion.errors import VizdiffInputError
from viz_diffusion.plots import raster, theme
from viz_diffusion.plots.page_svg import page_svg
from viz_diffusion.plots.pixels import svg_uri
from viz_diffusion.plots.saving import figure_bytes
from viz_diffusion.plots.words import figure_words, use_texts
from viz_diffusion.text.catalogue import Texts, load_texts

PICTURE = np.linspace(-1, 1, 28 * 28).reshape(28, 28)


def drawn(text: str = "timestep") -> Figure:
    with theme.use_theme():
        figure = theme.new_figure("A title")
        theme.write(figure, 300, 300, text, color=theme.ON_DARK)
        raster.place_digit(figure, 400, 400, 4, PICTURE)
        theme.gauge(theme.page_axes(figure), 100, 900, 500, 0.4, colour="#123456")
    return figure


def luminance(colour: str) -> float:
    """WCAG 2.2, relative luminance."""
    shares = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    linear = np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_colours_of_the_theme_follow_the_page_and_others_stay() -> None:
    svg = page_svg(drawn()).decode()
    for light, dark in theme.DARK.items():
        name = re.search(rf"(--c\d+):{light}", svg)
        assert name is not None
        assert f"{name[1]}:{dark}" in svg
    body = svg[svg.index("</style>") :]
    assert not any(f": {light}" in body for light in theme.DARK)
    assert "fill: #123456" in body  # no colour of the theme
    assert f"fill: {theme.ON_DARK}" in body  # text on an image


@pytest.mark.parametrize("dark", [False, True])
def test_text_can_be_read_on_both_pages(dark: bool) -> None:
    def shown(colour: str) -> str:
        return theme.DARK[colour] if dark else colour

    for colour in (theme.INK, theme.MUTED, theme.PURPLE):
        assert contrast(shown(colour), shown(theme.PAPER)) >= 4.5
    for colour in (theme.ORANGE, *theme.QUARTERS[:3]):  # lines and large type
        assert contrast(shown(colour), shown(theme.PAPER)) >= 2.5
    assert contrast(theme.ON_DARK, theme.ON_LIGHT) > 15
    assert contrast("#777777", "#888888") < 1.5  # the measure itself


def test_images_keep_their_pixels() -> None:
    plain, page = figure_bytes(drawn(), "svg").decode(), page_svg(drawn()).decode()
    (png,), (webp,) = (
        re.findall(rf"data:image/{kind};base64,\s*([A-Za-z0-9+/=\s]+)", svg)
        for kind, svg in (("png", plain), ("webp", page))
    )
    images = [np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")) for data in (png, webp)]
    assert images[0].shape == (112, 112, 3)
    assert np.array_equal(*images)
    assert np.abs(images[1][::4, ::4, 0].astype(float) - (PICTURE + 1) * 127.5).max() < 2


def test_an_address_of_a_page_gives_the_same_drawing_back() -> None:
    svg = page_svg(drawn("a “b” 'c' & <d> # 100%"))
    address = svg_uri(svg)
    assert address.startswith("data:image/svg+xml,")
    assert set('"<>&#\n').isdisjoint(address)
    assert len(address) < 1.2 * len(svg)
    read, kept = (fromstring(text) for text in (unquote(address.removeprefix("data:image/svg+xml,")), svg.decode()))
    parts = zip(read.iter(), kept.iter(), strict=True)
    assert all((one.tag, one.attrib) == (other.tag, other.attrib) for one, other in parts)


@pytest.mark.parametrize(
    "text",
    [
        "--><script>alert(1)</script>",
        "fill: #1d1a26",
        'data:image/png;base64,AAAA"',
        "]]> & --",
        "'\"><img src=x>",
    ],
)
def test_no_text_of_a_user_stands_in_the_file(text: str) -> None:
    plain, svg = figure_bytes(drawn(text), "svg").decode(), page_svg(drawn(text)).decode()
    assert "<!--" in plain
    assert "<!--" not in svg
    fromstring(svg)
    fromstring(unquote(svg_uri(svg.encode()).removeprefix("data:image/svg+xml,")))


def test_the_same_figure_is_the_same_file() -> None:
    assert page_svg(drawn()) == page_svg(drawn()) != page_svg(drawn("step"))


def test_words_are_those_of_the_language_in_use() -> None:
    assert figure_words("snr")("timestep") == "timestep t"
    with use_texts(load_texts("zh")):
        assert figure_words("snr")("timestep") == "时间步 t"
    assert figure_words("snr")("timestep") == "timestep t"


def test_words_of_a_figure_come_before_common_ones_and_missing_ones_are_named() -> None:
    texts = Texts("en", {"figure.common.a": "common", "figure.b.a": "own {x}", "figure.b.low": "from -{x}"})
    with use_texts(texts):
        assert (figure_words("b")("a", x=3), figure_words("c")("a")) == ("own 3", "common")
        assert figure_words("b")("low", x=3) == "from −3"
        with pytest.raises(VizdiffInputError, match=r"figure\.common\.nothing"):
            figure_words("b")("nothing")


def test_chinese_has_its_glyphs(recwarn: pytest.WarningsRecorder) -> None:
    page_svg(drawn("时间步 t，预测的 x̂₀"))
    assert [str(one.message) for one in recwarn] == []
    page_svg(drawn("고양이"))
    assert any("missing from font" in str(one.message) for one in recwarn)
