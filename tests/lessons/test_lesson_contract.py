"""What every lesson must keep to: words for each outcome, shared traces, full results bound to their weights."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from lesson_context import make_context, mute

from viz_diffusion.cli import main
from viz_diffusion.diffusion.oracles import TruthOracle
from viz_diffusion.diffusion.samplers import ImageNoise
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.lessons.base import all_lessons, choose_lessons
from viz_diffusion.lessons.context import TRACED_SEED, record_traces
from viz_diffusion.text.catalogue import languages, load_texts


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
    assert "How is a digit destroyed?" in err
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


def test_lessons_are_listed_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lessons", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)["lessons"]
    assert [one["name"] for one in listed] == [lesson.name for lesson in all_lessons()]
    assert all(one["seconds"] <= one["seconds_full"] for one in listed)


@pytest.mark.parametrize("argv", [["nosing"], ["noising", "--digit", "10"], ["noising", "--seed", "-1"]])
def test_what_cannot_be_is_refused(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lesson", *argv]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
