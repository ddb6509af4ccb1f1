"""Presets: named settings of network and training, with the quality that each was measured to reach.

Knows nothing about data, runs or the command line, and never imports torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.files import read_json

MEASURED_DIR = Path(__file__).parents[1] / "assets" / "presets"
"""Folder of ``NAME.json``: the output of ``vizdiff evaluate --out`` for a run of that preset."""


@dataclass(frozen=True)
class Preset:
    """A network, the settings of its training, and a budget."""

    name: str
    """Value of ``--preset``; written into the run's config."""
    purpose: str
    """What the preset is for, in a few words."""
    channels: tuple[int, int]
    """Feature channels at half and at a quarter of the image's resolution."""
    num_blocks: int
    """Residual blocks per level, on the way down and again on the way up."""
    batch_size: int
    """Images per step."""
    learning_rate: float
    """Peak learning rate."""
    optimizer: str = "adamw"
    """``adamw`` or ``muon``."""
    minutes: float | None = None
    """Wall time of training; None if ``steps`` is given."""
    steps: int | None = None
    """Number of optimizer steps; None if ``minutes`` is given."""

    @property
    def command(self) -> str:
        """The command that trains with this preset."""
        return f"vizdiff train --preset {self.name}"

    @property
    def budget(self) -> str:
        """The number of steps, or the wall time, as text."""
        return f"{self.minutes:g} minutes" if self.minutes is not None else f"{self.steps:,} steps"

    def measured(self) -> dict[str, Any] | None:
        """Return the results of ``vizdiff evaluate`` for a run of this preset; None if it was not measured.

        Raises
        ------
        VizdiffInputError
            If the file is not JSON.
        """
        path = MEASURED_DIR / f"{self.name}.json"
        return read_json(path) if path.is_file() else None


PRESETS = (
    Preset("small", "a laptop", (32, 64), 1, batch_size=64, learning_rate=4e-3, optimizer="muon", minutes=10),
    Preset(
        "base", "the bundled weights", (32, 64), 1, batch_size=64, learning_rate=4e-3, optimizer="muon", steps=30_000
    ),
)
DEFAULT_PRESET = "small"


def find_preset(name: str) -> Preset:
    """Return the preset of a name.

    Raises
    ------
    VizdiffUsageError
        If no preset has that name.
    """
    for preset in PRESETS:
        if preset.name == name:
            return preset
    raise VizdiffUsageError(f"`preset` must be {', '.join(preset.name for preset in PRESETS)}, found {name!r}")
