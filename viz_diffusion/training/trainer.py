"""The trainer: optimizer steps, evaluations, checkpoints and the metrics log of one run.

Displays nothing: it yields a :class:`Progress` after each step, and the caller displays it. Of several processes that
train together, process 0 runs this, and the others its :class:`~viz_diffusion.training.follower.Follower`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

from viz_diffusion.data import Digits
from viz_diffusion.diffusion.torch_defaults import own_defaults_each_step
from viz_diffusion.training.config import RunConfig
from viz_diffusion.training.loop import TrainState, TrainStep, heldout_loss, train
from viz_diffusion.training.metrics_log import METRICS, MetricsLog
from viz_diffusion.training.processes import FailedElsewhereError, LostProcessError
from viz_diffusion.training.run import Run
from viz_diffusion.training.text_run import load_text_encoder, set_captions
from viz_diffusion.training.thumbnails import Thumbnails
from viz_diffusion.training.trackers import NoTracker, Tracker, TrackerError, heldout_values
from viz_diffusion.training.train_config import evaluation_steps

TIMED_STEPS = 50
"""Steps after which a time budget is converted into a number of steps."""
LOG_EVERY = 10
"""Steps between two lines of training loss."""
_WARM_UP_STEPS = 10  # the first of the timed steps; they are slower and are not counted
_OVERHEAD = 0.02  # fraction of a time budget reserved for evaluations and checkpoints


@dataclass(frozen=True)
class TrainingEvaluation:
    """The result of an evaluation of the averaged network."""

    step: int
    """Training steps done."""
    heldout_loss: tuple[float, ...]
    """(4,) mean squared error of ε̂ per pixel on held-out images, by quarter of the timesteps."""
    num_thumbnails: int
    """Evaluations whose samples the run holds, including this one."""


@dataclass(frozen=True)
class Progress:
    """The state of training after a step."""

    step: int
    """Steps done."""
    steps: int | None
    """Steps in total; None while a time budget is not yet converted into steps."""
    loss: float
    """Training loss of this step."""
    images_per_second: float
    """Mean training speed since this process started or resumed."""
    seconds_left: float | None = None
    """Time to the last step at that speed; None if ``steps`` is None."""
    evaluation: TrainingEvaluation | None = None
    """The last evaluation since this process started or resumed; None before the first."""


class Trainer:
    """Trains a run to its last step. Whenever it is stopped or killed, training can resume from the run's folder.

    Parameters
    ----------
    run
        The run to write to.
    state
        The state to train: new, or read from the run's newest checkpoint. If ``state.config.steps`` differs from the
        run's config, it becomes the run's number of steps.
    data
        The training images.
    heldout
        The images for the held-out loss.
    minutes
        Wall time from now on, in place of a number of steps. It is converted into steps once the first steps have been
        timed; the number is then written to the run's config, and time has no further effect. Until then the config
        holds the minutes. By default the minutes of the run's config, if it has any.
    checkpoint_every
        Steps between two checkpoints; by default one checkpoint at the end.
    metrics_bytes
        When resuming: the length of ``metrics.jsonl`` at the checkpoint.
    should_stop
        Called during an evaluation, which takes as long as many steps. Once it returns True, the evaluation is
        abandoned and the step is yielded, so that the caller can close the generator; resuming then starts with this
        evaluation. The evaluation after the last step is always completed.
    tracker
        A program that shows the training, which gets the values of the metrics log too; by default none.
    """

    # set by run(), once the run is locked
    _metrics: MetricsLog
    _thumbnails: Thumbnails
    _first_step: int
    _saved_step: int
    _start_time: float
    _warm_time: float

    def __init__(
        self,
        run: Run,
        state: TrainState,
        data: Digits,
        heldout: Digits,
        *,
        minutes: float | None = None,
        checkpoint_every: int | None = None,
        metrics_bytes: int = 0,
        should_stop: Callable[[], bool] = lambda: False,
        tracker: Tracker | None = None,
    ) -> None:
        self.folder = run
        self.state = state
        self.data = data
        self.heldout = heldout
        self.minutes = minutes
        self.checkpoint_every = checkpoint_every
        self.metrics_bytes = metrics_bytes
        self.should_stop = should_stop
        self.tracker = tracker or NoTracker()
        self.last_evaluation: TrainingEvaluation | None = None

    @own_defaults_each_step
    def run(self) -> Generator[Progress, None, None]:
        """Train to the last step and finish the run; yield after each step.

        Closing the generator (``close()``, as the command line does on Ctrl-C) saves a checkpoint. Stop only between
        steps: an exception raised inside a step leaves the last checkpoint as it was. Where other processes have ended,
        or the tracker has failed, the last step is saved too.

        Raises
        ------
        VizdiffLockedError
            If another process is writing to the run.
        """
        with self._locked():
            pending = self._open()
            try:
                if pending:
                    self.evaluate()
                for trained in train(self.state, self.data, self.folder.config.noise_schedule):
                    self._convert_time_budget()
                    self.log(trained)
                    pending = self._is_evaluation_step() and not self.evaluate(self._may_abandon)
                    if self.checkpoint_every and self.state.step % self.checkpoint_every == 0:
                        self._checkpoint_between_steps()
                    yield self._progress(trained.loss)
                    if pending:  # the caller has not stopped
                        self.evaluate()
                self._finish()
            except (GeneratorExit, LostProcessError, FailedElsewhereError, TrackerError):
                self.checkpoint()
                raise
            finally:
                self._close()

    def evaluate(self, should_stop: Callable[[], bool] = lambda: False) -> bool:
        """Measure the held-out loss, sample thumbnails and log both; return False if ``should_stop`` returned True."""
        config, processes = self.folder.config, self.state.processes

        def stopping() -> bool:
            processes.working()
            return should_stop()

        denoiser = config.denoiser(self.state.ema)
        losses = heldout_loss(denoiser, config.noise_schedule, self.heldout, should_stop=stopping)
        if losses is None or not self._thumbnails.add(self.state, stopping):
            processes.worked(completed=False)
            return False
        self._metrics.write(step=self.state.step, heldout_loss=losses)
        self.tracker.log(self.state.step, heldout_values(losses))
        self.last_evaluation = TrainingEvaluation(self.state.step, tuple(losses), len(self._thumbnails))
        processes.worked()
        return True

    def checkpoint(self) -> None:
        """Save the state, unless the newest checkpoint is already of this step."""
        step = self.state.step
        if step != self._saved_step:
            self.folder.save_checkpoint(self.state, self._metrics.flush(), self._saved_step, (self.data, self.heldout))
            self._saved_step = step

    def _checkpoint_between_steps(self) -> None:
        """Save the state while the other processes wait, however long it takes."""
        self.checkpoint()
        self.state.processes.worked()

    def log(self, trained: TrainStep) -> None:
        """Write the training loss and the learning rate to the metrics log, after every tenth step and the first."""
        if trained.step % LOG_EVERY == 0 or trained.step == 1:
            values = {"loss": trained.loss, "learning_rate": trained.learning_rate}
            self._metrics.write(step=trained.step, **values)
            self.tracker.log(trained.step, values | {"grad_norm": trained.grad_norm})

    def _locked(self) -> AbstractContextManager[None]:
        """Keep other writers out of the run."""
        return self.folder.lock()

    def _open(self) -> bool:
        """Prepare for training; return whether the evaluation of the current step is missing."""
        self._apply_budget()
        config = self.folder.config
        set_captions(self.state, load_text_encoder(self.folder.path, config, check=False), config)
        self._first_step = self._saved_step = self.state.step  # a resumed state is that of its checkpoint
        pending = self._open_files()
        self._start_time = self._warm_time = time.perf_counter()
        return bool(self.state.processes.number_of_main(pending))

    def _open_files(self) -> bool:
        """Prepare the run's files for training; return whether the evaluation of the current step is missing."""
        step, count = self.state.step, self.state.processes.count
        goes_on = step < self.state.config.steps
        if goes_on:
            self.folder.unfinish()  # also if training continues from an older checkpoint of a finished run
        self._metrics = MetricsLog(self.folder.path / METRICS, self.metrics_bytes)
        if goes_on and self._metrics.last_number("processes", 1) != count:
            self._metrics.write(step=step, processes=count)
        pending = self._is_evaluation_step() and not self._metrics.has_evaluation(step)
        if pending:
            self.folder.unfinish()
        self._thumbnails = Thumbnails(self.folder, step - 1 if pending else step)
        self.tracker.start(self.folder.name, self.folder.path, self.folder.config.to_dict(), step)
        self.folder.sweep()
        return pending

    def _finish(self) -> None:
        """Save the last step and finish the run."""
        self.checkpoint()
        self._metrics.flush()
        self.folder.finish(self.state)

    def _close(self) -> None:
        """Close the files."""
        self._metrics.close()
        self.tracker.close()

    def _apply_budget(self) -> None:
        """Give run and state the same budget: the minutes, or the state's number of steps, which may be a new one."""
        run, steps = self.folder, self.state.config.steps
        if self.minutes is not None and self.minutes != run.config.minutes:
            self.folder = self._changed(replace(run.config, minutes=self.minutes))
        elif self.minutes is None and steps != run.config.training.steps:
            self._set_steps(steps)
        self.state.config = replace(self.state.config, steps=self.folder.config.training.steps)

    def _convert_time_budget(self) -> None:
        """Convert a time budget into a number of steps, once the first steps have been timed."""
        now, done, minutes = time.perf_counter(), self.state.step - self._first_step, self.folder.config.minutes
        if done == _WARM_UP_STEPS:
            self._warm_time = now
        if minutes is not None and done == TIMED_STEPS:
            seconds_per_step = (now - self._warm_time) / (TIMED_STEPS - _WARM_UP_STEPS)
            seconds_left = minutes * 60 * (1 - _OVERHEAD) - (now - self._start_time)
            steps = self.state.step + max(0, int(seconds_left / seconds_per_step))
            self._set_steps(self.state.processes.number_of_main(steps))

    def _set_steps(self, steps: int) -> None:
        """Make a number of steps the budget of run and state."""
        config = self.folder.config
        self.state.config = replace(self.state.config, steps=steps)
        self.folder = self._changed(replace(config, training=replace(config.training, steps=steps), minutes=None))

    def _changed(self, config: RunConfig) -> Run:
        """Return the run with another config, which is written."""
        return self.folder.update_config(config)

    def _is_evaluation_step(self) -> bool:
        """Return whether the network is evaluated after the current step; never before the number of steps is known."""
        return self.folder.config.minutes is None and self.state.step in evaluation_steps(self.state.config)

    def _may_abandon(self) -> bool:
        """Return whether to abandon an evaluation: training is to stop, and this is not the last step."""
        return self.state.step < self.state.config.steps and self.should_stop()

    def _progress(self, loss: float) -> Progress:
        """Return the state of training after the current step, with its loss."""
        config, step = self.state.config, self.state.step
        steps_per_second = (step - self._first_step) / (time.perf_counter() - self._start_time)
        is_known = self.folder.config.minutes is None
        return Progress(
            step,
            config.steps if is_known else None,
            loss,
            steps_per_second * config.batch_size,
            (config.steps - step) / steps_per_second if is_known else None,
            self.last_evaluation,
        )
