"""Choice and contents of a deck's slides."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
from deck_fakes import COMMAND, Made, figure_command
from matplotlib.figure import Figure
from PIL import Image, ImageSequence

from viz_diffusion.deck.pictures import PictureRenderer, render_picture
from viz_diffusion.deck.slide_plan import MOST_SLIDES, plan_deck
from viz_diffusion.lessons.base import all_lessons
from viz_diffusion.plots.film_captions import counter_strip, strip_height
from viz_diffusion.plots.saving import figure_pixels
from viz_diffusion.study.narrative import Drawing
from viz_diffusion.views.frames import film_counts


def test_a_deck_has_twelve_to_twenty_four_slides_in_the_storys_order(made: Made) -> None:
    deck = made.deck()
    names = [slide.name for slide in deck.slides]
    assert 12 <= len(names) <= MOST_SLIDES == 24
    assert len(set(names)) == len(names)
    assert names[:2] == ["cover", "film"]
    assert names[-1] == "provenance"
    figures = [one.name for lesson in made.lessons for one in lesson.drawings[:2] if one.name not in lesson.advanced]
    assert [name for name in names if name in figures] == figures
    for needed in ("movie", "exercises_1", "corrections", "commands", "table_guess"):
        assert needed in names
    assert names.index("movie") == names.index("exercises_1") - 1
    assert not set(deck.left_out) & set(names)


def test_no_slide_repeats_another(made: Made) -> None:
    slides = {slide.name: slide for slide in made.deck().slides}
    assert "table_training" not in slides  # its numbers stand in the line of the loss
    for loss in made.study.facts()["lessons"]["training"]["heldout"]:
        assert f"{loss:.4f}" in slides["loss"].line
    assert slides["movie"].title != slides["film"].title
    assert slides["movie"].line != slides["film"].line
    lines = [slide.line for slide in slides.values() if slide.line]
    assert len(set(lines)) == len(lines)


def test_every_figure_slide_asks_or_names_says_and_carries_alt_text(made: Made) -> None:
    slides = {slide.name: slide for slide in made.deck().slides}
    for lesson in made.lessons:
        first, *others = [one for one in lesson.drawings[:2] if one.name not in lesson.advanced]
        assert slides[first.name].title == lesson.question
        assert lesson.say in slides[first.name].notes
        assert [slides[other.name].title for other in others] == [other.title for other in others]
        for drawing in (first, *others):
            slide = slides[drawing.name]
            assert slide.picture is not None
            assert slide.picture.alt == drawing.alt
            assert drawing.caption in slide.notes
            assert f"Command: {figure_command(lesson, drawing.name)}\n" in slide.notes
            assert f"Try this: {lesson.try_this}" in slide.notes
            assert 5 < len(slide.line) < 110


def test_an_exercise_asks_only_about_what_the_deck_shows(made: Made) -> None:
    deck = made.deck()
    shown = {slide.name for slide in deck.slides}
    exercises = {point.text for slide in deck.slides if slide.name.startswith("exercises") for point in slide.points}
    for lesson in made.lessons:
        assert (lesson.exercise in exercises) == shown.issuperset(lesson.in_exercise), lesson.name
    # Without room for the matrix there is no exercise on it.
    label = next(lesson for lesson in made.lessons if lesson.name == "label")
    assert label.in_exercise == ("label_embedding",)
    others = [
        replace(one, name=f"{one.name}_{k}", exercise="", drawings=(replace(one.drawings[0], name=f"f{k}"),))
        for k, one in enumerate(made.lessons)
    ]
    pictures = made.pictures | {f"f{k}": made.pictures["model"] for k in range(len(others))}
    deck = plan_deck(made.study, [*made.lessons, *others], pictures, made.film, COMMAND, figure_command, made.texts)
    assert "label_embedding" in deck.left_out
    texts = [point.text for slide in deck.slides for point in slide.points]
    assert label.exercise not in texts
    assert label.answer not in "".join(slide.notes for slide in deck.slides)
    step = next(lesson for lesson in made.lessons if lesson.name == "step")
    assert step.exercise in texts


def test_a_command_is_not_named_twice(made: Made) -> None:
    lesson = replace(made.lessons[0], try_this="vizdiff lesson noising --full")
    deck = plan_deck(
        made.study, [lesson], made.pictures, None, COMMAND, lambda *_: f"{lesson.try_this} --run bundled", made.texts
    )
    notes = next(slide.notes for slide in deck.slides if slide.name == lesson.drawings[0].name)
    assert notes.count(lesson.try_this) == 1


def test_a_picture_of_another_digit_says_so(made: Made) -> None:
    lesson = made.lessons[0]
    elsewhere = replace(lesson, other_digit={lesson.drawings[0].name: "Measured once, on the digit 7."})
    slides = {
        s.name: s
        for s in plan_deck(made.study, [elsewhere], made.pictures, None, COMMAND, figure_command, made.texts).slides
    }
    first, second = (slides[drawing.name] for drawing in lesson.drawings[:2])
    assert first.line.endswith("Measured once, on the digit 7.")
    assert first.caption.endswith("Measured once, on the digit 7.")
    assert "digit 7" not in second.line + second.caption


def test_a_figure_without_a_line_of_its_own_gets_its_captions_first_sentence(made: Made) -> None:
    lesson = made.lessons[0]
    stranger = replace(lesson.drawings[0], name="stranger", caption="It falls by 0.3 dB. The rest is long.")
    pictures = made.pictures | {"stranger": made.pictures["forward"]}
    deck = plan_deck(
        made.study, [replace(lesson, drawings=(stranger,))], pictures, None, COMMAND, figure_command, made.texts
    )
    assert next(slide for slide in deck.slides if slide.name == "stranger").line == "It falls by 0.3 dB."


def test_numbers_of_tables_and_notes_are_the_facts(made: Made) -> None:
    facts = made.study.facts()["lessons"]
    slides = {slide.name: slide for slide in made.deck().slides}
    guess = slides["table_guess"].table
    assert guess is not None
    assert [row[0] for row in guess.rows] == [str(n) for n in facts["guess"]["steps_left"]]
    assert [row[4] for row in guess.rows] == [f"{v:.3f}" for v in facts["guess"]["x0_change"]]
    assert f"{facts['training']['heldout_mean']:.4f}" in slides["training_step"].notes
    assert f"t = {facts['noising']['crossing']}" in slides["snr"].line
    assert f"{facts['step']['injects_more']} of {facts['guess']['num_steps']} steps" in str(slides["corrections"])


def test_other_facts_give_other_numbers(made: Made) -> None:
    lessons = tuple(
        replace(one, facts=one.facts | {"injects_more": 777}) if one.name == "step" else one for one in made.lessons
    )
    deck = plan_deck(made.study, lessons, made.pictures, None, COMMAND, figure_command, made.texts)
    corrections = next(slide for slide in deck.slides if slide.name == "corrections")
    assert any("777 of" in point.text for point in corrections.points)


def test_folded_lessons_and_second_figures_give_way_when_there_is_no_room(made: Made) -> None:
    many = [
        replace(lesson, name=f"{lesson.name}_{k}")
        for k in range(3)
        for lesson in made.lessons
        if len(lesson.drawings) == 1
    ]
    many = [
        replace(one, drawings=(replace(one.drawings[0], name=f"{one.drawings[0].name}_{k}"),))
        for k, one in enumerate(many)
    ]
    folded = [
        replace(made.lessons[-1], name="folded", folded=True, drawings=(replace(many[-1].drawings[0], name="f"),))
    ]
    pictures = {one.drawings[0].name: made.pictures["model"] for one in [*many, *folded]} | made.pictures
    deck = plan_deck(
        made.study, [*made.lessons, *many, *folded], pictures, made.film, COMMAND, figure_command, made.texts
    )
    names = [slide.name for slide in deck.slides]
    assert len(names) >= MOST_SLIDES
    assert {one.drawings[0].name for one in many} <= set(names)
    assert {"f", "movie", "snr"} <= set(deck.left_out)


def test_a_picture_is_the_figure_without_its_margins(made: Made) -> None:
    figure = Figure(figsize=(40 / 3, 7.5), dpi=240, facecolor="white")
    figure.text(0.5, 0.5, "+", fontsize=40)
    pixels = figure_pixels(figure)
    assert pixels.shape == (1800, 3200, 3)
    picture = render_picture(Drawing("plus", lambda: figure, "", "a plus", ""))
    with Image.open(io.BytesIO(picture.data)) as image:
        assert image.size == (picture.width, picture.height)
        shown = np.asarray(image)
    assert picture.width < 300
    renderer = PictureRenderer()
    assert renderer.draw(Drawing("plus", lambda: figure, "", "a plus", "")) == 1
    assert renderer.finish()["plus"].data == picture.data
    assert (shown != 255).sum() == (pixels != 255).sum()
    assert made.pictures["steps"].width > 2900


def test_the_film_shows_x_t_and_predicted_x0_and_ends_with_the_finished_image(made: Made) -> None:
    trajectory = made.study.trajectory
    with Image.open(io.BytesIO(made.film.gif.data)) as film:
        frames = [np.asarray(frame.convert("L")) for frame in ImageSequence.Iterator(film)]
        held = film.info["duration"]
    assert len(frames) == trajectory.num_steps + 1
    assert held == 1000
    wide = 28 * 12
    pictures = [frame[:wide] for frame in frames]
    steps_left = [
        counter_strip(frames[0].shape[1], strip_height(wide), *count)
        for count in film_counts(trajectory, np.arange(trajectory.num_steps + 1))
    ]
    for frame, strip in zip(frames, steps_left, strict=True):
        assert np.array_equal(frame[wide:], strip)
    frames = pictures
    grey = np.rint((np.clip(trajectory.x0[0, 0], -1, 1) + 1) * 127.5)
    assert np.array_equal(frames[-1][6::12, 6:wide:12], grey)
    assert np.array_equal(frames[-1][:, :wide], frames[-1][:, -wide:])
    guess = np.rint((np.clip(trajectory.x0_pred[0, 3, 0], -1, 1) + 1) * 127.5)
    assert np.array_equal(frames[3][6::12, wide + 24 + 6 :: 12], guess)


def test_every_lesson_names_the_figures_it_draws(made: Made) -> None:
    drawn = {lesson.name: tuple(drawing.name for drawing in lesson.drawings) for lesson in made.lessons}
    lessons = {lesson.name: lesson for lesson in all_lessons()}
    assert {name for name, lesson in lessons.items() if lesson.core} <= set(drawn)
    for name, figures in drawn.items():  # what belongs to a slow part may be missing, where none ships
        kept = tuple(figure for figure in lessons[name].figure_names if figure in figures)
        assert figures == (kept if lessons[name].core else lessons[name].figure_names)
