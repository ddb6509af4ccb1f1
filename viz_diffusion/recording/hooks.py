"""Forward hooks on a denoiser and on its modules, removed when recording ends.

They know nothing about what is done with the forward passes.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from fnmatch import fnmatchcase
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.recording.forward_pass import ForwardPass, PassReader
from viz_diffusion.recording.replaced_methods import (
    METHODS,
    RecordingHooks,
    copies_without_hooks,
    require_hookable,
    wrapped_method,
)
from viz_diffusion.recording.tensor_values import output_tensor, to_numpy
from viz_diffusion.recording.trajectory import Float32
from viz_diffusion.recording.waiting_passes import CopiedCall, KnownCall, WaitingPasses

_CONTAINERS = (nn.ModuleList, nn.ModuleDict, nn.ParameterList, nn.ParameterDict)


def match_modules(denoiser: nn.Module, patterns: Sequence[str]) -> dict[str, nn.Module]:
    """Return the modules that match dotted names or globs, by name, in the order of definition.

    A dot and an underscore match each other (``mid.attention`` matches ``mid_attention``), and ``*`` matches any
    run of characters. Where a pattern matches a module and others inside it, only the outermost is returned:
    ``down.*`` returns each block once, ``*`` each part of the network. Name an inner module in full to get it.

    Raises
    ------
    VizdiffUsageError
        Where a pattern matches no module.
    """
    if not patterns:
        return {}
    modules = {
        name: module for name, module in denoiser.named_modules() if name and not isinstance(module, _CONTAINERS)
    }
    found: set[str] = set()
    for pattern in patterns:
        dotted = pattern.replace("_", ".")
        hits = [name for name in modules if name == pattern or fnmatchcase(name.replace("_", "."), dotted)]
        if not hits:
            parts = [name for name in modules if not any(name.startswith(f"{other}.") for other in modules)]
            raise VizdiffUsageError(f"no module is called {pattern!r}; there are {', '.join(parts)}")
        found.update(name for name in hits if not any(name.startswith(f"{other}.") for other in hits))
    return {name: module for name, module in modules.items() if name in found}


class ModuleOutputs(RecordingHooks):
    """Hooks that keep the outputs of some of a network's modules, from :meth:`start` to :meth:`stop`.

    Parameters
    ----------
    patterns
        Names or globs of the modules; see :func:`match_modules`.
    norms
        Whether to keep only the L2 norm of each image's output.
    """

    def __init__(self, patterns: Sequence[str], *, norms: bool = False) -> None:
        self._patterns = tuple(patterns)
        self._norms = norms
        self.handles: list[RemovableHandle] = []
        """The hooks; none before :meth:`start` and after :meth:`stop`."""
        self.modules: list[nn.Module] = []
        """The modules that have one."""
        self._names: frozenset[str] = frozenset()
        self._kept: dict[str, Float32] | None = None  # None where the current pass is not kept
        self._num_images = 0

    def start(self, network: nn.Module) -> bool:
        """Register the hooks; return whether there are any."""
        modules = match_modules(network, self._patterns)
        self._names = frozenset(modules)
        self.modules = list(modules.values())
        self.handles = [
            module.register_forward_hook(partial(self._keep_output, name)) for name, module in modules.items()
        ]
        return bool(modules)

    def stop(self) -> None:
        """Remove the hooks."""
        for handle in self.handles:
            handle.remove()
        self.handles.clear()
        self.modules.clear()
        self._kept = None

    def begin_pass(self, num_images: int, *, keep: bool) -> None:
        """Begin a forward pass of the network with ``num_images`` images, whose outputs are kept if ``keep``."""
        self._kept, self._num_images = {} if keep else None, num_images

    @property
    def is_keeping(self) -> bool:
        """Whether a pass with kept outputs has begun and not ended."""
        return self._kept is not None

    def end_pass(self) -> dict[str, Float32]:
        """End the pass and return each module's output, (num_images, ...) float32; empty where it is not kept.

        Raises
        ------
        VizdiffUsageError
            Where a module did not run, or its output does not have one row an image.
        """
        (kept, self._kept), count = (self._kept, None), self._num_images
        if kept is None:
            return {}
        missing = self._names - set(kept)
        if missing:
            raise VizdiffUsageError(f"module {min(missing)} did not run in the forward pass; name another")
        for name, values in kept.items():
            if len(values) not in (1, count):
                raise VizdiffUsageError(
                    f"module {name} gives {len(values)} rows for {count} images; name one that keeps them apart"
                )
        return {
            name: values if len(values) == count else np.repeat(values, count, axis=0) for name, values in kept.items()
        }

    def _keep_output(self, name: str, _module: nn.Module, _args: Any, output: Any) -> None:
        if self._kept is None:
            return
        if name in self._kept:
            raise VizdiffUsageError(f"module {name} ran twice in one forward pass; name one that runs once")
        values = to_numpy(output_tensor(output))
        if self._norms:
            values = np.sqrt(np.square(values, dtype=np.float64).reshape(len(values), -1).sum(axis=1))
        self._kept[name] = values.astype(np.float32, copy=False)


class DenoiserHooks(RecordingHooks):
    """Hooks on one denoiser, from :meth:`start` to :meth:`stop`.

    Parameters
    ----------
    denoiser
        The network; only a weak reference is kept.
    reader
        Reads its arguments and outputs.
    on_pass
        Called after each forward pass.
    activations, activations_at, norms
        The modules whose outputs are kept, the timesteps at which they are kept (None: all), and whether only
        the L2 norm of each image's output is kept.
    can_wait
        Whether small passes may be read some at a time.

    Raises
    ------
    VizdiffUsageError
        Where hooks cannot reach into the denoiser.
    """

    def __init__(
        self,
        denoiser: nn.Module,
        reader: PassReader,
        on_pass: Callable[[ForwardPass], None],
        *,
        activations: Sequence[str] = (),
        activations_at: Collection[int] | None = None,
        norms: bool = False,
        can_wait: bool = False,
    ) -> None:
        if activations and _is_compiled(denoiser):
            raise VizdiffUsageError("hooks do not reach into a compiled network: record activations of the original")
        self._denoiser = weakref.ref(denoiser)
        self._reader = reader
        self._passes = WaitingPasses(reader, on_pass, can_wait=can_wait and not activations)
        self._outputs = ModuleOutputs(activations, norms=norms)
        self._activations_at = None if activations_at is None else {int(t) for t in activations_at}
        self._call = _Call()
        self._wrappers: ExitStack | None = None

    def start(self) -> None:
        """Register the hooks.

        Raises
        ------
        VizdiffUsageError
            Where they are registered already, the denoiser no longer exists or was compiled in place, or a name in
            ``activations`` matches no module.
        """
        if self._wrappers is not None:
            raise VizdiffUsageError("this Recorder is already listening; use one Recorder for each block")
        denoiser = self._denoiser()
        if denoiser is None:
            raise VizdiffUsageError("the denoiser of this Recorder no longer exists")
        require_hookable(denoiser)
        self._outputs.start(denoiser)
        self._wrappers = ExitStack()
        self._wrappers.enter_context(copies_without_hooks([denoiser, *self._outputs.modules]))
        if hasattr(denoiser, "_orig_mod"):  # compiled: it is called by methods of its own
            handle = denoiser.register_forward_hook(self._after_compiled, with_kwargs=True)
            self._wrappers.callback(handle.remove)
        else:
            for name, run in zip(METHODS, (self._call_network, self._forward), strict=True):
                self._wrappers.enter_context(wrapped_method(denoiser, name, run))

    def stop(self) -> None:
        """Remove the hooks."""
        self._outputs.stop()
        if self._wrappers is not None:
            self._wrappers.close()
            self._wrappers = None

    def _call_network(self, original: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run a call network(...), which runs the hooks of others too, and record what it returns.

        A call within a call is part of it: a network that mixes its own two predictions answers with the mix.
        """
        call = self._call
        if call.depth or torch.compiler.is_compiling():
            return original(*args, **kwargs)
        outer = call.through_hooks
        call.begin()
        try:
            output = original(*args, **kwargs)
        finally:
            inputs, call.inputs = call.inputs, None
            call.through_hooks = outer
        if inputs is None:  # the program put another forward in the place of ours
            self._passes.take_uncopied(args, kwargs, output, self._outputs.end_pass())
        else:
            self._passes.take(inputs, output, self._outputs.end_pass())
        return output

    def _forward(self, original: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run ``forward``; record it here where it was called past the hooks, as network.forward(...)."""
        call = self._call
        if call.depth or torch.compiler.is_compiling():
            return original(*args, **kwargs)
        inputs = self._passes.copy_call(args, kwargs)  # a network may change its x in place
        if self._outputs.handles:
            read, t, _share = self._reader.read_inputs(args, kwargs)
            self._outputs.begin_pass(len(read.x), keep=self._activations_at is None or t in self._activations_at)
        call.depth += 1
        try:
            output = original(*args, **kwargs)
        finally:
            call.depth -= 1
        if call.through_hooks:
            call.inputs = inputs
        else:
            self._passes.take(inputs, output, self._outputs.end_pass())
        return output

    def _after_compiled(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        if torch.compiler.is_compiling() or module is not self._denoiser():
            return  # a hook traced into the compiled code would stay there; without a pass, recording is refused later
        self._passes.take_uncopied(args, kwargs, output, {})

    def read_waiting(self) -> None:
        """Read the forward passes that were copied and not read yet; see :class:`WaitingPasses`."""
        self._passes.read()


class _Call(threading.local):
    """The call of the network that runs in a thread."""

    depth = 0
    """How many of its ``forward`` run within each other."""
    through_hooks = False
    """Whether ``forward`` was called as network(...), which runs hooks."""
    inputs: CopiedCall | KnownCall | None = None
    """Its arguments as they were before."""

    def begin(self) -> None:
        """Begin a call network(...)."""
        self.through_hooks, self.inputs = True, None


def _is_compiled(denoiser: nn.Module) -> bool:
    return hasattr(denoiser, "_orig_mod") or denoiser._compiled_call_impl is not None
