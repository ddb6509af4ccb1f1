"""Feature maps of some network modules along one generation.

Needs a recording with activations; no chapter of the report, since most recordings have none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
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
from viz_diffusion.plots.mosaic import MosaicRow, draw_mosaic
from viz_diffusion.plots.theme import SIGNED_MAP, X_T
from viz_diffusion.recording.latent_pictures import channels_of, pictured
from viz_diffusion.recording.trajectory import Float32, Trajectory
from viz_diffusion.views.frames import choose_frames, pictures, recording_facts

__all__ = ["MOST_FRAMES", "Activations", "ModuleMaps", "choose", "draw", "draw_feature_maps", "facts", "measure"]

DEFAULT_SHARES = (1.0, 0.65, 0.45, 0.3, 0.15, 0.02)
"""Steps left at the default frames, as shares of all steps."""
CHANNELS = (8, 6, 4)
"""The number of channels shown of each module where one, two, or more modules are drawn."""


@dataclass(frozen=True, eq=False)
class ModuleMaps:
    """The shown feature maps of one module."""

    name: str
    """The module's dotted name."""
    shape: tuple[int, int, int]
    """(C, h, w) of its output."""
    channels: NDArray[np.int64]
    """(K,) indices of the shown channels, rising."""
    maps: Float32
    """(F, K, h, w) the shown channels at F frames."""
    rms: NDArray[np.float64]
    """(F,) the root mean square (RMS) over all C channels at each frame."""
    beyond: float
    """The share of values of ``maps`` whose absolute value exceeds three times the RMS of their frame."""


@dataclass(frozen=True, eq=False)
class Activations:
    """Feature maps of one image at the frames with recorded activations."""

    trajectory: Trajectory
    """The recording, of latents as pictures."""
    sample: int
    """The index of the image in it, 0 .. B-1."""
    blocks: tuple[ModuleMaps, ...]
    """The modules that are drawn."""
    left_out: tuple[str, ...]
    """Names of the modules that are not drawn, each with the reason in brackets."""
    latent_channels: int = 0
    """How many channels a latent x_t has; 0 where x_t is an image."""


def choose(num_steps: int, frames: str | None = None) -> NDArray[np.int64]:
    """Return the indices 0 .. S-1 of at most six steps to show, most noise first.

    Raises
    ------
    VizdiffUsageError
        Where ``frames`` is not a number or list of steps left, or has more than six frames.
    """
    if frames is not None:
        return choose_frames(num_steps, frames, most=MOST_FRAMES)
    left = np.maximum(1, np.round(np.array(DEFAULT_SHARES) * num_steps)).astype(np.int64)
    return num_steps - np.unique(left)[::-1]


def measure(trajectory: Trajectory, names: Sequence[str] | None = None, sample: int = 0) -> Activations:
    """Select the channels of each module whose maps have the largest spatial variance, averaged over the frames.

    ``names`` are the modules to show, in this sequence; by default all recorded modules.

    Raises
    ------
    VizdiffInputError
        Where the recording has no such module, or no such image.
    """
    requested = tuple(trajectory.activations if names is None else names)
    unknown = [name for name in requested if name not in trajectory.activations]
    if unknown:
        known = ", ".join(trajectory.activations) or "none"
        raise VizdiffInputError(f"this recording kept nothing of module {unknown[0]!r}; it has {known}")
    if not 0 <= sample < trajectory.num_images:
        raise VizdiffInputError(f"sample must lie in 0..{trajectory.num_images - 1} in this recording, found {sample}")
    with_maps = [name for name in requested if trajectory.activations[name].ndim == 5]
    count = CHANNELS[min(len(with_maps), len(CHANNELS)) - 1]
    left_out = [f"{name} (no feature maps)" for name in requested if name not in with_maps]
    left_out += [f"{name} (no room)" for name in with_maps[MOST_BLOCKS:]]
    blocks = tuple(
        _select_channels(name, trajectory.activations[name][sample], count) for name in with_maps[:MOST_BLOCKS]
    )
    return Activations(pictured(trajectory), sample, blocks, tuple(left_out), channels_of(trajectory))


def _select_channels(name: str, values: Float32, count: int) -> ModuleMaps:
    """Select ``count`` channels of one module's output ``values``, (F, C, h, w)."""
    rms = pixel_rms(values)
    unit = values / np.where(rms > 0, rms, 1)[:, None, None, None]
    spread = unit.var(axis=(2, 3)).mean(axis=0)
    channels = np.sort(np.argsort(-spread, kind="stable")[:count])
    beyond = float((np.abs(unit[:, channels]) > LIMIT).mean())
    return ModuleMaps(
        name, (values.shape[1], values.shape[2], values.shape[3]), channels, values[:, channels], rms, beyond
    )


def draw(data: Activations) -> dict[str, Figure]:
    """Draw the figure ``activations``."""
    recorded, shown = data.trajectory, data.trajectory.activation_steps
    frames = ActivationFrames(
        x_t=pictures(recorded.x_t[data.sample, shown]),
        timesteps=recorded.timesteps[shown],
        steps_left=recorded.steps_left[shown],
        alphas_cumprod=recorded.alphas_cumprod[shown],
        blocks=tuple(FeatureMaps(block.maps, block.rms, block.name) for block in data.blocks),
        latent_channels=data.latent_channels,
    )
    return {"activations": draw_activations(frames)}


def draw_feature_maps(
    trajectory: Trajectory, names: Sequence[str] | None = None, sample: int = 0, ax: Axes | None = None
) -> Figure:
    """Draw feature maps along one generation: a row for each module, a column for each recorded frame.

    Parameters
    ----------
    trajectory
        A recording with ``activations`` at one to six timesteps.
    names
        Dotted names of the modules to show, of which the first eight with feature maps are drawn; by default all.
    sample
        The index of its image, 0 .. B-1.
    ax
        Axes to draw into, in their own size and style: of each module the first of the selected channels. By default
        a whole 16:9 page is drawn.

    Returns
    -------
    Figure
        The page, or the figure that ``ax`` belongs to.

    Raises
    ------
    VizdiffInputError
        Where no activations were recorded, at more than six frames, or there is no such module or image.
    """
    if trajectory.activation_steps is None:
        raise VizdiffInputError("this recording kept no activations; record with activations=[…], activations_at=[…]")
    data = measure(trajectory, names, sample)
    return draw(data)["activations"] if ax is None else _draw_into(ax, data)


def _draw_into(ax: Axes, data: Activations) -> Figure:
    """Draw x_t and the first shown channel of each module, divided by the module's root mean square, into ``ax``."""
    recorded, shown = data.trajectory, data.trajectory.activation_steps
    rows = [MosaicRow(X_T, tuple(pictures(recorded.x_t[data.sample, shown])))]
    for block in data.blocks:
        unit = block.maps[:, 0] / np.where(block.rms > 0, block.rms, 1)[:, None, None]
        rows.append(MosaicRow(f"{block.name} [{block.channels[0]}]", tuple(unit), SIGNED_MAP, LIMIT))
    return draw_mosaic(ax, rows, [str(n) for n in recorded.steps_left[shown].tolist()], "steps left")


def facts(data: Activations) -> dict[str, Any]:
    """Return the numbers of the caption and the JSON file."""
    recorded, shown = data.trajectory, data.trajectory.activation_steps
    left = [] if shown is None else recorded.steps_left[shown].tolist()
    named = [
        f"{block.name} ({'×'.join(map(str, block.shape))}: {', '.join(map(str, block.channels))})"
        for block in data.blocks
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
