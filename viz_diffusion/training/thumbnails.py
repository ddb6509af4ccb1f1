"""Thumbnails: a sample of each label from one fixed noise, drawn again at every evaluation of a run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import save
from torch import Tensor

from viz_diffusion.data import to_bytes
from viz_diffusion.diffusion.latent_space import pictures_of
from viz_diffusion.diffusion.sampler_config import SamplerConfig
from viz_diffusion.diffusion.samplers import ImageNoise
from viz_diffusion.diffusion.sampling import sampling_steps
from viz_diffusion.errors import VizdiffInputError
from viz_diffusion.files import read_checked, read_regular, write_bytes
from viz_diffusion.training.checkpoint import parse_tensors
from viz_diffusion.training.latent_run import load_latent_space
from viz_diffusion.training.loop import TrainState

if TYPE_CHECKING:
    from viz_diffusion.training.config import RunConfig
    from viz_diffusion.training.run import Run

SAMPLES = "samples.safetensors"


class Thumbnails:
    """The samples of a run so far; each evaluation adds one image a label, sampled with the averaged weights.

    Of more than ten labels in the training images, the first ten are sampled.

    Parameters
    ----------
    run
        The run whose samples file is continued.
    last_step
        Samples of later steps are dropped. 0: start without samples.
    """

    SEED = 0
    STEPS = 20
    GUIDANCE_SCALE = 1.5
    MOST = 10
    """Labels sampled at most."""

    def __init__(self, run: Run, last_step: int) -> None:
        self._run = run
        self._steps: list[int] = []
        self._images: list[Tensor] = []
        saved = run.load_samples() if last_step else None
        for step, images in zip(*saved, strict=True) if saved else ():
            if step <= last_step:
                self._steps.append(int(step))
                self._images.append(images)

    def __len__(self) -> int:
        return len(self._steps)

    def add(self, state: TrainState, should_stop: Callable[[], bool]) -> bool:
        """Sample the labels by DDIM and write them to the run; return whether they were written.

        ``should_stop`` is called after each step of the sampler; once it returns True nothing is written.
        """
        labels = torch.tensor(thumbnail_labels(self._run.config), device=state.device)
        if state.ema.latent_space is None:
            state.ema.latent_space = load_latent_space(self._run.path, self._run.config, False, state.device)
        denoiser, schedule = self._run.config.sampled(state.ema, "ddim")
        for step in sampling_steps(
            denoiser,
            schedule,
            ImageNoise([self.SEED] * len(labels), self._run.config.x_shape),
            labels,
            SamplerConfig("ddim", self.STEPS, guidance_scale=self.GUIDANCE_SCALE),
            null_label=state.ema.null_label,
        ):
            x = step.x_prev
            if should_stop():
                return False
        self._steps.append(state.step)
        self._images.append(torch.from_numpy(to_bytes(pictures_of(denoiser, x))))
        save_samples(self._run.path, self._steps, torch.stack(self._images))
        return True


def thumbnail_labels(config: RunConfig) -> tuple[int, ...]:
    """Return the labels of a run's thumbnails, in their order."""
    return config.present_labels[: Thumbnails.MOST]


def save_samples(folder: Path, steps: list[int], images: Tensor) -> None:
    """Write the samples of a run: M training steps and (M, N, H, W) or (M, N, H, W, 3) uint8 images."""
    data = save({"steps": torch.tensor(steps, dtype=torch.int64), "images": images})
    write_bytes(folder / SAMPLES, data)


def load_samples(folder: Path, *, check: bool) -> tuple[Tensor, Tensor] | None:
    """Read the samples of a run: M int64 training steps, (M, N, H, W[, 3]) uint8 images; None if there are none.

    Parameters
    ----------
    check
        Compare the file with the folder's manifest, which only a finished run has.

    Raises
    ------
    VizdiffInputError
        If the file is damaged or holds other entries.
    """
    path = folder / SAMPLES
    if not path.is_file():
        return None
    tensors = parse_tensors(path, read_checked(folder, SAMPLES)[0] if check else read_regular(path))
    if set(tensors) != {"steps", "images"}:
        raise VizdiffInputError(f"{path} must hold steps and images, found {', '.join(sorted(tensors)) or 'nothing'}")
    return tensors["steps"], tensors["images"]
