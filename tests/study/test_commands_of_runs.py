"""Commands that a page prints: each is about the run that the page shows, and the command line takes it."""

from __future__ import annotations

import shlex
from functools import cache
from typing import Any

import pytest
import typer

from viz_diffusion.cli import app
from viz_diffusion.cli.options import DEFAULT_GUIDANCE
from viz_diffusion.cli.study import command_options
from viz_diffusion.lessons import suitability
from viz_diffusion.lessons.base import all_lessons
from viz_diffusion.lessons.suitability import reason_to_leave_out
from viz_diffusion.study.wording import quoted_with_options, with_options
from viz_diffusion.text.catalogue import Texts, load_texts
from viz_diffusion.training.run import Run
from viz_diffusion.training.text_run import prompted_run

PROMPTS = ("a thick slanted seven", "一个细的二")
SHOWS_A_RUN = ("trajectory", "report", "lesson", "embeddings")
RUNS = {
    "latent": Run.choose("bundled-latent"),
    "text": Run.choose("bundled-text"),
    "flow": Run.choose("bundled-flow"),
    "prompts": prompted_run(Run.choose("bundled-text"), PROMPTS),
}


def commands(run: Run) -> list[str]:
    """Return the command under each chapter that a page on a run may have."""
    texts = load_texts().for_classes(run.config.class_names).for_prompts(run.config.prompts)
    facts = {"digit": 5, "digit_arg": shlex.quote(PROMPTS[0])}
    return [
        with_options(texts(f"chapter.{lesson.name}.try_this", **facts), command_options(run))
        for lesson in all_lessons()
        if reason_to_leave_out(lesson, run.config) is None
    ]


@cache
def all_commands() -> dict[str, Any]:
    return typer.main.get_command(app).commands  # type: ignore[attr-defined]


def parse(command: str) -> dict[str, Any]:
    """Return the values of a command's options as the command line reads them."""
    program, name, *words = shlex.split(command)
    assert program == "vizdiff"
    return all_commands()[name].make_context(name, words).params


@pytest.mark.parametrize("run", RUNS)
def test_every_chapters_command_is_about_the_run_and_can_be_read(run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suitability, "_fewest_digits", lambda _: suitability.FEWEST_DIGITS)  # without counting them
    found = commands(RUNS[run])
    assert len(found) > 4
    for command in found:
        values = parse(command)
        if command.split()[1] in SHOWS_A_RUN:
            assert values["run"] in (RUNS[run].name_or_path, "bundled-latent", "bundled-text"), command
    named = [command for command in found if f"--run {RUNS[run].name_or_path}" in command]
    assert len(named) > 2


def test_the_bundled_run_needs_no_name_and_what_cannot_be_read_is_found() -> None:
    assert [command for command in commands(Run.bundled()) if "--run bundled " in f"{command} "] == []
    with pytest.raises(Exception, match="No such option"):
        parse("vizdiff info --run bundled")


def test_own_data_and_objectives_are_named_where_a_command_trains() -> None:
    options = {"train": {"--objective": "flow", "--dataset": "kmnist"}, "report": {"--run": "my run"}}
    assert with_options("vizdiff train --dataset kmnist", options) == "vizdiff train --dataset kmnist --objective flow"
    assert with_options("vizdiff report --digit 5", options) == "vizdiff report --digit 5 --run 'my run'"
    assert with_options("vizdiff info", options) == "vizdiff info"
    said = "“vizdiff report” draws it, and “a report” is none."
    assert quoted_with_options(said, options) == "“vizdiff report --run 'my run'” draws it, and “a report” is none."


def test_a_saying_names_the_run_too() -> None:
    texts: Texts = load_texts()
    holds = quoted_with_options(texts["deck.correction.noising.holds"], command_options(RUNS["latent"]))
    assert "“vizdiff lesson training --run bundled-latent”" in holds


def test_commands_that_make_pictures_have_one_default_of_the_guidance_scale() -> None:
    makers = ("sample", "trajectory", "intervene", "report", "deck", "worksheet", "export")
    defaults = {one.show_default for name in makers for one in all_commands()[name].params if "--guidance" in one.opts}
    assert defaults == {f"{DEFAULT_GUIDANCE:g}"}
