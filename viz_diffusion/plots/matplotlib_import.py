"""The import of matplotlib where the user's settings of it are broken.

Figures here need neither a backend nor a ``matplotlibrc``: settings that matplotlib cannot read are left out, and all
others stay as the user set them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from viz_diffusion.errors import VizdiffIOError

_UNREADABLE = (ValueError, OSError, RuntimeError)
"""What matplotlib raises where a settings file is not UTF-8, or it finds no folder for its cache."""


def import_matplotlib() -> None:
    """Import matplotlib, without a backend, a ``matplotlibrc`` or a style file that it refuses.

    ``MPLBACKEND`` is applied after the import, as matplotlib does it, so that pyplot uses it where it exists: a
    command that a notebook starts inherits the notebook's backend, which may not be installed for the command.

    Raises
    ------
    VizdiffIOError
        Where matplotlib cannot be imported with its own default settings either.
    """
    if "matplotlib" in sys.modules:
        return
    backend = os.environ.get("MPLBACKEND")
    with _environment(MPLBACKEND=None):
        try:
            matplotlib = _import()
        except _UNREADABLE as error:
            matplotlib = _import_with_defaults(error)
    if backend:
        with suppress(ValueError):
            matplotlib.rcParams["backend"] = backend


def _import() -> Any:
    import_module("matplotlib.style")  # reads the user's style files
    return sys.modules["matplotlib"]


def _import_with_defaults(reason: Exception) -> Any:
    """Import matplotlib again, from its own ``matplotlibrc`` and without a folder of the user's settings."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        del sys.modules[name]
    spec = find_spec("matplotlib")
    assert spec is not None
    assert spec.origin is not None
    here = os.getcwd()
    try:
        os.chdir(Path(spec.origin).parent / "mpl-data")  # the first matplotlibrc is that of the current folder
        with _environment(MPLCONFIGDIR=os.devnull):
            return _import()
    except _UNREADABLE:
        raise VizdiffIOError(f"matplotlib cannot be loaded ({reason}); mend or remove its settings files") from reason
    finally:
        os.chdir(here)


@contextmanager
def _environment(**values: str | None) -> Iterator[None]:
    """Set environment variables within the block, or unset them where the value is None."""
    before = {name: os.environ.get(name) for name in values}

    def put(changes: dict[str, str | None]) -> None:
        for name, value in changes.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value

    put(values)
    try:
        yield
    finally:
        put(before)
