"""What an image of a recording was requested to show: its prompt, and whether its label plays a part at all.

Never imports torch.
"""

from __future__ import annotations

from viz_diffusion.diffusion.tokenizer import EMPTY_PROMPT
from viz_diffusion.recording.trajectory import Trajectory


def prompt_of(trajectory: Trajectory, sample: int) -> str:
    """Return the prompt of an image; empty where it has none."""
    label = int(trajectory.labels[sample])
    return trajectory.prompts[label] if 0 <= label < len(trajectory.prompts) else ""


def requested_prompt(trajectory: Trajectory, sample: int) -> str:
    """Return the prompt that an image was made of; empty where it has none, or where it plays no part."""
    return "" if unlabelled(trajectory, sample) else prompt_of(trajectory, sample)


def unlabelled(trajectory: Trajectory, sample: int = 0) -> str:
    """Return why the label of an image plays no part, ``guidance`` or ``empty`` (the prompt); empty where it does."""
    if trajectory.guidance_scale == 0:
        return "guidance"
    return "empty" if prompt_of(trajectory, sample) == EMPTY_PROMPT else ""
