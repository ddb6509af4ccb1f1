"""What every lesson must keep to: words for each outcome, shared traces, full results bound to their weights."""

from __future__ import annotations

import importlib
import json
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from lesson_context import make_context, mute

from viz_diffusion.cli import console, main
from viz_diffusion.cli.lesson_list import listed_lessons
from viz_diffusion.diffusion.oracles import TruthOracle
from viz_diffusion.diffusion.samplers import ImageNoise
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.lessons import base
from viz_diffusion.lessons.base import all_lessons, choose_lessons
from viz_diffusion.lessons.context import TRACED_SEED, record_traces
from viz_diffusion.text import catalogue
from viz_diffusion.text.catalogue import Texts, languages, load_texts


def test_names_and_places_are_all_different() -> None:
    lessons = all_lessons()
    assert len({lesson.name for lesson in lessons}) == len({lesson.position for lesson in lessons}) == len(lessons)
    figures = [name for lesson in lessons for name in lesson.figure_names]
    assert len(set(figures)) == len(figures)
    assert all(any(figure.in_exercise for figure in lesson.all_figures) for lesson in lessons)  # each has an exercise
    assert all("recording" in lesson.needs for lesson in lessons if "comparison_runs" in lesson.needs)


def test_a_lesson_without_any_measurement_is_refused() -> None:
    with pytest.raises(VizdiffUsageError, match="neither measure nor precomputed"):
        replace(all_lessons()[0], measure=None)


@pytest.mark.parametrize("lang", languages())
def test_every_claim_is_a_question_with_an_answer_for_each_outcome(lang: str) -> None:
    texts = load_texts(lang)
    ends = ("_found", "_not_found", "_open")
    claims = [key for key in texts if ".claim_" in key and not key.endswith(ends) and key.startswith("chapter.")]
    assert claims
    for key in claims:
        assert texts[key].endswith(("?", "？")), key
        assert texts[f"{key}_found"] != texts[f"{key}_not_found"]


def test_lessons_are_chosen_by_name_in_the_order_of_the_story() -> None:
    assert [lesson.name for lesson in choose_lessons("step,noising")] == ["noising", "step"]
    assert choose_lessons("all") == all_lessons()
    assert all(lesson.core for lesson in choose_lessons("core"))
    with pytest.raises(VizdiffUsageError, match="no lesson 'nosing'"):
        choose_lessons("noising,nosing")


def test_traces_of_the_truth_end_in_the_truth_and_keep_every_step() -> None:
    """A denoiser that knows x_0 = one digit a label must lead there, in every kept guess."""
    generator = torch.Generator().manual_seed(0)
    schedule, x0 = NoiseSchedule.named("linear"), torch.randn(4, 1, 28, 28, generator=generator).clamp(-1, 1)
    visited = np.array([999, 700, 300, 40, 3])
    traces = record_traces(TruthOracle(schedule, x0), schedule, 4, visited)
    assert traces.x_t.shape == (4, 5, 1, 28, 28)
    assert traces.labels.tolist() == [0, 1, 2, 3]
    assert np.allclose(traces.x0_pred, x0[:, None].numpy(), atol=5e-4)  # rounding, multiplied by 157 at t = 999
    assert np.allclose(traces.x0, x0.numpy(), atol=1e-5)
    first = ImageNoise([TRACED_SEED + 2]).draw()[0].numpy()
    assert np.array_equal(traces.x_t[2, 0], first)


def test_traces_and_training_digits_are_made_once_and_only_when_asked_for() -> None:
    context = make_context(mute(), traced=(2, 3))
    assert "traces" not in vars(context)
    assert "training" not in vars(context)
    assert context.traces is context.traces
    assert context.traces.num_steps == 3


def test_generators_depend_on_seed_and_key_alone() -> None:
    def draw(seed: int, *key: int) -> float:
        return float(torch.rand((), generator=make_context(mute(), seed=seed).generator(*key)))

    assert draw(1, 2) == draw(1, 2)
    assert len({draw(1, 2), draw(1, 3), draw(2, 2), draw(1), draw(1, 2, 0)}) == 5


def test_a_lesson_that_needs_what_is_not_there_says_so() -> None:
    with pytest.raises(VizdiffUsageError, match="recording"):
        _ = make_context(mute()).trajectory
    with pytest.raises(VizdiffUsageError, match="SimpleUNet, found Answering"):
        _ = make_context(mute()).network


def test_the_command_measures_draws_writes_and_answers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lesson", "noising", "--run", "bundled", "--out", str(tmp_path), "--json"]) == 0
    out, err = capsys.readouterr()
    result = json.loads(out)
    assert result["crossing"] == 259
    assert {one["name"]: one["holds"] for one in result["claims"]} == {"closed_form": True, "crossing": True}
    assert "How does a digit turn into noise?" in err
    assert "0.991 at t = 259" in err
    assert {path.name for path in tmp_path.iterdir()} == {
        "forward.png",
        "forward.svg",
        "snr.png",
        "snr.svg",
        "noising.json",
    }
    kept = json.loads((tmp_path / "noising.json").read_text())
    assert kept == {name: value for name, value in result.items() if name != "out"}


PEBBLES = {
    "pebble_counts.py": """
        \"\"\"Pebbles, counted.\"\"\"

        def count_pebbles(digits):
            return int((digits.images > 0).sum())
        """,
    "figures.py": """
        \"\"\"Pebbles, drawn.\"\"\"

        from viz_diffusion.plots import theme

        def draw_pebbles(count):
            figure = theme.new_figure()
            theme.write(figure, 100, 100, str(count))
            return figure
        """,
    "lesson.py": """
        \"\"\"Lesson pebbles.\"\"\"

        from dataclasses import dataclass

        from viz_diffusion.lessons.base import Claim, Lesson, LessonFigure, Rows
        from viz_diffusion.lessons.pebbles.figures import draw_pebbles
        from viz_diffusion.lessons.pebbles.pebble_counts import count_pebbles
        from viz_diffusion.plots.lazy_figures import Figures

        @dataclass(frozen=True)
        class PebbleFacts:
            pebbles: int

        LESSON = Lesson(
            name="pebbles",
            position=75,
            measure=lambda context: count_pebbles(context.heldout),
            facts=PebbleFacts,
            claims=lambda count: (Claim("many", count > 10),),
            rows=lambda facts, texts: Rows(("count",), ((str(facts.pebbles),),)),
            draw=lambda count: Figures(pebbles=lambda: draw_pebbles(count)),
            figures=(LessonFigure("pebbles", in_exercise=True),),
        )
        """,
}
WORDS = {
    **{f"chapter.pebbles.{part}": part for part in ("title", "question", "text", "table", "try_this", "exercise")},
    **{f"picture.pebbles.{part}": part for part in ("title", "alt", "caption")},
    "chapter.pebbles.say": "{pebbles} pebbles",
    "chapter.pebbles.answer": "{pebbles}",
    "chapter.pebbles.column_count": "count",
    "chapter.pebbles.claim_many": "Are there many?",
    "chapter.pebbles.claim_many_found": "Yes, {pebbles}.",
    "chapter.pebbles.claim_many_not_found": "No, {pebbles}.",
}


@pytest.fixture
def pebbles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Add a lesson: a folder among those of the lessons, and its words in the catalogue; nothing else."""
    folder = tmp_path / "lessons" / "pebbles"
    folder.mkdir(parents=True)
    for name, source in {"__init__.py": "", **PEBBLES}.items():
        (folder / name).write_text(textwrap.dedent(source))
    package = importlib.import_module("viz_diffusion.lessons")
    package.__path__.append(str(folder.parent))
    texts = load_texts("en")
    for module in (catalogue, console):
        monkeypatch.setattr(module, "load_texts", lambda lang="en": Texts(lang, {**texts, **WORDS}))
    all_lessons.cache_clear()
    yield
    package.__path__.remove(str(folder.parent))
    all_lessons.cache_clear()
    for name in [name for name in sys.modules if name.startswith("viz_diffusion.lessons.pebbles")]:
        del sys.modules[name]
    vars(package).pop("pebbles", None)


@pytest.mark.usefixtures("pebbles")
def test_a_new_lesson_is_its_folder_and_its_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is listed in its place, measured, drawn and put into words, without a change of anything else."""
    assert main(["lessons", "--json"]) == 0
    names = [one["name"] for one in json.loads(capsys.readouterr().out)["lessons"]]
    assert names[names.index("pebbles") - 1 : names.index("pebbles") + 2] == ["network", "pebbles", "guidance"]
    assert main(["lesson", "pebbles", "--run", "bundled", "--out", str(tmp_path / "out"), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["pebbles"] > 10
    assert said["answers"] == [{"question": "Are there many?", "verdict": "Yes", "text": f"Yes, {said['pebbles']}."}]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"pebbles.png", "pebbles.svg", "pebbles.json"}
    assert main(["lesson", "pebble", "--run", "bundled"]) == 2
    assert "pebbles" in capsys.readouterr().err


def test_the_folders_of_all_lessons_are_alike() -> None:
    """Each has its declaration, its figures and what it measures; names and folders agree."""
    for lesson in all_lessons():
        folder = Path(base.__file__).parent / lesson.name
        modules = {path.stem for path in folder.glob("*.py")}
        assert {"__init__", "lesson", "figures"} < modules, lesson.name
        sources = {name: (folder / f"{name}.py").read_text("utf-8") for name in modules}
        assert "torch" not in sources["figures"], lesson.name
        assert [name for name, text in sources.items() if "LESSON = Lesson(" in text] == ["lesson"]
        assert all(len(text.splitlines()) <= 300 for text in sources.values()), lesson.name


def test_lessons_are_listed_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lessons", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)["lessons"]
    assert [one["name"] for one in listed] == [lesson.name for lesson in all_lessons()]
    assert all(one["seconds"] <= one["seconds_full"] for one in listed)


def test_the_list_says_what_the_lessons_declare() -> None:
    """It reads the declarations without running them."""
    for lesson, listed in zip(all_lessons(), listed_lessons(), strict=True):
        for field in fields(listed):
            assert getattr(listed, field.name) == getattr(lesson, field.name), (lesson.name, field.name)


def test_the_command_shows_the_numbers_of_the_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Full results that ship with the weights, not smaller ones that were measured for this command."""
    assert main(["lesson", "guidance", "--run", "bundled", "--out", str(tmp_path), "--json"]) == 0
    out, err = capsys.readouterr()
    said = json.loads(out)
    assert (said["full"], said["guidance_count"]) == (True, 500)
    assert not any(line.startswith(("Sampling", "Measuring")) for line in err.splitlines())


@pytest.mark.parametrize("argv", [["nosing"], ["noising", "--digit", "10"], ["noising", "--seed", "-1"]])
def test_what_cannot_be_is_refused(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lesson", *argv]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
