"""The training loop: add noise to real images and learn to predict it (Ho et al. 2020, algorithm 1).

What is predicted may also be x_0, v or the velocity of flow matching (:mod:`viz_diffusion.training.objective`).
Reads and writes no files and draws no samples: :func:`train` yields one :class:`TrainStep` after another, and its
caller logs, saves and displays.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache

import torch
from torch import Tensor, nn

from viz_diffusion.data import Digits
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.diffusion.torch_defaults import own_defaults, own_defaults_each_step
from viz_diffusion.diffusion.unet import ModelConfig, SimpleUNet
from viz_diffusion.errors import VizdiffNonFiniteError
from viz_diffusion.training.muon import MuonAdamW
from viz_diffusion.training.objective import Examples, Objective
from viz_diffusion.training.processes import Processes
from viz_diffusion.training.train_config import TrainConfig

NUM_QUARTERS = 4
"""The held-out loss is reported for each quarter of the timesteps."""


@dataclass(frozen=True)
class TrainStep:
    """The result of one optimizer step."""

    step: int
    """Number of steps done, including this one; 1 for the first."""
    loss: float
    """Mean squared error per pixel of what the network predicts, averaged over the batch; all timesteps drawn have
    equal weight."""
    learning_rate: float
    """The learning rate of this step."""
    grad_norm: float
    """Joint norm of all gradients before clipping."""


@dataclass
class TrainState:
    """Everything that changes during training. The random draws of a step follow from the seed and the step."""

    config: TrainConfig
    """The settings of training; its number of steps is replaced once if a time budget is converted."""
    model: SimpleUNet
    """The network in training."""
    ema: SimpleUNet
    """The network with the moving average of the weights, which is used for sampling."""
    optimizer: torch.optim.AdamW
    """AdamW with the gradient moments of each weight, or with Muon for the convolutions."""
    step: int = 0
    """Number of steps done."""
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    """The device of both networks."""
    processes: Processes = field(default_factory=Processes)
    """The processes that train together; by default this one is alone."""

    @classmethod
    @own_defaults()
    def create(cls, config: TrainConfig, model_config: ModelConfig, device: torch.device | str = "cpu") -> TrainState:
        """Return the state before the first step; the initial weights follow from the seed."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            model = SimpleUNet(model_config)
        model = model.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        ema = copy.deepcopy(model).eval().requires_grad_(False)
        rate, decay = config.learning_rate, config.weight_decay
        optimizer = (
            MuonAdamW(model, lr=rate, weight_decay=decay)
            if config.optimizer == "muon"
            else torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=decay, fused=True)
        )
        return cls(config, model, ema, optimizer, device=torch.device(device))


@own_defaults_each_step
def train(state: TrainState, data: Digits, schedule: NoiseSchedule) -> Iterator[TrainStep]:
    """Train until ``state.config.steps`` are done (Ho et al. 2020, algorithm 1); yield after each step.

    ``state`` is changed in place. ``state.config.steps`` may be changed between two steps.

    Raises
    ------
    VizdiffNonFiniteError
        If the loss or the gradient norm is not finite; the weights are then those before the step.
    VizdiffUsageError
        If no signal is left at the schedule's last timestep, where a model that predicts ε cannot work; or if there
        are fewer images in a batch than parts (:meth:`Processes.parts`).
    """
    objective = Objective(state.config, schedule)
    state.model.train()
    while state.step < state.config.steps:
        config = state.config
        generator = _generator(config.seed, state.step)
        rows = _batch_rows(config, state.step, len(data))
        labels = data.draw_labels(rows, generator)
        # label dropout: some images get the null label (Ho & Salimans 2022, algorithm 1)
        dropped = torch.rand(len(rows), generator=generator) < config.label_dropout
        labels = labels.where(~dropped, torch.tensor(state.model.null_label))
        # t ~ Uniform(0 .. T-1), or denser in places: one draw in each of B equal slices (Kingma et al. 2021, app. I.1)
        share = (torch.arange(len(rows)) + torch.rand(1, generator=generator)) / len(rows) % 1
        # ε ~ N(0, I), x_t = √ᾱ_t x_0 + √(1 - ᾱ_t) ε; the target is ε, or what the objective says
        noise = torch.randn((len(rows), *data.images.shape[1:]), generator=generator)
        # the whole batch is drawn in every process, and each takes its parts of it
        parts = (
            (objective.examples(data.images[rows[part]], noise[part], share[part]), labels[part])
            for part in state.processes.parts(len(rows))
        )
        # a gradient step on w_t ‖target - network(x_t, t, y)‖²
        learning_rate = config.learning_rate_at(state.step)
        loss, grad_norm = _optimize(state, parts, len(rows), learning_rate)
        state.step += 1
        _update_ema(state)
        yield TrainStep(state.step, loss, learning_rate, grad_norm)


def _optimize(
    state: TrainState, parts: Iterable[tuple[Examples, Tensor]], batch_size: int, learning_rate: float
) -> tuple[float, float]:
    """Make one optimizer step on the weighted loss; return the unweighted loss and the gradient norm.

    ``parts`` are the examples and labels of this process; the mean of each counts as much as its share of the batch.
    """
    state.optimizer.zero_grad(set_to_none=True)
    loss = torch.zeros((), device=state.device)
    for examples, own_labels in parts:
        x_t, t, target, weight, labels = (values.to(state.device) for values in (*examples, own_labels))
        with torch.autocast(state.device.type, torch.bfloat16, enabled=state.config.precision == "bfloat16"):
            prediction = state.model(x_t, t, labels)
        errors = (prediction.float() - target).square().mean(dim=(1, 2, 3))
        share = len(errors) / batch_size
        ((weight * errors).mean() * share).backward()
        loss += errors.detach().mean() * share
    loss = state.processes.sum_gradients(state.model, loss)
    grad_norm = nn.utils.clip_grad_norm_(state.model.parameters(), state.config.max_grad_norm)
    if not (torch.isfinite(loss) and torch.isfinite(grad_norm)):
        raise VizdiffNonFiniteError(
            f"step {state.step + 1}: loss {loss.item()}, gradient norm {grad_norm.item()}; "
            "begin anew with another `seed` or a larger `batch_size` (in Python, or a smaller learning_rate)"
        )
    for group in state.optimizer.param_groups:
        group["lr"] = learning_rate
    state.optimizer.step()
    return loss.item(), grad_norm.item()


@torch.no_grad()
def _update_ema(state: TrainState) -> None:
    """Update the moving average with decay min(ema_decay, (1 + n) / (10 + n)) after n steps."""
    decay = min(state.config.ema_decay, (1 + state.step) / (10 + state.step))
    for average, weight in zip(state.ema.parameters(), state.model.parameters(), strict=True):
        average.lerp_(weight, 1 - decay)


def _generator(seed: int, index: int) -> torch.Generator:
    """Return the random generator of draw number ``index``, so that no generator state has to be saved."""
    mixed = (seed * 0x9E3779B97F4A7C15 + index * 0xBF58476D1CE4E5B9) % 2**63
    return torch.Generator().manual_seed(mixed)


def _batch_rows(config: TrainConfig, step: int, num_images: int) -> Tensor:
    """Return the (B,) indices of the images of a step; each epoch uses every image once, in an order of its own."""
    positions = torch.arange(step * config.batch_size, (step + 1) * config.batch_size)
    rows = torch.empty_like(positions)
    for epoch in torch.unique(positions // num_images).tolist():
        in_epoch = positions // num_images == epoch
        rows[in_epoch] = _permutation(config.seed, epoch, num_images)[positions[in_epoch] % num_images]
    return rows


@lru_cache(maxsize=2)
def _permutation(seed: int, epoch: int, num_images: int) -> Tensor:
    """Return the (N,) order of the images in an epoch."""
    return torch.randperm(num_images, generator=_generator(seed, -1 - epoch))


@own_defaults()
@torch.inference_mode()
def heldout_loss(
    denoiser: nn.Module,
    schedule: NoiseSchedule,
    data: Digits,
    count: int = 1000,
    batch_size: int = 100,
    should_stop: Callable[[], bool] = lambda: False,
) -> list[float] | None:
    """Return the mean squared error of ε̂ per pixel on ``count`` images, by quarter of the timesteps.

    Images, timesteps (evenly spaced over 0 .. T-1) and noise are the same in every call, so two results differ only
    because of the denoiser. ``should_stop`` is called before each batch; once it returns True the result is None.
    """
    device = next(denoiser.parameters()).device
    generator = torch.Generator().manual_seed(2006)
    count = max(NUM_QUARTERS, min(count, len(data)))
    rows = torch.randperm(len(data), generator=generator)[torch.arange(count) % len(data)]
    t = torch.arange(count) * schedule.num_train_timesteps // count
    noise = torch.randn((count, *data.images.shape[1:]), generator=generator)
    errors = []
    for start in range(0, count, batch_size):
        if should_stop():
            return None
        part = slice(start, start + batch_size)
        x_t = schedule.add_noise(data.images[rows[part]], noise[part], t[part])
        labels = data.labels[rows[part]]
        eps_pred = denoiser(x_t.to(device), t[part].to(device), labels.to(device))
        errors.append((eps_pred.float().cpu() - noise[part]).square().mean(dim=(1, 2, 3)))
    error = torch.cat(errors)
    quarter = t * NUM_QUARTERS // schedule.num_train_timesteps
    return [error[quarter == q].mean().item() for q in range(NUM_QUARTERS)]
