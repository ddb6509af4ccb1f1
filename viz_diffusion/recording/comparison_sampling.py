"""Sampling of the comparison runs of a recording: the same initial noise, with one thing changed; or another network.

Knows nothing about files or figures.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch

from viz_diffusion.diffusion.latent_space import pictures_of
from viz_diffusion.diffusion.sampler_config import SamplerConfig
from viz_diffusion.diffusion.samplers import ImageNoise, Step
from viz_diffusion.diffusion.sampling import sampled_as, sampling_steps
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.diffusion.unet import SimpleUNet
from viz_diffusion.errors import VizdiffInputError
from viz_diffusion.recording.comparison_runs import ComparisonRuns, Float32, Generation, Int64, kept_steps_left
from viz_diffusion.recording.latent_pictures import is_latent, state_picture
from viz_diffusion.recording.trajectory import Trajectory

OTHER_FRAMES, MOST_OTHERS = 50, 9
"""Frames kept of each other digit, and how many other labels there are at most."""
COMPARED_FRAMES = 100
"""Frames kept of the same digit under another guidance scale or another sampler."""
_GUIDANCE_SCALES = (1.0, 3.0, 1.5)
"""The first two that differ from the recording's own are sampled."""


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
    digits = [] if known is not None else _other_labels(label, range(model.null_label) if labels is None else labels)
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
        configs = [replace(own, guidance_scale=scale) for scale in all_scales]
        all_labels = digits + [label] * len(scales)
        frames = [OTHER_FRAMES] * len(digits) + [COMPARED_FRAMES] * len(scales)
        same_sampler = _sample(
            model, trajectory.schedule, seed, configs, all_labels, frames, count_steps, trajectory.timesteps
        )
    arguments = (model, trajectory.schedule, seed, [other], [label], [COMPARED_FRAMES], count_steps)
    other_sampler = _sample(*arguments) if comparisons else []
    others = tuple(same_sampler[: len(digits)]) if known is None else known.others
    return ComparisonRuns(others, tuple(same_sampler[len(digits) :] + other_sampler), comparisons)


def sample_by_other_network(
    model: SimpleUNet,
    trajectory: Trajectory,
    sample: int = 0,
    on_step: Callable[[int, int], None] | None = None,
) -> Generation:
    """Sample one image of a recording once more, by another network that was trained on the same noise schedule.

    Label, seed, timesteps, sampler and guidance scale are the recording's. The noise is the same only where the
    network's x have the recording's shape. On pixels predicted x_0 is clipped where the recording's was, and where the
    recording is of latents, which never are.

    Parameters
    ----------
    model, trajectory, sample
        The other network, the recording, and which image of it.
    on_step
        Gets (done, total), counted in steps.
    """
    own, done = trajectory.sampler_config, 0
    config = sampled_as(model, replace(own, clip=own.clip or is_latent(trajectory)))

    def count_steps(images: int) -> None:
        nonlocal done
        done += images
        if on_step is not None:
            on_step(done, trajectory.num_steps)

    label, seed = int(trajectory.labels[sample]), int(trajectory.seeds[sample])
    arguments = (model, trajectory.schedule, seed, [config], [label], [COMPARED_FRAMES], count_steps)
    return _sample(*arguments, trajectory.timesteps)[0]


def _other_labels(label: int, known: Sequence[int]) -> list[int]:
    """Return the labels after one, as many as are sampled, rising; after the last comes the first."""
    after = [one for one in known if one > label] + [one for one in known if one < label]
    return sorted(after[:MOST_OTHERS])


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
    x_shape = (model.config.in_channels, model.config.image_size, model.config.image_size)
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
        ImageNoise([seed] * len(digits), x_shape),
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
    finished, space = pictures_of(model, step.x_prev), model.latent_space
    if space is not None:  # as PicturedLatents shows them
        for left, one in seen.items():
            shown = torch.from_numpy(state_picture(one.x_t.cpu().numpy(), space.image_shape))
            seen[left] = replace(one, x_t=shown, x0_pred=space.decode(one.x0_pred))
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
