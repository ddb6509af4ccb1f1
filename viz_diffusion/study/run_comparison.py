"""Several training runs compared: what they have in common, how they differ, their losses and their quality.

Samples nothing; knows nothing about figures or the command line.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from viz_diffusion.errors import VizdiffInputError
from viz_diffusion.evaluation.intervals import Share
from viz_diffusion.files import read_json, sha256_file
from viz_diffusion.lessons.training.history import read_history
from viz_diffusion.plots.run_comparison import MOST_RUNS, DrawnRun
from viz_diffusion.training.config import RunConfig
from viz_diffusion.training.latent_run import AUTOENCODER
from viz_diffusion.training.metrics_log import METRICS
from viz_diffusion.training.run import Run
from viz_diffusion.views.frames import pictures

_OF_DATA = ("image_size", "in_channels", "num_labels", "num_train_timesteps", "text")
"""Fields of a network that follow from its data, its space and its conditioning: those are the same in all runs."""


@dataclass(frozen=True, eq=False)
class ComparedRun:
    """One run of a comparison, as it was measured."""

    run: Run
    name: str
    """The name of its folder; its whole path where two folders have one name."""
    weights_sha256: str
    heldout_steps: NDArray[np.int64]
    """(E,) training steps at which the held-out loss was measured; empty where the run keeps none."""
    heldout: NDArray[np.float64]
    """(E,) the held-out loss, the mean over all timesteps of the squared error of ε̂ per pixel."""
    accuracy: Share | None
    """Samples that are classified as requested; None where there is no classifier of the data."""
    images: NDArray[np.float32] = field(repr=False)
    """(N, C, H, W) in [-1, 1]: samples; image k of every run has the same noise and the same label."""
    evaluation: dict[str, Any] | None = None
    """The result of ``vizdiff evaluate``, where there is one for these weights."""

    def facts(self) -> dict[str, Any]:
        """Return its JSON values."""
        share = self.accuracy
        return {
            "run": self.run.name_or_path,
            "name": self.name,
            "weights_sha256": self.weights_sha256,
            "trained_steps": self.run.trained_steps,
            "finished": self.run.is_finished,
            "heldout_loss": float(self.heldout[-1]) if len(self.heldout) else None,
            "heldout_steps": self.heldout_steps.tolist(),
            "heldout_losses": self.heldout.tolist(),
            "accuracy": None
            if share is None
            else {"hits": share.hits, "count": share.count, "value": share.value, "interval": share.interval},
            "evaluation": self.evaluation,
            "settings": settings_of(self.run.config),
            "set": list(self.run.config.overrides),
        }


def require_comparable(runs: Sequence[Run]) -> None:
    """Refuse runs whose held-out losses and samples say nothing about each other.

    Raises
    ------
    VizdiffInputError
        Where two differ in data set, space, image size, condition or noise schedule; the message names the first two.
    """
    first = runs[0]
    for other in runs[1:]:
        for what, value in _common(other.config).items():
            own = _common(first.config)[what]
            if value != own:
                raise VizdiffInputError(
                    f"{first.name_or_path} and {other.name_or_path} are not comparable: they differ in {what} ({own}; "
                    f"{value})"
                )


def _common(config: RunConfig) -> dict[str, str]:
    """Return what comparable runs have in common, as texts by name."""
    data = config.dataset if config.data_dir is None else str(config.data_dir)
    return {
        "data set": data if config.data_sha256 is None else f"own data {config.data_sha256[0][:12]}",
        "space": f"{config.space}, {' × '.join(map(str, config.x_shape))}",
        "condition": "label" if config.model.text is None else "text",
        "number of labels": str(config.model.num_labels),
        "noise schedule": f"{config.schedule}, T = {config.num_train_timesteps}",
    }


def losses_are_comparable(runs: Sequence[Run]) -> bool:
    """Return whether the held-out losses are of the same data: latents of two autoencoders are not."""
    files = [run.path / AUTOENCODER for run in runs if run.config.autoencoder is not None]
    return len({sha256_file(file) if file.is_file() else "" for file in files}) <= 1


def settings_of(config: RunConfig) -> dict[str, Any]:
    """Return the settings of network and training by the names that ``vizdiff train --set`` takes, as JSON values."""
    network = {name: value for name, value in asdict(config.model).items() if name not in _OF_DATA}
    own = {"subset": config.subset, "preset": config.preset}
    if config.autoencoder is not None:
        own["autoencoder_steps"] = config.autoencoder.steps
    return asdict(config.training) | network | {"channels": list(config.model.channels)} | own


def different_settings(runs: Sequence[Run]) -> dict[str, list[Any]]:
    """Return the settings in which runs differ, by name: a value for each run."""
    found = [settings_of(run.config) for run in runs]
    names = dict.fromkeys(name for settings in found for name in settings)
    values = {name: [settings.get(name) for settings in found] for name in names}
    return {name: row for name, row in values.items() if any(value != row[0] for value in row)}


def setting_text(value: object) -> str:
    """Return the value of a setting as ``--set`` takes it: ``0.002``, ``16,32``, ``none``."""
    if value is None or isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return ",".join(map(setting_text, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def short_names(runs: Sequence[Run]) -> list[str]:
    """Return a name for each run: that of its folder, or its path where another folder has the same name."""
    names = [run.name for run in runs]
    return [run.name_or_path if names.count(run.name) > 1 else run.name for run in runs]


def heldout_curve(run: Run) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the (E,) training steps and (E,) held-out losses of a run; both empty where it keeps none.

    Raises
    ------
    VizdiffInputError
        Where ``metrics.jsonl`` is damaged.
    """
    if not (run.path / METRICS).is_file():
        return np.zeros(0, np.int64), np.zeros(0)
    history = read_history(run)
    return history.heldout_steps, history.heldout.mean(axis=1)


def stored_evaluation(run: Run, weights_sha256: str) -> dict[str, Any] | None:
    """Return what ``vizdiff evaluate`` measured for these weights, from ``RUN/evaluation.json`` or ``RUN.json``.

    None where neither exists, or where it is of other weights or without samples.
    """
    for file in (run.path / "evaluation.json", Path(f"{run.path}.json")):
        if file.is_file():
            found = read_json(file)
            if found.get("weights_sha256") == weights_sha256 and found.get("frechet_excess") is not None:
                return found
    return None


def drawn_runs(compared: Sequence[ComparedRun], samples: int) -> list[DrawnRun]:
    """Return the runs as a figure shows them: those with the lowest held-out loss where there are too many.

    ``samples`` is how many images of each are shown.
    """
    different = different_settings([one.run for one in compared])
    losses = [float(one.heldout[-1]) if len(one.heldout) else float("inf") for one in compared]
    shown = sorted(np.argsort(losses, kind="stable")[:MOST_RUNS].tolist())
    drawn = []
    for index in shown:
        one = compared[index]
        settings = tuple(f"{name} {setting_text(values[index])}" for name, values in different.items())
        share = None if one.accuracy is None else (one.accuracy.value, *one.accuracy.interval)
        kept = one.heldout_steps > 0
        curve = one.heldout_steps[kept], one.heldout[kept]
        drawn.append(DrawnRun(one.name, settings, *curve, pictures(one.images[:samples]), share))
    return drawn
