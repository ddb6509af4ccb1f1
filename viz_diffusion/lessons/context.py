"""The inputs of a lesson's measurement: a denoiser, real digits and recordings, each made on first use.

Knows nothing about figures or words.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from viz_diffusion.data import NUM_LABELS, Digits
from viz_diffusion.diffusion.latent_space import LatentSpace, latent_space_of
from viz_diffusion.diffusion.prediction import device_of
from viz_diffusion.diffusion.samplers import Denoiser, ImageNoise, ddpm_steps
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.diffusion.unet import SimpleUNet
from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.recording.comparison_runs import Generation
from viz_diffusion.recording.trajectory import Trajectory
from viz_diffusion.training.latent_run import encoded

if TYPE_CHECKING:
    from viz_diffusion.training.run import Run


TRACED_IMAGES = 64
TRACED_SEED = 640_000
"""Seed of the first traced image; image k has ``TRACED_SEED`` + k. Far from the seeds that people try."""

Progress = Callable[[int, int | None, str], None]
"""(done, total, text on what is done); a total of None is not known."""
SizeT = TypeVar("SizeT")


def silent(done: int, total: int | None, text: str) -> None:
    """Show nothing."""


@dataclass(frozen=True, eq=False)
class LessonContext:
    """Everything that a lesson may measure.

    A test passes a denoiser whose predictions are known, few digits and short ``given_traces``; only :attr:`network`
    needs a trained network.
    """

    run: Run
    """The run: its config says which data and schedule belong to the denoiser."""
    model: nn.Module
    """The denoiser, (x (B,1,28,28) float32, timesteps (B,) int64, labels (B,) int64) -> ε̂ like x: a network or
    one of :mod:`viz_diffusion.diffusion.oracles`."""
    heldout: Digits
    """Real digits the network never trained on."""
    digit: int = 5
    """The digit that the lessons are about, 0..9."""
    seed: int = 0
    """The seed of its noise; the lessons' own random numbers depend on it too."""
    recorded: Trajectory | None = None
    """One recorded generation; None where no lesson needs it (see ``Lesson.needs``)."""
    comparison_runs: tuple[Generation, ...] = ()
    """The other digits from the recording's noise; empty where no lesson needs them."""
    sample: int = 0
    """Which image of the recording the lessons are about."""
    full: bool = False
    """Whether to measure with the full sizes, however long it takes."""
    progress: Progress = silent
    """To be called now and then by whatever takes more than a second."""
    precomputed: Mapping[type, Any] = field(default_factory=dict)
    """Results that were computed before for these weights, by their dataclass."""
    measure_slow: bool = True
    """Whether lessons' slow parts are measured where they are not precomputed; otherwise they are left out."""
    given_training: Digits | None = None
    """Training digits; the run's own, read on first use, where not given."""
    given_traces: Trajectory | None = None
    """Traces; recorded on first use where not given."""

    @property
    def schedule(self) -> NoiseSchedule:
        """The forward process."""
        return self.run.config.noise_schedule if self.recorded is None else self.recorded.schedule

    @property
    def trajectory(self) -> Trajectory:
        """The recording.

        Raises
        ------
        VizdiffUsageError
            Where there is none.
        """
        if self.recorded is None:
            raise VizdiffUsageError("this lesson looks at a recording; it must say so (Lesson.needs)")
        return self.recorded

    @property
    def network(self) -> SimpleUNet:
        """The denoiser, for lessons that read its layers.

        Raises
        ------
        VizdiffUsageError
            Where it is not this package's network.
        """
        if not isinstance(self.model, SimpleUNet):
            raise VizdiffUsageError(f"this lesson looks inside a SimpleUNet, found {type(self.model).__name__}")
        return self.model

    @property
    def device(self) -> torch.device:
        """The device of the denoiser."""
        return device_of(self.model)

    @property
    def latent_space(self) -> LatentSpace | None:
        """The latent space that the denoiser works in; None where it works on pixels."""
        return latent_space_of(self.model)

    @cached_property
    def heldout_x(self) -> Digits:
        """The held-out digits as the denoiser works on them: encoded where it works in latents."""
        return encoded(self.heldout, self.latent_space)

    @cached_property
    def training_x(self) -> Digits:
        """The training digits as the denoiser works on them: encoded where it works in latents."""
        return encoded(self.training, self.latent_space)

    @cached_property
    def data_set_x(self) -> Digits:
        """All training digits there are, as the denoiser works on them."""
        return self.training_x if self.data_set is self.training else encoded(self.data_set, self.latent_space)

    @property
    def is_mnist(self) -> bool:
        """Whether the data are MNIST: what holds for MNIST only must not be shown for other data."""
        return self.run.config.dataset == "mnist"

    @property
    def with_label(self) -> Digits:
        """The held-out images, or the training images where no held-out one has the lessons' label."""
        return self.heldout if self.digit in self.heldout.present else self.training

    @cached_property
    def training(self) -> Digits:
        """The digits the run was trained on: read on first use, and kept."""
        return self.run.config.load_digits("train") if self.given_training is None else self.given_training

    @cached_property
    def data_set(self) -> Digits:
        """All training digits there are, where the run was trained on a part of them: read on first use, and kept."""
        return self.run.config.data_set(self.training)

    @cached_property
    def traces(self) -> Trajectory:
        """64 unguided generations with every step of each: made on first use, and kept.

        DDPM, 1000 steps, guidance 1, image k with the label k mod 10, from seeds of their own: about 45 s and
        600 MB on two cores. Fewer steps are those of ``given_traces``.
        """
        if self.given_traces is not None:
            return self.given_traces
        return record_traces(self.model, self.schedule, progress=self.progress)

    def size(self, quick: SizeT, full: SizeT) -> SizeT:
        """Return the size to measure with: the quick one, or the full one where ``full`` is set."""
        return full if self.full else quick

    def generator(self, *key: int) -> torch.Generator:
        """Return a fresh random generator that depends on the seed and on ``key`` alone."""
        entropy = np.random.SeedSequence([len(key), self.seed, *key]).generate_state(2, np.uint32)
        return torch.Generator().manual_seed(int(entropy[0]) << 31 | int(entropy[1]) >> 1)


def typical_image(label: int, heldout: Digits, training: Digits) -> torch.Tensor:
    """Return the (C, H, W) typical image of a label: a held-out one, or a training image where none has the label."""
    return (heldout if label in heldout.present else training).typical_of(label)


def require_time(model: SimpleUNet) -> None:
    """Refuse a network without a time embedding, where that embedding is measured.

    Raises
    ------
    VizdiffUsageError
        Where it was trained without timesteps.
    """
    if not model.config.use_time:
        raise VizdiffUsageError(
            "this network was trained without timesteps and has no time embedding; "
            "`run` bundled has one, and `lessons` noising,training,guess,step,label needs none"
        )


def record_traces(
    denoiser: Denoiser,
    schedule: NoiseSchedule,
    count: int = TRACED_IMAGES,
    timesteps: NDArray[np.int64] | None = None,
    progress: Progress = silent,
) -> Trajectory:
    """Sample ``count`` images by DDPM without guidance, with every step of each in memory.

    Parameters
    ----------
    count
        B; image k has the label k mod 10, and its noise the seed ``TRACED_SEED`` + k.
    timesteps
        (S,) int64, falling: which timesteps to visit; all of them by default.
    """
    visited = np.arange(schedule.num_train_timesteps)[::-1] if timesteps is None else np.asarray(timesteps)
    seeds = np.arange(TRACED_SEED, TRACED_SEED + count)
    null_label = getattr(denoiser, "null_label", NUM_LABELS)
    labels = torch.arange(count) % null_label
    space = latent_space_of(denoiser)
    image_shape = (1, 28, 28) if space is None else space.latent_shape
    x_t, eps, x0_pred = (np.empty((count, len(visited), *image_shape), np.float32) for _ in range(3))
    noise = ImageNoise(seeds.tolist(), image_shape)
    steps = ddpm_steps(
        denoiser, schedule, noise, labels.to(device_of(denoiser)), timesteps=visited, null_label=null_label
    )
    for index, step in enumerate(steps):
        for kept, tensor in ((x_t, step.x_t), (eps, step.eps_pred), (x0_pred, step.x0_pred)):
            kept[:, index] = tensor.cpu().numpy()
        progress(index + 1, len(visited), f"{count} generations, every step kept")
    return Trajectory(
        schedule,
        visited,
        x_t,
        eps,
        x0_pred,
        step.x_prev.cpu().numpy(),
        labels.numpy(),
        seeds,
        sampler="ddpm",
        variance="beta",
        guidance_scale=1.0,
        clip=space is None,
    )
