"""The history of a training run: its losses, and the samples that it drew from one noise while it learned.

Knows nothing about networks, figures or texts.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from viz_diffusion.errors import VizdiffInputError
from viz_diffusion.files import LARGEST_TEXT, damage_named, parse_json, read_checked, read_regular
from viz_diffusion.plots.curves import LossHistory
from viz_diffusion.plots.film import film_frames
from viz_diffusion.plots.training_samples import TrainingSamples
from viz_diffusion.training.loop import NUM_QUARTERS
from viz_diffusion.training.metrics_log import METRICS
from viz_diffusion.training.run import Run
from viz_diffusion.training.thumbnails import Thumbnails, thumbnail_labels

SHOWN_DIGITS = (2, 3, 5, 8)
"""Labels of the samples in the figure of the loss: all ten would be too small."""
NUM_SHOWN_STEPS = 7
"""Training steps whose samples are in the figure of the loss."""


def read_history(run: Run) -> LossHistory:
    """Read ``metrics.jsonl`` and the samples of a run.

    Raises
    ------
    VizdiffInputError
        Where the file cannot be read or holds no losses.
    """
    path, mend = run.path / METRICS, "train again or choose another `run`"
    data = read_checked(run.path, METRICS)[0] if run.is_finished else read_regular(path, LARGEST_TEXT)
    with damage_named(path, mend, "cannot be read"):
        entries = [parse_json(line) for line in data.decode().splitlines()]
        trained = [(_whole(entry["step"]), float(entry["loss"])) for entry in entries if "loss" in entry]
        heldout = [
            (_whole(entry["step"]), [float(loss) for loss in entry["heldout_loss"]])
            for entry in entries
            if "heldout_loss" in entry
        ]
        if any(len(losses) != NUM_QUARTERS for _, losses in heldout):
            raise ValueError(f"a held-out loss needs {NUM_QUARTERS} numbers")
    if not trained:
        raise VizdiffInputError(f"{path} holds no losses; train again or choose another `run`")
    steps, losses = (np.array(column) for column in zip(*trained, strict=True))
    sample_steps, samples = _shown_samples(run)
    last = run.config.num_train_timesteps // NUM_QUARTERS
    return LossHistory(
        steps=steps,
        train=losses,
        train_smooth=_smooth(losses),
        heldout_steps=np.array([step for step, _ in heldout], dtype=np.int64),
        heldout=np.array([values for _, values in heldout], dtype=np.float64).reshape(-1, NUM_QUARTERS),
        quarters=np.array([(last * q, last * (q + 1) - 1) for q in range(NUM_QUARTERS)]),
        sample_steps=sample_steps,
        samples=samples,
    )


def _whole(value: object) -> int:
    if type(value) is not int or not 0 <= value < 2**63:
        raise ValueError(f"{value!r} is no training step")
    return value


def _shown_samples(run: Run) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return a few training steps and the samples drawn there: the first, the last, and others evenly in log steps."""
    kept = None if run.config.prompts else run.load_samples()  # they were drawn for other prompts
    if kept is None:
        return np.zeros(0, np.int64), np.zeros((0, 1, 28, 28))
    steps, images = kept[0].numpy(), kept[1].numpy()
    wanted = np.geomspace(max(1, steps[0]), max(1, steps[-1]), NUM_SHOWN_STEPS)
    shown = np.unique(np.abs(np.log(np.maximum(steps, 1)) - np.log(wanted)[:, None]).argmin(axis=1))
    return steps[shown], images[shown][:, _shown_rows(run)] / 127.5 - 1


def _shown_rows(run: Run) -> list[int]:
    """Return which of the thumbnails the figure of the loss shows: those of :data:`SHOWN_DIGITS`, or the first four."""
    labels = thumbnail_labels(run.config)
    rows = [labels.index(digit) for digit in SHOWN_DIGITS if digit in labels and run.config.class_names is None]
    return rows or list(range(min(len(labels), len(SHOWN_DIGITS))))


def shown_labels(run: Run) -> tuple[int, ...]:
    """Return the labels of the samples in the figure of the loss."""
    labels = thumbnail_labels(run.config)
    return tuple(labels[row] for row in _shown_rows(run))


def read_training_samples(run: Run, most: int | None = None) -> TrainingSamples:
    """Return the samples that the run drew from one noise while it learned.

    Parameters
    ----------
    most
        Of how many training steps at most, evenly chosen, the first and the last among them; of all by default.

    Raises
    ------
    VizdiffInputError
        Where the run has none, or they are damaged.
    """
    kept = run.load_samples()
    if kept is None or not len(kept[0]):
        raise VizdiffInputError(
            f"{run.path} keeps no looks yet: they begin after 100 steps; train on, or choose another `run`"
        )
    steps, images = kept[0].numpy(), kept[1].numpy()
    if images.ndim not in (4, 5) or len(images) != len(steps):
        raise VizdiffInputError(f"{run.path / 'samples.safetensors'} holds images of the shape {images.shape}")
    shown = film_frames(len(steps), len(steps) if most is None else most)
    labels = np.array(thumbnail_labels(run.config)[: images.shape[1]], np.int64)
    return TrainingSamples(steps[shown], images[shown] / 127.5 - 1, labels)


def training_samples_facts(samples: TrainingSamples) -> dict[str, Any]:
    """Return the numbers that the captions of these samples are filled with, how they were sampled among them."""
    return {
        "looks": len(samples.steps),
        "labels": ", ".join(map(str, samples.labels)),
        "looked_at": [int(step) for step in samples.steps],
        "steps": int(samples.steps[-1]),
        "seed": Thumbnails.SEED,
        "sampling_steps": Thumbnails.STEPS,
        "guidance_scale": Thumbnails.GUIDANCE_SCALE,
    }


def _smooth(values: NDArray[np.float64], share: float = 0.05) -> NDArray[np.float64]:
    """Return the running mean over a window that grows with the step: a share of all steps so far."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    ends = np.arange(1, len(values) + 1)
    starts = np.minimum(ends - 1, np.floor(ends * (1 - share)).astype(int))
    return (sums[ends] - sums[starts]) / (ends - starts)
