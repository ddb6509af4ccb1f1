"""Rules for every figure's images, and the primitives that place images on the page."""

from __future__ import annotations

import base64
import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from PIL import Image

from viz_diffusion.errors import VizdiffInputError, VizdiffIOError, VizdiffNonFiniteError, VizdiffUsageError
from viz_diffusion.plots import raster, saving, theme


def test_every_image_has_a_fixed_scale(any_figure: Figure) -> None:
    allowed = {"gray": {1.0}, "PuOr": {3.0}, "RdBu": {1.0, 2.8936, 3.0}}
    for axes in any_figure.axes:
        for image in axes.images:
            low, high = image.get_clim()
            assert low == -high
            assert high in allowed[image.get_cmap().name]
            assert image.get_interpolation() == "none"


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


def test_titles_can_be_left_out_of_what_is_written(drawn: Callable[[str], Figure], tmp_path: Path) -> None:
    """Only the title's rows change, and the figure itself keeps its title."""
    figure = drawn("ten_digits")
    with saving.titles_left_out():
        saving.save_figure(figure, tmp_path / "without.png")
    saving.save_figure(figure, tmp_path / "with.png")
    without, whole = (np.asarray(Image.open(tmp_path / name).convert("L")) for name in ("without.png", "with.png"))
    assert (without[:150] == 255).all()
    assert (whole[:150] < 128).any()
    assert np.array_equal(without[150:], whole[150:])
    with saving.titles_left_out():
        assert saving.written_bytes(figure, "svg") != saving.figure_bytes(figure, "svg")
    assert saving.written_bytes(figure, "svg") == saving.figure_bytes(figure, "svg")


def test_svg_holds_the_enlarged_pixels(drawn: Callable[[str], Figure]) -> None:
    root = ElementTree.fromstring(saving.figure_bytes(drawn("steps_one"), "svg"))
    images = list(root.iter("{http://www.w3.org/2000/svg}image"))
    links = [image.attrib["{http://www.w3.org/1999/xlink}href"] for image in images]
    sizes = [Image.open(io.BytesIO(base64.b64decode(link.split(",")[1]))).size for link in links]
    assert sizes.count((336, 336)) == 4  # the states, and both predictions


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
        "import sys; sys.path.insert(0, sys.argv[1]); import figure_data\n"
        "from viz_diffusion.plots import film, saving\n"
        "for draw in figure_data.FIGURES.values(): draw()\n"
        "saving.figure_bytes(figure_data.FIGURES['snr'](), 'svg')\n"
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
