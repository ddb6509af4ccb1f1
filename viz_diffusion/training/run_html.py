"""The summary of a run in a notebook: its settings and progress as an HTML table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from viz_diffusion.errors import VizdiffError
from viz_diffusion.files import read_json
from viz_diffusion.text.notebook_html import facts, whole
from viz_diffusion.training.metrics_log import METRICS, last_metrics

if TYPE_CHECKING:
    from viz_diffusion.training.run import Run


def run_html(run: Run) -> str:
    """Return the summary as HTML. Weights are neither loaded nor checked."""
    config = run.config
    step, losses = last_metrics(run.path / METRICS)
    progress = f"{step:,} of {config.budget}" if config.minutes is None else f"{step:,} step{'s' * (step != 1)} so far"
    status = "finished" if run.is_finished else f"unfinished, {progress}"
    rows = (
        ("data set", config.dataset),
        ("budget", f"{config.budget}, {config.training.batch_size} images a step"),
        *losses,
        ("objective", config.training.objective),
        ("schedule", f"{config.schedule}, T = {config.num_train_timesteps}"),
        ("weights", _weights_sha256(run)),
    )
    return whole(f"Run {run.name}", f"({config.dataset}, {config.budget}, {status})", facts("facts", rows))


def _weights_sha256(run: Run) -> str:
    """Return the SHA-256 of the averaged weights as the manifest gives it, or a text if there is none."""
    folder, name = run.path, "model.safetensors"
    if not run.is_finished:
        checkpoints = run.checkpoints()
        if not checkpoints:
            return "none yet"
        folder, name = checkpoints[-1], "ema.safetensors"
    try:
        return str(read_json(folder / "manifest.json")["sha256"][name])
    except (VizdiffError, KeyError, TypeError):
        return "not known"
