"""Training: destroy real images with noise, and learn to guess the noise.

Knows no folder and draws no sample: :func:`train` yields one :class:`TrainStep` after another, and what
is logged, saved or shown is its caller's business.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache

import torch
from torch import Tensor, nn

from viz_diffusion.data import Digits
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.diffusion.unet import ModelConfig, SimpleUNet
from viz_diffusion.errors import VizdiffNonFiniteError
from viz_diffusion.training.config import TrainConfig

NUM_QUARTERS = 4
"""Held-out loss is told for each quarter of the timesteps."""


@dataclass(frozen=True)
class TrainStep:
    """What one optimizer step was."""

    step: int
    """How many steps are done, this one included; 1 for the first."""
    loss: float
    """Mean squared error per pixel between the noise and its guess, over the batch; every t counts alike."""
    learning_rate: float
    """The learning rate of this step."""
    grad_norm: float
    """Joint norm of all gradients before clipping."""


@dataclass
class TrainState:
    """Everything that changes during training. Each step's draws follow from the seed and the step."""

    config: TrainConfig
    """How to train; replaced once where a time budget becomes a number of steps."""
    model: SimpleUNet
    """The network that is trained."""
    ema: SimpleUNet
    """The moving average of its weights, which is what samples are drawn with."""
    optimizer: torch.optim.AdamW
    """Holds the moments of each weight's gradient."""
    step: int = 0
    """Steps done."""
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    """Where the network lives."""

    @classmethod
    def create(cls, config: TrainConfig, model_config: ModelConfig, device: torch.device | str = "cpu") -> TrainState:
        """Build a network with weights that follow from the seed, and an optimizer for it."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            model = SimpleUNet(model_config)
        model = model.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        ema = copy.deepcopy(model).eval().requires_grad_(False)
        optimizer = torch.optim.AdamW(
            model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
        )
        return cls(config, model, ema, optimizer, device=torch.device(device))


def train(state: TrainState, data: Digits, schedule: NoiseSchedule) -> Iterator[TrainStep]:
    """Train until ``state.config.steps`` are done (Ho et al. 2020, algorithm 1), yielding after each step.

    Raises
    ------
    VizdiffNonFiniteError
        Where the loss or a gradient is no finite number; the weights are as they were before the step.
    VizdiffUsageError
        Where the schedule leaves no signal at its end, which a model that predicts ε cannot use.
    """
    schedule.require_signal()
    state.model.train()
    weights = loss_weights(schedule, state.config.weight_exponent)
    while state.step < state.config.steps:
        config = state.config
        generator = _generator(config.seed, state.step)
        rows = _batch_rows(config, state.step, len(data))
        x0, labels = data.images[rows], data.labels[rows]
        # label dropout: some images are shown without saying what they are
        dropped = torch.rand(len(rows), generator=generator) < config.label_dropout
        labels = labels.where(~dropped, torch.tensor(state.model.null_label))
        # t ~ Uniform(0 .. T-1), one draw in each of B equal slices (Kingma et al. 2021, appendix I.1)
        share = (torch.arange(len(rows)) + torch.rand(1, generator=generator)) / len(rows)
        t = (share % 1 * schedule.num_train_timesteps).long()
        # ε ~ N(0, I), and x_t from x_0 in one go
        noise = torch.randn(x0.shape, generator=generator)
        x_t = schedule.add_noise(x0, noise, t)
        # a gradient step on w_t ‖ε - ε_θ(x_t, t, y)‖²
        x_t, t, labels, noise, weight = (a.to(state.device) for a in (x_t, t, labels, noise, weights[t]))
        learning_rate = config.learning_rate_at(state.step)
        loss, grad_norm = _optimize(state, x_t, t, labels, noise, weight, learning_rate)
        state.step += 1
        _update_ema(state)
        yield TrainStep(state.step, loss, learning_rate, grad_norm)


def _optimize(
    state: TrainState, x_t: Tensor, t: Tensor, labels: Tensor, noise: Tensor, weight: Tensor, learning_rate: float
) -> tuple[float, float]:
    """Make one optimizer step; return the loss and the gradient's norm."""
    with torch.autocast(state.device.type, torch.bfloat16, enabled=state.config.precision == "bfloat16"):
        eps_pred = state.model(x_t, t, labels)
    errors = (eps_pred.float() - noise).square().mean(dim=(1, 2, 3))
    loss = errors.mean()
    state.optimizer.zero_grad(set_to_none=True)
    (weight * errors).mean().backward()
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


def loss_weights(schedule: NoiseSchedule, exponent: float) -> Tensor:
    """Return (T,) float32 weights w_t = ᾱ_t^-p, scaled to a mean of 1; all 1 where p is 0.

    ‖ε - ε̂‖² is ᾱ times the squared error of v (Salimans & Ho 2022, appendix D): p = 1 undoes that.
    """
    weights = schedule.alphas_cumprod**-exponent
    return torch.from_numpy(weights / weights.mean()).float()


@torch.no_grad()
def _update_ema(state: TrainState) -> None:
    """Move the average a little towards the weights: much at first, 1 - ema_decay later."""
    decay = min(state.config.ema_decay, (1 + state.step) / (10 + state.step))
    for average, weight in zip(state.ema.parameters(), state.model.parameters(), strict=True):
        average.lerp_(weight, 1 - decay)


def _generator(seed: int, index: int) -> torch.Generator:
    """Return the generator of draw number ``index``: no state has to be saved to go on after a stop."""
    mixed = (seed * 0x9E3779B97F4A7C15 + index * 0xBF58476D1CE4E5B9) % 2**63
    return torch.Generator().manual_seed(mixed)


def _batch_rows(config: TrainConfig, step: int, num_images: int) -> Tensor:
    """Return the indices of the images of a step: each epoch visits every image once, in its own order."""
    positions = torch.arange(step * config.batch_size, (step + 1) * config.batch_size)
    rows = torch.empty_like(positions)
    for epoch in torch.unique(positions // num_images).tolist():
        here = positions // num_images == epoch
        rows[here] = _order(config.seed, epoch, num_images)[positions[here] % num_images]
    return rows


@lru_cache(maxsize=2)
def _order(seed: int, epoch: int, num_images: int) -> Tensor:
    return torch.randperm(num_images, generator=_generator(seed, -1 - epoch))


@torch.inference_mode()
def heldout_loss(
    denoiser: nn.Module,
    schedule: NoiseSchedule,
    data: Digits,
    count: int = 1000,
    batch_size: int = 100,
    between: Callable[[], object] = lambda: None,
) -> list[float]:
    """Return the mean squared error of ε̂ per pixel on ``count`` images, by quarter of the timesteps.

    Images, timesteps (spread evenly over 0 .. T-1) and noise are the same at every call, so that two
    calls differ by the denoiser alone. ``between`` is called before each batch; what it raises ends it all.
    """
    device = next(denoiser.parameters()).device
    generator = torch.Generator().manual_seed(2006)
    count = max(NUM_QUARTERS, min(count, len(data)))
    rows = torch.randperm(len(data), generator=generator)[torch.arange(count) % len(data)]
    t = torch.arange(count) * schedule.num_train_timesteps // count
    noise = torch.randn((count, *data.images.shape[1:]), generator=generator)
    errors = []
    for start in range(0, count, batch_size):
        between()
        part = slice(start, start + batch_size)
        x_t = schedule.add_noise(data.images[rows[part]], noise[part], t[part])
        labels = data.labels[rows[part]]
        eps_pred = denoiser(x_t.to(device), t[part].to(device), labels.to(device))
        errors.append((eps_pred.float().cpu() - noise[part]).square().mean(dim=(1, 2, 3)))
    error = torch.cat(errors)
    quarter = t * NUM_QUARTERS // schedule.num_train_timesteps
    return [error[quarter == q].mean().item() for q in range(NUM_QUARTERS)]


def faster_precision(
    config: TrainConfig, model: ModelConfig, data: Digits, schedule: NoiseSchedule, device: torch.device
) -> str:
    """Return bfloat16 where whole steps of this training are a fifth faster with it, else float32.

    CPUs get float32 untimed: those with bfloat16 arithmetic make a lone convolution faster and a whole step slower,
    those without imitate it, and the format, which decides every number of a run, should not hang on a stopwatch.
    """
    if device.type == "cpu":
        return "float32"
    seconds = {
        precision: step_seconds(replace(config, precision=precision), model, data, schedule, device)
        for precision in ("float32", "bfloat16")
    }
    return "bfloat16" if seconds["float32"] > 1.2 * seconds["bfloat16"] else "float32"


def step_seconds(
    config: TrainConfig,
    model: ModelConfig,
    data: Digits,
    schedule: NoiseSchedule,
    device: torch.device,
    count: int = 5,
) -> float:
    """Return the seconds that a step takes on average over ``count``, after one that warms up; nothing is kept."""
    state = TrainState.create(replace(config, steps=1 + count), model, device)
    steps = train(state, data, schedule)
    next(steps)
    _wait(device)
    start = time.perf_counter()
    for _ in steps:
        pass
    _wait(device)
    return (time.perf_counter() - start) / count


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
