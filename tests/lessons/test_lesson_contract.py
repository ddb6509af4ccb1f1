"""What every lesson must keep to: words for each outcome, shared traces, full results bound to their weights."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from lesson_context import make_context, mute

from viz_diffusion.cli import main
from viz_diffusion.diffusion.oracles import TruthOracle
from viz_diffusion.diffusion.samplers import ImageNoise
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.errors import VizdiffInputError, VizdiffUsageError
from viz_diffusion.lessons.base import Claim, Finding, Lesson, Part, Rows, all_lessons, choose_lessons
from viz_diffusion.lessons.context import TRACED_SEED, record_traces
from viz_diffusion.lessons.precomputed import SHIPPED_DIR, ship, shipped_finding, shipped_parts
from viz_diffusion.text.catalogue import languages, load_texts


def test_names_and_places_are_all_different() -> None:
    lessons = all_lessons()
    assert len({lesson.name for lesson in lessons}) == len({lesson.order for lesson in lessons}) == len(lessons)
    assert all(set(lesson.advanced) <= set(lesson.figures) for lesson in lessons)
    assert all(set(lesson.of_digit) <= set(lesson.figures) for lesson in lessons)
    assert all(lesson.asks and set(lesson.asks) <= set(lesson.figures) for lesson in lessons)  # each has an exercise


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


@dataclass(frozen=True, eq=False)
class Inner:
    """Of Data."""

    names: tuple[str, ...]
    values: np.ndarray


@dataclass(frozen=True, eq=False)
class Data:
    """One of everything that can ship."""

    pixels: np.ndarray
    inner: Inner
    rows: tuple[Inner, ...]
    share: float | None
    count: int


@dataclass(frozen=True, eq=False)
class Whole:
    """A slow part, and what depends on the recording."""

    slow: Data
    digit: int


LESSON = Lesson(
    "stub",
    1,
    lambda _: None,
    lambda _: {},
    lambda data: {"sum": float(data.pixels.sum()), "count": data.count},
    lambda _facts, _texts: Rows(("a",), (("b",),)),
    claims=lambda data: (Claim("many", data.count > 3, {"share": data.share}),),
    data=Data,
)


def example() -> Data:
    inner = Inner(("a", "b"), np.array([1, -2], dtype=np.int64))
    return Data(np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3), inner, (inner, inner), None, 4)


def test_what_ships_comes_back_bit_for_bit_for_its_own_weights_alone(tmp_path: Path) -> None:
    ship(Finding.of(LESSON, example(), full=True), "abc", {"seconds": 1.5}, tmp_path)
    found = shipped_finding(LESSON, "abc", tmp_path)
    assert found is not None
    assert found.shipped
    assert found.full
    assert found.data.pixels.dtype == np.float32
    assert np.array_equal(found.data.pixels, example().pixels)
    assert np.array_equal(found.data.rows[1].values, [1, -2])
    assert found.data.inner.names == ("a", "b")
    assert found.data.share is None
    assert found.claims == (Claim("many", True, {"share": None}),)
    assert shipped_finding(LESSON, "abd", tmp_path) is None
    assert shipped_finding(replace(LESSON, name="other"), "abc", tmp_path) is None


def test_quick_results_do_not_ship(tmp_path: Path) -> None:
    with pytest.raises(VizdiffUsageError, match="only full results"):
        ship(Finding.of(LESSON, example(), full=False), "abc", {}, tmp_path)


def test_a_damaged_shipped_file_is_named(tmp_path: Path) -> None:
    path = ship(Finding.of(LESSON, example(), full=True), "abc", {}, tmp_path)
    values = json.loads(path.read_text())
    values["data"]["pixels"]["shape"] = [5, 3]
    path.write_text(json.dumps(values))
    with pytest.raises(VizdiffInputError, match=r"stub\.json does not fit"):
        shipped_finding(LESSON, "abc", tmp_path)


def test_what_ships_with_the_package_fits_its_lessons() -> None:
    for path in SHIPPED_DIR.glob("*.json"):
        lesson, weights = choose_lessons(path.stem)[0], json.loads(path.read_text())["weights_sha256"]
        found = shipped_finding(lesson, weights) or shipped_parts([lesson], weights).get(lesson.name)
        assert found is not None, path


def test_a_slow_part_ships_alone_and_is_not_measured_again(tmp_path: Path) -> None:
    """What came with the weights is taken; with other weights it is measured, and both are told apart."""
    whole = Lesson(
        "stub",
        1,
        lambda context: Whole(context.take("stub", lambda _: example()), context.digit),
        lambda _: {},
        lambda data: {"digit": data.digit},
        lambda _facts, _texts: Rows(("a",), (("b",),)),
        part=Part(Data, lambda _: example()),
    )
    context = make_context(mute(), full=True)
    ship(Finding.measure(whole, context), "abc", {}, tmp_path)
    known = shipped_parts([whole, LESSON], "abc", tmp_path)
    assert list(known) == ["stub"]
    assert shipped_parts([whole], "abd", tmp_path) == {}
    changed = replace(known["stub"], count=77)
    found = Finding.measure(whole, make_context(mute(), digit=3, known={"stub": changed}))
    assert found.shipped
    assert (found.data.slow.count, found.data.digit) == (77, 3)
    assert not Finding.measure(whole, make_context(mute())).shipped
    with pytest.raises(VizdiffUsageError, match="only full results"):
        ship(found, "abc", {}, tmp_path)  # it was not measured here


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
