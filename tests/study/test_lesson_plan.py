"""Which lessons a report has unasked, and whose results stand in it."""

from __future__ import annotations

from typing import Any

import pytest

from viz_diffusion.files import read_json
from viz_diffusion.lessons.base import AnyLesson, all_lessons
from viz_diffusion.lessons.precomputed import load_pictures
from viz_diffusion.study.lesson_plan import LessonPlan
from viz_diffusion.training.bundled_runs import BUNDLED_RUNS
from viz_diffusion.training.run import MANIFEST, WEIGHTS, Run
from viz_diffusion.training.text_run import with_prompts

JOINT = "bundled-latent-text"


def weights_of(name: str) -> str:
    return str(read_json(BUNDLED_RUNS[name] / MANIFEST)["sha256"][WEIGHTS])


def planned(run: str, weights: str = "", **options: Any) -> LessonPlan:
    lessons = options.pop("lessons", None)
    return LessonPlan.choose(lessons, Run.choose(run).config, weights or weights_of(run), **options)


def lesson(name: str) -> AnyLesson:
    return next(one for one in all_lessons() if one.name == name)


def shown(plan: LessonPlan) -> set[str]:
    return {one.name for one in plan.lessons} & {"latent", "text"}


def test_the_run_in_latents_with_prompts_has_the_chapters_on_both_from_the_runs_they_are_about() -> None:
    plan = planned(JOINT)
    assert plan.others == {"latent": weights_of("bundled-latent"), "text": weights_of("bundled-text")}
    for name, weights in plan.others.items():
        assert plan.ships_whole(lesson(name))
        finding = plan.find(lesson(name), pytest.fail)
        assert finding.precomputed
        pictures = finding.pictures("en")
        assert pictures == load_pictures(lesson(name), weights, "en")
        assert pictures


def test_results_of_other_runs_stand_only_where_nothing_was_named_and_the_run_is_bundled() -> None:
    assert shown(planned(JOINT)) == {"latent", "text"}
    assert shown(planned(JOINT, weights="0" * 64)) == set()  # a run of one's own: what is not measured is not there
    assert not planned(JOINT, anew=True).others
    named = planned(JOINT, lessons=[lesson("latent"), lesson("text")])
    assert (named.others, named.shipped) == ({}, {})
    assert not any(map(named.ships_whole, named.lessons))


def test_chosen_prompts_leave_out_no_chapter_that_shows_what_was_measured_on_another_run() -> None:
    config = with_prompts(Run.choose(JOINT).config, ["a thin seven"])
    plan = LessonPlan.choose(None, config, weights_of(JOINT))
    assert shown(plan) == {"latent", "text"}
    assert not {"latent", "text"} & {one.name for one, _ in plan.left_out}
    named = LessonPlan.choose([lesson("latent")], config, weights_of(JOINT))
    assert named.ships_whole(lesson("latent"))  # measured, it would be about the ten digits
    assert LessonPlan.choose([lesson("latent")], config, "0" * 64).left_out  # a run of one's own
    assert LessonPlan.choose([lesson("text")], config, weights_of(JOINT)).shipped == {}  # measured on the run itself


@pytest.mark.parametrize(
    ("run", "own"), [("bundled-latent", "latent"), ("bundled-latent-2d", "latent"), ("bundled-text", "text")]
)
def test_a_run_whose_own_results_ship_has_those(run: str, own: str) -> None:
    plan = planned(run)
    assert plan.others == {}
    assert shown(plan) == {own}
