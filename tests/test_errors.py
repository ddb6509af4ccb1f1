"""Errors: standard types in Python, parameter names in Python's words, options on the command line."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import viz_diffusion
from viz_diffusion import SamplerConfig, Trajectory
from viz_diffusion.cli import main
from viz_diffusion.cli.console import Terminal
from viz_diffusion.cli.option_groups import option_name
from viz_diffusion.errors import (
    VizdiffError,
    VizdiffInputError,
    VizdiffIOError,
    VizdiffLockedError,
    VizdiffNonFiniteError,
    VizdiffUsageError,
    with_options,
)

PACKAGE = Path(viz_diffusion.__file__).parent
STANDARD = {
    VizdiffUsageError: (ValueError, 2),
    VizdiffInputError: (ValueError, 3),
    VizdiffIOError: (OSError, 4),
    VizdiffLockedError: (OSError, 5),
    VizdiffNonFiniteError: (ArithmeticError, 6),
}


@pytest.mark.parametrize("kind", STANDARD)
def test_each_error_is_a_standard_one_with_its_exit_code(kind: type[VizdiffError]) -> None:
    standard, code = STANDARD[kind]
    error = kind("`guidance_scale` must lie in 0..100, found 200; choose another `out`")
    assert isinstance(error, standard)
    assert error.exit_code == code
    assert str(error) == "guidance_scale must lie in 0..100, found 200; choose another out"
    assert error.args == (str(error),)
    assert with_options(error.marked, option_name) == "--guidance must lie in 0..100, found 200; choose another --out"


def test_a_wrong_argument_is_a_value_error_in_python() -> None:
    with pytest.raises(
        ValueError, match=r"^sampler must be one of ddpm, ddim, dpm-solver\+\+, euler, heun, found 'lms'$"
    ):
        SamplerConfig("lms")
    with pytest.raises(ValueError, match="nowhere: there is no such recording"):
        Trajectory.open(Path("nowhere"))


def test_the_same_error_names_the_option_on_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trajectory", "--sampler", "lms"]) == 2
    line = "vizdiff: --sampler must be one of ddpm, ddim, dpm-solver++, euler, heun, found 'lms'; "
    assert line in capsys.readouterr().err


def test_a_message_that_quotes_an_error_keeps_its_marks(capsys: pytest.CaptureFixture[str]) -> None:
    inner = VizdiffInputError("model.safetensors is damaged; choose another `run`")
    Terminal(False, False).note(f"{inner.marked}; using step-000040 instead")
    expected = "Note      model.safetensors is damaged; choose another --run; using step-000040 instead\n"
    assert capsys.readouterr().err == expected


def library_messages() -> dict[str, list[str]]:
    """Return, by file outside the command line, the constant parts of every error message."""
    found: dict[str, list[str]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        if "cli" in path.relative_to(PACKAGE).parts:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and "Vizdiff" in ast.dump(node.exc)):
                continue
            texts = [one.value for one in ast.walk(node.exc) if isinstance(one, ast.Constant)]
            found.setdefault(path.name, []).append(" ".join(text for text in texts if isinstance(text, str)))
    return found


def test_no_message_of_the_library_speaks_of_an_option() -> None:
    messages = library_messages()
    assert sum(map(len, messages.values())) > 100
    named = {
        (name, text)
        for name, texts in messages.items()
        for text in texts
        if re.search(r"(?<!\w)--[a-z]", re.sub(r"vizdiff [a-z]+( --?\w+( \S+)?)*", "", text))
    }
    assert not named
