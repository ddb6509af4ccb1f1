"""Precomputed results: bit for bit, for their own weights only, and the figures that this version draws of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from lesson_context import make_context, mute

from viz_diffusion.errors import VizdiffInputError, VizdiffUsageError
from viz_diffusion.files import read_json, sha256_bytes, write_json
from viz_diffusion.lessons.base import (
    AnyLesson,
    Claim,
    Finding,
    Lesson,
    LessonFigure,
    Precomputed,
    Rows,
    all_lessons,
    choose_lessons,
)
from viz_diffusion.lessons.precomputed import (
    PRECOMPUTED_DIR,
    load_pictures,
    load_results,
    refresh_facts,
    save_pictures,
    save_results,
)

LESSONS = [lesson for lesson in all_lessons() if lesson.precomputed is not None]


@dataclass(frozen=True, eq=False)
class Inner:
    """Of Results."""

    names: tuple[str, ...]
    values: np.ndarray


@dataclass(frozen=True, eq=False)
class Results:
    """One of everything that can be precomputed."""

    pixels: np.ndarray
    inner: Inner
    rows: tuple[Inner, ...]
    share: float | None
    count: int


@dataclass(frozen=True, eq=False)
class Whole:
    """Results, and what depends on the recording."""

    slow: Results | None
    digit: int


@dataclass(frozen=True)
class WholeFacts:
    """Of Whole."""

    count: int | None
    digit: int


def example() -> Results:
    inner = Inner(("a", "b"), np.array([1, -2], dtype=np.int64))
    return Results(np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3), inner, (inner, inner), None, 4)


PRECOMPUTED = Precomputed(Results, lambda _: example(), (LessonFigure("drawn"), LessonFigure("other")))
WHOLE = Lesson(
    name="stub",
    position=1,
    precomputed=PRECOMPUTED,
    facts=lambda data: WholeFacts(data.count, 5),
    claims=lambda data: (Claim("many", data.count > 3, {"share": data.share}),),
    rows=lambda _facts, _texts: Rows(("a",), (("b",),)),
    draw=lambda _: {},
)
PARTLY = Lesson(
    name="stub",
    position=1,
    measure=lambda context: Whole(PRECOMPUTED.results(context), context.digit),
    precomputed=PRECOMPUTED,
    facts=lambda data: WholeFacts(None if data.slow is None else data.slow.count, data.digit),
    rows=lambda _facts, _texts: Rows(("a",), (("b",),)),
    draw=lambda _: {},
)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """Return a folder with the results and figures of WHOLE for the weights ``abc``."""
    save_results(Finding.of(WHOLE, example(), full=True), "abc", {"seconds": 1.5}, tmp_path)
    save_pictures(WHOLE, {"en": {"drawn": b"one", "other": b"two"}}, "matplotlib 0", tmp_path)
    return tmp_path


@pytest.mark.parametrize("lesson", [WHOLE, PARTLY], ids=["the whole lesson", "a part"])
def test_results_come_back_bit_for_bit(lesson: AnyLesson, tmp_path: Path) -> None:
    measured = Finding.measure(lesson, make_context(mute(), full=True))
    save_results(measured, "abc", {"seconds": 1.5}, tmp_path)
    found = load_results([lesson], "abc", tmp_path)[Results]
    assert found.pixels.dtype == np.float32
    assert np.array_equal(found.pixels, example().pixels)
    assert np.array_equal(found.rows[1].values, [1, -2])
    assert found.inner.names == ("a", "b")
    assert (found.share, found.count) == (None, 4)
    back = Finding.measure(lesson, make_context(mute(), precomputed={Results: found}))
    assert back.precomputed
    assert back.full
    assert (back.facts, back.claims) == (measured.facts, measured.claims)


def test_results_of_two_networks_ship_for_both(tmp_path: Path) -> None:
    """Such as those that compare the bundled network with the one in latents: each one's report shows them."""

    @dataclass(frozen=True, eq=False)
    class Compared:
        other_sha256: str
        missing_sha256: str | None = None

    def only(also_of: tuple[str, ...]) -> AnyLesson:
        return replace(WHOLE, precomputed=Precomputed(Compared, lambda _: Compared("def"), (), also_of=also_of))

    for also_of, weights in ((("other_sha256", "missing_sha256"), ("abc", "def")), ((), ("abc",))):
        lesson = replace(only(also_of), facts=lambda _: WholeFacts(1, 5), claims=lambda _: ())
        save_results(Finding.of(lesson, Compared("def"), full=True), "abc", {}, tmp_path)
        found = [one for one in ("abc", "def", "ghi") if load_results([lesson], one, tmp_path)]
        assert tuple(found) == weights


def test_results_belong_to_their_weights_and_their_lesson(saved: Path) -> None:
    assert list(load_results([WHOLE], "abc", saved)) == [Results]
    assert load_pictures(WHOLE, "abc", "en", saved) == {"drawn": b"one", "other": b"two"}
    for lesson, weights in ((WHOLE, "abd"), (replace(WHOLE, name="other"), "abc"), (all_lessons()[0], "abc")):
        assert load_results([lesson], weights, saved) == {}
        assert load_pictures(lesson, weights, "en", saved) == {}
    assert all(load_pictures(lesson, "0" * 64, "en") == {} for lesson in LESSONS)


def test_a_part_that_is_precomputed_is_not_measured_again() -> None:
    """Of other weights it is measured, or left out where only quick things are, and the findings differ."""
    changed = replace(example(), count=77)
    found = Finding.measure(PARTLY, make_context(mute(), digit=3, precomputed={Results: changed}))
    assert (found.precomputed, found.facts) == (True, WholeFacts(77, 3))
    measured = Finding.measure(PARTLY, make_context(mute()))
    assert (measured.precomputed, measured.facts) == (False, WholeFacts(4, 5))
    without = Finding.measure(PARTLY, make_context(mute(), measure_slow=False))
    assert (without.precomputed, without.facts) == (False, WholeFacts(None, 5))


def test_only_what_was_measured_in_full_is_saved(tmp_path: Path) -> None:
    quick = Finding.of(WHOLE, example(), full=False)
    known = Finding.measure(WHOLE, make_context(mute(), precomputed={Results: example()}))
    other = Finding.of(replace(PARTLY, precomputed=None), Whole(None, 5), full=True)
    for finding in (quick, known, other):
        with pytest.raises(VizdiffUsageError, match="only full results"):
            save_results(finding, "abc", {}, tmp_path)
    with pytest.raises(VizdiffUsageError, match="a set cannot ship"):
        save_results(Finding.of(WHOLE, replace(example(), share={1}), full=True), "abc", {}, tmp_path)
    pickled = replace(example(), pixels=np.array([example()], dtype=object))
    with pytest.raises(VizdiffUsageError, match="a ndarray cannot ship"):
        save_results(Finding.of(WHOLE, pickled, full=True), "abc", {}, tmp_path)


def test_figures_that_are_no_longer_drawn_are_removed(saved: Path) -> None:
    save_pictures(WHOLE, {"en": {"drawn": b"three"}}, "matplotlib 1", saved)
    assert {path.name for path in saved.iterdir()} == {"stub.json", "stub.npz", "stub.drawn.en.svgz"}
    assert load_pictures(WHOLE, "abc", "en", saved) == {"drawn": b"three"}
    assert list(load_results([WHOLE], "abc", saved)) == [Results]


def spoil_json(folder: Path, change: Callable[[dict[str, object]], object]) -> None:
    values = json.loads((folder / "stub.json").read_text())
    change(values)
    (folder / "stub.json").write_text(json.dumps(values))


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "a bit of an array": (
        lambda at: (at / "stub.npz").write_bytes((at / "stub.npz").read_bytes()[:-1] + b"x"),
        r"stub\.npz is damaged",
    ),
    "half of the arrays": (
        lambda at: (at / "stub.npz").write_bytes((at / "stub.npz").read_bytes()[:99]),
        r"stub\.npz is damaged",
    ),
    "no arrays": (lambda at: (at / "stub.npz").unlink(), r"stub\.npz is missing"),
    "a figure": (lambda at: (at / "stub.other.en.svgz").write_bytes(b"twp"), r"stub\.other\.en\.svgz is damaged"),
    "no figure": (lambda at: (at / "stub.other.en.svgz").unlink(), r"stub\.other\.en\.svgz is missing"),
    "half of the JSON": (lambda at: (at / "stub.json").write_text("{"), r"stub\.json is not readable JSON"),
    "no checksums": (
        lambda at: spoil_json(at, lambda values: values.pop("sha256")),
        r"stub\.json does not fit this version",
    ),
    "no data": (lambda at: spoil_json(at, lambda values: values.pop("data")), r"stub\.json does not fit this version"),
    "an array that is not there": (
        lambda at: spoil_json(at, lambda values: values["data"].update(pixels={"array": "pixel"})),
        r"stub\.json does not fit this version",
    ),
    "a field that is not there": (
        lambda at: spoil_json(at, lambda values: values["data"].pop("count")),
        r"stub\.json does not fit this version \('count'\)",
    ),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_file_is_named_in_one_line(name: str, saved: Path) -> None:
    damage, words = DAMAGES[name]
    damage(saved)

    def load() -> None:
        load_results([WHOLE], "abc", saved)
        load_pictures(WHOLE, "abc", "en", saved)

    with pytest.raises(VizdiffInputError, match=words) as caught:
        load()
    assert "\n" not in str(caught.value)


def test_arrays_that_would_run_code_are_refused(saved: Path) -> None:
    """An object array is a pickle; with the right checksum only ``allow_pickle=False`` stands in its way."""
    buffer = BytesIO()
    np.savez(buffer, pixels=np.array([{}], dtype=object))
    pickled = buffer.getvalue()
    (saved / "stub.npz").write_bytes(pickled)
    spoil_json(saved, lambda values: values["sha256"].update(npz=sha256_bytes(pickled)))
    with pytest.raises(VizdiffInputError, match="allow_pickle=False"):
        load_results([WHOLE], "abc", saved)


def test_facts_are_stated_again_from_the_results_that_ship(tmp_path: Path) -> None:
    """Only of a lesson that is precomputed as a whole; nothing else in the file changes."""
    source = PRECOMPUTED_DIR / "mistakes.json"
    stale = read_json(source) | {"facts": {"gone": 1}}
    write_json(tmp_path / "mistakes.json", stale)
    (lesson,) = choose_lessons("mistakes")
    data = load_results([lesson], stale["weights_sha256"])[lesson.result]
    refresh_facts(Finding.of(lesson, data, full=True, precomputed=True), tmp_path)
    found = read_json(tmp_path / "mistakes.json")
    assert found["facts"]["samples"] == data.samples
    assert found["facts"]["shipped"] is False
    assert {**found, "facts": 0} == {**stale, "facts": 0}
    (partly,) = choose_lessons("label")
    refresh_facts(Finding(partly, None, None), tmp_path)
    assert not (tmp_path / "label.json").exists()
