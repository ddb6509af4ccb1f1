"""Comparison runs of a recording: generations from the same initial noise that differ from it in one thing.

The nine other digits, two other guidance scales, and another sampler, each at some of its steps, and the file they are
kept in. Samples none (:mod:`~viz_diffusion.recording.comparison_sampling` does); knows nothing about networks or
figures.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from viz_diffusion.errors import VizdiffInputError
from viz_diffusion.files import atomic_write, damage_named, parse_json, read_arrays
from viz_diffusion.recording.trajectory import Trajectory

SHARES_LEFT = (1.0, 0.65, 0.55, 0.45, 0.35, 0.25, 0.1)
"""Shares of the steps that are left at frames that are always kept."""
_SCHEMA_VERSION = 2

Float32 = NDArray[np.float32]
Int64 = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Generation:
    """One generation, F of its S frames."""

    digit: int
    """The label it was sampled with."""
    sampler: str
    """ddpm, ddim or dpm-solver++."""
    guidance_scale: float
    """s; 1 is none."""
    num_steps: int
    """S, the network evaluations of the whole generation."""
    timesteps: Int64
    """(F,) int64, strictly falling: t of each frame."""
    steps_left: Int64
    """(F,) int64, strictly falling, in 1 .. S: steps left before each frame's step."""
    x_t: Float32
    """(F+1, H, W) or (F+1, H, W, 3) float32: x_t at each frame, and last the finished image."""
    x0_pred: Float32
    """(F, H, W) or (F, H, W, 3) float32: predicted x̂_0."""

    def states_at(self, steps_left: Int64) -> Float32:
        """Return the (K, H, W[, 3]) states at K numbers of steps left, 0 being the finished image.

        Raises
        ------
        VizdiffInputError
            Where one of them was not kept.
        """
        where = {int(n): index for index, n in enumerate(self.steps_left)} | {0: len(self.steps_left)}
        missing = [int(n) for n in steps_left if int(n) not in where]
        if missing:
            raise VizdiffInputError(f"digit {self.digit}: the frame with {missing[0]} steps left was not kept")
        return self.x_t[[where[int(n)] for n in steps_left]]


@dataclass(frozen=True, eq=False)
class ComparisonRuns:
    """The generations that a recording is compared with."""

    others: tuple[Generation, ...]
    """The nine other digits, or other classes, at most nine."""
    comparisons: tuple[Generation, ...]
    """The same digit under two other guidance scales and from the other sampler."""
    complete: bool = True
    """Whether ``comparisons`` were sampled; False means that they were left out."""


def shown_steps_left(num_steps: int) -> Int64:
    """Return the steps left of the frames that are always kept, falling, without the finished one."""
    return np.unique(np.maximum(1, np.round(np.array(SHARES_LEFT) * num_steps)).astype(np.int64))[::-1]


def kept_steps_left(num_steps: int, count: int) -> Int64:
    """Return ``count`` (or all) steps left, evenly spaced, each nearest one moved to a frame that must be kept."""
    even = np.unique(np.round(np.linspace(num_steps, 1, min(count, num_steps))).astype(np.int64))
    kept = dict.fromkeys(even.tolist())
    for needed in shown_steps_left(num_steps).tolist():
        if needed not in kept:
            movable = [n for n in kept if n not in shown_steps_left(num_steps)]
            del kept[min(movable, key=lambda n: abs(n - needed))]
            kept[needed] = None
    return np.array(sorted(kept, reverse=True), dtype=np.int64)


def _identity(trajectory: Trajectory, sample: int) -> dict[str, Any]:
    """Return what decides a recording's comparison runs."""
    return {
        "schema_version": _SCHEMA_VERSION,
        "weights_sha256": trajectory.weights_sha256,
        "digit": int(trajectory.labels[sample]),
        "seed": int(trajectory.seeds[sample]),
        "sampler": trajectory.sampler,
        "num_steps": trajectory.num_steps,
        "guidance_scale": trajectory.guidance_scale,
        "clip": trajectory.clip,
        "variance": trajectory.variance,
        "eta": trajectory.eta,
        "timesteps": trajectory.timesteps.tolist(),
    }


def save_comparison_runs(comparison_runs: ComparisonRuns, trajectory: Trajectory, path: Path, sample: int = 0) -> None:
    """Write comparison runs to one ``.npz`` file, whole or not at all."""
    arrays: dict[str, Any] = {}
    facts = []
    for index, one in enumerate((*comparison_runs.others, *comparison_runs.comparisons)):
        facts.append([one.digit, one.sampler, one.guidance_scale, one.num_steps])
        for name in ("timesteps", "steps_left", "x_t", "x0_pred"):
            arrays[f"{index}.{name}"] = getattr(one, name)
    header = {
        "of": _identity(trajectory, sample),
        "others": len(comparison_runs.others),
        "complete": comparison_runs.complete,
        "generations": facts,
    }
    with atomic_write(path) as handle:
        np.savez(handle, header=np.array(json.dumps(header)), **arrays)


def load_comparison_runs(path: Path, trajectory: Trajectory, sample: int = 0) -> ComparisonRuns | None:
    """Read comparison runs back; None where there is no file, or it belongs to another recording.

    Raises
    ------
    VizdiffInputError
        Where the file is damaged.
    """
    if not path.is_file():
        return None
    mend = "delete it, and it is made again"
    stored = read_arrays(path, mend)
    with damage_named(path, mend):
        header = parse_json(str(stored["header"]))
        if header["of"] != _identity(trajectory, sample):
            return None
        generations = [
            Generation(
                int(digit),
                str(sampler),
                float(scale),
                int(num_steps),
                *(stored[f"{index}.{name}"] for name in ("timesteps", "steps_left", "x_t", "x0_pred")),
            )
            for index, (digit, sampler, scale, num_steps) in enumerate(header["generations"])
        ]
        count, complete = int(header["others"]), bool(header.get("complete", True))
    return ComparisonRuns(tuple(generations[:count]), tuple(generations[count:]), complete)
