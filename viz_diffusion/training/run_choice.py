"""Choice of the run that a command uses where none is named: the newest trained well enough, else the bundled one.

Knows nothing about the command line.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from viz_diffusion.errors import VizdiffError, VizdiffInputError
from viz_diffusion.files import LARGEST_TEXT, damage_named, parse_json, read_regular
from viz_diffusion.training.bundled_runs import BUNDLED_RUNS
from viz_diffusion.training.metrics_log import METRICS
from viz_diffusion.training.run import MANIFEST, RUNS_DIR, Run

MOST_LOSS_RATIO = 1.5
"""Largest held-out loss of a run on MNIST, as a multiple of the bundled weights'."""


class PassedOver(NamedTuple):
    """The newest run that was not chosen, and why."""

    path: Path
    """Its folder."""
    loss: float | None
    """Its held-out loss, where that is too large; None where it has not reached its planned end."""
    bundled_loss: float
    """That of the bundled weights."""


class Choice(NamedTuple):
    """The run of a command."""

    run: Run
    passed_over: PassedOver | None = None
    """A run that is newer and was not taken."""


def choose_run(choice: str | None = None) -> Choice:
    """Open a path, or a bundled run by its name; by default the newest run under ``runs/`` that is trained well enough.

    Well enough is: it reached its planned end, and on MNIST its held-out loss is at most 1.5 times that of the bundled
    weights. Where there is none, it is the bundled run.

    Raises
    ------
    VizdiffInputError
        Where the path holds no run, no bundled run has the name, or the newest run is damaged.
    """
    if choice is not None:
        return Choice(_named(choice))
    bundled, passed_over = Run.bundled(), None
    limit = heldout_loss_of(bundled)
    for path in _newest_first():
        rejected = _reason(path, limit)
        if rejected is None:
            return Choice(Run.open(path), passed_over)
        passed_over = passed_over or rejected
    return Choice(bundled, passed_over)


def _named(choice: str) -> Run:
    """Open a bundled run by its name, or the run in a folder."""
    if choice not in BUNDLED_RUNS and choice.startswith("bundled") and not Path(choice).is_dir():
        raise VizdiffInputError(f"no bundled run is named {choice!r}; they are {', '.join(BUNDLED_RUNS)}")
    return Run.open(BUNDLED_RUNS.get(choice) or Path(choice))


def heldout_loss_of(run: Run) -> float:
    """Return the mean held-out loss at the end of a training, from ``metrics.jsonl``; infinity where there is none."""
    path = run.path / METRICS
    try:
        with damage_named(path, "train again"):
            entries = map(parse_json, read_regular(path, LARGEST_TEXT).decode().splitlines())
            values = [entry["heldout_loss"] for entry in entries if "heldout_loss" in entry]
            return sum(map(float, values[-1])) / len(values[-1])
    except VizdiffError:
        return float("inf")


def _newest_first() -> list[Path]:
    """Return the folders of all runs under ``runs/``, by the time of their last change."""

    def changed(path: Path) -> float:
        files = (path / name for name in (MANIFEST, METRICS, "config.json"))
        return next(file.stat().st_mtime for file in files if file.is_file())

    return sorted((path.parent for path in RUNS_DIR.glob("*/config.json")), key=changed, reverse=True)


def _reason(path: Path, bundled_loss: float) -> PassedOver | None:
    """Return why a run is not taken without being named, or None."""
    if not (path / MANIFEST).is_file():
        return PassedOver(path, None, bundled_loss)
    run = Run.open(path)
    if run.config.dataset != "mnist" or run.config.space != "pixel":  # their losses are on another scale
        return None
    loss = heldout_loss_of(run)
    return PassedOver(path, loss, bundled_loss) if loss > MOST_LOSS_RATIO * bundled_loss else None
