"""Comparison runs of a recording: generations from the same initial noise that differ from it in one thing.

The nine other digits, two other guidance scales, and another sampler, each at some of its steps. Knows nothing about
figures.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from viz_diffusion.diffusion.sampler_config import SamplerConfig
from viz_diffusion.diffusion.samplers import ImageNoise, Step
from viz_diffusion.diffusion.sampling import sampling_steps
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.diffusion.unet import SimpleUNet
from viz_diffusion.errors import VizdiffInputError
from viz_diffusion.files import atomic_write, io_errors
from viz_diffusion.recording.trajectory import Trajectory

OTHER_FRAMES, MOST_OTHERS = 50, 9
"""Frames kept of each other digit, and how many other labels there are at most."""
COMPARED_FRAMES = 100
"""Frames kept of the same digit under another guidance scale or another sampler."""
SHARES_LEFT = (1.0, 0.65, 0.55, 0.45, 0.35, 0.25, 0.1)
"""Shares of the steps that are left at frames that are always kept."""
_GUIDANCE_SCALES = (1.0, 3.0, 1.5)
"""The first two that differ from the recording's own are sampled."""
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


def sample_comparison_runs(
    model: SimpleUNet,
    trajectory: Trajectory,
    sample: int = 0,
    on_step: Callable[[int, int], None] | None = None,
    comparisons: bool = True,
    known: ComparisonRuns | None = None,
    labels: Sequence[int] | None = None,
) -> ComparisonRuns:
    """Sample the comparison runs of one image of a recording.

    Parameters
    ----------
    model, trajectory, sample
        The network that made the recording, the recording, and which image of it.
    on_step
        Gets (done, total), counted in steps of single images.
    comparisons
        Whether the same digit is sampled otherwise; the nine other digits always are.
    known
        Comparison runs without ``comparisons``, whose nine digits are not sampled again.
    labels
        Those that the network was trained on, rising; by default all. The nine after the recording's are sampled.

    Raises
    ------
    VizdiffInputError, VizdiffUsageError
        Where the recording's seed or digit, or its sampler or guidance scale, is not known.
    """
    label, seed = int(trajectory.labels[sample]), int(trajectory.seeds[sample])
    if seed < 0 or not 0 <= label < model.null_label:
        raise VizdiffInputError("comparison runs need a recording whose seed and digit are known")
    own = trajectory.sampler_config
    known_labels = range(model.null_label) if labels is None else labels
    after = [one for one in known_labels if one > label] + [one for one in known_labels if one < label]
    digits = [] if known is not None else sorted(after[:MOST_OTHERS])
    scales = [s for s in _GUIDANCE_SCALES if s != own.guidance_scale][:2] if comparisons else []
    other = _other_sampler(own, trajectory.schedule.num_train_timesteps)
    num_images = len(digits) + len(scales)
    total = num_images * trajectory.num_steps + (other.steps or 0) * comparisons
    done = 0

    def count_steps(images: int) -> None:
        nonlocal done
        done += images
        if on_step is not None:
            on_step(done, total)

    same_sampler: list[Generation] = []
    if num_images:
        all_scales = [own.guidance_scale] * len(digits) + scales
        same_sampler = _sample(
            model,
            trajectory.schedule,
            seed,
            [replace(own, guidance_scale=scale) for scale in all_scales],
            digits + [label] * len(scales),
            [OTHER_FRAMES] * len(digits) + [COMPARED_FRAMES] * len(scales),
            count_steps,
            timesteps=trajectory.timesteps,
        )
    arguments = (model, trajectory.schedule, seed, [other], [label], [COMPARED_FRAMES], count_steps)
    other_sampler = _sample(*arguments) if comparisons else []
    others = tuple(same_sampler[: len(digits)]) if known is None else known.others
    return ComparisonRuns(others, tuple(same_sampler[len(digits) :] + other_sampler), comparisons)


def _other_sampler(own: SamplerConfig, num_train_timesteps: int) -> SamplerConfig:
    """Return the sampler that a recording is compared with: DDIM in 100 steps for DDPM, DDPM in all for any other."""
    if own.sampler == "ddpm":
        return SamplerConfig("ddim", min(COMPARED_FRAMES, num_train_timesteps), own.guidance_scale, clip=own.clip)
    return SamplerConfig("ddpm", num_train_timesteps, own.guidance_scale, clip=own.clip)


def _sample(
    model: SimpleUNet,
    schedule: NoiseSchedule,
    seed: int,
    configs: Sequence[SamplerConfig],
    digits: list[int],
    frames: list[int],
    count_steps: Callable[[int], None],
    timesteps: Int64 | None = None,
) -> list[Generation]:
    """Sample one batch from one noise; the images differ in digit and guidance scale alone, and keep some frames."""
    device = next(model.parameters()).device
    image_shape = (model.config.in_channels, model.config.image_size, model.config.image_size)
    scales = [config.guidance_scale for config in configs]
    each = (
        torch.tensor(scales, dtype=torch.float32, device=device).reshape(-1, 1, 1, 1) if len(set(scales)) > 1 else None
    )
    visited = configs[0].timesteps(schedule.num_train_timesteps) if timesteps is None else timesteps
    num_steps = len(visited)
    kept = [kept_steps_left(num_steps, count) for count in frames]
    wanted = set(np.concatenate(kept).tolist())
    seen: dict[int, Step] = {}
    steps = sampling_steps(
        model,
        schedule,
        ImageNoise([seed] * len(digits), image_shape),
        torch.tensor(digits, device=device),
        configs[0],
        timesteps=visited,
        guidance_scales=each,
        null_label=model.null_label,
    )
    for index, step in enumerate(steps):
        if num_steps - index in wanted:
            seen[num_steps - index] = step
        count_steps(len(digits))
    finished = step.x_prev
    return [
        Generation(
            digit=digits[row],
            sampler=configs[row].sampler,
            guidance_scale=scales[row],
            num_steps=num_steps,
            timesteps=np.array([seen[n].t for n in left.tolist()], dtype=np.int64),
            steps_left=left,
            x_t=_rows([seen[n].x_t for n in left.tolist()] + [finished], row),
            x0_pred=_rows([seen[n].x0_pred for n in left.tolist()], row),
        )
        for row, left in enumerate(kept)
    ]


def _rows(tensors: list[torch.Tensor], row: int) -> Float32:
    images = np.stack([tensor[row].cpu().numpy() for tensor in tensors])
    return images[:, 0] if images.shape[1] == 1 else np.moveaxis(images, 1, -1)


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
    try:
        with io_errors("read", path), path.open("rb") as handle, np.load(handle, allow_pickle=False) as stored:
            header = json.loads(str(stored["header"]))
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
    except (KeyError, ValueError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise VizdiffInputError(f"{path} is damaged ({error}); delete it, and it is made again") from error
    return ComparisonRuns(tuple(generations[:count]), tuple(generations[count:]), complete)
