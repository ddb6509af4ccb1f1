"""What does the inside of the network look like? Feature maps of some modules along one generation.

Looks at a recording that kept activations; no chapter of the report, for most recordings keep none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from viz_diffusion.errors import VizdiffInputError
from viz_diffusion.evaluation.statistics import pixel_rms
from viz_diffusion.plots.activations import (
    LIMIT,
    MOST_BLOCKS,
    MOST_FRAMES,
    ActivationFrames,
    FeatureMaps,
    draw_activations,
)
from viz_diffusion.recording.trajectory import Float32, Trajectory
from viz_diffusion.views.frames import choose_frames, pictures, recording_facts

__all__ = ["MOST_FRAMES", "Activations", "Block", "choose", "draw", "draw_feature_maps", "facts", "measure"]

DEFAULT_SHARES = (1.0, 0.65, 0.45, 0.3, 0.15, 0.02)
"""Shares of all steps that are left at the default frames."""
CHANNELS = (8, 6, 4)
"""Shown of each module where one, two, or more of them are drawn; a picture has no room for all."""


@dataclass(frozen=True, eq=False)
class Block:
    """What is shown of one module."""

    name: str
    """Its dotted name."""
    shape: tuple[int, int, int]
    """(C, h, w) of its output."""
    channels: NDArray[np.int64]
    """(K,) which of the C are shown, rising."""
    maps: Float32
    """(F, K, h, w) those channels at F frames."""
    rms: NDArray[np.float64]
    """(F,) the root mean square of all its channels at each frame."""
    beyond: float
    """Share of the values of ``maps`` that are more than three root mean squares of their frame from 0."""


@dataclass(frozen=True, eq=False)
class Activations:
    """Feature maps at the frames that a recording kept them at."""

    trajectory: Trajectory
    """The recording."""
    sample: int
    """Which image of it."""
    blocks: tuple[Block, ...]
    """Those that are drawn."""
    left_out: tuple[str, ...]
    """Names of the others, with the reason in brackets."""


def choose(num_steps: int, frames: str | None = None) -> NDArray[np.int64]:
    """Return the indices 0 .. S-1 of at most six steps to show, most noise first.

    Raises
    ------
    VizdiffUsageError
        Where ``frames`` is no number or list of steps left that there is room for.
    """
    if frames is not None:
        return choose_frames(num_steps, frames, most=MOST_FRAMES)
    left = np.maximum(1, np.round(np.array(DEFAULT_SHARES) * num_steps)).astype(np.int64)
    return num_steps - np.unique(left)[::-1]


def measure(trajectory: Trajectory, names: Sequence[str] | None = None, sample: int = 0) -> Activations:
    """Choose what is shown of each module: the channels whose maps vary most over places, every frame alike.

    ``names`` are the modules to show, in this order; by default all that the recording has.

    Raises
    ------
    VizdiffInputError
        Where the recording has no such module, or no such image.
    """
    asked = tuple(trajectory.activations if names is None else names)
    strange = [name for name in asked if name not in trajectory.activations]
    if strange:
        known = ", ".join(trajectory.activations) or "none"
        raise VizdiffInputError(f"this recording kept nothing of module {strange[0]!r}; it has {known}")
    if not 0 <= sample < trajectory.num_images:
        raise VizdiffInputError(f"sample must lie in 0..{trajectory.num_images - 1} in this recording, found {sample}")
    maps = [name for name in asked if trajectory.activations[name].ndim == 5]
    count = CHANNELS[min(len(maps), len(CHANNELS)) - 1]
    left_out = [f"{name} (no feature maps)" for name in asked if name not in maps]
    left_out += [f"{name} (no room)" for name in maps[MOST_BLOCKS:]]
    blocks = tuple(_block(name, trajectory.activations[name][sample], count) for name in maps[:MOST_BLOCKS])
    return Activations(trajectory, sample, blocks, tuple(left_out))


def _block(name: str, values: Float32, count: int) -> Block:
    """Choose ``count`` channels of one module from what it gave, (F, C, h, w)."""
    rms = pixel_rms(values)
    unit = values / np.where(rms > 0, rms, 1)[:, None, None, None]
    spread = unit.var(axis=(2, 3)).mean(axis=0)
    channels = np.sort(np.argsort(-spread, kind="stable")[:count])
    beyond = float((np.abs(unit[:, channels]) > LIMIT).mean())
    return Block(name, (values.shape[1], values.shape[2], values.shape[3]), channels, values[:, channels], rms, beyond)


def draw(data: Activations) -> dict[str, Figure]:
    """Draw ``activations``."""
    recorded, shown = data.trajectory, data.trajectory.activation_steps
    frames = ActivationFrames(
        x_t=pictures(recorded.x_t[data.sample, shown]),
        timesteps=recorded.timesteps[shown],
        steps_left=recorded.steps_left[shown],
        alphas_cumprod=recorded.alphas_cumprod[shown],
        blocks=tuple(FeatureMaps(block.maps, block.rms) for block in data.blocks),
    )
    return {"activations": draw_activations(frames)}


def draw_feature_maps(trajectory: Trajectory, names: Sequence[str] | None = None, sample: int = 0) -> Figure:
    """Draw what modules gave along one generation: a row for each module, a column for each recorded frame.

    Parameters
    ----------
    trajectory
        A recording with ``activations`` at one to six timesteps.
    names
        Dotted names of its modules to show, at most eight of them with feature maps; by default all there are.
    sample
        Which of its images, 0 .. B-1.

    Raises
    ------
    VizdiffInputError
        Where there is nothing to draw, more frames than there is room for, or no such module or image.
    """
    if trajectory.activation_steps is None:
        raise VizdiffInputError("this recording kept no activations; record with activations=[…], activations_at=[…]")
    return draw(measure(trajectory, names, sample))["activations"]


def facts(data: Activations) -> dict[str, Any]:
    """Return what caption and JSON file are filled with."""
    recorded, shown = data.trajectory, data.trajectory.activation_steps
    left = [] if shown is None else recorded.steps_left[shown].tolist()
    named = [
        f"{number} {block.name} ({'×'.join(map(str, block.shape))}: {', '.join(map(str, block.channels))})"
        for number, block in enumerate(data.blocks, 1)
    ]
    return {
        **recording_facts(recorded, data.sample),
        "frames": len(left),
        "steps_left": left,
        "last_left": left[-1] if left else 0,
        "modules": [block.name for block in data.blocks],
        "shapes": [list(block.shape) for block in data.blocks],
        "channels": [block.channels.tolist() for block in data.blocks],
        "named": "; ".join(named),
        "left_out": list(data.left_out),
        "rms": [block.rms.tolist() for block in data.blocks],
        "beyond": [block.beyond for block in data.blocks],
        "most_beyond": max((block.beyond for block in data.blocks), default=0.0),
    }
