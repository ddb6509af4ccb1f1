"""The texts of every figure that the package draws, in both languages: they fit, and they name what is shown."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

import numpy as np
import pytest
from figure_data import FIGURES
from lesson_context import make_context, with_comparison_runs
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox
from picture_boxes import picture_boxes

from viz_diffusion.lessons.base import AnyLesson, all_lessons
from viz_diffusion.lessons.precomputed import load_results
from viz_diffusion.plots import theme
from viz_diffusion.plots.words import use_texts
from viz_diffusion.text.catalogue import languages, load_texts
from viz_diffusion.training.run import Run

OF_LESSONS = tuple(name for lesson in all_lessons() for name in lesson.figure_names)
REACH = 260
"""Page pixels from an axis within which its title stands."""
EXCEPTIONS = {
    ("learning_frame", "titled"): "a frame of a film: its only text is the training step",
    ("latent_map", "off_images"): "labels of paths on a map of faint digits, with a rim of the page's colour",
}
"""(figure, rule): why the figure need not follow the rule."""
IN_TWO_LANGUAGES = {"prompts"}
"""Figures that show Chinese in English too: prompts in both languages."""


@pytest.fixture(scope="module")
def measured_lessons() -> dict[str, tuple[AnyLesson, object]]:
    """Return, for the name of every figure of a lesson, the lesson with its data: shipped or of a short recording.

    A test draws its own figure from it: all of them together would take gigabytes.
    """
    lessons = all_lessons()
    shipped = load_results([one for one in lessons if one.precomputed is not None], Run.bundled().load_model()[1])
    context = with_comparison_runs(make_context(recorded_steps=7, precomputed=shipped))
    found: dict[str, tuple[AnyLesson, object]] = {}
    for lesson in lessons:
        data = lesson.measure(context) if lesson.measure else lesson.precomputed.results(context)
        found |= dict.fromkeys(lesson.draw(data), (lesson, data))
    return found


def fixture_figure(name: str, lang: str) -> Figure:
    with use_texts(load_texts(lang)):
        return FIGURES[name]()


def parts(artist: Artist) -> Iterator[Text]:
    """Yield the texts of a figure, except ticks of axes that are not shown: asking for them would make them."""
    if isinstance(artist, Text):
        yield artist
    for part in artist.get_children():
        if not isinstance(part, Axis) or (part.axes.axison and part.get_visible()):
            yield from parts(part)


def texts(figure: Figure) -> list[tuple[Text, Bbox]]:
    """Return all visible texts with their boxes in page pixels."""
    before = figure.canvas
    with theme.use_theme():
        renderer = FigureCanvasAgg(figure).get_renderer()
        figure.draw_without_rendering()
        found = [text for text in parts(figure) if text.get_text().strip() and text.get_visible()]
        boxes = [(text, text.get_window_extent(renderer)) for text in found]
    figure.set_canvas(before)  # else each figure would keep 23 MB of pixels
    return boxes


def check(name: str, figure: Figure, lang: str) -> None:
    written = texts(figure)
    for rule in RULES:
        if (name, rule.__name__) not in EXCEPTIONS:
            faults = list(rule(figure, written))
            assert faults == [], rule.__doc__
    chinese = any("\u4e00" <= letter <= "\u9fff" for text, _ in written for letter in text.get_text())
    assert chinese == (lang == "zh" or name in IN_TWO_LANGUAGES)


def titled(_: Figure, written: list[tuple[Text, Bbox]]) -> Iterator[object]:
    """A figure has one title, with the name by which it can be left out."""
    titles = [text.get_text() for text, _ in written if text.get_gid() == theme.TITLE]
    if len(titles) != 1:
        yield titles


def large_enough(_: Figure, written: list[tuple[Text, Bbox]]) -> Iterator[object]:
    """No letter is smaller than 18 points on a page of 13.33 inches, subscripts of formulas included."""
    for text, _ in written:
        content, size = text.get_text(), text.get_fontsize()
        is_formula = "$" in content and ("_" in content or "^" in content)
        if (0.7 * size if is_formula else size) < theme.TEXT_SIZE:
            yield content, size


def on_the_page(_: Figure, written: list[tuple[Text, Bbox]]) -> Iterator[object]:
    """No text leaves the page."""
    for text, box in written:
        if min(box.x0, box.y0) < 0 or box.x1 > theme.PAGE_WIDTH or box.y1 > theme.PAGE_HEIGHT:
            yield text.get_text(), box


def apart(_: Figure, written: list[tuple[Text, Bbox]]) -> Iterator[object]:
    """No two texts overlap."""
    for (one, first), (other, second) in itertools.combinations(written, 2):
        across = min(first.x1, second.x1) - max(first.x0, second.x0)
        down = min(first.y1, second.y1) - max(first.y0, second.y0)
        if min(across, down) > 1:
            yield one.get_text(), other.get_text(), round(across), round(down)


def off_images(figure: Figure, written: list[tuple[Text, Bbox]]) -> Iterator[object]:
    """No text lies on an image."""
    frames = [box.transformed(figure.transFigure) for box in picture_boxes(figure)]
    for text, box in written:
        if any(box.padded(-12).overlaps(frame) for frame in frames):
            yield text.get_text()


def axes_named(figure: Figure, written: list[tuple[Text, Bbox]]) -> Iterator[object]:
    """Where an axis has numbers, words stand beneath it or at its right, above it or at its left."""
    shown = [axes for axes in figure.axes if axes.axison]  # asking others for their labels would make them
    ticks = {id(label) for axes in shown for axis in (axes.xaxis, axes.yaxis) for label in axis.get_ticklabels()}
    words = [
        box
        for text, box in written
        if id(text) not in ticks and text.get_gid() != theme.TITLE and sum(map(str.isalpha, text.get_text())) > 1
    ]
    for axes in shown:
        area = axes.get_window_extent()
        if numbered(axes, "x") and not any(_beneath(box, area) for box in words):
            yield "x", area
        if numbered(axes, "y") and not any(_beside(box, area) for box in words):
            yield "y", area


def numbered(axes: Axes, which: str) -> bool:
    """Return whether an axis shows numbers."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    return bool(axis.get_visible() and any(label.get_text() for label in axis.get_ticklabels()))


def _beneath(box: Bbox, area: Bbox) -> bool:
    near = area.y0 - REACH <= box.y0 and box.y1 <= area.y0 + 4
    return bool(near and box.x0 < area.x1 + REACH and box.x1 > area.x0)


def _beside(box: Bbox, area: Bbox) -> bool:
    above = area.y1 <= box.y0 <= area.y1 + REACH and area.x0 - 2 * REACH <= box.x0 <= (area.x0 + area.x1) / 2
    left = area.x0 - 2 * REACH <= box.x0 and box.x1 <= area.x0 and box.y0 < area.y1 and box.y1 > area.y0
    return bool(above or left)


RULES = (titled, large_enough, on_the_page, apart, off_images, axes_named)


def _each(names: Iterable[str]) -> list[tuple[str, str]]:
    """Return each name with each language."""
    return [(name, lang) for name in names for lang in languages()]


@pytest.mark.parametrize(("name", "lang"), _each(FIGURES))
def test_the_texts_of_a_figure_fit(name: str, lang: str) -> None:
    check(name, fixture_figure(name, lang), lang)


@pytest.mark.parametrize(("name", "lang"), _each(OF_LESSONS))
def test_the_texts_of_a_lessons_figure_fit(
    name: str, lang: str, measured_lessons: dict[str, tuple[AnyLesson, object]]
) -> None:
    lesson, data = measured_lessons[name]
    with use_texts(load_texts(lang)):
        figure = lesson.draw(data)[name]
    check(name, figure, lang)


def test_every_rule_finds_its_fault() -> None:
    """Control: a page with each of the faults."""
    with theme.use_theme():
        figure = theme.new_figure("One title")
        theme.write(figure, 300, 120, "on the title")
        theme.write(figure, 3190, 900, "beyond the edge")
        theme.write(figure, 400, 900, "small", 12)
        theme.write(figure, 400, 1200, "another title", gid=theme.TITLE)
        axes = theme.add_axes(figure, 1500, 900, 500, 500)
        axes.set_axis_on()
        axes.imshow(np.zeros((2, 2)), vmin=-1, vmax=1)
        theme.write(figure, 1750, 1150, "on an image", color="white")
        written = texts(figure)
    for rule in RULES:
        assert list(rule(figure, written)), rule.__name__
    good = fixture_figure("snr", "en")
    assert not any(list(rule(good, texts(good))) for rule in RULES)
