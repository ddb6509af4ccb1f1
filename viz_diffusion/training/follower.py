"""The trainer of every process but process 0, where several train one network together.

It makes the same steps, and writes, evaluates and logs nothing: it waits while process 0 does.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from viz_diffusion.training.config import RunConfig
from viz_diffusion.training.loop import TrainStep
from viz_diffusion.training.processes import SETUP_SECONDS
from viz_diffusion.training.run import Run
from viz_diffusion.training.trainer import Trainer


class Follower(Trainer):
    """Trains along with the :class:`Trainer` of process 0."""

    def evaluate(self, should_stop: Callable[[], bool] = lambda: False) -> bool:  # noqa: ARG002
        """Wait while process 0 evaluates; return whether it completed its evaluation."""
        return self.state.processes.wait_for_main()

    def checkpoint(self) -> None:
        """Save nothing."""

    def _checkpoint_between_steps(self) -> None:
        """Wait while process 0 saves, which may take longer than a step."""
        self.state.processes.wait_for_main(SETUP_SECONDS)

    def log(self, trained: TrainStep) -> None:
        """Log nothing."""

    def _locked(self) -> AbstractContextManager[None]:
        return nullcontext()

    def _open_files(self) -> bool:
        return False

    def _finish(self) -> None:
        pass

    def _close(self) -> None:
        pass

    def _changed(self, config: RunConfig) -> Run:
        return Run(self.folder.path, config)
