"""Probes of a network's blocks over t: the change of their output, a linear classifier on it, and mean ablation.

A block's output here is what it *adds* to the residual stream, the output of the last layer of its residual branch.
The stream itself also holds what earlier blocks added: a block that adds nothing would seem to be informative.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from viz_diffusion.data import Digits
from viz_diffusion.diffusion.interventions import mean_ablated
from viz_diffusion.diffusion.prediction import device_of, predict_noise
from viz_diffusion.diffusion.samplers import ImageNoise, ddim_steps
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.diffusion.timesteps import spaced_timesteps
from viz_diffusion.diffusion.unet import SimpleUNet
from viz_diffusion.diffusion.unet_blocks import AttentionBlock, ResidualBlock
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
"""Penalty of the linear probe for each digit it is fitted to, on features of unbiased variance one."""
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
def branch_hooks(network: SimpleUNet, listen: Callable[[str, Tensor], None]) -> Iterator[None]:
    """Call ``listen`` with each block's name and what it adds, (B, C, h, w), at every forward pass inside the block."""
    modules = dict(network.named_modules())
    handles = [
        modules[layer].register_forward_hook(lambda _, __, output, name=name: listen(name, output))
        for name, layer in branches(network).items()
    ]
    try:
        yield
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
    null = torch.full((count,), network.null_label, device=device_of(network))
    kept: dict[str, Tensor] = {}
    before: dict[str, Tensor] = {}
    changes, visited = [], []
    with branch_hooks(network, kept.__setitem__):
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
    """Return, for digits noised to t, by block (B, C) mean features and (C, h, w) means; and the (B,) errors of ε̂."""
    features: dict[str, list[Tensor]] = {name: [] for name in branches(network)}
    sums: dict[str, Tensor] = {}

    def listen(name: str, output: Tensor) -> None:
        features[name].append(output.mean(dim=(2, 3)).cpu())
        sums[name] = sums.get(name, torch.zeros_like(output[0])) + output.sum(dim=0)

    with branch_hooks(network, listen):
        eps = predict_noise(network, schedule.add_noise(digits.images, noise, t), t, batch_size=BATCH)
    return (
        {name: torch.cat(parts) for name, parts in features.items()},
        {name: total / len(digits) for name, total in sums.items()},
        (eps - noise).square().flatten(1).mean(dim=1),
    )


def _probe(features: Tensor, labels: Tensor, heldout: Tensor, heldout_labels: Tensor) -> int:
    """Fit a ridge classifier to (F, C) features and their labels; return how many of (M, C) held-out ones it hits."""
    from sklearn.linear_model import RidgeClassifier  # takes over a second to load, and only this lesson needs it
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    count = len(features)
    penalty = RIDGE * count * count / (count - 1)  # the scaler's variances are divided by F, unbiased ones by F - 1
    probe = make_pipeline(StandardScaler(), RidgeClassifier(alpha=penalty))
    probe.fit(features.double().numpy(), labels.numpy())
    return int((probe.predict(heldout.double().numpy()) == heldout_labels.numpy()).sum())
