"""Two recordings from one noise, frame by frame: a plain one, and one whose network got other inputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from viz_diffusion.diffusion.network_inputs import NetworkInputs
from viz_diffusion.errors import VizdiffInputError
from viz_diffusion.plots.compare import ChangedInput, draw_compare
from viz_diffusion.plots.film_captions import Head
from viz_diffusion.plots.mosaic import MosaicRow, draw_mosaic
from viz_diffusion.plots.theme import X0_PRED, X_T
from viz_diffusion.recording.trajectory import Trajectory
from viz_diffusion.views import strip as strip_view
from viz_diffusion.views.frames import recording_facts

NULL_SIGN = "∅"


@dataclass(frozen=True, eq=False)
class Comparison:
    """Two recordings from one noise, the chosen frames of both, and what each network got."""

    plain: strip_view.StripData
    changed: strip_view.StripData
    plain_inputs: NetworkInputs
    inputs_of_changed: NetworkInputs


def measure(
    plain: Trajectory,
    changed: Trajectory,
    plain_inputs: NetworkInputs,
    inputs_of_changed: NetworkInputs,
    sample: int = 0,
    frames: str | None = None,
) -> Comparison:
    """Pick the same frames of image number ``sample`` of both; see :func:`~viz_diffusion.views.strip.measure`.

    Raises
    ------
    VizdiffInputError
        Where the two did not begin with one noise, or visit other timesteps.
    """
    if not np.array_equal(plain.timesteps, changed.timesteps) or not np.array_equal(plain.x_t[:, 0], changed.x_t[:, 0]):
        raise VizdiffInputError("two runs are compared that began with one noise and visit the same timesteps")
    first, second = (strip_view.measure(run, sample, frames) for run in (plain, changed))
    return Comparison(first, second, plain_inputs, inputs_of_changed)


def draw(data: Comparison) -> dict[str, Figure]:
    """Draw ``compare``: both strips, and a line for each input that differs."""
    changed = changed_inputs(data, _shown(data))
    return {"compare": draw_compare(data.plain.frames, data.changed.frames, changed)}


def draw_comparison(
    plain: Trajectory, changed: Trajectory, sample: int = 0, frames: str | None = None, ax: Axes | None = None
) -> Figure | Axes:
    """Draw two recordings from one noise beneath each other: x_t and x̂_0 at the same frames, and the finished images.

    Parameters
    ----------
    plain, changed, sample
        The recordings, and which of their images, 0 .. B-1.
    frames
        As in :func:`~viz_diffusion.views.frames.choose_frames`, at most 11.
    ax
        Axes to draw into, in their own size and style; by default a whole 16:9 page is drawn.

    Returns
    -------
    Figure or Axes
        The page, or ``ax``.

    Raises
    ------
    VizdiffInputError
        Where the two did not begin with one noise, or visit other timesteps.
    """
    none = NetworkInputs((), (), ())
    data = measure(plain, changed, none, none, sample, frames)
    first, second = data.plain.frames, data.changed.frames
    if ax is None:
        return draw_compare(first, second)
    rows = [
        MosaicRow(_primed(symbol, run is second), images)
        for run in (first, second)
        for symbol, images in ((X_T, (*run.x_t, run.x0)), (X0_PRED, (*run.x0_pred, None)))
    ]
    return draw_mosaic(ax, rows, [*map(str, first.steps_left.tolist()), "0"], "steps left")


def _primed(symbol: str, is_changed: bool) -> str:
    return f"{symbol[:-1]}'$" if is_changed else symbol


def changed_inputs(data: Comparison, steps: NDArray[np.int64]) -> tuple[ChangedInput, ...]:
    """Return each input that differs at some step, as texts at the steps of the given indices."""
    rows = (
        ("$y$", data.plain_inputs.labels, data.inputs_of_changed.labels),
        ("$t$", data.plain_inputs.timesteps, data.inputs_of_changed.timesteps),
        ("$s$", data.plain_inputs.guidance, data.inputs_of_changed.guidance),
    )
    return tuple(
        ChangedInput(symbol, *(tuple(_written(values[k]) for k in steps) for values in (plain, changed)))
        for symbol, plain, changed in rows
        if plain != changed
    )


def heads(data: Comparison, states: NDArray[np.int64]) -> list[tuple[Head, Head]]:
    """Return what stands over both runs in a film of these states, of which the finished one comes last.

    Over the plain run its network's inputs; over the changed one, with a prime, the same, and after an arrow the input
    it got instead where that differs, marked. The finished image keeps the last inputs.
    """
    steps = np.minimum(states, data.plain.trajectory.num_steps - 1)
    inputs = changed_inputs(data, steps)
    films = []
    for k in range(len(steps)):
        plain = "  ".join(f"{entry.symbol.strip('$')} = {entry.plain[k]}" for entry in inputs)
        changed = "  ".join(
            f"{entry.symbol.strip('$')}′ = {entry.plain[k]}"
            + (f" → {entry.changed[k]}" if entry.changed[k] != entry.plain[k] else "")
            for entry in inputs
        )
        films.append(((plain, False), (changed, any(entry.changed[k] != entry.plain[k] for entry in inputs))))
    return films


def facts(data: Comparison) -> dict[str, Any]:
    """Return the numbers that caption and JSON file are filled with; distances are RMS per pixel."""
    plain, changed, sample = data.plain.trajectory, data.changed.trajectory, data.plain.sample
    shown, inputs = _shown(data), data.inputs_of_changed
    states = [np.concatenate([run.x_t[sample], run.x0[sample][None]]) for run in (plain, changed)]
    same = (states[0] == states[1]).all(axis=(1, 2, 3))
    last_equal = len(same) - 1 if same.all() else int(np.argmin(same)) - 1
    apart = _rms(states[0] - states[1])
    guesses_apart = _rms(plain.x0_pred[sample] - changed.x0_pred[sample])
    return {
        **recording_facts(plain, sample),
        "interventions": changed.interventions,
        "frames": len(shown),
        "steps_left": plain.steps_left[shown].tolist(),
        "timesteps": plain.timesteps[shown].tolist(),
        "told_labels": [inputs.labels[k] for k in shown],
        "told_timesteps": [inputs.timesteps[k] for k in shown],
        "told_guidance": [inputs.guidance[k] for k in shown],
        "x_t_apart": apart[shown].tolist(),
        "x0_pred_apart": guesses_apart[shown].tolist(),
        "x0_apart": float(apart[-1]),
        "equal_until_left": plain.num_steps - last_equal,
    }


def _shown(data: Comparison) -> NDArray[np.int64]:
    """Return the indices of the shown steps."""
    return data.plain.trajectory.num_steps - data.plain.frames.steps_left


def _written(value: float | None) -> str:
    return NULL_SIGN if value is None else f"{value:g}"


def _rms(images: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.sqrt(np.square(images, dtype=np.float64).mean(axis=(1, 2, 3)))
