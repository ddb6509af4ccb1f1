"""Data in another folder than when the run was trained: accepted where they are the same, by their SHA-256."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from viz_diffusion.errors import VizdiffInputError
from viz_diffusion.training.checkpoint_series import CheckpointSeries
from viz_diffusion.training.run import Run


def with_data_dir(run: Run, data_dir: Path) -> Run:
    """Return a run with its data read from another folder; nothing is written.

    Raises
    ------
    VizdiffInputError
        If the run was not trained on a folder, or the folder does not hold the data it was trained on.
    """
    config = run.config
    if config.data_dir is None:
        raise VizdiffInputError(f"{run.path} was trained on {config.dataset}; leave `data_dir` out")
    moved = replace(config, data_dir=str(Path(data_dir).resolve()))
    if config.data_sha256 is None:
        # an older run: its checkpoint knows the images, those of the subset, if there is one
        wanted, found = CheckpointSeries(run.path).data_sha256(), moved.data_hashes()
    else:
        wanted, found = config.data_sha256, replace(moved, subset=None).data_hashes()
    if found != wanted:
        shown = [f"{one[0][:12]}… and {one[1][:12]}…" if one else "not known" for one in (found, wanted)]
        raise VizdiffInputError(
            f"`data_dir` {data_dir} holds other data than the run was trained on: SHA-256 {shown[0]}, expected "
            f"{shown[1]}; give the same data"
        )
    return replace(run, config=moved)
