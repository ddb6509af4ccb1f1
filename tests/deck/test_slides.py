"""Choice and contents of a deck's slides."""

from __future__ import annotations

import io
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from deck_fakes import COMMAND, EVERYTHING, Made
from matplotlib.figure import Figure
from PIL import Image, ImageSequence

from viz_diffusion.deck.outline import MINUTES, OUTLINE, PlannedSlide
from viz_diffusion.deck.pictures import PictureRenderer, render_picture
from viz_diffusion.deck.references import PAPERS, reference_list
from viz_diffusion.deck.selection import Selection, read_selection
from viz_diffusion.deck.slide_plan import DeckPlan
from viz_diffusion.deck.slide_writer import at_most
from viz_diffusion.errors import VizdiffInputError, VizdiffUsageError
from viz_diffusion.lessons.base import all_lessons
from viz_diffusion.plots.film import FILM_SIZES, film_scale, page_frames
from viz_diffusion.plots.film_captions import counter_strip, head_strip, strip_height
from viz_diffusion.plots.saving import figure_pixels
from viz_diffusion.study.narrative import Drawing
from viz_diffusion.views.frames import film_counts

FIGURES = [("guess", "steps"), ("guidance", "price"), ("guidance", "guidance"), ("network", "model"), ("x", "stray")]


def test_a_longer_lecture_shows_all_slides_of_a_shorter_one_in_the_same_order(made: Made) -> None:
    lectures = [[slide.name for slide in made.deck(selection=Selection(n)).slides] for n in MINUTES]
    for short, long in pairwise(lectures):
        assert set(short) < set(long)
        assert [name for name in long if name in short] == short
    assert lectures[0][:2] == ["cover", "film"]
    assert lectures[0][-3:] == ["summary_1", "references_1", "made_with"]
    assert set(lectures[-1]) < set(made.slides())


def test_the_outline_is_nested_and_grows(made: Made) -> None:
    counts = [sum(1 + one.question for one in OUTLINE if 0 < one.minutes <= minutes) for minutes in MINUTES]
    assert 12 <= counts[0] <= 16
    assert 25 <= counts[1] <= 33
    assert 40 <= counts[2] <= 60
    assert len({one.name for one in OUTLINE}) == len(OUTLINE)
    owned = {figure: lesson.position for lesson in all_lessons() for figure in lesson.figure_names}
    positions = [owned[one.figure] for one in OUTLINE if one.figure in owned]
    assert positions == sorted(positions)  # the story's order
    names = {claim.name for finding in made.study.findings for claim in finding.claims}
    assert {"crossing", "wrong_costs"} - names == {"wrong_costs"}  # a control: what does not ship is not there


def test_every_question_is_followed_by_its_answer(made: Made) -> None:
    deck = made.deck()
    asked = [index for index, slide in enumerate(deck.slides) if slide.name.startswith("ask_")]
    assert len(asked) >= 4
    for index in asked:
        question, answer = deck.slides[index : index + 2]
        assert answer.name == question.name.removeprefix("ask_")
        assert question.title.endswith("?")
        assert not answer.title.endswith("?")
    rows = [row for slide in deck.slides if slide.name.startswith("summary") for row in slide.table.rows]
    assert rows == [(deck.slides[index].title, deck.slides[index + 1].title) for index in asked]


def test_chosen_slides(made: Made) -> None:
    only = made.deck(selection=read_selection(20, "strip,network", FIGURES))
    assert [slide.name for slide in only.slides] == ["ask_strip", "strip", "model"]
    assert {"cover", "ledger"} <= set(only.left_out)
    without = made.deck(selection=read_selection(20, "-snr,+model", FIGURES))
    names = [slide.name for slide in without.slides]
    assert "snr" not in names
    assert "ask_snr" not in names
    assert "model" in names
    assert "snr" in without.left_out
    asked = made.deck(selection=read_selection(20, "forward", [*FIGURES, ("noising", "forward")]))
    assert [slide.name for slide in asked.slides] == ["ask_snr", "snr"]
    by_figure = made.deck(selection=read_selection(20, "steps", FIGURES))
    assert [slide.name for slide in by_figure.slides] == ["ask_strip", "strip"]
    everything = [*made.slides()]
    assert [slide.name for slide in made.deck(selection=read_selection(20, "all", FIGURES)).slides] == everything


@pytest.mark.parametrize(
    ("minutes", "slides", "words"),
    [
        (30, None, ("minutes", "20, 45, 90", "30")),
        (45, "strop", ("'strop'", "cover, film, snr", "did you mean 'strip'", "stray")),
        (45, "strip,-cake", ("'cake'",)),
        (45, "strip,,film", ("''",)),
        (45, "strip,+film", ("+film",)),
        (45, "-all", ("'all'",)),
        (20, "+guidance,-guidance", ("both shows 'guidance' and leaves it out",)),
        (20, "all,strip,-strip", ("both shows 'strip' and leaves it out",)),
    ],
)
def test_unknown_minutes_and_slides_are_refused_and_those_there_are_listed(
    minutes: int, slides: str | None, words: tuple[str, ...]
) -> None:
    with pytest.raises(VizdiffUsageError) as caught:
        read_selection(minutes, slides, FIGURES)
    assert all(word in str(caught.value) for word in words)


def test_a_slide_without_results_is_refused_by_name(made: Made) -> None:
    with pytest.raises(VizdiffInputError, match="'guidance' needs results"):
        made.deck(selection=read_selection(20, "strip,guidance", FIGURES))


def test_every_figure_slide_carries_its_words_and_its_alt_text(made: Made) -> None:
    slides = made.slides()
    for lesson in made.lessons:
        for drawing in lesson.drawings:  # each has a slide, or is shown with a question
            slide = next(one for one in slides.values() if one.caption == drawing.caption)
            assert slide.picture is not None
            assert slide.picture.alt == drawing.alt
            assert slide.section == lesson.title
            assert slide.notes.startswith("Say: ")
            assert slide.handout


def test_a_figure_that_the_outline_does_not_know_is_shown_on_request(made: Made) -> None:
    lesson = made.lessons[0]
    stranger = replace(lesson.drawings[0], name="stranger", title="A stranger")
    lessons = (replace(lesson, drawings=(*lesson.drawings, stranger), say="Short. " * 70), *made.lessons[1:])
    more = replace(made, lessons=lessons, pictures=made.pictures | {"stranger": made.pictures["forward"]})
    assert "stranger" in more.deck(selection=Selection(90)).left_out
    slide = more.slides()["stranger"]
    assert slide.title == "A stranger"
    assert slide.notes == "Say: " + " ".join(["Short."] * 59)


def test_at_most_keeps_whole_sentences() -> None:
    assert at_most("One two. Three four. Five.", 4) == "One two. Three four."
    assert at_most("Of 0.5 and more. Then.", 3) == "Of 0.5 and more."


def test_a_picture_of_another_digit_says_so(made: Made) -> None:
    lesson = made.lessons[0]
    elsewhere = replace(lesson, other_digit={"snr": "Measured once, on the digit 7."})
    slides = replace(made, lessons=(elsewhere, *made.lessons[1:])).slides()
    assert slides["snr"].notes.endswith("Measured once, on the digit 7.")
    assert slides["snr"].caption.endswith("Measured once, on the digit 7.")
    assert "digit 7" not in slides["strip"].notes + slides["strip"].caption


def test_numbers_of_titles_and_tables_are_the_facts(made: Made) -> None:
    facts = made.study.facts()["lessons"]
    slides = made.slides()
    assert slides["snr"].title == f"From t = {facts['noising']['crossing']} on, the noise is stronger than the image"
    guess = slides["strip"]
    assert f"{facts['guess']['first_change']:.2f} off at first" in guess.title
    assert guess.handout_table is not None
    assert [row[4] for row in guess.handout_table.rows] == [f"{v:.3f}" for v in facts["guess"]["x0_change"]]
    assert f"{facts['training']['heldout_mean']:.4f}" in slides["training_step"].title
    assert f"{facts['training']['heldout'][3]:.4f} at large t" in slides["loss"].title
    assert f"{facts['step']['injects_more']} of {facts['guess']['num_steps']} steps" in slides["ledger"].title


def test_other_facts_give_other_numbers(made: Made) -> None:
    lessons = tuple(
        replace(one, facts=one.facts | {"injects_more": 777}) if one.name == "step" else one for one in made.lessons
    )
    assert "in 777 of" in replace(made, lessons=lessons).slides()["ledger"].title


def test_the_last_slide_names_the_command_and_its_notes_the_weights(made: Made) -> None:
    slide = made.slides()["made_with"]
    assert [point.text for point in slide.points] == [COMMAND]
    assert made.study.trajectory.weights_sha256 in slide.notes
    trained = f"{made.study.run.trained_steps:,}"
    assert trained in slide.notes
    cover = made.slides()["cover"].line
    assert cover is not None
    assert f"{trained} training steps" in cover.text
    elsewhere = [str((s.title, s.line, s.points, s.table)) for s in made.deck().slides]
    assert made.study.trajectory.weights_sha256 not in "".join(elsewhere)


def test_references_are_those_of_the_slides_each_once(made: Made) -> None:
    listed = [p.text for s in made.deck().slides if s.name.startswith("references") for p in s.points]
    shown = {name for name in made.slides() if not name.startswith("ask_")}
    keys = {key for one in OUTLINE if one.name in shown for key in one.papers}
    assert listed == reference_list(keys)
    assert len(set(listed)) == len(listed) == len(keys)
    short = [p.text for s in made.deck(selection=Selection(20)).slides if s.name.startswith("ref") for p in s.points]
    assert set(short) < set(listed)
    assert {key for one in OUTLINE for key in one.papers} == set(PAPERS)  # no paper that no slide draws on


def test_only_figures_that_are_shown_are_needed(made: Made) -> None:
    plan = DeckPlan.choose(made.study, made.lessons, read_selection(20, "snr", FIGURES), film=True)
    assert plan.figures(made.lessons) == ("forward", "snr")
    assert not plan.has_film
    assert DeckPlan.choose(made.study, made.lessons, EVERYTHING, film=True).has_film
    assert not DeckPlan.choose(made.study, made.lessons, EVERYTHING, film=False).has_film
    assert plan.chosen == (next(one for one in OUTLINE if one.name == "snr"),)
    assert isinstance(plan.chosen[0], PlannedSlide)


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
    scale = film_scale(28, 58, FILM_SIZES["720p"], strips=2)
    with Image.open(io.BytesIO(made.film.gif.data)) as film:
        assert film.size == FILM_SIZES["720p"] == (1280, 720)
        pages = [np.asarray(frame.convert("L")) for frame in ImageSequence.Iterator(film)]
        held = film.info["duration"]
    assert len(pages) == trajectory.num_steps + 1
    assert held == 1000
    wide, full = 28 * scale, 58 * scale
    strip = strip_height(wide)
    top, left = (720 - wide - 2 * strip) // 2, (1280 - full) // 2
    inside = [page[top : top + wide + 2 * strip, left : left + full] for page in pages]
    assert sum((page < 255).sum() for page in pages) == sum((frame < 255).sum() for frame in inside)
    # above each image its name, beneath them the counts
    assert np.array_equal(inside[0][:strip], head_strip(full, strip, [("image xₜ", False), ("predicted x̂₀", False)]))
    frames = [page[strip:] for page in inside]
    counts = film_counts(trajectory, np.arange(trajectory.num_steps + 1))
    for frame, count in zip(frames, counts, strict=True):
        words = ("", "step left" if count[0] == 1 else "steps left")
        assert np.array_equal(frame[wide:], counter_strip(full, strip, *count, words))
    grey = np.rint((np.clip(trajectory.x0[0, 0], -1, 1) + 1) * 127.5).astype(np.uint8)
    assert np.array_equal(frames[-1][:wide, :wide], np.kron(grey, np.ones((scale, scale), np.uint8)))  # sharp
    assert np.array_equal(frames[-1][:wide, :wide], frames[-1][:wide, -wide:])
    predicted = np.rint((np.clip(trajectory.x0_pred[0, 3, 0], -1, 1) + 1) * 127.5)
    assert np.array_equal(frames[3][scale // 2 : wide : scale, wide + 2 * scale + scale // 2 :: scale], predicted)


@pytest.mark.parametrize("name", FILM_SIZES)
@pytest.mark.parametrize(("height", "width"), [(28, 58), (64, 130), (28, 28)])
def test_a_film_fills_its_size_by_a_whole_factor(name: str, height: int, width: int) -> None:
    size = FILM_SIZES[name]
    scale = film_scale(height, width, size)
    page = page_frames(np.zeros((1, height, width)), [(1, 0)], scale, size=size)[0]
    assert page.shape == size[::-1]
    larger = page_frames(np.zeros((1, height, width)), [(1, 0)], scale + 1)[0].shape
    assert larger[0] > size[1] or larger[1] > size[0]
    assert film_scale(2000, 2000, size) == 1


def test_every_lesson_names_the_figures_it_draws(made: Made) -> None:
    drawn = {lesson.name: tuple(drawing.name for drawing in lesson.drawings) for lesson in made.lessons}
    lessons = {lesson.name: lesson for lesson in all_lessons()}
    assert {name for name, lesson in lessons.items() if lesson.core} <= set(drawn)
    for name, figures in drawn.items():  # what belongs to a slow part may be missing, where none ships
        kept = tuple(figure for figure in lessons[name].figure_names if figure in figures)
        assert figures == (kept if lessons[name].core else lessons[name].figure_names)
