"""Presets: three sizes of training, and the quality that each was measured to reach.

Knows nothing about data, folders of runs or the command line, and never imports torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.files import read_json

MEASURED_DIR = Path(__file__).parents[1] / "assets" / "presets"
"""Holds ``NAME.json``, what ``vizdiff evaluate --out``` wrote of a run of that preset."""


@dataclass(frozen=True)
class Preset:
    """A network, how it is trained, and for how long."""

    name: str
    """What ``--preset`` calls it; written into the run's config."""
    purpose: str
    """What it is for, in a few words."""
    channels: tuple[int, int]
    """Feature channels at half and at a quarter of the image's resolution."""
    num_blocks: int
    """Residual blocks per level, on the way down and again on the way up."""
    batch_size: int
    """Images per step."""
    learning_rate: float
    """Peak learning rate of AdamW."""
    minutes: float | None = None
    """Wall time to spend; None where ``steps`` counts."""
    steps: int | None = None
    """Optimizer steps in all; None where ``minutes`` counts."""

    @property
    def command(self) -> str:
        """What a user types."""
        return f"vizdiff train --preset {self.name}"

    @property
    def budget(self) -> str:
        """How long it trains, in words."""
        return f"{self.minutes:g} minutes" if self.minutes is not None else f"{self.steps:,} steps"

    def measured(self) -> dict[str, Any] | None:
        """Return what ``vizdiff evaluate`` found for a run of this preset, or None where nobody has measured it.

        Raises
        ------
        VizdiffInputError
            Where the file is no JSON.
        """
        path = MEASURED_DIR / f"{self.name}.json"
        return read_json(path) if path.is_file() else None


PRESETS = (
    Preset("small", "a laptop", (32, 64), 1, batch_size=64, learning_rate=4e-3, minutes=10),
    Preset("base", "the bundled weights", (32, 64), 1, batch_size=64, learning_rate=4e-3, steps=30_000),
    Preset("large", "a GPU", (128, 256), 2, batch_size=256, learning_rate=2e-3, steps=30_000),
)
DEFAULT_PRESET = "small"


def find_preset(name: str) -> Preset:
    """Return a preset by its name.

    Raises
    ------
    VizdiffUsageError
        Where there is none of that name.
    """
    for preset in PRESETS:
        if preset.name == name:
            return preset
    raise VizdiffUsageError(f"`preset` must be {', '.join(preset.name for preset in PRESETS)}, found {name!r}")
