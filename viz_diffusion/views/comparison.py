"""Until when does the order count? A run beside another whose network was told something else.

Looks at two recordings that began with the same noise; no chapter of the report, for it needs a second run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray

from viz_diffusion.diffusion.interventions import WithInterventions
from viz_diffusion.errors import VizdiffInputError
from viz_diffusion.evaluation.statistics import pixel_rms
from viz_diffusion.plots.compare import MOST_FRAMES, ChangedInput, draw_compare
from viz_diffusion.plots.film_captions import Head
from viz_diffusion.recording.trajectory import Trajectory
from viz_diffusion.views import strip as strip_view
from viz_diffusion.views.frames import recording_facts

__all__ = ["MOST_FRAMES", "Comparison", "NetworkInputs", "draw", "facts", "heads", "measure", "network_inputs"]

NULL_SIGN = "∅"


@dataclass(frozen=True)
class NetworkInputs:
    """What a network was told at each of S steps."""

    labels: tuple[int | None, ...]
    """(S,) the order; None for none (the null label)."""
    timesteps: tuple[int, ...]
    """(S,) t."""
    guidance: tuple[float, ...]
    """(S,) s: 1 where guidance did not work."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """Two runs from one noise, the chosen frames of both, and what each network was told."""

    plain: strip_view.StripData
    changed: strip_view.StripData
    plain_inputs: NetworkInputs
    inputs_of_changed: NetworkInputs


def network_inputs(denoiser: WithInterventions, recorded: Trajectory, sample: int = 0) -> NetworkInputs:
    """Ask an intervened denoiser what it tells its network along a recording; the network itself is not run."""
    label, guided = int(recorded.labels[sample]), recorded.guidance_scale != 1
    asked = torch.tensor([label, denoiser.null_label] if guided else [label])
    labels: list[int | None] = []
    timesteps, guidance = [], []
    for t in recorded.timesteps.tolist():
        _, times, told = denoiser.told(torch.zeros(len(asked)), torch.full((len(asked),), t), asked)
        heard = asked.tolist() if told is None else told.tolist()
        labels.append(None if heard[0] == denoiser.null_label else heard[0])
        timesteps.append(int(times[0]))
        guidance.append(1.0 if guided and heard[1] != denoiser.null_label else recorded.guidance_scale)
    return NetworkInputs(tuple(labels), tuple(timesteps), tuple(guidance))


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
    """Draw ``compare``: both strips, and a line for everything that was told otherwise."""
    told = changed_inputs(data, _shown(data))
    return {"compare": draw_compare(data.plain.frames, data.changed.frames, told)}


def changed_inputs(data: Comparison, steps: NDArray[np.int64]) -> tuple[ChangedInput, ...]:
    """Return everything that was told otherwise at some step, in words at those of the given indices."""
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

    Over the plain run what its network is told; over the changed one, with a prime, the same, and after an arrow what
    it is told instead where that differs, marked. The finished picture keeps what was told last.
    """
    steps = np.minimum(states, data.plain.trajectory.num_steps - 1)
    told = changed_inputs(data, steps)
    films = []
    for k in range(len(steps)):
        plain = "  ".join(f"{one.symbol.strip('$')} = {one.plain[k]}" for one in told)
        changed = "  ".join(
            f"{one.symbol.strip('$')}′ = {one.plain[k]}"
            + (f" → {one.changed[k]}" if one.changed[k] != one.plain[k] else "")
            for one in told
        )
        films.append(((plain, False), (changed, any(one.changed[k] != one.plain[k] for one in told))))
    return films


def facts(data: Comparison) -> dict[str, Any]:
    """Return the numbers that caption and JSON file are filled with; distances are RMS per pixel."""
    plain, changed, sample = data.plain.trajectory, data.changed.trajectory, data.plain.sample
    shown, told = _shown(data), data.inputs_of_changed
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
        "told_labels": [told.labels[k] for k in shown],
        "told_timesteps": [told.timesteps[k] for k in shown],
        "told_guidance": [told.guidance[k] for k in shown],
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
