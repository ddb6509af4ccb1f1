"""Texts and commands of a deck of the digit 3: none names the digit 5."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from deck_fakes import Made, undrawn
from matplotlib.colors import same_color
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from viz_diffusion.lessons.base import Finding, LessonContext, all_lessons
from viz_diffusion.lessons.network import lesson as network
from viz_diffusion.lessons.precomputed import load_results
from viz_diffusion.plots import theme
from viz_diffusion.recording.comparison_runs import load_comparison_runs
from viz_diffusion.recording.trajectory import Trajectory
from viz_diffusion.study.narrative import narrate
from viz_diffusion.text.catalogue import languages, load_texts

FIVE = re.compile(
    r"--digit 5|\bdigit 5\b|\ba 5\b|\b5 out of|“[^”]*\b5”|数字 5|一个 5|生成 5|完成的 5|走出的 5|的 5(?![0-9.])"
)


def words(made: Made, lang: str) -> str:
    """Return all texts of a deck and of its captions."""
    texts = load_texts(lang)
    lessons = narrate([undrawn(one, made.pictures) for one in made.study.findings], made.study.recording, texts)
    digit = made.study.recording["digit"]
    deck = Made(made.study, lessons, made.pictures, made.film, texts).deck(command=f"vizdiff deck --digit {digit}")
    said = [str((s.title, s.line, s.table, s.points, s.notes)) for s in deck.slides]
    said += [str(deck.exercises)]
    drawings = [drawing for one in lessons for drawing in one.drawings]
    return "\n".join(
        [*said, *(f"{one.title} {one.caption} {one.alt}" for one in drawings), *(t.answer for t in lessons)]
    )


@pytest.fixture(scope="module")
def of_three(made: Made, make_recording: Callable[..., Path]) -> Made:
    """Return a study of the digit 3; the slow training lesson is not measured again."""
    folder = make_recording(12, 3)
    recorded = Trajectory.open(folder / "trajectory.zarr")
    comparison_runs = load_comparison_runs(folder / "companions.npz", recorded)
    assert comparison_runs is not None
    run = made.study.run
    context = LessonContext(
        run,
        run.load_model()[0],
        run.config.load_digits("test"),
        3,
        0,
        recorded,
        comparison_runs.others,
        measure_slow=False,
    )
    findings = []
    for finding in made.study.findings:
        if finding.lesson.name == "training":
            findings.append(replace(finding, facts=replace(finding.facts, digit=3)))
        else:
            findings.append(Finding.measure(finding.lesson, context))
    return replace(made, study=replace(made.study, trajectory=recorded, findings=tuple(findings)))


@pytest.mark.parametrize("lang", languages())
def test_no_text_names_a_five(lang: str, made: Made, of_three: Made) -> None:
    assert FIVE.findall(words(of_three, lang)) == []
    assert len(FIVE.findall(words(made, lang))) > 5  # the control: a deck of a 5 does


@pytest.mark.parametrize("lang", languages())
def test_precomputed_figures_of_another_digit_name_it(lang: str, made: Made) -> None:
    weights, texts = made.study.trajectory.weights_sha256, load_texts(lang)
    shown = {}
    for lesson in all_lessons():
        if lesson.core:
            continue
        finding = Finding.of(lesson, load_results([lesson], weights)[lesson.result], full=True, precomputed=True)
        names = {name: Figure() for name in lesson.figure_names}
        bare = replace(finding, lesson=replace(lesson, draw=lambda _, names=names: names))
        mine, other = (narrate([bare], made.study.recording | {"digit": digit}, texts)[0] for digit in (5, 3))
        assert mine.other_digit == {}
        assert (other.note == mine.note) == (other.other_digit == {})
        shown |= other.other_digit
        for drawing in other.drawings:
            assert not re.search(r"digit 3|a 3\b|数字 3", f"{drawing.caption} {drawing.alt}"), drawing.name
    assert set(shown) == {"guidance", "samplers", "bands", "mistakes"}
    assert all("5" in sentence and "3" not in sentence for sentence in shown.values())


def test_the_diagram_marks_the_label_of_the_recording(of_three: Made) -> None:
    (found,) = [one for one in of_three.study.findings if one.lesson.name == "network"]
    figure = network.draw(found.data)["model"]
    boxes = [p for p in figure.axes[0].patches if isinstance(p, Rectangle) and p.get_height() == 260]
    labels = sorted((p for p in boxes if p.get_x() > theme.PAGE_WIDTH / 2), key=lambda p: p.get_x())
    assert len(labels) == 11
    assert [k for k, p in enumerate(labels) if same_color(p.get_facecolor(), theme.ORANGE)] == [3]
