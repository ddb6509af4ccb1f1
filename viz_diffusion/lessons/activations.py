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

from viz_diffusion.lessons.guess import choose_frames
from viz_diffusion.lessons.lesson import recording_facts
from viz_diffusion.plots.activations import MOST_BLOCKS, MOST_FRAMES, ActivationFrames, FeatureMaps, draw_activations
from viz_diffusion.trajectory import Float32, Trajectory

__all__ = ["MOST_FRAMES", "Activations", "Block", "choose", "draw", "facts", "measure"]

DEFAULT_SHARES = (1.0, 0.65, 0.45, 0.3, 0.15, 0.02)
"""Shares of all steps that are left at the default frames."""
CHANNELS = 4
"""Of each module; a picture has no room for all."""
QUANTILE = 0.99
"""Share of the values shown that a module's colour scale holds; the rest is drawn in its end colours."""


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
    limit: float
    """Where its colour scale ends."""


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
    """Choose what is shown of each module: the four channels whose maps vary most, over frames and places.

    ``names`` are the modules to show, in this order; by default all that the recording has.
    """
    blocks: list[Block] = []
    left_out = []
    for name in trajectory.activations if names is None else names:
        values = trajectory.activations[name]
        if values.ndim != 5:
            left_out.append(f"{name} (no feature maps)")
        elif len(blocks) == MOST_BLOCKS:
            left_out.append(f"{name} (no room)")
        else:
            blocks.append(_block(name, values[sample]))
    return Activations(trajectory, sample, tuple(blocks), tuple(left_out))


def _block(name: str, values: Float32) -> Block:
    """Choose the channels of one module from what it gave, (F, C, h, w)."""
    spread = values.std(axis=(0, 2, 3), dtype=np.float64)
    channels = np.sort(np.argsort(-spread, kind="stable")[:CHANNELS])
    maps = values[:, channels]
    limit = float(np.quantile(np.abs(maps), QUANTILE))
    return Block(name, (values.shape[1], values.shape[2], values.shape[3]), channels, maps, limit or 1.0)


def draw(data: Activations) -> dict[str, Figure]:
    """Draw ``activations``."""
    recorded, shown = data.trajectory, data.trajectory.activation_steps
    frames = ActivationFrames(
        x_t=recorded.x_t[data.sample, shown, 0],
        timesteps=recorded.timesteps[shown],
        steps_left=recorded.steps_left[shown],
        alphas_cumprod=recorded.alphas_cumprod[shown],
        blocks=tuple(FeatureMaps(block.maps, block.shape[0], block.limit) for block in data.blocks),
    )
    return {"activations": draw_activations(frames)}


def facts(data: Activations) -> dict[str, Any]:
    """Return what caption and JSON file are filled with."""
    recorded, shown = data.trajectory, data.trajectory.activation_steps
    named = [
        f"{number} {block.name} ({', '.join(map(str, block.channels))})" for number, block in enumerate(data.blocks, 1)
    ]
    return {
        **recording_facts(recorded, data.sample),
        "frames": 0 if shown is None else len(shown),
        "steps_left": [] if shown is None else recorded.steps_left[shown].tolist(),
        "modules": [block.name for block in data.blocks],
        "shapes": [list(block.shape) for block in data.blocks],
        "channels": [block.channels.tolist() for block in data.blocks],
        "limits": [block.limit for block in data.blocks],
        "named": "; ".join(named),
        "left_out": list(data.left_out),
        "rms": [_rms_by_frame(block.maps) for block in data.blocks],
    }


def _rms_by_frame(maps: Float32) -> list[float]:
    return np.sqrt(np.square(maps, dtype=np.float64).mean(axis=(1, 2, 3))).tolist()
