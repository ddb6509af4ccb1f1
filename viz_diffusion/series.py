"""The checkpoints of a run, one folder after another: which are whole, which is read, which are kept.

Knows nothing about what is in them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from viz_diffusion.errors import VizdiffInputError, VizdiffIOError
from viz_diffusion.files import remove_dir, sweep

Found = TypeVar("Found")


@dataclass(frozen=True)
class Series:
    """Folders ``step-00001000``, each whole or without a manifest."""

    folder: Path
    """Where they lie."""

    def at(self, step: int) -> Path:
        """Return where the checkpoint of a step belongs."""
        return self.folder / f"step-{step:08d}"

    def whole(self) -> list[Path]:
        """Return the folders of all whole checkpoints, oldest first."""
        found = (path.parent for path in self.folder.glob("step-*/manifest.json"))
        return sorted((folder for folder in found if folder.name[5:].isdigit()), key=step_of)

    def read_newest(self, read: Callable[[Path], Found]) -> tuple[Found, list[str]]:
        """Return what ``read`` gives of the newest that it can read, and a line for each that was passed over.

        Raises
        ------
        VizdiffInputError or VizdiffIOError
            What it raised of the newest, where it can read none.
        """
        broken: list[VizdiffInputError | VizdiffIOError] = []
        for folder in reversed(self.whole()):
            try:
                return read(folder), [f"{error}; using {folder.name} instead" for error in broken]
            except (VizdiffInputError, VizdiffIOError) as error:
                broken.append(error)
        raise broken[0]

    def keep(self, *steps: int) -> None:
        """Remove all whole checkpoints but those of these steps."""
        for folder in self.whole():
            if step_of(folder) not in steps:
                remove_dir(folder)

    def sweep(self) -> None:
        """Remove what killed writers left: temporary folders, and checkpoints without a manifest."""
        sweep(self.folder)
        for folder in self.folder.glob("step-*"):
            if not (folder / "manifest.json").is_file():
                remove_dir(folder)


def step_of(folder: Path) -> int:
    """Return the step that a checkpoint's folder is named after."""
    return int(folder.name.removeprefix("step-"))
