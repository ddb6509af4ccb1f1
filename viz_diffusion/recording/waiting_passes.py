"""Forward passes that are copied when they happen and read some at a time, for then reading costs a fraction.

Between two evaluations of a network, code and data of the Recorder leave the processor's caches; read in a row, they
stay. Only passes wait whose arguments equal those of an earlier pass apart from x and t. A pass that cannot be recorded
stops the loop a few passes later, or at the end of the block. No pass waits where a recording is written to a store: a
killed process would lose it. Knows nothing about hooks, steps or files.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from threading import Lock
from typing import Any, NamedTuple

from torch import Tensor

from viz_diffusion.recording.argument_values import quick_value
from viz_diffusion.recording.arguments import Conditioning
from viz_diffusion.recording.forward_pass import ForwardPass, PassReader
from viz_diffusion.recording.tensor_values import copied, is_plain, is_transformed, output_tensor
from viz_diffusion.recording.trajectory import Float32

_MOST_WAITING = 32
"""How many passes wait at most."""
_MOST_VALUES = 1 << 14
"""Passes of more values than these are read at once: what reading costs does not matter there, and memory does."""


class CopiedCall(NamedTuple):
    """The arguments of a call, copied before a network may change them."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]


class KnownCall(NamedTuple):
    """A call whose arguments equal those of an earlier call apart from x and t."""

    x: Tensor
    """A copy of x, float32 on the CPU."""
    t: float
    """The number that all images share as their timestep, as it was passed."""
    given: Conditioning
    """What was read of the earlier call."""


class WaitingPasses:
    """Copies forward passes and reads them, some at a time.

    Parameters
    ----------
    reader
        Reads arguments and outputs.
    on_pass
        Called with each pass that was read, in their order.
    can_wait
        Whether passes may wait at all; not where the timestep decides what the network's modules keep.
    """

    def __init__(self, reader: PassReader, on_pass: Callable[[ForwardPass], None], *, can_wait: bool) -> None:
        self._reader = reader
        self._on_pass = on_pass
        self._can_wait = can_wait
        self._waiting: list[tuple[KnownCall, Tensor]] = []
        self._lock = Lock()

    def copy_call(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> CopiedCall | KnownCall:
        """Return the arguments of a call as they are before the network runs."""
        given = self._reader.arguments.known.find(args, kwargs)
        if given is not None:
            values, (x_place, t_place) = (*args, *kwargs.values()), given.places
            x = values[x_place]
            if given.are_quick and x.numel() <= _MOST_VALUES and not is_transformed(x):
                t = quick_value(values[t_place])
                if t is not None:
                    return KnownCall(copied(x), t, given)
        return CopiedCall(tuple([copied(one) for one in args]), {name: copied(one) for name, one in kwargs.items()})

    def take(self, call: CopiedCall | KnownCall, output: Any, activations: Mapping[str, Float32]) -> None:
        """Read a pass, or let it wait.

        Raises
        ------
        VizdiffUsageError
            As of :meth:`PassReader.read`, for this pass or a pass that waited.
        """
        if isinstance(call, KnownCall) and self._can_wait:
            tensor = output_tensor(output)
            if is_plain(tensor) and tensor.shape == call.x.shape:
                self._waiting.append((call, copied(tensor)))
                if len(self._waiting) >= _MOST_WAITING:
                    self.read()
                return
        self.read()
        if isinstance(call, KnownCall):
            one = self._reader.read_known(*call, output, activations)
        else:
            one = self._reader.read(*call, output, activations, copied=True)
        self._on_pass(one)

    def take_uncopied(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any], output: Any, activations: Mapping[str, Float32]
    ) -> None:
        """Read a pass whose arguments were not copied before the network ran."""
        self.read()
        self._on_pass(self._reader.read(args, kwargs, output, activations))

    def read(self) -> None:
        """Read the passes that wait; after a pass that cannot be recorded, forget the rest."""
        with self._lock:
            waiting, self._waiting = self._waiting, []
            for call, output in waiting:
                self._on_pass(self._reader.read_known(*call, output, {}, copied=True))
