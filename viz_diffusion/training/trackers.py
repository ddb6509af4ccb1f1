"""Programs that show a training while it runs: TensorBoard, Trackio, Weights & Biases.

Each is an extra of the package, loaded only where it is chosen. A training writes its own log in any case. Knows
nothing about networks.
"""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from viz_diffusion.errors import VizdiffIOError, VizdiffUsageError
from viz_diffusion.files import sha256_bytes, to_json

PROJECT = "viz_diffusion"
"""The project that runs are shown in."""


class TrackerError(VizdiffIOError):
    """A tracker has failed; the training itself is as it was."""


class Tracker(Protocol):
    """Shows a training."""

    def start(self, name: str, folder: Path, config: Mapping[str, Any], step: int) -> None:
        """Begin to show a run: its name, its folder, its config as JSON values, and the steps that are done."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Show numbers after a step."""

    def close(self) -> None:
        """End; what was logged is kept."""


class NoTracker:
    """Shows nothing."""

    def start(self, name: str, folder: Path, config: Mapping[str, Any], step: int) -> None:
        """Do nothing."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


class TensorBoard:
    """Writes event files to the folder ``tensorboard`` of a run: ``tensorboard --logdir runs`` shows them."""

    def __init__(self) -> None:
        self._module = _load("tensorboard", "torch.utils.tensorboard")
        self._writer: Any = None

    def start(self, name: str, folder: Path, config: Mapping[str, Any], step: int) -> None:  # noqa: ARG002
        """Open the event file; what an earlier one holds after ``step`` is no longer shown."""
        with _one_line("tensorboard", step):
            purge = step + 1 if step else None
            self._writer = self._module.SummaryWriter(log_dir=str(folder / "tensorboard"), purge_step=purge)
            self._writer.add_text("config", to_json(config), global_step=step)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Write one scalar for each number."""
        with _one_line("tensorboard"):
            for name, value in values.items():
                self._writer.add_scalar(name, value, global_step=step)

    def close(self) -> None:
        """Close the event file."""
        if self._writer is not None:
            with _one_line("tensorboard"):
                self._writer.close()


class Trackio:
    """Logs to Trackio, on this machine unless its own environment variables name a Space: ``trackio show``."""

    def __init__(self) -> None:
        self._module = _load("trackio", "trackio")
        self._run: Any = None

    def start(self, name: str, folder: Path, config: Mapping[str, Any], step: int) -> None:  # noqa: ARG002
        """Begin a run of the project, or go on with the run of this name."""
        with _one_line("trackio", step):
            resume = "allow" if step else "never"
            self._run = self._module.init(project=PROJECT, name=name, config=_without_places(config), resume=resume)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Log the numbers."""
        with _one_line("trackio"):
            self._run.log(dict(values), step=step)

    def close(self) -> None:
        """End the run."""
        if self._run is not None:
            with _one_line("trackio"):
                self._run.finish()


class WeightsAndBiases:
    """Logs to Weights & Biases; its own environment variables hold account, project and mode."""

    def __init__(self) -> None:
        self._module = _load("wandb", "wandb")
        self._run: Any = None

    def start(self, name: str, folder: Path, config: Mapping[str, Any], step: int) -> None:
        """Begin a run, or go on with that of the same folder: runs of one name in two folders are two runs."""
        place = sha256_bytes(str(folder.resolve()).encode())[:8]
        with _one_line("wandb", step):
            self._run = self._module.init(
                project=os.environ.get("WANDB_PROJECT", PROJECT),
                name=name,
                id=re.sub(r"[/\\#?%:]", "-", f"{name}-{place}"),
                dir=str(folder.resolve()),
                config=_without_places(config),
                resume="allow" if step else None,
            )

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Log the numbers."""
        with _one_line("wandb"):
            self._run.log(dict(values), step=step)

    def close(self) -> None:
        """End the run and send what is left."""
        if self._run is not None:
            with _one_line("wandb"):
                self._run.finish()


TRACKERS: dict[str, Callable[[], Tracker]] = {
    "tensorboard": TensorBoard,
    "trackio": Trackio,
    "wandb": WeightsAndBiases,
}


def load_tracker(name: str) -> Tracker:
    """Return a tracker by its name, one of :data:`TRACKERS`.

    Raises
    ------
    VizdiffUsageError
        Where there is none of this name, or its package is not installed.
    """
    if name not in TRACKERS:
        raise VizdiffUsageError(f"`log` must be {', '.join(TRACKERS)}, found {name!r}")
    return TRACKERS[name]()


def heldout_values(losses: Sequence[float]) -> dict[str, float]:
    """Return the held-out losses by quarter of t, and their mean, by the names that trackers show."""
    quarters = {f"heldout_loss/quarter_{place}": loss for place, loss in enumerate(losses, start=1)}
    return {"heldout_loss/mean": sum(losses) / len(losses), **quarters}


def _load(extra: str, module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError:
        raise VizdiffUsageError(
            f"`log` {extra} needs a package that is not here: pip install 'viz-diffusion[{extra}]', or leave it out"
        ) from None


def _without_places(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a config without the paths of this machine, since it may leave it."""
    return {name: value for name, value in config.items() if name != "data_dir"}


@contextmanager
def _one_line(name: str, step: int = 1) -> Iterator[None]:
    """Turn any error of a tracker into one line; ``step`` is 0 where there is nothing yet to go on with."""
    try:
        yield
    except Exception as error:
        mend = "go on without it, with `resume`" if step else "begin anew without it"
        said = " ".join(f"{type(error).__name__}: {error}".split())
        raise TrackerError(f"`log` {name} failed ({said}); {mend}") from error
