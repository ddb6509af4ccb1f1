"""The checkpoints of a run: one folder per saved step, of which the newest readable one is used."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch

from viz_diffusion.data import Digits
from viz_diffusion.errors import VizdiffInputError, VizdiffIOError
from viz_diffusion.files import lock, read_json, remove_dir, sweep
from viz_diffusion.training.checkpoint import load_checkpoint, save_checkpoint
from viz_diffusion.training.config import RunConfig
from viz_diffusion.training.loop import TrainState
from viz_diffusion.training.metrics_log import METRICS, lost_metrics
from viz_diffusion.training.processes import Processes

LOCK = ".lock"
"""The file in a run's folder that is locked by the process that trains it."""
DIVISION = {"processes", "accumulate"}
"""Entries of a checkpoint's environment that say how a batch was divided. Another division needs no ``force``."""
T = TypeVar("T")


class Resumed(NamedTuple):
    """The state from which training continues."""

    state: TrainState
    """The content of the checkpoint."""
    metrics_bytes: int
    """Length of ``metrics.jsonl`` at the checkpoint."""
    remarks: list[str]
    """Messages for the user: unreadable checkpoints, lost metrics, and why the result will not be bit-exact."""


@dataclass(frozen=True)
class CheckpointSeries:
    """The folders ``training/step-00001000`` of a run. Each has a manifest, written last, or is not a checkpoint."""

    run_path: Path
    """The folder of the run."""

    @property
    def folder(self) -> Path:
        """The parent folder of all checkpoints."""
        return self.run_path / "training"

    def path(self, step: int) -> Path:
        """Return the folder for the checkpoint of a step."""
        return self.folder / f"step-{step:08d}"

    def complete(self) -> list[Path]:
        """Return the folders of all complete checkpoints, oldest first."""
        folders = (path.parent for path in self.folder.glob("step-*/manifest.json"))
        return sorted((folder for folder in folders if re.fullmatch(r"step-[0-9]{1,18}", folder.name)), key=step_of)

    def save(self, state: TrainState, metrics_bytes: int, conditions: Mapping[str, Any]) -> None:
        """Write a checkpoint of the state (:func:`save_checkpoint`)."""
        save_checkpoint(self.path(state.step), state, metrics_bytes, conditions)

    def read_newest(self, read: Callable[[Path], T]) -> tuple[T, list[str]]:
        """Call ``read`` for the newest checkpoint, and for older ones until one can be read.

        Returns
        -------
        The result of ``read``, and one message for each newer checkpoint that could not be read, its parameters
        between backticks as in :mod:`viz_diffusion.errors`.

        Raises
        ------
        VizdiffInputError or VizdiffIOError
            The error of the newest checkpoint, if none can be read.
        VizdiffInputError
            If there is no complete checkpoint.
        VizdiffLockedError
            If there is none yet, because another process has only begun to train the run.
        """
        errors: list[VizdiffInputError | VizdiffIOError] = []
        for folder in reversed(self.complete()):
            try:
                return read(folder), [f"{error.marked}; using {folder.name} instead" for error in errors]
            except (VizdiffInputError, VizdiffIOError) as error:
                errors.append(error)
        if errors:
            raise errors[0]
        if (self.run_path / "manifest.json").is_file():
            raise VizdiffInputError(
                f"{self.run_path} is finished, but its folder training/, which going on begins from, is missing; "
                "train anew with another `out`"
            )
        with suppress(VizdiffIOError), lock(self.run_path / LOCK):  # another process may be training it right now
            pass
        raise VizdiffInputError(
            f"{self.run_path} is half-written: it has neither finished weights nor a checkpoint; train again "
            "with another `out`"
        )

    def resume(
        self,
        config: RunConfig,
        device: torch.device,
        force: bool,
        data: tuple[Digits, Digits] | None,
        processes: Processes,
    ) -> Resumed:
        """Read the newest readable checkpoint; with ``force`` even if environment or config have changed since.

        A batch may be divided differently without ``force``. The number of threads in each process then changes too.
        """

        def load(folder: Path) -> tuple[TrainState, int, dict[str, str]]:
            return load_checkpoint(folder, config.training, config.model, device, config.conditions(data), processes)

        (state, metrics_bytes, changes), remarks = self.read_newest(load)
        allowed = DIVISION | {"threads"} if DIVISION & changes.keys() else set()
        refused = [text for name, text in changes.items() if name not in allowed]
        if refused and not force:
            raise VizdiffInputError(
                f"{self.path(state.step)} was written in another environment or recipe "
                f"({'; '.join(refused)}); `force` goes on, not bit-exact"
            )
        if changes:
            remarks.append(f"not bit-exact: {'; '.join(changes.values())}")
        if lost := lost_metrics(self.run_path / METRICS, metrics_bytes):
            remarks.append(lost)
        return Resumed(state, metrics_bytes, remarks)

    def data_sha256(self) -> tuple[str, str] | None:
        """Return the SHA-256 of the training and held-out images of the newest checkpoint; None if it knows none."""
        for folder in reversed(self.complete()):
            recipe = read_json(folder / "state.json").get("recipe", {})
            if "training_digits" in recipe and "heldout_digits" in recipe:
                return recipe["training_digits"], recipe["heldout_digits"]
        return None

    def keep_only(self, *steps: int) -> None:
        """Remove all complete checkpoints except those of the given steps."""
        for folder in self.complete():
            if step_of(folder) not in steps:
                remove_dir(folder)

    def sweep(self) -> None:
        """Remove what killed processes left: temporary folders, and checkpoints without a manifest."""
        sweep(self.folder)
        for folder in self.folder.glob("step-*"):
            if not (folder / "manifest.json").is_file():
                remove_dir(folder)


def step_of(folder: Path) -> int:
    """Return the step in the name of a checkpoint's folder."""
    return int(folder.name.removeprefix("step-"))
