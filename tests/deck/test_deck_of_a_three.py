"""A deck of a 3 is about a 3: no word, command or picture of it speaks of a 5."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from deck_fakes import Made, remake, undrawn
from matplotlib.colors import same_color
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from viz_diffusion.deck.slides import plan
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
    """Return every word of a deck and of its captions."""
    texts = load_texts(lang)
    told = narrate([undrawn(one, made.stills) for one in made.found.findings], made.found.recording, texts)
    digit = made.found.recording["digit"]
    deck = plan(made.found, told, made.stills, None, f"vizdiff deck --digit {digit} --seed 0", remake, texts)
    said = [str((s.title, s.line, s.table, s.points, s.notes)) for s in deck.slides]
    drawings = [drawing for one in told for drawing in one.drawings]
    return "\n".join([*said, *(f"{one.title} {one.caption} {one.alt}" for one in drawings), *(t.answer for t in told)])


@pytest.fixture(scope="module")
def of_three(made: Made, make_recording: Callable[..., Path]) -> Made:
    """Return the study of a 3; the lesson of training, which takes long, keeps its numbers and changes its digit."""
    folder = make_recording(12, 3)
    recorded = Trajectory.open(folder / "trajectory.zarr")
    comparison_runs = load_comparison_runs(folder / "companions.npz", recorded)
    assert comparison_runs is not None
    run = made.found.run
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
    for finding in made.found.findings:
        if finding.lesson.name == "training":
            findings.append(replace(finding, facts=replace(finding.facts, digit=3)))
        else:
            findings.append(Finding.measure(finding.lesson, context))
    return replace(made, found=replace(made.found, trajectory=recorded, findings=tuple(findings)))


@pytest.mark.parametrize("lang", languages())
def test_nothing_speaks_of_a_five(lang: str, made: Made, of_three: Made) -> None:
    assert FIVE.findall(words(of_three, lang)) == []
    assert len(FIVE.findall(words(made, lang))) > 10  # the control: a deck of a 5 does


@pytest.mark.parametrize("lang", languages())
def test_what_is_precomputed_of_another_digit_says_of_which(lang: str, made: Made) -> None:
    weights, texts = made.found.trajectory.weights_sha256, load_texts(lang)
    shown = {}
    for lesson in all_lessons():
        if lesson.core:
            continue
        finding = Finding.of(lesson, load_results([lesson], weights)[lesson.result], full=True, precomputed=True)
        names = {name: Figure() for name in lesson.figure_names}
        bare = replace(finding, lesson=replace(lesson, draw=lambda _, names=names: names))
        mine, other = (narrate([bare], made.found.recording | {"digit": digit}, texts)[0] for digit in (5, 3))
        assert mine.other_digit == {}
        assert (other.note == mine.note) == (other.other_digit == {})
        shown |= other.other_digit
        for drawing in other.drawings:
            assert not re.search(r"digit 3|a 3\b|数字 3", f"{drawing.caption} {drawing.alt}"), drawing.name
    assert set(shown) == {"guidance", "samplers", "bands", "mistakes"}
    assert all("5" in sentence and "3" not in sentence for sentence in shown.values())


def test_the_diagram_looks_up_the_digit_that_was_asked(of_three: Made) -> None:
    (found,) = [one for one in of_three.found.findings if one.lesson.name == "network"]
    figure = network.draw(found.data)["model"]
    boxes = [p for p in figure.axes[0].patches if isinstance(p, Rectangle) and p.get_height() == 260]
    labels = sorted((p for p in boxes if p.get_x() > theme.PAGE_WIDTH / 2), key=lambda p: p.get_x())
    assert len(labels) == 11
    assert [k for k, p in enumerate(labels) if same_color(p.get_facecolor(), theme.ORANGE)] == [3]
