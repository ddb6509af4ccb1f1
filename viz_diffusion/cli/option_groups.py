"""Groups of options that several commands share, each declared once and handed to a command as one value."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import typer

Command = Callable[..., None]


@dataclass(frozen=True)
class OptionGroup:
    """Options that belong together.

    Every option is optional: a command line that does not give it leaves None, so that what was given can be told
    from what was not. The default is written in the help text only.
    """

    parameters: tuple[inspect.Parameter, ...]
    """The options as typer reads them."""
    build: Callable[..., Any]
    """Called with the options by name; returns the value that the command gets, or raises VizdiffUsageError."""


def option(name: str, kind: Any, help: str, *, default: str = "", metavar: str | None = None) -> inspect.Parameter:
    """Return an option ``--name`` as the parameter of a command.

    Parameters
    ----------
    name
        The option's name; a boolean has its opposite in it: ``--clip/--no-clip``.
    kind
        The type of its value.
    default
        What holds where it is not given, for the help text.
    """
    shown: Any = default or False
    declared = typer.Option(name, metavar=metavar, help=help, show_default=shown)
    return inspect.Parameter(
        name.split("/")[0].removeprefix("--").replace("-", "_"),
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[kind | None, declared],
    )


def takes(**groups: OptionGroup) -> Callable[[Command], Command]:
    """Replace parameters of a command by the options of a group.

    ``@takes(sampling=sampler_options(defaults))`` gives the command's parameter ``sampling`` what the group builds.
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
                name: group.build(**{one.name: values.pop(one.name) for one in group.parameters})
                for name, group in groups.items()
            }
            command(**values, **built)

        run.__doc__ = command.__doc__
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {one.name: one.annotation for one in parameters}
        return run

    return decorate
