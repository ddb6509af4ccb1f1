"""A study on disk: found again as it was, only where it belongs; damage, other processes and the disk's limits."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lesson_context import make_context, with_comparison_runs
from lesson_data import same

from viz_diffusion.files import cache_dir
from viz_diffusion.lessons.base import Finding, all_lessons
from viz_diffusion.lessons.context import LessonContext
from viz_diffusion.recording.comparison_runs import ComparisonRuns
from viz_diffusion.study.lesson_plan import LessonPlan
from viz_diffusion.study.stored_study import Recordings, StoredStudy
from viz_diffusion.study.study_folders import studies_dir
from viz_diffusion.study.study_identity import recorded_generation, study_identity
from viz_diffusion.training.run import Run

WEIGHTS = Run.bundled().load_model()[1]
CORE = [lesson for lesson in all_lessons() if lesson.core]
QUICK = [lesson for lesson in CORE if lesson.name in ("noising", "guess", "spellings", "label", "network")]
PLAN = LessonPlan.choose(None, Run.bundled().config, WEIGHTS)


@pytest.fixture(scope="module")
def context() -> LessonContext:
    """Return a recording of seven steps with comparison runs, and everything that ships."""
    made = with_comparison_runs(make_context(recorded_steps=7, precomputed=PLAN.shipped, measure_slow=False))
    return replace(made, recorded=replace(made.trajectory, weights_sha256=WEIGHTS))


@pytest.fixture(scope="module")
def recordings(context: LessonContext) -> Recordings:
    return Recordings(context.trajectory, ComparisonRuns(context.comparison_runs, ()))


@pytest.fixture(scope="module")
def findings(context: LessonContext) -> dict[str, Finding]:
    return {lesson.name: Finding.measure(lesson, context) for lesson in QUICK}


class Opened:
    """A kept study with what it remarked."""

    def __init__(self, trajectory: Any, **values: Any) -> None:
        self.remarks: list[tuple[str, Any]] = []
        identity = study_identity(recorded_generation(trajectory), Run.bundled(), "cpu")
        self.stored = StoredStudy(identity, lambda key, **said: self.remarks.append((key, said)), **values)


@pytest.fixture
def opened(context: LessonContext) -> Callable[..., Opened]:
    return lambda **values: Opened(context.trajectory, **values)


@pytest.fixture
def kept(opened: Callable[..., Opened], recordings: Recordings, findings: dict[str, Finding]) -> Path:
    """Return the folder of a study with everything in it."""
    stored = opened().stored
    assert recordings.trajectory is not None
    assert recordings.comparison_runs is not None
    stored.keep_recording(recordings.trajectory)
    stored.keep_comparison_runs(recordings.comparison_runs, recordings.trajectory)
    for finding in findings.values():
        stored.keep_finding(finding, PLAN, recordings)
    return stored.folder


# -- found again ------------------------------------------------------------------------------------


def test_what_is_kept_is_found_as_it_was(
    kept: Path, opened: Callable[..., Opened], recordings: Recordings, findings: dict[str, Finding]
) -> None:
    again = opened()
    recording = again.stored.recording()
    assert recording is not None
    assert recordings.trajectory is not None
    for name in ("x_t", "eps_pred", "x0_pred", "x0", "timesteps", "labels", "seeds", "eps_cond", "eps_uncond"):
        assert np.array_equal(getattr(recording, name), getattr(recordings.trajectory, name)), name
    runs = again.stored.comparison_runs(recording)
    assert runs is not None
    found = Recordings(recording, runs)
    for lesson in QUICK:
        finding = again.stored.finding(lesson, PLAN, found)
        assert finding is not None, lesson.name
        assert finding.to_dict() == findings[lesson.name].to_dict()
        assert same(finding.data, findings[lesson.name].data), lesson.name
        assert (finding.full, finding.precomputed) == (findings[lesson.name].full, findings[lesson.name].precomputed)
    assert again.remarks == []
    assert {path.suffix for path in kept.iterdir()} == {".json", ".zip", ".npz"}
    assert (kept.stat().st_mode & 0o777) == 0o700 or os.name == "nt"


@pytest.mark.usefixtures("kept")
def test_pictures_that_ship_are_there_again(opened: Callable[..., Opened], recordings: Recordings) -> None:
    lesson = next(lesson for lesson in QUICK if lesson.name == "guess")
    finding = opened().stored.finding(lesson, PLAN, recordings)
    assert finding is not None
    assert set(finding.pictures("en")) == {"ideal"}


def test_what_ships_whole_is_not_kept_once_more(opened: Callable[..., Opened], recordings: Recordings) -> None:
    lesson = next(lesson for lesson in PLAN.lessons if not lesson.core)
    finding = PLAN.find(lesson, lambda: pytest.fail("something was measured"))
    assert (finding.full, finding.precomputed) == (True, True)
    opened().stored.keep_finding(finding, PLAN, recordings)
    assert not studies_dir().exists()


# -- only where it belongs --------------------------------------------------------------------------


@pytest.mark.usefixtures("kept")
@pytest.mark.parametrize("name", ["guess", "label"])
def test_a_changed_recording_is_measured_anew(name: str, opened: Callable[..., Opened], recordings: Recordings) -> None:
    """One value of one pixel; the comparison runs' too, for the lesson that measures them."""
    lesson = next(lesson for lesson in QUICK if lesson.name == name)
    assert recordings.trajectory is not None
    assert recordings.comparison_runs is not None
    x_t = recordings.trajectory.x_t.copy()
    x_t[0, 3, 0, 5, 5] += 1e-6
    changed = replace(recordings, trajectory=replace(recordings.trajectory, x_t=x_t))
    assert opened().stored.finding(lesson, PLAN, changed) is None
    first, *rest = recordings.comparison_runs.others
    other = ComparisonRuns((replace(first, x_t=-first.x_t), *rest), ())
    found = opened().stored.finding(lesson, PLAN, replace(recordings, comparison_runs=other))
    assert (found is None) == (name == "label")
    assert opened().stored.finding(lesson, PLAN, recordings) is not None


def test_another_recording_in_its_place_is_not_taken(
    kept: Path, opened: Callable[..., Opened], recordings: Recordings
) -> None:
    assert recordings.trajectory is not None
    other = replace(recordings.trajectory, seeds=recordings.trajectory.seeds + 1)
    other.save(kept / "recording.zip")
    again = opened()
    assert again.stored.recording() is None
    assert again.remarks == [("study_damaged", {"path": kept / "recording.zip"})]


def test_fuller_results_are_taken_and_poorer_ones_are_not(
    opened: Callable[..., Opened], recordings: Recordings, findings: dict[str, Finding]
) -> None:
    lesson = findings["noising"].lesson
    quick, full = replace(PLAN, full=False), replace(PLAN, full=True)
    opened().stored.keep_finding(findings["noising"], quick, recordings)
    assert opened().stored.finding(lesson, full, recordings) is None
    opened().stored.keep_finding(findings["noising"], full, recordings)
    found = opened().stored.finding(lesson, quick, recordings)
    assert found is not None
    assert found.full
    lesson = findings["guess"].lesson
    slow = replace(PLAN, shipped={}, measure_slow=True)
    opened().stored.keep_finding(findings["guess"], replace(slow, measure_slow=False), recordings)
    assert opened().stored.finding(lesson, slow, recordings) is None


@pytest.mark.parametrize("damage", ["cut", "flipped", "emptied", "text"])
@pytest.mark.parametrize("name", ["recording.zip", "comparison_runs.npz", "lesson_guess.npz"])
def test_a_damaged_file_is_named_and_made_anew(
    name: str,
    damage: str,
    kept: Path,
    opened: Callable[..., Opened],
    recordings: Recordings,
    findings: dict[str, Finding],
) -> None:
    path = kept / name
    data = bytearray(path.read_bytes())
    if damage == "cut":
        del data[len(data) // 2 :]
    elif damage == "flipped":
        data[len(data) // 3] ^= 0xFF
    else:
        data = bytearray(b"" if damage == "emptied" else b"not an archive")
    path.write_bytes(data)
    assert recordings.trajectory is not None
    assert recordings.comparison_runs is not None

    def find(stored: StoredStudy) -> Any:
        assert recordings.trajectory is not None
        if name == "recording.zip":
            return stored.recording()
        if name == "comparison_runs.npz":
            return stored.comparison_runs(recordings.trajectory)
        return stored.finding(findings["guess"].lesson, PLAN, recordings)

    again = opened()
    assert find(again.stored) is None
    assert again.remarks == [("study_damaged", {"path": path})]
    again.stored.keep_recording(recordings.trajectory)
    again.stored.keep_comparison_runs(recordings.comparison_runs, recordings.trajectory)
    again.stored.keep_finding(findings["guess"], PLAN, recordings)
    fresh = opened()
    assert find(fresh.stored) is not None
    assert fresh.remarks == []


def test_a_cache_that_cannot_be_written_is_said_once(
    opened: Callable[..., Opened], recordings: Recordings, findings: dict[str, Finding]
) -> None:
    cache_dir().mkdir(parents=True)
    studies_dir().write_text("a file in the place of the folder")
    made = opened()
    assert made.stored.recording() is None
    for finding in findings.values():
        made.stored.keep_finding(finding, PLAN, recordings)
    made.stored.trim()
    assert [key for key, _ in made.remarks] == ["study_not_kept"]
    assert str(studies_dir()) in made.remarks[0][1]["reason"]


def test_a_study_that_is_made_anew_keeps_nothing_of_the_old_one(
    kept: Path, opened: Callable[..., Opened], recordings: Recordings, findings: dict[str, Finding]
) -> None:
    anew = opened(anew=True)
    assert anew.stored.recording() is None
    assert anew.stored.finding(findings["guess"].lesson, PLAN, recordings) is None
    assert (kept / "recording.zip").is_file(), "until there is something new, the old one stays"
    anew.stored.keep_finding(findings["guess"], PLAN, recordings)
    assert {path.name for path in kept.iterdir()} == {"study.json", "lesson_guess.npz"}
    assert anew.stored.finding(findings["guess"].lesson, PLAN, recordings) is not None
    assert anew.remarks == []


def test_what_ships_and_what_was_measured_in_its_place_are_not_mixed(
    opened: Callable[..., Opened], recordings: Recordings, findings: dict[str, Finding]
) -> None:
    """A lesson of which a part ships, measured again in whole: a report shows the shipped part with its own numbers."""
    finding = findings["guess"]
    anew = LessonPlan.choose([finding.lesson], Run.bundled().config, WEIGHTS, anew=True)
    assert anew.shipped == {}
    assert finding.lesson.result in PLAN.shipped
    stored = opened().stored
    stored.keep_finding(finding, anew, recordings)
    assert stored.finding(finding.lesson, anew, recordings) is not None
    assert stored.finding(finding.lesson, PLAN, recordings) is None


# -- two at once, and the size of all ---------------------------------------------------------------


def test_studies_that_are_made_at_once_do_not_destroy_each_other(
    opened: Callable[..., Opened], recordings: Recordings, findings: dict[str, Finding]
) -> None:
    """Four writers and readers of one study, while a fifth makes room on the disk."""
    assert recordings.trajectory is not None
    made = [opened() for _ in range(4)]
    begin, failures = threading.Barrier(5), []

    def work(one: Opened) -> None:
        try:
            begin.wait()
            for _ in range(2):
                one.stored.keep_recording(recordings.trajectory)
                for finding in (findings["noising"], findings["guess"]):
                    one.stored.keep_finding(finding, PLAN, recordings)
                    again = one.stored.finding(finding.lesson, PLAN, recordings)
                    assert again is not None
                    assert again.to_dict() == finding.to_dict()
                assert one.stored.recording() is not None
        except BaseException as error:
            failures.append(error)

    def tidy() -> None:
        begin.wait()
        for _ in range(20):
            made[0].stored.trim()

    threads = [threading.Thread(target=work, args=(one,)) for one in made] + [threading.Thread(target=tidy)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert [one.remarks for one in made] == [[]] * 4
    assert not [path for path in made[0].stored.folder.iterdir() if path.name.startswith(".")]
