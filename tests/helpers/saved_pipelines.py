"""The command on a saved pipeline: the recording, and what its JSON file says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from viz_diffusion.cli import main
from viz_diffusion.recording.trajectory import Trajectory


def recorded(folder: Path, out: Path, *argv: str) -> tuple[Trajectory, dict[str, Any]]:
    """Run the command; return the recording and what the JSON file says."""
    assert main(["record", str(folder), "--quiet", "--out", str(out), *argv]) == 0
    return Trajectory.open(out / "trajectory.zarr"), json.loads((out / "trajectory.json").read_text())
