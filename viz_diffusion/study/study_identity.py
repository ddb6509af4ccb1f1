"""What a study depends on, as JSON values: a kept study is found again by it, and by nothing less.

Knows nothing about where studies are kept.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from viz_diffusion.diffusion.sampler_config import SamplerConfig
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.files import sha256_bytes, to_json
from viz_diffusion.recording.comparison_runs import ComparisonRuns
from viz_diffusion.recording.trajectory import Trajectory

if TYPE_CHECKING:
    from viz_diffusion.training.run import Run

Identity = Mapping[str, Any]
"""JSON values by name."""
_PACKAGE = Path(__file__).parents[1]
_NOT_MEASURING = ("cli", "report", "deck", "worksheet")
"""Folders of the package whose code changes no measurement."""
_RECORDED = ("x_t", "eps_pred", "x0_pred", "eps_cond", "eps_uncond", "x0", "timesteps", "labels", "seeds")


def requested_generation(
    label: int, seed: int, config: SamplerConfig, schedule: NoiseSchedule, weights_sha256: str
) -> Identity:
    """Return what decides a generation that is to be sampled; the same as :func:`recorded_generation` of its result."""
    return {
        "weights_sha256": weights_sha256,
        "label": label,
        "seed": seed,
        "sampler": config.sampler,
        "variance": config.injected_variance,
        "eta": config.eta,
        "guidance_scale": float(config.guidance_scale),
        "clip": config.clip,
        "schedule": _schedule_sha256(schedule),
        **_visited(config.timesteps(schedule.num_train_timesteps)),
    }


def recorded_generation(trajectory: Trajectory) -> Identity:
    """Return what decided the generation of a recording's first image."""
    return {
        "weights_sha256": trajectory.weights_sha256,
        "label": int(trajectory.labels[0]),
        "seed": int(trajectory.seeds[0]),
        "sampler": trajectory.sampler,
        "variance": trajectory.variance,
        "eta": trajectory.eta,
        "guidance_scale": None if np.isnan(trajectory.guidance_scale) else trajectory.guidance_scale,
        "clip": trajectory.clip,
        "schedule": _schedule_sha256(trajectory.schedule),
        **_visited(trajectory.timesteps),
    }


def study_identity(generation: Identity, run: Run, device: str) -> Identity:
    """Return everything that decides a study: its generation, the run with its data, and what measures.

    Parameters
    ----------
    generation
        As of :func:`requested_generation` or :func:`recorded_generation`.
    run
        The run of the weights. Where it and its data lie does not matter.
    device
        ``cpu``, ``cuda`` or ``mps``: the same numbers differ by rounding from one to another.

    Raises
    ------
    VizdiffInputError
        Where data of one's own cannot be read; their SHA-256 is part of the identity.
    """
    config = run.config.to_dict()
    own_data = config.pop("data_dir", None) is not None
    files = {
        name: _file_sha256(run.path / name)
        for name in ("metrics.jsonl", "samples.safetensors", "autoencoder.safetensors")
    }
    return {
        **generation,
        "run": sha256_bytes(to_json([config, files]).encode()),
        "data": list(run.config.data_hashes()) if own_data else run.config.dataset,
        "device": device,
        "code": code_sha256(),
        "versions": f"torch {torch.__version__}, numpy {np.__version__}",
    }


@cache
def code_sha256() -> str:
    """Return the SHA-256 of the code that samples and measures, and of the list of all results that ship with it.

    A study that another version of it measured is not found again, so that no version number has to be raised by hand.
    """
    paths = [path for path in _PACKAGE.rglob("*.py") if path.relative_to(_PACKAGE).parts[0] not in _NOT_MEASURING]
    paths += (_PACKAGE / "assets").rglob("*.json")
    digest = hashlib.sha256()
    for path in sorted(paths):
        digest.update(f"{path.relative_to(_PACKAGE).as_posix()}\0{sha256_bytes(path.read_bytes())}\n".encode())
    return digest.hexdigest()


def recording_sha256(trajectory: Trajectory) -> str:
    """Return the SHA-256 of what was recorded: lessons that were measured on another recording are not used for it."""
    return _arrays_sha256([getattr(trajectory, name) for name in _RECORDED])


def comparison_sha256(runs: ComparisonRuns) -> str:
    """Return the SHA-256 of the comparison runs with other labels, on which lessons measure."""
    return _arrays_sha256([getattr(one, name) for one in runs.others for name in ("timesteps", "x_t", "x0_pred")])


def _visited(timesteps: NDArray[Any]) -> Identity:
    """Return how many timesteps are visited, and the SHA-256 of which."""
    return {"num_steps": len(timesteps), "timesteps": sha256_bytes(timesteps.astype("<f8").tobytes())}


def _schedule_sha256(schedule: NoiseSchedule) -> str:
    return sha256_bytes(schedule.scaling.encode() + np.ascontiguousarray(schedule.betas).tobytes())


def _file_sha256(path: Path) -> str:
    return sha256_bytes(path.read_bytes()) if path.is_file() else ""


def _arrays_sha256(arrays: list[Any]) -> str:
    """Return the SHA-256 of arrays with their shapes; None counts as an array without values."""
    digest = hashlib.sha256()
    for array in arrays:
        values = np.zeros(0) if array is None else np.ascontiguousarray(array)
        digest.update(f"{values.shape} {values.dtype.str}\n".encode())
        digest.update(values.data if values.size else b"")
    return digest.hexdigest()
