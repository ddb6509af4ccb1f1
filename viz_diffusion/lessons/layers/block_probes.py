"""Probes of a network's blocks over t: the change of their output, a linear classifier on it, and mean ablation.

A block's output here is what it *adds* to the residual stream, the output of the last layer of its residual branch.
The stream itself also holds what earlier blocks added: a block that adds nothing would seem to be informative.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from viz_diffusion.data import NUM_LABELS, Digits
from viz_diffusion.diffusion.interventions import mean_ablated
from viz_diffusion.diffusion.samplers import ImageNoise, ddim_steps
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.diffusion.timesteps import spaced_timesteps
from viz_diffusion.diffusion.unet import AttentionBlock, ResidualBlock, SimpleUNet
from viz_diffusion.lessons.context import Progress, silent

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
STEPS = 50
"""DDIM steps of the generations along which the change is measured, equally spaced."""
SEED = 610_000
"""Seed of the first of these generations."""
COUNT = 10
"""Timesteps at which blocks are probed and ablated: the middle of each tenth of all."""
RIDGE = 1e-2
"""Ridge penalty of the linear probe, on features of variance one."""
BATCH = 250
"""Digits in one pass of the network."""


@dataclass(frozen=True, eq=False)
class BlockProbes:
    """Probes of L blocks along R generations, and at K timesteps on held-out digits, N of them for the ablation."""

    names: tuple[str, ...]
    """L dotted names, from the input to the output."""
    channels: tuple[int, ...]
    """L: channels of each block's output."""
    sizes: tuple[int, ...]
    """L: height and width of its output."""
    change_timesteps: NDArray[np.int64]
    """(S,) int64, falling: the later t of each pair of successive steps."""
    change: Float32
    """(S, L, R) float32: ‖h - h_before‖ / ‖h_before‖ of what the block adds; 0 where it adds nothing."""
    timesteps: NDArray[np.int64]
    """(K,) int64, falling."""
    hits: NDArray[np.int64]
    """(K, L) int64: held-out digits that a linear probe of the block's mean features classifies correctly."""
    control: NDArray[np.int64]
    """(K, L) int64: the same for a probe that was fitted to permuted labels."""
    probed: int
    """Held-out digits that the probes classify."""
    fitted: int
    """Training digits that the probes are fitted to, and over which the blocks' outputs are averaged."""
    loss: Float32
    """(K, N) float32: mean squared error of ε̂ per digit, nothing ablated."""
    ablated: Float32
    """(K, L, N) float32: the same with the block's output replaced by its mean."""


def branches(network: SimpleUNet) -> dict[str, str]:
    """Return by the name of each block the name of the last layer of its residual branch."""
    last: dict[type, str] = {ResidualBlock: "conv2", AttentionBlock: "out"}
    return {name: f"{name}.{last[type(part)]}" for name, part in network.named_modules() if type(part) in last}


@contextmanager
def recorded_outputs(network: SimpleUNet) -> Iterator[dict[str, Tensor]]:
    """Record what each block adds in the latest pass, (B, C, h, w) by the block's name, within a ``with`` statement."""
    kept: dict[str, Tensor] = {}
    modules = dict(network.named_modules())

    def keep(name: str, output: Tensor) -> None:
        kept[name] = output

    handles = [
        modules[layer].register_forward_hook(lambda _, __, output, name=name: keep(name, output))
        for name, layer in branches(network).items()
    ]
    try:
        yield kept
    finally:
        for handle in handles:
            handle.remove()


@torch.no_grad()
def probe_blocks(
    network: SimpleUNet,
    schedule: NoiseSchedule,
    training: Digits,
    heldout: Digits,
    sizes: tuple[int, int, int, int],
    generator: torch.Generator,
    progress: Progress = silent,
) -> BlockProbes:
    """Measure the change of each block along generations, then probe and ablate it at K timesteps, without a label.

    With a label the probe would only recover what the network was given.

    Parameters
    ----------
    sizes
        (R, F, M, N): generations; training digits to fit to; held-out digits to probe; how many of these to ablate on.
    """
    generations, fitted, probed, ablated = sizes
    fit, test = _some(training, fitted, generator), _some(heldout, probed, generator)
    change_timesteps, change = _change(network, schedule, generations, progress)
    T = schedule.num_train_timesteps
    timesteps = np.unique(np.arange(COUNT) * T // COUNT + T // (2 * COUNT))[::-1]
    hits, control, loss, ablated_loss = [], [], [], []
    for done, t in enumerate(timesteps.tolist()):
        fitting, means, _ = _pass(network, schedule, fit, t, torch.randn(fit.images.shape, generator=generator))
        noise = torch.randn(test.images.shape, generator=generator)
        features, _, _ = _pass(network, schedule, test, t, noise)
        shuffled = fit.labels[torch.randperm(len(fit), generator=generator)]
        hits.append([_probe(fitting[name], fit.labels, features[name], test.labels) for name in fitting])
        control.append([_probe(fitting[name], shuffled, features[name], test.labels) for name in fitting])
        few, ablations = Digits(test.images[:ablated], test.labels[:ablated]), []
        # a pass of its own: another batch size rounds differently, and an idle block would seem to have an effect
        loss.append(_pass(network, schedule, few, t, noise[:ablated])[2].numpy())
        for name, layer in branches(network).items():
            with mean_ablated(network, layer, {t: means[name]}):
                ablations.append(_pass(network, schedule, few, t, noise[:ablated])[2].numpy())
        ablated_loss.append(np.stack(ablations))
        progress(done + 1, len(timesteps), "blocks asked and ablated")
    shapes = [tuple(means[name].shape) for name in means]
    return BlockProbes(
        names=tuple(means),
        channels=tuple(shape[0] for shape in shapes),
        sizes=tuple(shape[1] for shape in shapes),
        change_timesteps=change_timesteps,
        change=change,
        timesteps=timesteps,
        hits=np.array(hits),
        control=np.array(control),
        probed=len(test),
        fitted=len(fit),
        loss=np.stack(loss),
        ablated=np.stack(ablated_loss),
    )


def _some(digits: Digits, count: int, generator: torch.Generator) -> Digits:
    rows = torch.randperm(len(digits), generator=generator)[:count]
    return Digits(digits.images[rows], digits.labels[rows])


def _change(
    network: SimpleUNet, schedule: NoiseSchedule, count: int, progress: Progress
) -> tuple[NDArray[np.int64], Float32]:
    """Return the later t of each pair of DDIM steps, and the relative change of each block's output between the two."""
    T = schedule.num_train_timesteps
    grid = spaced_timesteps(T, min(STEPS, T))
    null = torch.full((count,), network.null_label, device=next(network.parameters()).device)
    before: dict[str, Tensor] = {}
    changes, visited = [], []
    with recorded_outputs(network) as kept:
        noise = ImageNoise(range(SEED, SEED + count))
        for done, step in enumerate(ddim_steps(network, schedule, noise, null, timesteps=grid)):
            now = {name: output.flatten(1).clone() for name, output in kept.items()}
            if before:
                visited.append(step.t)
                changes.append(torch.stack([_relative(now[name], before[name]) for name in now]).cpu().numpy())
            before = now
            progress(done + 1, len(grid), f"{count} generations, seen from inside")
    return np.array(visited), np.stack(changes)


def _relative(now: Tensor, before: Tensor) -> Tensor:
    """Return (B,) ‖now - before‖ / ‖before‖ of (B, D) rows; 0 where ``before`` is 0."""
    size = before.norm(dim=1)
    return torch.where(size > 0, (now - before).norm(dim=1) / size.clamp_min(1e-30), torch.zeros_like(size))


def _pass(
    network: SimpleUNet, schedule: NoiseSchedule, digits: Digits, t: int, noise: Tensor
) -> tuple[dict[str, Tensor], dict[str, Tensor], Tensor]:
    """Denoise digits at t; return, by block, (B, C) mean features and (C, h, w) means, and (B,) errors."""
    device = next(network.parameters()).device
    features: dict[str, list[Tensor]] = {name: [] for name in branches(network)}
    sums: dict[str, Tensor] = {}
    errors = []
    with recorded_outputs(network) as kept:
        for images, drawn in zip(torch.split(digits.images, BATCH), torch.split(noise, BATCH), strict=True):
            images, drawn = images.to(device), drawn.to(device)
            steps = torch.full((len(images),), t, device=device)
            eps = network(schedule.add_noise(images, drawn, t), steps)
            errors.append((eps - drawn).square().flatten(1).mean(dim=1).cpu())
            for name, output in kept.items():
                features[name].append(output.mean(dim=(2, 3)).cpu())
                sums[name] = sums.get(name, torch.zeros_like(output[0])) + output.sum(dim=0)
    return (
        {name: torch.cat(parts) for name, parts in features.items()},
        {name: total / len(digits) for name, total in sums.items()},
        torch.cat(errors),
    )


def _probe(features: Tensor, labels: Tensor, test_features: Tensor, test_labels: Tensor) -> int:
    """Fit a ridge regression from (F, C) features to labels; return how many of (M, C) it classifies correctly."""
    mean, spread = features.double().mean(dim=0), features.double().std(dim=0)
    scale = torch.where(spread > 1e-9, 1 / spread.clamp_min(1e-9), 0.0)

    def design(values: Tensor) -> Tensor:
        return nn.functional.pad((values.double() - mean) * scale, (0, 1), value=1.0)

    x, y = design(features), nn.functional.one_hot(labels, NUM_LABELS).double()
    penalty = RIDGE * len(x) * torch.eye(x.shape[1], dtype=torch.float64)
    penalty[-1, -1] = 0  # no penalty on the constant
    weights = torch.linalg.solve(x.T @ x + penalty, x.T @ y)
    return int(((design(test_features) @ weights).argmax(dim=1) == test_labels).sum())
