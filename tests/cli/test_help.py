"""Help pages, the first lines that a newcomer sees, and where an error sends a user."""

from __future__ import annotations

import re
import shlex
from typing import Any

import pytest
import typer
from refusals import refused

from viz_diffusion import __version__
from viz_diffusion.cli import app, main
from viz_diffusion.cli.help_page import headed_options
from viz_diffusion.cli.option_groups import HEADINGS
from viz_diffusion.diffusion.parameterizations import OBJECTIVES
from viz_diffusion.errors import did_you_mean
from viz_diffusion.lessons.base import all_lessons
from viz_diffusion.training.presets import PRESETS

GROUP: Any = typer.main.get_command(app)
COMMANDS = list(GROUP.commands)
IDIOMS = re.compile(
    r"\b(ask\w*|told|tells?|insist\w*|commission|guess\w*|companions?|beside|thrown|strikes?|strokes?|looks?"
    r"|judge[sd]?|destroys?|takes? turns)\b"
)


def page(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    capsys.readouterr()
    assert main([*argv, "--help"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return str(out)


def records(command: str) -> list[tuple[str, str]]:
    parameters = GROUP.commands[command].params
    return [row for rows in headed_options(parameters, typer.Context(GROUP.commands[command])).values() for row in rows]


def test_the_list_of_commands_says_what_each_does(capsys: pytest.CaptureFixture[str]) -> None:
    listed = dict(re.findall(r"^  ([a-z-]+) {2,}(\S.*)$", page(capsys).split("Commands:\n")[1], re.M))
    assert list(listed) == COMMANDS
    for command, summary in listed.items():
        assert re.fullmatch(r"[A-Z][a-z]+ .*[^.]\.", summary), (command, summary)  # whole, not cut off with "..."
        verb = summary.split()[0]
        assert not verb.endswith("s"), f"{command}: an imperative, found {verb}"
    assert listed["trajectory"] == "Record one generation, step by step, and draw it."


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_a_page_ends_with_an_example_that_the_command_accepts(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = page(capsys, *command.split())
    assert text.count("Example: ") == 1
    *_, last = text.rstrip().splitlines()
    program, name, *arguments = shlex.split(last.strip().removeprefix("Example: "))
    assert (program, name) == ("vizdiff", command or "report")
    GROUP.commands[name].make_context(name, arguments)


@pytest.mark.parametrize("command", COMMANDS)
def test_options_stand_under_headings_in_one_order(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = page(capsys, command)
    found = re.findall(r"^(\w[\w ]*):$", text, re.M)
    assert found == [heading for heading in HEADINGS if heading in found]
    assert found[-1] == "Output"
    assert "--json" in text.split("\nOutput:\n")[1]
    for parameter in GROUP.commands[command].params:
        name = parameter.opts[0] if parameter.param_type_name == "option" else parameter.metavar
        section = text.split(f"\n{parameter.rich_help_panel or 'Basics'}:\n")[1].split("\n\n")[0]
        for part in (text, section):
            assert len(re.findall(rf"^  {name}(?![\w-])", part, re.M)) == 1, name


def test_sampling_options_stand_together(capsys: pytest.CaptureFixture[str]) -> None:
    section = page(capsys, "trajectory").split("\nSampling:\n")[1].split("\n\n")[0]
    names = re.findall(r"^  (--[a-z-]+)", section, re.M)
    assert names == ["--sampler", "--steps", "--guidance", "--variance", "--eta", "--timestep-spacing", "--clip"]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_default_is_shown_once_and_words_are_plain(command: str) -> None:
    for option, text in records(command):
        words, _, default = text.partition("[default: ")
        assert "default" not in words, (option, text)
        assert not default.startswith("("), (option, text)
        assert words[0].isupper(), (option, text)
        assert not IDIOMS.search(words), (option, text)
    assert not IDIOMS.search(GROUP.commands[command].help)


def test_control_the_idioms_are_found() -> None:
    assert IDIOMS.search("Class to ask for, by name")
    assert IDIOMS.search("1.5 insists on the digit")


def test_without_a_command_five_lines_say_how_to_begin(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.startswith(f"vizdiff {__version__} shows how")
    lines = out.splitlines()
    assert len(lines) == 5
    shown = [line.split("   ")[0].strip() for line in lines[1:]]
    assert shown == ["vizdiff report --digit 5 --open", "vizdiff trajectory", "vizdiff train", "vizdiff --help"]
    assert all(len(line) <= 90 for line in lines)
    for line in shown[:-1]:
        _, name, *arguments = line.split()
        GROUP.commands[name].make_context(name, arguments)


@pytest.mark.parametrize(
    ("line", "names", "see"),
    [
        ("sample", "--out", "vizdiff sample --help"),
        ("lesson", "NAME", "vizdiff lesson --help"),
        ("trajectory --seed", "--seed", "vizdiff trajectory --help"),
        ("export --figur steps", "--figure", "vizdiff export --help"),
        ("trajectory --digit five", "--digit must be a whole number, found 'five'", "vizdiff trajectory --help"),
        ("train --minutes=long", "--minutes must be a number, found 'long'", "vizdiff train --help"),
        ("report extra", "extra", "vizdiff report --help"),
        ("trajectory --switch 8@500", "--switch belongs to vizdiff intervene", "vizdiff intervene --help"),
        ("trajectory --diffusers folder", "--diffusers belongs to vizdiff record", "vizdiff record --help"),
        ("reprot", "'report'", "vizdiff --help"),
        ("--versoin", "--version", "vizdiff --help"),
    ],
)
def test_an_error_points_to_the_help_of_its_own_command(
    line: str, names: str, see: str, capsys: pytest.CaptureFixture[str]
) -> None:
    said = refused(capsys, 2, *line.split())
    assert names in said
    assert re.search(rf"[;?] [Ss]ee {see}$", said), said


def test_a_missing_or_wrong_figure_lists_them_all(capsys: pytest.CaptureFixture[str]) -> None:
    names = [name for lesson in all_lessons() for name in lesson.figure_names]
    missing = refused(capsys, 2, "export")
    assert missing.startswith("vizdiff: --figure is missing; choose from ")
    wrong = refused(capsys, 2, "export", "--figure", "guidence")
    for said in (missing, wrong):
        assert [name for name in names if not re.search(rf"\b{name}\b", said)] == []
    assert missing.endswith("; see vizdiff export --help")
    assert wrong.endswith("; did you mean 'guidance'? See vizdiff export --help")
    assert "did you mean" not in missing + refused(capsys, 2, "export", "--figure", "xyzzy")


@pytest.mark.parametrize("line", ["lesson nosing", "report --lessons core,nosing", "deck --lessons nosing"])
def test_a_wrong_lesson_lists_them_and_the_nearest(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(capsys, 2, *line.split())
    assert all(lesson.name in said for lesson in all_lessons())
    assert said.endswith(f"; did you mean 'noising'? See vizdiff {line.split()[0]} --help")


@pytest.mark.parametrize(
    ("line", "choices"),
    [
        ("deck --format ppt", "pptx, pdf, folder"),
        ("export --figure steps --format jpeg", "png, svg, pdf, gif, webp, mp4"),
        ("report --lang fr", "en, zh"),
        ("report --sampler ddpn", "ddpm, ddim, dpm-solver++, euler, heun"),
        ("train --preset huge", "small, base"),
        ("sample --device abacus --out x.png", "auto, cpu, cuda, cuda:1 or mps, found 'abacus'"),
        ("export --figure steps --spacing linear", "default, t, log-snr"),
    ],
)
def test_a_wrong_choice_lists_the_choices(line: str, choices: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert choices in refused(capsys, 2, *line.split())


def test_choices_that_are_written_out_are_those_that_there_are() -> None:
    written = {option.name: option.metavar for option in GROUP.commands["train"].params}
    assert written["objective"].split("|") == list(OBJECTIVES)
    assert written["preset"].split("|") == [preset.name for preset in PRESETS]


def test_the_nearest_choice() -> None:
    assert did_you_mean("stps", ("steps", "snr")) == "; did you mean 'steps'?"
    assert did_you_mean("xyz", ("steps", "snr")) == ""
    assert did_you_mean("steps", iter(())) == ""
