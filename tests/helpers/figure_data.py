"""One figure of every kind, and the random arrays of the right shapes that it is drawn from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from matplotlib.figure import Figure

from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.lessons.label import figures as label_figures
from viz_diffusion.lessons.network import figures as network_figures
from viz_diffusion.plots import (
    activations,
    compare,
    conditioning,
    curves,
    embeddings,
    grid,
    run_comparison,
    strip,
    training_samples,
)

LINEAR, COSINE = NoiseSchedule.named("linear"), NoiseSchedule.named("cosine")
DEFAULT_STEPS = (1000, 800, 650, 550, 450, 350, 250, 150, 50)


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((*shape, 28, 28))


def make_steps(steps_left: tuple[int, ...] = DEFAULT_STEPS) -> strip.StepFrames:
    left = np.array(steps_left, dtype=int)
    count = len(left)
    return strip.StepFrames(
        x_t=1.5 * noise(count, seed=1),
        x0_pred=np.clip(noise(count, seed=2), -1, 1),
        eps_pred=noise(count, seed=3),
        timesteps=left - 1,
        alphas_cumprod=LINEAR.alphas_cumprod[left - 1],
        steps_left=left,
        x0=np.clip(noise(seed=4), -1, 1),
    )


def make_training() -> grid.TrainingFrames:
    added, eps_pred = noise(3, seed=5), noise(3, seed=6)
    return grid.TrainingFrames(
        timesteps=np.array([100, 300, 600]),
        x0=np.clip(noise(3, seed=7), -1, 1),
        noise=added,
        x_t=noise(3, seed=8),
        eps_pred=eps_pred,
        error=eps_pred - added,
        alphas_cumprod=LINEAR.alphas_cumprod[[100, 300, 600]],
        mean_squared_error=np.array([0.1234, 0.05, 0.0071]),
    )


def make_snr() -> curves.SnrCurve:
    return curves.SnrCurve(
        timesteps=np.arange(1000),
        snr_db=10 * np.log10(LINEAR.snr),
        cosine_db=10 * np.log10(COSINE.snr),
        crossing=259,
        thumbnails=noise(6, seed=9),
        thumbnail_timesteps=np.array([0, 100, 259, 450, 700, 999]),
    )


def make_loss(rows: int = 4) -> curves.LossHistory:
    steps, heldout = np.arange(1, 601) * 10, np.arange(0, 6001, 200)
    smooth = 0.03 + np.exp(-steps / 150)
    sample_steps = np.array([200, 500, 1000, 1500, 2500, 3500, 5000, 6000]) if rows else np.array([], dtype=int)
    return curves.LossHistory(
        steps=steps,
        train=smooth * np.exp(0.1 * np.random.default_rng(10).standard_normal(len(steps))),
        train_smooth=smooth,
        heldout_steps=heldout,
        heldout=np.stack([low + np.exp(-heldout / 150) for low in (0.09, 0.031, 0.015, 0.006)], axis=1),
        quarters=np.array([[0, 249], [250, 499], [500, 749], [750, 999]]),
        sample_steps=sample_steps,
        samples=np.clip(noise(len(sample_steps), rows, seed=11), -1, 1),
    )


def make_time_embedding() -> embeddings.TimeEmbedding:
    t = np.arange(1000)
    angles = np.exp(-np.log(1e4) * np.arange(64) / 64)[:, None] * t
    sinusoids = np.concatenate([np.sin(angles), np.cos(angles)])
    cosine_timesteps = np.arange(0, 1000, 8)
    cosine = sinusoids[:, cosine_timesteps].T @ sinusoids[:, cosine_timesteps] / 64
    mlp = 3 * np.repeat(sinusoids, 2, axis=0)
    return embeddings.TimeEmbedding(t, sinusoids, mlp, 2.8936, cosine_timesteps, cosine, cosine**2)


def make_label_embedding() -> embeddings.LabelEmbedding:
    angles = 2 * np.pi * np.arange(10) / 10
    pca = np.stack([3 * np.cos(angles), 2 * np.sin(angles)], axis=1)
    cosine = np.cos(angles[:, None] - angles[None, :])
    tsne = np.stack([np.arange(10) % 4, np.arange(10) // 4], axis=1).astype(float)
    return embeddings.LabelEmbedding(np.arange(10), cosine, pca, np.array([0.414, 0.23]), np.stack([tsne] * 3))


def make_conditioning_map() -> conditioning.ConditioningMap:
    """Make strands that fan out from one point, and groups that widen from map to map."""
    t, rng = np.linspace(0, 999, 30).astype(int), np.random.default_rng(12)
    angles, digits = 2 * np.pi * np.arange(10) / 10, np.arange(60) % 10
    ends = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    strands = ends[:, None] * (t / 999)[None, :, None]
    maps = np.stack([ends[digits] + spread * rng.standard_normal((60, 2)) for spread in np.linspace(0.01, 0.5, 8)])
    shown = np.linspace(999, 39, 8).astype(int)
    score = np.linspace(0.67, 0.08, 8)
    share = np.array([0.88, 0.05])
    return conditioning.ConditioningMap(
        np.arange(10), t, strands, share, 3 * strands, shown, maps, digits, score, np.full(8, -0.01)
    )


def make_model(num_blocks: int = 1) -> network_figures.ModelShape:
    def row(name: str, channels: int, resolution: int) -> tuple[network_figures.BlockShape, ...]:
        return tuple(network_figures.BlockShape(f"{name}{n}", channels, resolution) for n in range(num_blocks))

    return network_figures.ModelShape(
        time_dim=128,
        embedding_dim=256,
        num_labels=10,
        input_size=28,
        down=row("down_outer", 64, 14) + row("down_inner", 128, 7),
        mid=(network_figures.BlockShape("mid1", 128, 7, True), network_figures.BlockShape("mid2", 128, 7)),
        up=row("up_inner", 128, 7) + row("up_outer", 64, 14),
        num_parameters=1634564,
    )


def make_compare(
    frames: int = 9, lines: int = 1
) -> tuple[strip.StepFrames, strip.StepFrames, tuple[compare.ChangedInput, ...]]:
    """Make two generations, the second with negated arrays, and ``lines`` inputs that differ in the second half."""
    plain = make_steps(tuple(np.linspace(1000, 50, frames).astype(int).tolist()))
    changed = replace(plain, x_t=-plain.x_t, x0_pred=-plain.x0_pred, x0=-plain.x0)
    half = frames // 2
    rows = (("y", "3", "8"), ("t", "999", "500"), ("s", "1.5", "1"))
    inputs = (
        compare.ChangedInput(symbol, (value,) * frames, (value,) * half + (other,) * (frames - half))
        for symbol, value, other in rows
    )
    return plain, changed, tuple(inputs)[:lines]


def make_activations(blocks: int = 5, frames: int = 6, channels: int = 4) -> activations.ActivationFrames:
    """Make maps of 14x14, 7x7 and 28x28 in turn, whose RMS falls from frame to frame; the last row is all zeros."""
    steps = make_steps(tuple(np.linspace(1000, 1, frames).astype(int).tolist()) if frames > 1 else (1000,))
    rms = 20.0 / np.arange(1, frames + 1)
    maps = [
        rms[:, None, None, None] * np.random.default_rng(row).standard_normal((frames, channels, side, side))
        for row, side in zip(range(blocks), (14, 7, 28) * blocks, strict=False)
    ]
    names = ("down_outer", "mid1", "up_blocks.1.attentions.0", "unet.down_blocks.0.resnets.1", "head") * 2
    rows = [
        activations.FeatureMaps(values, np.sqrt((values**2).mean(axis=(1, 2, 3))), name)
        for values, name in zip(maps, names, strict=False)
    ]
    if blocks > 1:
        rows[-1] = activations.FeatureMaps(np.zeros_like(maps[-1]), np.zeros(frames), names[blocks - 1])
    return activations.ActivationFrames(steps.x_t, steps.timesteps, steps.steps_left, steps.alphas_cumprod, tuple(rows))


FORWARD_T = np.array([50, 100, 150, 200, 250, 300, 350, 450, 600, 999])


def draw_forward() -> Figure:
    return grid.draw_forward(noise(5, 11), FORWARD_T, LINEAR.alphas_cumprod[FORWARD_T], 259)


def draw_ten_digits() -> Figure:
    left = np.array([1000, 800, 600, 450, 300, 200, 100, 0])
    return strip.draw_ten_digits(noise(10, 8), left, np.arange(10))


def make_training_samples(count: int = 13) -> training_samples.TrainingSamples:
    images = np.random.default_rng(count).uniform(-1, 1, (count, 10, 28, 28))
    return training_samples.TrainingSamples(np.geomspace(100, 18000, count).astype(int), images, np.arange(10))


def make_switches(half: float | None = 470.0) -> label_figures.SwitchCurves:
    """Return the shares of eleven switch timesteps: classified as the new label at first, as the old one at last."""
    new = np.array([0.98, 0.97, 0.97, 0.95, 0.85, 0.61, 0.22, 0.01, 0, 0, 0])
    old = np.array([0.01, 0.01, 0.01, 0.02, 0.03, 0.17, 0.58, 0.95, 0.99, 0.99, 0.99])
    interval = np.stack([new - 0.04, new + 0.04], axis=1).clip(0, 1)
    return label_figures.SwitchCurves(np.append(np.arange(999, 0, -100), -1), new, interval, old, half, count=900)


def draw_label_switch(half: float | None = 470.0) -> Figure:
    read = np.array([[1] * 6 + [0] * 5, [9] * 5 + [7] + [4] * 5])
    return label_figures.draw_label_switch(make_switches(half), noise(2, 11), [(0, 1), (4, 9)], read)


def draw_switch_pairs() -> Figure:
    lasts = np.linspace(299, 999, 100).reshape(10, 10)
    np.fill_diagonal(lasts, np.nan)
    return label_figures.draw_switch_pairs(lasts, each=10)


def make_run(number: int = 0, settings: tuple[str, ...] = ("learning_rate 0.002",)) -> run_comparison.DrawnRun:
    steps = np.unique(np.geomspace(100, 3000, 12).round().astype(int))
    name = ("lr_2e-3", "a_folder_with_a_very_long_name_indeed", "c")[number % 3]
    losses = 0.02 + 0.002 * number + 20 / steps
    images = np.clip(noise(10, seed=number), -1, 1)
    return run_comparison.DrawnRun(name, settings, steps, losses, images, (1.0, 0.9637, 1.0))


def draw_runs(count: int) -> Figure:
    """Draw as many runs with more settings than have room; the last kept no losses and was not classified."""
    runs = [make_run(number, ("learning_rate 0.0005", "optimizer muon", "steps 9000")) for number in range(count - 1)]
    last = replace(make_run(2, ()), steps=np.zeros(0, int), heldout=np.zeros(0), accuracy=None)
    return run_comparison.draw_run_comparison([*runs, last], range(10))


FIGURES: dict[str, Callable[[], Figure]] = {
    "steps": lambda: strip.draw_steps(make_steps()),
    "steps_one": lambda: strip.draw_steps(make_steps((1000,))),
    "steps_eleven": lambda: strip.draw_steps(make_steps(tuple(range(1000, 0, -90))[:11])),
    "steps_twelve": lambda: strip.draw_steps(make_steps(tuple(range(1000, 0, -80))[:12])),
    "steps_twenty": lambda: strip.draw_steps(make_steps(tuple(range(1000, 0, -50)))),
    "compare": lambda: compare.draw_compare(*make_compare()),
    "compare_one": lambda: compare.draw_compare(*make_compare(1, 0)),
    "compare_most": lambda: compare.draw_compare(*make_compare(11, 3)),
    "run_comparison": lambda: run_comparison.draw_run_comparison([make_run(), make_run(1)], range(10)),
    "run_comparison_three": lambda: draw_runs(3),
    "run_comparison_most": lambda: draw_runs(run_comparison.MOST_RUNS),
    "run_comparison_without_losses": lambda: draw_runs(1),
    "activations": lambda: activations.draw_activations(make_activations()),
    "activations_one": lambda: activations.draw_activations(make_activations(1, 1, 8)),
    "activations_most": lambda: activations.draw_activations(make_activations(8)),
    "ten_digits": draw_ten_digits,
    "forward": draw_forward,
    "training_step": lambda: grid.draw_training_step(make_training()),
    "snr": lambda: curves.draw_snr(make_snr()),
    "loss": lambda: curves.draw_loss(make_loss()),
    "loss_one_row": lambda: curves.draw_loss(make_loss(1)),
    "loss_without_samples": lambda: curves.draw_loss(make_loss(0)),
    "time_embedding": lambda: embeddings.draw_time_embedding(make_time_embedding()),
    "label_embedding": lambda: embeddings.draw_label_embedding(make_label_embedding()),
    "conditioning_map": lambda: conditioning.draw_conditioning_map(make_conditioning_map()),
    "label_switch": draw_label_switch,
    "label_switch_never": lambda: draw_label_switch(None),
    "switch_pairs": draw_switch_pairs,
    "learning": lambda: training_samples.draw_training_samples(make_training_samples()),
    "learning_frame": lambda: training_samples.draw_film_frame(make_training_samples(), 4),
    "model": lambda: network_figures.draw_model(make_model()),
    "model_deep": lambda: network_figures.draw_model(make_model(2)),
}
