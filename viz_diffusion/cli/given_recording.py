"""The recording that a command is given: opened at the image that is shown."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import TYPE_CHECKING

from viz_diffusion.errors import VizdiffInputError, VizdiffUsageError
from viz_diffusion.recording.store.layout import CHUNK_SAMPLES

if TYPE_CHECKING:
    from viz_diffusion.recording.trajectory import Trajectory

_ADDRESS = re.compile(r"([a-z][a-z0-9+.-]+):/+(.*)")
"""A URL as :class:`pathlib.Path` keeps it, with one slash; on Windows the letter of a drive is no scheme."""


def open_recording(source: Path, allow_partial: bool = False, index: int | None = None) -> Trajectory:
    """Open the recording in a folder written by ``vizdiff trajectory``, or the store itself.

    With ``index`` only that image is read; without, of many images that were recorded in blocks, the first block: pages
    show the first image.

    Raises
    ------
    VizdiffUsageError
        Where it has no such image, or is a URL.
    VizdiffInputError
        Where it cannot be read, or was cut off before the image was finished.
    """
    address = _ADDRESS.match(str(source))
    if address is not None:
        raise VizdiffUsageError(
            f"`trajectory` must be a folder or a file on this machine, found {address[1]}://{address[2]}; copy it here"
        )
    from viz_diffusion.recording.many.opening import open_store
    from viz_diffusion.recording.store.blocks import is_in_blocks
    from viz_diffusion.recording.trajectory import Trajectory

    path = source if is_store(source) else source / "trajectory.zarr"
    first = slice(0, CHUNK_SAMPLES) if path.is_dir() and is_in_blocks(path) else None
    if index is not None:
        count = open_store(path, "recording", "vizdiff trajectory records one").extent.samples
        if not 0 <= index < max(count, 1):
            raise VizdiffUsageError(f"`index` must lie in 0..{count - 1}, the images of {path}, found {index}")
        first = slice(index, index + 1)
    recorded = Trajectory.open(path, allow_partial=allow_partial, samples=first)
    if recorded.stopped and not math.isfinite(float(recorded.x0[0].sum())):
        raise VizdiffInputError(
            f"{path} was cut off after {recorded.stopped}, before its first image was finished; record it again, or "
            "look at what is there with Trajectory.open(…, allow_partial=True)"
        )
    return recorded


def is_store(path: Path) -> bool:
    """Return whether a path is a recording itself, and not a folder that holds one."""
    return path.is_file() or path.suffix == ".zarr" or (path / "zarr.json").is_file()
