"""Single training steps on one held-out digit: its noise, the predicted noise, and the error.

Knows nothing about figures or texts.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from viz_diffusion.data import Digits
from viz_diffusion.diffusion.prediction import predict_noise
from viz_diffusion.diffusion.samplers import ImageNoise
from viz_diffusion.lessons.training.history import SHOWN_DIGITS, read_history, shown_labels
from viz_diffusion.lessons.training.loss_by_timestep import LossByTimestep
from viz_diffusion.lessons.training.loss_density import LossDensity, late_x0_error, measure_density
from viz_diffusion.plots.curves import LossHistory
from viz_diffusion.plots.grid import TrainingFrames
from viz_diffusion.training.run import Run
from viz_diffusion.views.frames import one_channel, pictures

TIMESTEPS = (100, 300, 600)
"""Of the training steps, for T = 1000."""


@dataclass(frozen=True, eq=False)
class Training:
    """Three training steps, the run's history, and its loss at every timestep."""

    frames: TrainingFrames
    """The held-out digit, its noise and the predicted noise, at three timesteps."""
    history: LossHistory
    """Losses and samples over the training steps."""
    loss_by_timestep: LossByTimestep
    """The loss on held-out digits at every t, and that of Gaussians."""
    digit: int
    """Label of the digit in the three training steps."""
    seed: int
    """Seed of their noise."""
    objective: str
    """What the network was trained to predict: epsilon, v, x0 or flow."""
    weight_exponent: float
    """p of the loss weights ᾱ^-p in training, of the objective epsilon; 0 where all timesteps counted alike."""
    trained_steps: int
    """Training steps behind the weights."""
    shown_labels: tuple[int, ...] = SHOWN_DIGITS
    """Labels of the samples in the figure of the loss."""
    density: LossDensity | None = None
    """Where training steps, loss and bits lie on the scale of the SNR; None in flow matching."""
    late_error: float = 0.0
    """Largest RMS error of x̂_0 at late timesteps, in grey levels of 255; see ``late_x0_error``."""
    is_mnist: bool = False
    """Whether the data are MNIST, of which there are published bits per pixel."""


def measure_training(
    run: Run,
    model: nn.Module,
    heldout: Digits,
    loss_by_timestep: LossByTimestep,
    digit: int = 5,
    seed: int = 0,
) -> Training:
    """Measure three training steps on one held-out digit, and read the run's history."""
    schedule = run.config.noise_schedule
    t = torch.tensor(TIMESTEPS) * (schedule.num_train_timesteps - 1) // 999
    noise = ImageNoise([seed], tuple(heldout.images.shape[1:])).draw().expand(len(t), -1, -1, -1)
    x0 = heldout.typical_of(digit).expand(len(t), -1, -1, -1)
    x_t = schedule.add_noise(x0, noise, t)
    eps_pred = predict_noise(model, x_t, t, digit)
    error = eps_pred - noise
    frames = TrainingFrames(
        timesteps=t.numpy(),
        x0=pictures(x0.numpy()),
        noise=one_channel(noise.numpy()),
        x_t=pictures(x_t.numpy()),
        eps_pred=one_channel(eps_pred.numpy()),
        error=one_channel(error.numpy()),
        alphas_cumprod=schedule.alphas_cumprod[t.numpy()],
        mean_squared_error=error.square().mean(dim=(1, 2, 3)).numpy(),
    )
    training = run.config.training
    return Training(
        frames,
        read_history(run),
        loss_by_timestep,
        digit,
        seed,
        training.objective,
        training.weight_exponent,
        run.trained_steps,
        shown_labels(run),
        measure_density(loss_by_timestep, schedule, training),
        late_x0_error(loss_by_timestep, schedule),
        run.config.dataset == "mnist",
    )
