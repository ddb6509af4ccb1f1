"""Slides on what a run has and others have not: latents, prompts, latents of two numbers."""

from __future__ import annotations

from dataclasses import replace

import pytest
from deck_fakes import COMMAND, Made, undrawn

from viz_diffusion.deck.outline import OUTLINE
from viz_diffusion.deck.selection import Selection
from viz_diffusion.deck.slide_plan import DeckPlan
from viz_diffusion.deck.slide_writer import SlideWriter
from viz_diffusion.files import read_json
from viz_diffusion.lessons.base import all_lessons
from viz_diffusion.study.lesson_plan import LessonPlan
from viz_diffusion.study.narrative import narrate
from viz_diffusion.study.study import Study
from viz_diffusion.training.run import MANIFEST, WEIGHTS, Run


@pytest.mark.parametrize(
    ("name", "own", "shown"),
    [
        ("bundled-latent", "latent", {"latent_space", "latent_quality"}),
        ("bundled-latent-2d", "latent", {"latent_space", "latent_map"}),
        ("bundled-text", "text", {"prompts"}),
    ],
)
def test_every_lecture_on_latents_or_prompts_has_the_slides_of_its_own_lesson(
    made: Made, name: str, own: str, shown: set[str]
) -> None:
    run = Run.choose(name)
    digest = read_json(run.path / MANIFEST)["sha256"][WEIGHTS]
    plan = LessonPlan.choose([one for one in all_lessons() if one.name == own], run.config, digest)
    (finding,) = (undrawn(plan.find(one, pytest.fail), one.figure_names) for one in plan.lessons)
    study = replace(made.study, findings=(*made.study.findings, finding))
    lessons = narrate(study.findings, study.recording, made.texts)

    def chosen(about: Study) -> set[str]:
        return {slide.name for slide in DeckPlan.choose(about, lessons, Selection(20), film=False).chosen}

    assert shown <= chosen(replace(study, run=run))
    assert not shown & chosen(study)  # a control: of the bundled run these are slides for a longer lecture
    assert ("latent_map" in chosen(replace(study, run=run))) == (name == "bundled-latent-2d")


@pytest.mark.parametrize(("name", "measured"), [("latent", "bundled-latent"), ("text", "bundled-text")])
def test_the_notes_of_slides_on_other_runs_name_them(made: Made, name: str, measured: str) -> None:
    run = Run.choose("bundled-latent-text")
    digest = read_json(run.path / MANIFEST)["sha256"][WEIGHTS]
    plan = LessonPlan.choose(None, run.config, digest)
    (finding,) = (undrawn(plan.find(one, pytest.fail), one.figure_names) for one in plan.lessons if one.name == name)
    study = replace(made.study, run=run, findings=(*made.study.findings, finding))
    lessons = narrate(study.findings, study.recording, made.texts)
    writer = SlideWriter(study, lessons, made.texts, COMMAND, {}, None)
    owned = [slide for slide in OUTLINE if slide.figure in finding.lesson.figure_names]
    assert owned
    for slide in owned:
        named = {"latent_map": "bundled-latent-2d.", "stable_diffusion": ""}.get(slide.figure, f"{measured}.")
        notes = writer.notes(slide, lessons[-1])
        assert notes.endswith(made.texts("deck.notes_run", run=named.rstrip("."))) if named else measured not in notes
    strip = next(slide for slide in OUTLINE if slide.name == "strip")
    assert measured not in writer.notes(strip, writer.owners["steps"][0])
