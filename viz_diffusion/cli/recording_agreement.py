"""Whether options agree with the recording that a command is given.

Imports no torch.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from viz_diffusion.cli.console import show_path
from viz_diffusion.diffusion.timesteps import SPACINGS, spaced_timesteps
from viz_diffusion.errors import VizdiffUsageError

if TYPE_CHECKING:
    from viz_diffusion.recording.trajectory import Trajectory


def recorded_prompts(folder: Path, given: tuple[str, ...], recorded: Trajectory) -> tuple[str, ...]:
    """Return the prompts of a recording, those that are given after them; refuse another first one."""
    if not given:
        return recorded.prompts
    label = int(recorded.labels[0])
    found = recorded.prompts[label] if 0 <= label < len(recorded.prompts) else "none"
    if " ".join(given[0].split()) != found:
        raise VizdiffUsageError(
            f"`prompt` {given[0]!r} contradicts `trajectory` {folder}, whose prompt is {found!r}; "
            "leave one of the two out"
        )
    return recorded.prompts + tuple(one for one in given if " ".join(one.split()) not in recorded.prompts)


def check_agreement(trajectory: Path, recorded: Trajectory, given: dict[str, Any]) -> None:
    """Refuse an option that contradicts the recording."""
    recorded_values: dict[str, Any] = {
        "digit": int(recorded.labels[0]),
        "seed": int(recorded.seeds[0]),
        "sampler": recorded.sampler,
        "steps": recorded.num_steps,
        "guidance_scale": recorded.guidance_scale,
        "variance": recorded.variance,
        "eta": recorded.eta,
        "timestep_spacing": spacing_of(recorded),
        "clip": recorded.clip,
    }
    for name, value in given.items():
        actual = recorded_values[name]
        if value is None or value == actual or (isinstance(value, float) and math.isclose(value, actual)):
            continue
        known = "not known" if actual in (-1, "") or actual != actual else actual
        shown = f"{value:g}" if isinstance(value, float) else value
        named = "--no-clip" if value is False else "--clip" if value is True else f"`{name}` {shown}"
        words = "guidance" if name == "guidance_scale" else name.replace("_", " ")
        raise VizdiffUsageError(
            f"{named} contradicts `trajectory` {show_path(trajectory)}, whose {words} is {known}; "
            "leave one of the two out"
        )


def spacing_of(recorded: Trajectory) -> str:
    """Return the spacing that visits the recorded timesteps, the default one first; empty where none does."""
    for spacing in SPACINGS:
        visited = spaced_timesteps(recorded.schedule.num_train_timesteps, recorded.num_steps, spacing)
        if visited.tolist() == recorded.timesteps.tolist():
            return spacing
    return ""
