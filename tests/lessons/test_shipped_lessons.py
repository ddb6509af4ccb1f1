"""Results that come with the package: they fit their lessons, and this version draws their figures."""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from io import BytesIO
from typing import Any

import matplotlib
import numpy as np
import pytest
from lesson_context import make_context, with_comparison_runs
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from viz_diffusion.lessons.base import AnyLesson, Finding, all_lessons
from viz_diffusion.lessons.context import LessonContext
from viz_diffusion.lessons.precomputed import (
    PRECOMPUTED_DIR,
    load_pictures,
    load_results,
)
from viz_diffusion.plots.page_svg import page_svg
from viz_diffusion.plots.words import use_texts
from viz_diffusion.study.narrative import narrate
from viz_diffusion.text.catalogue import languages, load_texts
from viz_diffusion.training.run import Run
from viz_diffusion.views.frames import recording_facts

LESSONS = [lesson for lesson in all_lessons() if lesson.precomputed is not None]


def test_what_ships_with_the_package_fits_its_lessons() -> None:
    names = {lesson.name for lesson in LESSONS}
    assert {path.name.split(".")[0] for path in PRECOMPUTED_DIR.iterdir()} <= names
    weights = {json.loads((PRECOMPUTED_DIR / f"{name}.json").read_text())["weights_sha256"] for name in names}
    assert len(weights) == 1
    assert set(load_results(LESSONS, *weights)) == {lesson.result for lesson in LESSONS}


@pytest.fixture(scope="module")
def weights() -> str:
    return Run.bundled().load_model()[1]


@pytest.fixture(scope="module")
def context(weights: str) -> LessonContext:
    return with_comparison_runs(make_context(recorded_steps=7, precomputed=load_results(LESSONS, weights)))


NUMBER = re.compile(r"-?\d+\.\d+|-?\d+")
IMAGE = re.compile(r"data:image/webp;base64,([A-Za-z0-9+/=]+)")


def images(svg: bytes) -> list[NDArray[np.uint8]]:
    return [
        np.asarray(Image.open(BytesIO(base64.b64decode(data))).convert("RGB"))
        for data in IMAGE.findall(svg.decode("utf-8"))
    ]


def same_drawing(one: bytes, other: bytes) -> bool:
    """Return whether two SVGs hold the same shapes and images, up to a hundredth of a point and one of 255 levels."""
    texts = [re.sub(r'id="[^"]*"|#[a-zA-Z][^")]*', "", IMAGE.sub("", svg.decode("utf-8"))) for svg in (one, other)]
    if NUMBER.sub("", texts[0]) != NUMBER.sub("", texts[1]):
        return False
    numbers = [np.array(NUMBER.findall(text), dtype=float) for text in texts]
    pixels = zip(images(one), images(other), strict=True)
    return np.allclose(*numbers, rtol=0, atol=0.01) and all(
        a.shape == b.shape and np.abs(a.astype(np.int16) - b).max() <= 1 for a, b in pixels
    )


@pytest.mark.parametrize("lang", languages())
@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.name)
def test_what_ships_is_what_is_drawn(lesson: AnyLesson, lang: str, weights: str, context: LessonContext) -> None:
    """By the same matplotlib; another may shape letters and curves otherwise, and has only to draw the same figures."""
    shipped = load_pictures(lesson, weights, lang)
    assert lesson.precomputed is not None
    assert list(shipped) == [figure.name for figure in lesson.precomputed.figures] != []
    drawn_by = json.loads((PRECOMPUTED_DIR / f"{lesson.name}.json").read_text())["drawn_by"]
    if drawn_by != f"matplotlib {matplotlib.__version__}":
        return
    with use_texts(load_texts(lang)):
        figures = lesson.draw(Finding.measure(lesson, context).data)
        for name, svg in shipped.items():
            assert same_drawing(svg, page_svg(figures[name])), name


def alike(one: Any, other: Any) -> bool:
    """Return whether two JSON values are equal, numbers up to rounding."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(alike(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(alike, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-3, abs_tol=1e-6)
    return bool(one == other)


@pytest.mark.parametrize("lesson", [one for one in LESSONS if one.measure is None], ids=lambda lesson: lesson.name)
def test_the_facts_in_the_file_are_those_of_its_results(lesson: AnyLesson, context: LessonContext) -> None:
    """A fact that was added, renamed or decided otherwise since they were written; ``--redraw`` states them again."""
    kept = json.loads((PRECOMPUTED_DIR / f"{lesson.name}.json").read_text())["facts"]
    found = json.loads(json.dumps(Finding.measure(lesson, context).to_dict())) | {"shipped": False}
    assert {key for key in kept.keys() | found.keys() if not alike(kept.get(key), found.get(key))} == set()
    assert not alike(kept, found | {"claims": []})


def test_a_figure_of_other_data_is_told_apart(weights: str, context: LessonContext) -> None:
    """One number of one tile changed."""
    lesson = next(lesson for lesson in LESSONS if lesson.name == "mistakes")
    data = Finding.measure(lesson, context).data
    values = data.values.copy()
    values[4, 2] *= 1.4
    figure = lesson.draw(replace(data, values=values))["mistakes"]
    assert not same_drawing(load_pictures(lesson, weights, "en")["mistakes"], page_svg(figure))


class Undrawn(Mapping[str, Figure]):
    """Figures that must not be drawn."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names

    def __getitem__(self, name: str) -> Figure:
        raise AssertionError(f"{name} was drawn")

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)


def test_the_page_takes_them_and_draws_nothing(weights: str, context: LessonContext) -> None:
    lesson = next(lesson for lesson in LESSONS if lesson.name == "decision")
    unable = replace(lesson, draw=lambda _: Undrawn(lesson.figure_names))
    load = partial(load_pictures, lesson, weights)
    found = replace(Finding.measure(lesson, context), lesson=unable, pictures=load)
    for lang in languages():
        told = narrate([found], recording_facts(context.trajectory), load_texts(lang))[0]
        made = [drawing.picture() for drawing in told.drawings]
        assert [one.data for one in made] == list(load(lang).values())
        assert {(one.width, one.height) for one in made} == {(3200, 1800)}
    bare = narrate([replace(found, pictures=lambda _: {})], recording_facts(context.trajectory), load_texts("en"))[0]
    with pytest.raises(AssertionError, match="decision was drawn"):
        bare.drawings[0].picture()
