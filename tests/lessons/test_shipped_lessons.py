"""Results that come with the package: they fit their lessons, and this version draws their figures."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
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
from viz_diffusion.plots.pixels import reduce_colours
from viz_diffusion.plots.saving import figure_pixels
from viz_diffusion.study.narrative import narrate
from viz_diffusion.text.catalogue import load_texts
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


def decoded(webp: bytes) -> NDArray[np.uint8]:
    return np.asarray(Image.open(BytesIO(webp)).convert("RGB"))


def differing(shipped: NDArray[np.uint8], drawn: NDArray[np.uint8], levels: int) -> int:
    """Return how many pixels differ by more than this many of 255 levels."""
    return int((np.abs(shipped.astype(np.int16) - drawn).max(axis=2) > levels).sum())


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.name)
def test_what_ships_is_what_is_drawn(lesson: AnyLesson, weights: str, context: LessonContext) -> None:
    """By the same matplotlib to the pixel; by another, letters may have other edges, but no other figure passes."""
    shipped = load_pictures(lesson, weights)
    assert lesson.precomputed is not None
    assert list(shipped) == [figure.name for figure in lesson.precomputed.figures] != []
    figures = lesson.draw(Finding.measure(lesson, context).data)
    same = json.loads((PRECOMPUTED_DIR / f"{lesson.name}.json").read_text())["drawn_by"] == (
        f"matplotlib {matplotlib.__version__}"
    )
    for name, webp in shipped.items():
        drawn = reduce_colours(figure_pixels(figures[name]))
        assert differing(decoded(webp), drawn, 1 if same else 64) <= (0 if same else 2000), name


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
    """One number of one tile changed: far more than what is let pass."""
    lesson = next(lesson for lesson in LESSONS if lesson.name == "mistakes")
    data = Finding.measure(lesson, context).data
    values = data.values.copy()
    values[4, 2] *= 1.4
    figure = lesson.draw(replace(data, values=values))["mistakes"]
    other = reduce_colours(figure_pixels(figure))
    assert differing(decoded(load_pictures(lesson, weights)["mistakes"]), other, 1) > 50


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
    pictures = load_pictures(lesson, weights)
    found = replace(Finding.measure(lesson, context), lesson=unable, pictures=pictures)
    told = narrate([found], recording_facts(context.trajectory), load_texts("en"))[0]
    with ThreadPoolExecutor(1) as pool:
        made = [drawing.picture(pool).result() for drawing in told.drawings]
    assert [one.data for one in made] == list(pictures.values())
    assert {(one.width, one.height) for one in made} == {(3200, 1800)}
    bare = narrate([replace(found, pictures={})], recording_facts(context.trajectory), load_texts("en"))[0]
    with ThreadPoolExecutor(1) as pool, pytest.raises(AssertionError, match="decision was drawn"):
        bare.drawings[0].picture(pool)
