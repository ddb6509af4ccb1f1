"""What processes say that were started together, by torchrun or srun: an error that all of them have is shown once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer

from viz_diffusion.errors import VizdiffInputError, VizdiffUsageError
from viz_diffusion.launch import Launch


@contextmanager
def said_once(launch: Launch, says: bool | None = None) -> Iterator[None]:
    """Let one process alone show an error that all processes have, or all on its machine; all end with its exit code.

    Errors of the system, such as a full disk, are always shown.

    Parameters
    ----------
    says
        Whether this process shows it: by default process 0 does.
    """
    try:
        yield
    except (VizdiffUsageError, VizdiffInputError) as error:
        if launch.is_main if says is None else says:
            raise
        raise typer.Exit(error.exit_code) from None
