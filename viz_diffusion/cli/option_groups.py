"""Option groups: options that several commands share, declared once, and one value for a command."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import typer

Command = Callable[..., None]
BASICS, MODEL, SAMPLING, INTERVENTIONS, TRAINING, RECORDING, MANY, OUTPUT = HEADINGS = (
    "Basics",
    "Model and data",
    "Sampling",
    "Interventions",
    "Training",
    "Recording",
    "Many images",
    "Output",
)
"""Headings of options in ``--help``, in their order there; an option without one belongs to the basics."""


@dataclass(frozen=True)
class OptionGroup:
    """Options that belong together.

    Every option is optional: it is None where a command line does not give it, so that given values can be
    distinguished from defaults. The default is written in the help text only.
    """

    parameters: tuple[inspect.Parameter, ...]
    """The options as typer reads them."""
    build: Callable[..., Any]
    """Called with the options by name; returns the value that the command gets, or raises VizdiffUsageError."""


def option_name(parameter: str) -> str:
    """Return the option that sets a parameter of the library: ``--guidance`` for ``guidance_scale``."""
    return "--" + {"guidance_scale": "guidance"}.get(parameter, parameter).replace("_", "-")


def option(
    name: str, kind: Any, help: str, *, default: str = "", metavar: str | None = None, heading: str = BASICS
) -> inspect.Parameter:
    """Return an option ``--name`` as the parameter of a command.

    Parameters
    ----------
    name
        The option's name; a boolean has its opposite in it: ``--clip/--no-clip``.
    kind
        The type of its value.
    default
        Its default, for the help text.
    heading
        Where the help text lists it, one of :data:`HEADINGS`.
    """
    shown: Any = default or False
    declared = typer.Option(name, metavar=metavar, help=help, show_default=shown, rich_help_panel=heading)
    return inspect.Parameter(
        name.split("/")[0].removeprefix("--").replace("-", "_"),
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[kind | None, declared],
    )


def takes(**groups: OptionGroup) -> Callable[[Command], Command]:
    """Replace parameters of a command by the options of a group.

    With ``@takes(sampling=sampler_options(defaults))`` the command's parameter ``sampling`` is what the group builds.
    All parameters of the command are keywords.
    """

    def decorate(command: Command) -> Command:
        declared = inspect.signature(command, eval_str=True).parameters
        parameters: list[inspect.Parameter] = []
        for parameter in declared.values():
            own = (parameter.replace(kind=parameter.KEYWORD_ONLY),)
            parameters += groups[parameter.name].parameters if parameter.name in groups else own

        def run(**values: Any) -> None:
            built = {
                name: group.build(**{parameter.name: values.pop(parameter.name) for parameter in group.parameters})
                for name, group in groups.items()
            }
            command(**values, **built)

        run.__doc__ = command.__doc__
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return run

    return decorate
