"""Measure everything the core report shows, and join it into one page.

The one module of the report that meets a network; it hands arrays to the lessons and words to the page.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

import numpy as np
import torch

from viz_diffusion import __version__
from viz_diffusion.data import NUM_LABELS
from viz_diffusion.lessons import clock, guess, label, network, noising, training
from viz_diffusion.report.chapters import Drawing, Measured, build_chapters, run_facts
from viz_diffusion.report.page import Page, Player
from viz_diffusion.report.text import Texts
from viz_diffusion.sample import ImageNoise, sampling_steps
from viz_diffusion.trajectory import Trajectory

if TYPE_CHECKING:
    from viz_diffusion.model import SimpleUNet
    from viz_diffusion.run import Run

OTHER_FRAMES = 50
"""Frames kept of the digits that were not asked for."""
_LIBRARIES = ("torch", "numpy", "matplotlib", "scikit-learn", "zarr", "pillow")


@dataclass(frozen=True, eq=False)
class Others:
    """Generations of the other digits from the same noise, at some of their steps."""

    players: tuple[Player, ...]
    """One per digit, with ``OTHER_FRAMES`` frames of x_t and x̂_0."""
    states: dict[int, dict[int, np.ndarray]]
    """x_t by digit and by steps left, 0 being the finished image: what ``ten_digits`` draws."""


def sample_others(
    model: SimpleUNet, trajectory: Trajectory, sample: int = 0, on_step: Callable[[int], None] | None = None
) -> Others:
    """Sample the nine other digits with the seed and the settings of a recording."""
    asked = int(trajectory.labels[sample])
    digits = [digit for digit in range(NUM_LABELS) if digit != asked]
    num_steps = trajectory.num_steps
    kept = set(np.round(np.linspace(0, num_steps - 1, min(OTHER_FRAMES, num_steps))).astype(int).tolist())
    drawn = set(label.frames_left(num_steps).tolist())
    device = next(model.parameters()).device
    noise = ImageNoise([int(trajectory.seeds[sample])] * len(digits))
    x_t, x0_pred, timesteps, left_of = [], [], [], []
    states: dict[int, dict[int, np.ndarray]] = {digit: {} for digit in digits}
    steps = sampling_steps(
        model, trajectory.schedule, noise, torch.tensor(digits, device=device),
        sampler=trajectory.sampler, steps=num_steps, guidance_scale=trajectory.guidance_scale,
        clip=trajectory.clip, null_label=model.null_label,
    )  # fmt: skip
    for index, step in enumerate(steps):
        left = num_steps - index
        if left in drawn:
            for digit, image in zip(digits, step.x_t[:, 0].cpu().numpy(), strict=True):
                states[digit][left] = image
        if index in kept:
            x_t.append(step.x_t[:, 0].cpu().numpy())
            x0_pred.append(step.x0_pred[:, 0].cpu().numpy())
            timesteps.append(step.t)
            left_of.append(left)
        if on_step is not None:
            on_step(index + 1)
    finished = step.x_prev[:, 0].cpu().numpy()
    for digit, image in zip(digits, finished, strict=True):
        states[digit][0] = image
    x_t.append(finished)
    players = tuple(
        Player(
            digit=digit,
            x_t=np.stack([frame[row] for frame in x_t]),
            x0_pred=np.stack([frame[row] for frame in x0_pred]),
            eps_pred=None,
            timesteps=np.array(timesteps),
            alphas_cumprod=trajectory.schedule.alphas_cumprod,
            steps_left=np.array(left_of),
        )
        for row, digit in enumerate(digits)
    )
    return Others(players, states)


def measure_core(run: Run, model: SimpleUNet, trajectory: Trajectory, others: Others, sample: int = 0) -> Measured:
    """Measure the core chapters on a loaded run and its recording."""
    digit, seed = int(trajectory.labels[sample]), int(trajectory.seeds[sample])
    heldout = run.config.load_digits("test")
    schedule = run.config.noise_schedule
    left = label.frames_left(trajectory.num_steps)
    states = others.states | {digit: _states(trajectory, sample, left)}
    steps_left = np.append(left, 0)
    images = np.stack([np.stack([states[d][n] for n in steps_left]) for d in range(NUM_LABELS)])
    return Measured(
        guess=guess.measure(trajectory, sample),
        ten_digits=label.TenDigits(images, steps_left, np.arange(NUM_LABELS)),
        noising=noising.measure(heldout, schedule, digit, seed),
        training=training.measure(run, model, heldout, digit, seed),
        labels=label.measure_embedding(model),
        clock=clock.measure(model, schedule.num_train_timesteps, schedule.snr_below_one),
        network=network.measure(model),
    )


def _states(trajectory: Trajectory, sample: int, steps_left: np.ndarray) -> dict[int, np.ndarray]:
    states = {int(n): trajectory.x_t[sample, trajectory.num_steps - n, 0] for n in steps_left}
    return states | {0: trajectory.x0[sample, 0]}


def assemble(
    run: Run,
    trajectory: Trajectory,
    others: Others,
    measured: Measured,
    drawn: list[Drawing],
    command: str,
    texts: Texts,
    sample: int = 0,
) -> Page:
    """Join measurements, drawings and words into the report's page."""
    pictures = {drawing.name: drawing.picture() for drawing in drawn}
    facts = run_facts(measured.guess, texts)
    shape = network.facts(measured.network)
    main = Player(
        digit=facts["digit"],
        x_t=np.concatenate([trajectory.x_t[sample, :, 0], trajectory.x0[sample]]),
        x0_pred=trajectory.x0_pred[sample, :, 0],
        eps_pred=trajectory.eps_pred[sample, :, 0],
        timesteps=trajectory.timesteps,
        alphas_cumprod=trajectory.schedule.alphas_cumprod,
        steps_left=trajectory.steps_left,
    )
    weights, schedule = trajectory.weights_sha256, trajectory.schedule
    clip = texts["fact.yes" if trajectory.clip else "fact.no"]
    return Page(
        title=texts("report.title", **facts),
        lede=texts("report.lede", **facts, millions=shape["millions"]),
        players=(main, *others.players),
        command=command,
        facts=(
            (texts["fact.seed"], str(facts["seed"])),
            (texts["fact.weights"], f"{run.name} {weights[:8]}"),
            (texts["fact.sampler"], f"{facts['sampler']}{facts['variance_note']}"),
            (texts["fact.guidance"], f"{facts['guidance_scale']:g}"),
        ),
        strip=pictures["steps"],
        chapters=build_chapters(measured, pictures, texts),
        provenance=(
            (texts["fact.command"], command),
            (texts["fact.run"], run.name),
            (texts["fact.weights_sha256"], weights or texts["fact.unknown"]),
            (texts["fact.dataset"], run.config.dataset),
            (texts["fact.steps"], f"{facts_steps(measured):,}"),
            (texts["fact.schedule"], f"{schedule.name}, T = {schedule.num_train_timesteps}"),
            (texts["fact.seed"], str(facts["seed"])),
            (texts["fact.sampler"], f"{facts['sampler']}, {trajectory.num_steps}"),
            (texts["fact.variance"], facts["variance_note"].strip(" ()") or texts["fact.none"]),
            (texts["fact.guidance"], f"{facts['guidance_scale']:g}"),
            (texts["fact.x0_clip"], clip),
            (texts["fact.versions"], versions()),
            (texts["fact.made"], time.strftime("%Y-%m-%d")),
        ),
        lang=texts.lang,
    )


def facts_steps(measured: Measured) -> int:
    """Return how many steps the run was trained for."""
    return int(training.facts(measured.training)["steps"])


def versions() -> str:
    """Return this package's, Python's and the main libraries' versions, as one line."""
    found = [f"viz_diffusion {__version__}", f"Python {platform.python_version()}"]
    for name in _LIBRARIES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:  # vendored or renamed: leave it out rather than guess
            continue
    return ", ".join(found)
