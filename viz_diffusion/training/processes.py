"""One process of several that train one network together, or of one alone.

Each step's batch is drawn whole in every process, from the seed and the step, and cut into parts. Each process takes
its parts, and the gradients are summed, so that every process has the gradient of the mean over the whole batch.
Batch, learning rate, samples and moving average are therefore those of one process.

Before each collective operation on tensors, and often while process 0 works alone, all processes exchange one small
message: whether a signal came, and whether one of them failed. So all of them stop after the same step. Knows nothing
about networks, runs or files.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import NamedTuple

import torch
from torch import Tensor, nn

from viz_diffusion.errors import VizdiffError, VizdiffIOError, VizdiffUsageError
from viz_diffusion.launch import Launch
from viz_diffusion.stopping import leave_at_once, stopped_code

SETUP_SECONDS = 600.0
"""Longest wait for another process before the first step, when it may be downloading data, after the last one, and
while process 0 saves a checkpoint."""
STEP_SECONDS = 50.0
"""Longest wait for another process afterwards."""
_PORT = 29500  # where the tasks of srun meet, if MASTER_PORT is not set


class LostProcessError(VizdiffIOError):
    """Another process has ended without a message, or does not answer."""


class FailedElsewhereError(VizdiffError):
    """Another process has failed and shows its own message; the exit code is the same."""

    def __init__(self, exit_code: int) -> None:
        super().__init__(f"another process ended with exit code {exit_code}; its message says why")
        self.exit_code = exit_code


class _Message(NamedTuple):
    """What the processes tell each other: the largest of each number counts."""

    working: int
    """1 while process 0 works alone."""
    completed: int
    """1 where process 0 has completed that work."""
    number: int
    """A number of process 0."""
    signal: int
    """The number of a signal that came; 0 if none."""
    failure: int
    """The lowest rank that failed, and its exit code: (count - rank) 1000 + exit code; 0 if none."""


class Processes:
    """The processes that train one network together, seen from one of them.

    Parameters
    ----------
    launch
        The place of this process; by default it is alone.
    accumulate
        Number of parts in which a process takes its share of a batch, one after another (gradient accumulation).
    """

    def __init__(self, launch: Launch | None = None, accumulate: int = 1) -> None:
        self.rank, self.count, _ = launch or Launch()
        self.accumulate = accumulate
        self.received: Sequence[int] = ()
        """The numbers of the signals that came to this process."""
        self._agreed = 0
        self._patience = SETUP_SECONDS

    @property
    def is_main(self) -> bool:
        """Whether this is process 0, which writes, displays and evaluates."""
        return self.rank == 0

    @property
    def signal(self) -> int:
        """The number of the signal for which all processes stop; 0 if none. It is the same in all of them."""
        if self.count > 1:
            return self._agreed
        return self.received[0] if self.received else 0

    def parts(self, batch_size: int) -> list[slice]:
        """Return the parts of a batch that this process takes; they differ by at most one image.

        Raises
        ------
        VizdiffUsageError
            Where a part would be empty.
        """
        total = self.count * self.accumulate
        if batch_size < total:
            raise VizdiffUsageError(
                f"`batch_size` must be at least {total}, one image for each of {self.count} × {self.accumulate} parts "
                f"(processes × `accumulate`), found {batch_size}"
            )
        cuts = [batch_size * part // total for part in range(total + 1)]
        first = self.rank * self.accumulate
        return [slice(*cuts[part : part + 2]) for part in range(first, first + self.accumulate)]

    def sum_gradients(self, network: nn.Module, loss: Tensor) -> Tensor:
        """Replace each gradient by its sum over all processes; return the sum of the losses, a scalar.

        All gradients go in one tensor through one operation. DistributedDataParallel would wrap the network, add a hook
        to each weight and average over processes, which is wrong for parts of unequal size; and a network of this size
        has no backward pass long enough to hide communication in.
        """
        if self.count == 1:
            return loss
        self._exchange()
        gradients = [weight.grad for weight in network.parameters() if weight.grad is not None]
        flat = torch.cat([loss.reshape(1), *(gradient.reshape(-1) for gradient in gradients)])
        self._reduce(flat, "SUM")
        total, *sums = torch.split(flat, [1, *(gradient.numel() for gradient in gradients)])
        for gradient, values in zip(gradients, sums, strict=True):
            gradient.copy_(values.view_as(gradient))
        self._patience = STEP_SECONDS
        return total[0]

    def working(self) -> None:
        """Tell the others that process 0 is still working alone; called by process 0, often."""
        if self.count > 1:
            self._exchange(working=1)

    def worked(self, completed: bool = True) -> None:
        """Tell the others that process 0 has ended its work; called by process 0."""
        if self.count > 1:
            self._exchange(completed=int(completed))

    def wait_for_main(self, seconds: float | None = None) -> bool:
        """Wait while process 0 works; return whether it completed its work. Called by the other processes.

        ``seconds`` is the longest wait for a message of process 0, where its work has no place to send one from.
        """
        patience, self._patience = self._patience, seconds or self._patience
        while (message := self._exchange()).working:
            pass
        self._patience = patience
        return bool(message.completed)

    def number_of_main(self, number: int) -> int:
        """Return a number, at least 0, that process 0 gives; what the others give does not count."""
        return number if self.count == 1 else self._exchange(number=number if self.is_main else 0).number

    def require_same(self, facts: Iterable[tuple[str, str]]) -> None:
        """Refuse to train where the processes differ, given names and SHA-256 of what they begin with.

        Raises
        ------
        VizdiffUsageError
            Where they do; the message names the first difference.
        """
        for name, digest in facts if self.count > 1 else ():
            own = int(digest[:12], 16)
            if self.number_of_main(own) != own:
                raise VizdiffUsageError(
                    f"process {self.rank} of {self.count} begins with another {name} than process 0; give all of "
                    "them the same options, data and versions"
                )

    def _exchange(self, **own: int) -> _Message:
        """Send a message to all processes and return the joint one."""
        nothing = dict.fromkeys(_Message._fields, 0)
        sent = _Message(**{**nothing, "signal": self.received[0] if self.received else 0, **own})
        numbers = torch.tensor(sent, dtype=torch.int64, device="cpu")
        self._reduce(numbers, "MAX")
        message = _Message(*numbers.tolist())
        self._agreed = self._agreed or message.signal
        if message.failure != sent.failure:
            raise FailedElsewhereError(message.failure % 1000)
        return message

    def _reduce(self, values: Tensor, operation: str) -> None:
        """Reduce a tensor over all processes, in place."""
        from torch import distributed

        try:
            work = distributed.all_reduce(values, getattr(distributed.ReduceOp, operation), async_op=True)
            work.wait(timedelta(seconds=self._patience))
        except RuntimeError as error:
            raise LostProcessError(
                f"process {self.rank} of {self.count} has lost the others ({_reason(error)}); `resume` "
                "goes on from what was saved last"
            ) from error

    def fail(self, error: BaseException) -> None:
        """Tell the others that this process has failed, so that none of them waits for it.

        Raises
        ------
        FailedElsewhereError
            Where a process of lower rank failed at the same time: its message is the one to show.
        """
        if isinstance(error, LostProcessError | FailedElsewhereError):
            return
        code = stopped_code() if isinstance(error, KeyboardInterrupt) else getattr(error, "exit_code", 1)
        try:
            self._exchange(failure=(self.count - self.rank) * 1000 + code)
        except LostProcessError:
            return

    def finish(self) -> None:
        """Wait until all processes have come here: long, since process 0 writes the run's files and ends a tracker."""
        self._patience = SETUP_SECONDS
        self._exchange()


@contextmanager
def joined(launch: Launch, device: torch.device, accumulate: int = 1) -> Iterator[Processes]:
    """Connect the processes that were started together: by gloo on CPUs, also by nccl on GPUs.

    All processes leave the block together. Where one of them raises an error in it, the others raise
    :class:`FailedElsewhereError` at their next message.

    Raises
    ------
    VizdiffIOError
        If the processes cannot connect.
    """
    processes = Processes(launch, accumulate)
    if launch.world_size == 1:
        yield processes
        return
    _connect(launch, device)
    try:
        yield processes
        processes.finish()
    except BaseException as error:
        processes.fail(error)
        leave_at_once()  # a group whose other processes are gone may abort this one when it is taken down
        raise
    _disconnect()


def _connect(launch: Launch, device: torch.device) -> None:
    from torch import distributed

    if not distributed.is_available():
        raise VizdiffUsageError("this build of PyTorch cannot train in several processes; start one without torchrun")
    address, port = os.environ["MASTER_ADDR"], os.environ.get("MASTER_PORT")
    try:
        distributed.init_process_group(
            "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo",
            init_method="env://" if port else f"tcp://{address}:{_PORT}",
            rank=launch.rank,
            world_size=launch.world_size,
            timeout=timedelta(seconds=SETUP_SECONDS),
            device_id=device if device.type == "cuda" else None,
        )
    except (RuntimeError, ValueError) as error:
        raise VizdiffIOError(
            f"the {launch.world_size} processes cannot connect at {address}:{port or _PORT} ({_reason(error)}); check "
            "MASTER_ADDR and MASTER_PORT, and that the machines reach each other"
        ) from error


def _reason(error: Exception) -> str:
    """Return the first sentence of an error of PyTorch, without the place in its source."""
    text = re.sub(r"\[[^\]]*\.\w+:\d+\]\s*", "", " ".join(str(error).split()))
    return re.split(r"[.!](?:\s|$)", text)[0]


def _disconnect() -> None:
    from torch import distributed

    distributed.destroy_process_group()
