"""Training a run: the loop around :func:`train` that measures, samples, saves and can be stopped.

Knows nothing about terminals: it yields :class:`Progress`, and whoever listens shows it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch

from viz_diffusion.data import NUM_LABELS, Digits, to_bytes
from viz_diffusion.diffusion.sampler_config import SamplerConfig
from viz_diffusion.diffusion.samplers import ImageNoise
from viz_diffusion.diffusion.sampling import sampling_steps
from viz_diffusion.training.config import TrainConfig
from viz_diffusion.training.loop import TrainState, heldout_loss, train
from viz_diffusion.training.metrics_log import METRICS, Metrics
from viz_diffusion.training.run import Run

TIMED_STEPS = 50
"""Steps after which a time budget becomes a number of steps; the first ten only warm the machine up."""
NUM_LOOKS = 12
"""Looks at the network (held-out loss, thumbnails) are ever further apart, but at most a run's twelfth."""
LOG_EVERY = 10
"""Steps between two lines of training loss."""
_WARM_STEPS = 10
_OVERHEAD = 0.02  # share of a time budget that goes to held-out loss, thumbnails and checkpoints


@dataclass(frozen=True)
class Look:
    """What a look at the averaged network found."""

    step: int
    """Steps done by then."""
    heldout_loss: tuple[float, ...]
    """(4,) mean squared error of ε̂ per pixel on held-out images, by quarter of the timesteps."""
    count: int
    """How many looks' samples the run keeps by now."""


@dataclass(frozen=True)
class Progress:
    """Where training stands after a step."""

    step: int
    """Steps done."""
    steps: int | None
    """Steps in all; None while a time budget is still being measured."""
    loss: float
    """Training loss of this step."""
    images_per_second: float
    """Images trained on per second, since training or resuming began."""
    seconds_left: float | None = None
    """Seconds to the last step at that speed; None while ``steps`` is."""
    look: Look | None = None
    """The last look at the network since training or resuming began; None before the first."""


def fit(
    run: Run,
    state: TrainState,
    data: Digits,
    heldout: Digits,
    *,
    minutes: float | None = None,
    checkpoint_every: int | None = None,
    metrics_bytes: int = 0,
    should_stop: Callable[[], bool] = lambda: False,
) -> Generator[Progress, None, None]:
    """Train a run to its end; the folder is whole whenever this is stopped.

    Closing the generator (``close()``, what Ctrl-C does on the command line) saves a checkpoint. Stops
    belong between steps: an exception thrown into the middle of one leaves the last checkpoint as it was.

    Parameters
    ----------
    minutes
        Replaces the config's number of steps by what fits into this wall time, from here on, after timing the
        first steps. The number is then written into the run's config, and from there on time plays no part; until
        then the minutes are. By default what the run's config says; another number of steps in ``state.config``
        than there becomes the run's.
    metrics_bytes
        Where resuming: how much of ``metrics.jsonl`` belongs to the checkpoint.
    should_stop
        Asked while the network is looked at, which takes many steps' time: with True the look is left and the step
        yielded, to be closed on. Going on begins with that look. The last look, which finishes the run, is not left.

    Raises
    ------
    VizdiffLockedError
        Where another process writes to the run.
    """
    with run.lock():
        yield from _fit(run, state, data, heldout, minutes, checkpoint_every, metrics_bytes, should_stop)


def _fit(
    run: Run,
    state: TrainState,
    data: Digits,
    heldout: Digits,
    minutes: float | None,
    checkpoint_every: int | None,
    metrics_bytes: int,
    should_stop: Callable[[], bool],
) -> Generator[Progress, None, None]:
    run = _settle(run, state, minutes)
    minutes = run.config.minutes
    first = state.step
    if first < state.config.steps:
        run.unfinish()  # where it goes on from an older checkpoint, too
    metrics = Metrics(run.path / METRICS, metrics_bytes)
    owed = minutes is None and first in evaluation_steps(state.config) and not metrics.has_evaluation(first)
    if owed:
        run.unfinish()
    thumbnails = Thumbnails(run, first - 1 if owed else first)
    begun = time.perf_counter()
    warm = begun
    saved = first  # a state with steps behind it came from its checkpoint
    look: Look | None = None
    run.sweep()

    def save() -> None:
        nonlocal saved
        if state.step != saved:
            run.save_checkpoint(state, metrics.flush(), saved, (data, heldout))
            saved = state.step

    def look_now(between: Callable[[], object] = lambda: None) -> Look:
        losses = heldout_loss(state.ema, run.config.noise_schedule, heldout, between=between)
        count = thumbnails.draw(run, state, between)
        metrics.write(step=state.step, heldout_loss=losses)
        return Look(state.step, tuple(losses), count)

    def leave() -> None:
        if state.step < state.config.steps and should_stop():
            raise _LookLeft

    try:
        if owed:
            look = look_now()
        for trained in train(state, data, run.config.noise_schedule):
            now = time.perf_counter()
            if state.step == first + _WARM_STEPS:
                warm = now
            if minutes is not None and state.step == first + TIMED_STEPS:
                seconds_per_step = (now - warm) / (TIMED_STEPS - _WARM_STEPS)
                left = minutes * 60 * (1 - _OVERHEAD) - (now - begun)
                run = _decide(run, state, state.step + max(0, int(left / seconds_per_step)))
            decided = run.config.minutes is None
            if state.step % LOG_EVERY == 0 or state.step == 1:
                metrics.write(step=state.step, loss=trained.loss, learning_rate=trained.learning_rate)
            left_look = False
            if decided and state.step in evaluation_steps(state.config):
                try:
                    look = look_now(leave)
                except _LookLeft:
                    left_look = True
            if checkpoint_every and state.step % checkpoint_every == 0:
                save()
            steps_per_second = (state.step - first) / (time.perf_counter() - begun)
            yield Progress(
                state.step,
                state.config.steps if decided else None,
                trained.loss,
                steps_per_second * state.config.batch_size,
                (state.config.steps - state.step) / steps_per_second if decided else None,
                look,
            )
            if left_look:  # nobody closed on it
                look = look_now()
        save()
        metrics.flush()
        run.finish(state)
    except GeneratorExit:
        save()
        raise
    finally:
        metrics.close()


class _LookLeft(Exception):
    """A look was left because training is to stop."""


def _settle(run: Run, state: TrainState, minutes: float | None) -> Run:
    """Give run and state one budget: these minutes, or the state's number of steps, which may be a new one."""
    if minutes is not None and minutes != run.config.minutes:
        run = run.update_config(replace(run.config, minutes=minutes))
    elif minutes is None and state.config.steps != run.config.training.steps:
        run = _decide(run, state, state.config.steps)
    state.config = replace(state.config, steps=run.config.training.steps)
    return run


def _decide(run: Run, state: TrainState, steps: int) -> Run:
    """Make a number of steps the budget of run and state."""
    state.config = replace(state.config, steps=steps)
    training = replace(run.config.training, steps=steps)
    return run.update_config(replace(run.config, training=training, minutes=None))


@lru_cache(maxsize=1)
def evaluation_steps(config: TrainConfig) -> frozenset[int]:
    """Return the steps after which the network is looked at, the last among them.

    They are evenly spaced in log while that keeps them a twelfth of the run apart or less, and then in steps.
    """
    spaced = np.geomspace(min(100, config.steps), config.steps, NUM_LOOKS)
    widest = config.steps / NUM_LOOKS
    early = spaced[: 1 + int(np.sum(np.diff(spaced) <= widest))]
    late = np.linspace(early[-1], config.steps, 1 + int(np.ceil((config.steps - early[-1]) / widest)))
    return frozenset(int(step) for step in np.round([*early, *late]))


class Thumbnails:
    """The ten digits from one fixed noise, drawn again and again while the network learns."""

    SEED = 0
    STEPS = 20
    GUIDANCE_SCALE = 1.5

    def __init__(self, run: Run, last: int) -> None:
        self._steps: list[int] = []
        self._images: list[torch.Tensor] = []
        earlier = run.load_samples() if last else None
        for step, images in zip(*earlier, strict=True) if earlier else ():
            if step <= last:
                self._steps.append(int(step))
                self._images.append(images)

    def draw(self, run: Run, state: TrainState, between: Callable[[], object] = lambda: None) -> int:
        """Sample the ten digits by DDIM with the averaged weights, write them into the run; return how often so far.

        ``between`` is called after each step of the sampler; where it raises, nothing is written.
        """
        labels = torch.arange(NUM_LABELS, device=state.device)
        noise = ImageNoise([self.SEED] * NUM_LABELS)
        for step in sampling_steps(
            state.ema,
            run.config.noise_schedule,
            noise,
            labels,
            SamplerConfig("ddim", self.STEPS, guidance_scale=self.GUIDANCE_SCALE),
            null_label=state.ema.null_label,
        ):
            images = step.x_prev
            between()
        self._steps.append(state.step)
        self._images.append(torch.from_numpy(to_bytes(images)))
        run.save_samples(self._steps, torch.stack(self._images))
        return len(self._steps)
