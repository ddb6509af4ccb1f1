"""Comparison of two recordings from the same noise: an unchanged one, and one with changed network inputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from viz_diffusion.diffusion.network_inputs import NetworkInputs
from viz_diffusion.errors import VizdiffInputError
from viz_diffusion.evaluation.statistics import pixel_rms
from viz_diffusion.plots.class_names import LONGEST, shorten, whole_name
from viz_diffusion.plots.compare import ChangedInput, draw_compare
from viz_diffusion.plots.film_captions import Head
from viz_diffusion.plots.mosaic import MosaicRow, draw_mosaic
from viz_diffusion.plots.theme import X0_PRED, X_T, primed
from viz_diffusion.plots.words import figure_words
from viz_diffusion.recording.latent_pictures import pictured
from viz_diffusion.recording.trajectory import Trajectory
from viz_diffusion.views import strip as strip_view
from viz_diffusion.views.frames import recording_facts

NULL_SIGN = "∅"
"""Text of the null label."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """Selected frames of two recordings from the same noise, and the network inputs of both."""

    plain: strip_view.StripData
    """The unchanged recording."""
    changed: strip_view.StripData
    """The changed recording, at the same frames."""
    plain_inputs: NetworkInputs
    """The network inputs of ``plain`` at all S steps."""
    inputs_of_changed: NetworkInputs
    """The network inputs of ``changed`` at all S steps."""


def measure(
    plain: Trajectory,
    changed: Trajectory,
    plain_inputs: NetworkInputs,
    inputs_of_changed: NetworkInputs,
    sample: int = 0,
    frames: str | None = None,
) -> Comparison:
    """Select the same frames of the image with index ``sample``; see :func:`~viz_diffusion.views.strip.measure`.

    Raises
    ------
    VizdiffInputError
        Where the two differ in their initial noise or their timesteps.
    """
    if not np.array_equal(plain.timesteps, changed.timesteps) or not np.array_equal(plain.x_t[:, 0], changed.x_t[:, 0]):
        raise VizdiffInputError("two runs are compared that began with one noise and visit the same timesteps")
    first, second = (strip_view.measure(run, sample, frames) for run in (plain, changed))
    return Comparison(first, second, plain_inputs, inputs_of_changed)


def draw(data: Comparison) -> dict[str, Figure]:
    """Draw the figure ``compare``: both strips, and a line for each input that differs."""
    changed = changed_inputs(data, _shown(data))
    return {"compare": draw_compare(data.plain.frames, data.changed.frames, changed)}


def draw_comparison(
    plain: Trajectory, changed: Trajectory, sample: int = 0, frames: str | None = None, ax: Axes | None = None
) -> Figure:
    """Draw two recordings from the same noise: x_t and x̂_0 at the same frames, and the finished images.

    Parameters
    ----------
    plain, changed, sample
        The recordings, and the index of their image, 0 .. B-1.
    frames
        As in :func:`~viz_diffusion.views.frames.choose_frames`, at most 11.
    ax
        Axes to draw into, in their own size and style; by default a whole 16:9 page is drawn.

    Returns
    -------
    Figure
        The page, or the figure that ``ax`` belongs to.

    Raises
    ------
    VizdiffInputError
        Where the two differ in their initial noise or their timesteps.
    """
    none = NetworkInputs((), (), ())
    data = measure(plain, changed, none, none, sample, frames)
    first, second = data.plain.frames, data.changed.frames
    if ax is None:
        return draw_compare(first, second)
    rows = [
        MosaicRow(primed(symbol) if shown is second else symbol, images)
        for shown in (first, second)
        for symbol, images in ((X_T, (*shown.x_t, shown.x0)), (X0_PRED, (*shown.x0_pred, None)))
    ]
    return draw_mosaic(ax, rows, [*map(str, first.steps_left.tolist()), "0"], "steps left")


def changed_inputs(data: Comparison, steps: NDArray[np.int64]) -> tuple[ChangedInput, ...]:
    """Return each input that differs at any step, as texts at the steps with indices ``steps`` (0 .. S-1)."""
    rows = (
        ("y", data.plain_inputs.labels, data.inputs_of_changed.labels, _label),
        ("t", data.plain_inputs.timesteps, data.inputs_of_changed.timesteps, _format),
        ("s", data.plain_inputs.guidance, data.inputs_of_changed.guidance, _format),
    )
    return tuple(
        ChangedInput(symbol, *(tuple(write(values[k]) for k in steps) for values in (plain, changed)))
        for symbol, plain, changed, write in rows
        if plain != changed
    )


def heads(data: Comparison, states: NDArray[np.int64]) -> list[tuple[Head, Head]]:
    """Return the film captions above both recordings at the states with indices ``states`` (0 .. S).

    Each caption names its recording and gives the network inputs that differ at any step. That of ``changed`` adds,
    after an arrow, the changed input where it differs; it is then highlighted. The finished image has the last step's
    inputs.
    """
    steps, words = np.minimum(states, data.plain.trajectory.num_steps - 1), figure_words("compare")
    inputs = changed_inputs(data, steps)
    captions = []
    for k in range(len(steps)):
        given = [f"{words(f'input_{entry.symbol}')} = {shorten(entry.plain[k], LONGEST)}" for entry in inputs]
        arrows = [f" → {shorten(one.changed[k], LONGEST)}" if one.changed[k] != one.plain[k] else "" for one in inputs]
        changed = [text + arrow for text, arrow in zip(given, arrows, strict=True)]
        captions.append((_head(words("plain"), given), _head(words("changed"), changed, any(arrows))))
    return captions


def _head(name: str, inputs: Sequence[str], is_highlighted: bool = False) -> Head:
    """Return the film caption of a recording: its name and its inputs."""
    return (f"{name}: {', '.join(inputs)}" if inputs else name), is_highlighted


def facts(data: Comparison) -> dict[str, Any]:
    """Return the numbers of the caption and the JSON file; distances are RMS per pixel."""
    plain, changed = (pictured(one.trajectory) for one in (data.plain, data.changed))
    sample = data.plain.sample
    shown, inputs = _shown(data), data.inputs_of_changed
    states = [np.concatenate([run.x_t[sample], run.x0[sample][None]]) for run in (plain, changed)]
    same = (states[0] == states[1]).all(axis=(1, 2, 3))
    last_equal = len(same) - 1 if same.all() else int(np.argmin(same)) - 1
    apart = pixel_rms(states[0] - states[1])
    guesses_apart = pixel_rms(plain.x0_pred[sample] - changed.x0_pred[sample])
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
    """Return the indices 0 .. S-1 of the shown steps."""
    return data.plain.trajectory.num_steps - data.plain.frames.steps_left


def _label(label: float | None) -> str:
    return NULL_SIGN if label is None else whole_name(int(label))


def _format(value: float | None) -> str:
    return NULL_SIGN if value is None else f"{value:g}"
