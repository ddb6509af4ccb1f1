"""Rules for every figure (scales, font sizes, overlaps), and the primitives that place images on the page."""

from __future__ import annotations

import base64
import io
import itertools
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.text import Text
from picture_boxes import picture_boxes
from PIL import Image

from viz_diffusion.errors import VizdiffInputError, VizdiffIOError, VizdiffNonFiniteError, VizdiffUsageError
from viz_diffusion.plots import raster, saving, theme

SYMBOL_WORDS = {"SNR", "dB", "sin", "cos", "MLP", "PC", "SNE", "hat", "bar", "sqrt", "varepsilon", "alpha"}
SYMBOL_WORDS |= {"langle", "rangle"}
WITH_WORDS = (
    "model",
    "model_deep",
    "label_switch",
    "label_switch_never",
    "switch_pairs",
    "time_embedding",
    "loss",
    "loss_one_row",
    "loss_without_samples",
    "learning",
    "learning_frame",
)
"""Figures that hold words; the others hold symbols only."""


def texts(figure: Figure) -> list[Text]:
    return [text for text in figure.findobj(Text) if text.get_text().strip() and text.get_visible()]


def test_every_image_has_a_fixed_scale(any_figure: Figure) -> None:
    allowed = {"gray": {1.0}, "PuOr": {3.0}, "RdBu": {1.0, 2.8936, 3.0}}
    for axes in any_figure.axes:
        for image in axes.images:
            low, high = image.get_clim()
            assert low == -high
            assert high in allowed[image.get_cmap().name]
            assert image.get_interpolation() == "none"


def test_no_type_is_smaller_than_18_points(any_figure: Figure) -> None:
    sizes = {text.get_text(): text.get_fontsize() for text in texts(any_figure)}
    assert sizes
    assert {text: size for text, size in sizes.items() if size < 18} == {}
    subscripts = {text: size for text, size in sizes.items() if "_" in text or "^" in text}
    assert {text: size for text, size in subscripts.items() if 0.7 * size < 18} == {}


def test_texts_do_not_overlap_and_stay_on_the_page(any_figure: Figure) -> None:
    with theme.use_theme():
        renderer = FigureCanvasAgg(any_figure).get_renderer()
        any_figure.draw(renderer)
        boxes = [(text.get_text(), text.get_window_extent(renderer)) for text in texts(any_figure)]
    for name, box in boxes:
        assert box.x0 >= 0, name
        assert box.y0 >= 0, name
        assert box.x1 <= theme.PAGE_WIDTH, name
        assert box.y1 <= theme.PAGE_HEIGHT, name
    for (name, first), (other, second) in itertools.combinations(boxes, 2):
        across = min(first.x1, second.x1) - max(first.x0, second.x0)
        down = min(first.y1, second.y1) - max(first.y0, second.y0)
        assert min(across, down) <= 1, (name, other, across, down)


def test_texts_do_not_lie_on_images(any_figure: Figure) -> None:
    """Numbers of at most 1 are skipped, since the label matrix writes them into its cells."""
    with theme.use_theme():
        renderer = FigureCanvasAgg(any_figure).get_renderer()
        any_figure.draw(renderer)
        frames = [box.transformed(any_figure.transFigure) for box in picture_boxes(any_figure)]
        for text in texts(any_figure):
            box = text.get_window_extent(renderer).padded(-12)
            if text.get_text().lstrip("−").startswith(".") or text.get_text() in ("0", "1", "−1"):
                continue
            assert not any(box.overlaps(frame) for frame in frames), text.get_text()


def test_figures_hold_words_where_they_are_meant_to_and_else_symbols_and_numbers_only(
    any_figure: Figure, request: pytest.FixtureRequest
) -> None:
    said = " ".join(text.get_text() for text in texts(any_figure))
    letters = "".join(c if c.isascii() and c.isalpha() else " " for c in said)
    words = {word for word in letters.split() if len(word) > 1} - SYMBOL_WORDS
    assert bool(words) == (request.node.callspec.params["any_figure"] in WITH_WORDS), words


def test_png_is_3200x1800_and_the_same_every_time(drawn: Callable[[str], Figure], tmp_path: Path) -> None:
    figure = drawn("steps")
    saving.save_figure(figure, tmp_path / "one.png", description="ε̂ at t = 499")
    saving.save_figure(figure, tmp_path / "two.PNG", description="ε̂ at t = 499")
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.PNG").read_bytes()
    with Image.open(tmp_path / "one.png") as image:
        assert image.size == (3200, 1800)
        assert image.text == {"Description": "ε̂ at t = 499"}
    assert {path.name for path in tmp_path.iterdir()} == {"one.png", "two.PNG"}


@pytest.mark.parametrize("name", ["steps", "snr", "model"])
def test_drawing_and_saving_twice_gives_the_same_svg(name: str, draw: Callable[[str], Figure]) -> None:
    first, second = (saving.figure_bytes(draw(name), "svg", description="a & b <ε̂>") for _ in range(2))
    assert first == second
    root = ElementTree.fromstring(first)
    assert [float(n) for n in root.attrib["viewBox"].split()] == [0, 0, 960, 540]
    note = root.find(".//{http://purl.org/dc/elements/1.1/}description")
    assert note is not None
    assert note.text == "a & b <ε̂>"
    assert root.find(".//{http://www.w3.org/2000/svg}text") is None
    assert root.find(".//{http://purl.org/dc/elements/1.1/}date") is None


def test_svg_holds_the_enlarged_pixels(drawn: Callable[[str], Figure]) -> None:
    root = ElementTree.fromstring(saving.figure_bytes(drawn("steps_one"), "svg"))
    images = list(root.iter("{http://www.w3.org/2000/svg}image"))
    links = [image.attrib["{http://www.w3.org/1999/xlink}href"] for image in images]
    sizes = [Image.open(io.BytesIO(base64.b64decode(link.split(",")[1]))).size for link in links]
    assert sizes.count((336, 336)) == 2
    assert sizes.count((224, 224)) == 2


def test_an_image_reaches_the_png_pixel_by_pixel() -> None:
    values = np.random.default_rng(0).uniform(-1.5, 1.5, (28, 28))
    with theme.use_theme():
        figure = theme.new_figure()
        raster.place_digit(figure, 301, 205, 9, values)
    page = np.asarray(Image.open(io.BytesIO(saving.figure_bytes(figure, "png"))).convert("L")).astype(int)
    grey = np.clip((raster.enlarge(values, 9) + 1) / 2 * 256, 0, 255).astype(int)
    assert np.abs(page[205 : 205 + 252, 301 : 301 + 252] - grey).max() <= 1
    assert (page[204, 301:553] == 255).all()
    assert (page[205:457, 553] == 255).all()


@pytest.mark.parametrize("shape", [(28, 20), (28, 20, 3)])
def test_a_placed_image_is_painted_as_matplotlib_would_resample_it(shape: tuple[int, ...]) -> None:
    values = np.random.default_rng(1).uniform(-1.2, 1.2, shape)
    painted = []
    for resampled in (False, True):
        with theme.use_theme():
            figure = theme.new_figure()
            placed = raster.place_digit(figure, 300, 200, 7, values)
            if resampled:
                placed.make_image = lambda *args, image=placed: AxesImage.make_image(image, *args)  # type: ignore[method-assign]
        painted.append(saving.figure_pixels(figure).astype(int))
    assert np.abs(painted[0] - painted[1]).max() <= 1
    assert len(np.unique(painted[0])) > 100


def test_the_theme_restores_matplotlibs_settings() -> None:
    before = dict(mpl.rcParams)
    with theme.use_theme():
        assert mpl.rcParams["svg.fonttype"] == "path"
        assert mpl.rcParams["mathtext.fontset"] == "dejavusans"
    assert dict(mpl.rcParams) == before


def test_a_users_style_does_not_change_a_figure(draw: Callable[[str], Figure]) -> None:
    plain = saving.figure_bytes(draw("snr"), "png")
    with mpl.rc_context({"font.size": 5, "axes.grid": True, "lines.linestyle": "--", "savefig.bbox": "tight"}):
        styled = saving.figure_bytes(draw("snr"), "png")
    assert styled == plain


def test_drawing_everything_needs_no_torch_and_leaves_no_figure_to_pyplot() -> None:
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); import figure_fixtures\n"
        "from viz_diffusion.plots import film, saving\n"
        "for draw in figure_fixtures.FIGURES.values(): draw()\n"
        "saving.figure_bytes(figure_fixtures.FIGURES['snr'](), 'svg')\n"
        "import matplotlib.pyplot as plt  # which seaborn has loaded\n"
        "sys.exit('torch' if 'torch' in sys.modules else plt.get_fignums() and 'a figure is left' or 0)\n"
    )
    command = [sys.executable, "-c", program, str(Path(__file__).parents[1] / "helpers")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stderr


def test_quarter_colours_differ_in_greyscale() -> None:
    greys = [np.dot(mpl.colors.to_rgb(colour), (0.299, 0.587, 0.114)) for colour in (*theme.QUARTERS, "white")]
    assert min(np.diff(greys)) > 0.18


def test_enlarge_repeats_each_pixel() -> None:
    big = raster.enlarge(np.array([[1, 2], [3, 4]]), 3)
    assert big.shape == (6, 6)
    assert (big[:3, 3:] == 2).all()
    assert (big[3:, :3] == 3).all()


def test_fit_nearest_repeats_and_skips_without_interpolation() -> None:
    table = np.arange(12).reshape(3, 4)
    assert (raster.fit_nearest(table, 6, 4) == np.repeat(table, 2, axis=0)).all()
    assert (raster.fit_nearest(table, 3, 2) == table[:, ::2]).all()


def test_spread_keeps_sequence_distance_and_limits() -> None:
    places = theme.spread(np.array([0.0, 1, 2, 90, 99]), 10, 0, 100)
    assert places.tolist() == [0, 10, 20, 90, 100]
    assert theme.spread(np.array([5.0, 6, 7]), 60, 0, 100).tolist() == [0, 50, 100]
    assert theme.spread(np.array([]), 60, 0, 100).size == 0


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.0, "0%"), (4e-5, "0%"), (0.002, "0.2%"), (0.0786, "8%"), (0.13, "13%"), (0.9999, "100%")],
)
def test_percent(share: float, text: str) -> None:
    assert theme.percent(share) == text


def test_number_has_a_typographic_minus() -> None:
    assert theme.number(-2.8936) == "−2.89"


def test_a_pdf_is_the_same_twice_and_embeds_its_fonts() -> None:
    figure = theme.new_figure()
    theme.write(figure, 1600, 900, "t = 259")
    first, second = (saving.figure_bytes(figure, "pdf") for _ in range(2))
    assert first == second
    assert b"/FontFile2" in first
    assert b"/Type3" not in first


def test_pixels_resolution_and_page_can_be_chosen() -> None:
    figure = theme.new_figure()
    theme.write(figure, 1600, 900, "t = 259")
    with Image.open(io.BytesIO(saving.figure_bytes(figure, "png"))) as image:
        assert np.array_equal(saving.figure_pixels(figure), np.asarray(image.convert("RGB")))
    with Image.open(io.BytesIO(saving.figure_bytes(figure, "png", dpi=30, transparent=True))) as image:
        assert image.size == (400, 225)
        assert image.getpixel((1, 1))[3] == 0
    with Image.open(io.BytesIO(saving.figure_bytes(figure, "png", dpi=30))) as image:
        assert image.convert("RGBA").getpixel((1, 1)) == (255, 255, 255, 255)


def test_unknown_formats_are_named(tmp_path: Path) -> None:
    with pytest.raises(VizdiffUsageError, match="'eps'"):
        saving.save_figure(theme.new_figure(), tmp_path / "a.eps")
    with pytest.raises(VizdiffIOError, match="cannot write"):
        saving.save_figure(theme.new_figure(), tmp_path / "missing" / "a.png")


def test_images_that_cannot_be_drawn_are_refused() -> None:
    figure = theme.new_figure()
    with pytest.raises(VizdiffNonFiniteError):
        raster.place_noise(figure, 0, 0, 1, np.full((28, 28), np.nan))
    with pytest.raises(VizdiffInputError, match=r"\(1, 28, 28\)"):
        raster.place_digit(figure, 0, 0, 1, np.zeros((1, 28, 28)))


def test_pixels_do_not_change_when_the_figure_is_drawn_again() -> None:
    figure = theme.new_figure()
    theme.write(figure, 400, 400, "7", 100)
    pixels = saving.figure_pixels(figure)
    before = pixels.copy()
    figure.texts[0].set_visible(False)
    saving.figure_bytes(figure, "png")
    figure.canvas.draw()
    assert before.min() < 128
    assert np.array_equal(pixels, before)
