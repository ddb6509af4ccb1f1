"""Hooks that are sure to go: on a denoiser, and on those of its modules whose output is wanted.

Knows nothing about what is done with what was heard.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Collection, Sequence
from fnmatch import fnmatchcase
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.recording.step_grouper import ForwardPass, arguments, forward_signature, tensor_of, to_numpy
from viz_diffusion.recording.trajectory import Float32

_CONTAINERS = (nn.ModuleList, nn.ModuleDict, nn.ParameterList, nn.ParameterDict)


def match_modules(denoiser: nn.Module, patterns: Sequence[str]) -> dict[str, nn.Module]:
    """Return the modules that dotted names or globs mean, by name, in the order of definition.

    A dot and an underscore are alike (``mid.attention`` finds ``mid_attention``), and ``*`` stands for any
    run of characters. Of modules within each other that one pattern finds, the outermost is meant, so that
    ``down.*`` gives each block once and ``*`` all of the network's parts; name an inner one in full.

    Raises
    ------
    VizdiffUsageError
        Where a pattern finds nothing.
    """
    modules = {
        name: module for name, module in denoiser.named_modules() if name and not isinstance(module, _CONTAINERS)
    }
    found: set[str] = set()
    for pattern in patterns:
        alike = pattern.replace("_", ".")
        hits = [name for name in modules if name == pattern or fnmatchcase(name.replace("_", "."), alike)]
        if not hits:
            parts = [name for name in modules if not any(name.startswith(f"{other}.") for other in modules)]
            raise VizdiffUsageError(f"no module is called {pattern!r}; there are {', '.join(parts)}")
        found.update(name for name in hits if not any(name.startswith(f"{other}.") for other in hits))
    return {name: module for name, module in modules.items() if name in found}


class Outputs:
    """Hooks on those of a network's modules whose output is wanted, from :meth:`start` to :meth:`stop`.

    Parameters
    ----------
    patterns
        Names or globs; see :func:`match_modules`.
    norms
        Whether only the L2 norm of each image's output is kept.
    """

    def __init__(self, patterns: Sequence[str], *, norms: bool = False) -> None:
        self._patterns = tuple(patterns)
        self._norms = norms
        self._handles: list[RemovableHandle] = []
        self._names: frozenset[str] = frozenset()
        self._open: dict[str, Float32] | None = None
        self._count = 0

    def start(self, network: nn.Module) -> bool:
        """Hang the hooks; return whether there are any."""
        wanted = match_modules(network, self._patterns)
        self._names = frozenset(wanted)
        self._handles = [module.register_forward_hook(partial(self._keep, name)) for name, module in wanted.items()]
        return bool(wanted)

    def stop(self) -> None:
        """Take the hooks away."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._open = None

    def open(self, wanted: bool, count: int) -> None:
        """Begin a forward pass of the network with ``count`` images; outputs are kept where they are ``wanted``."""
        self._open, self._count = {} if wanted else None, count

    @property
    def is_open(self) -> bool:
        """Whether something is kept that :meth:`take` has not given yet."""
        return self._open is not None

    def take(self) -> dict[str, Float32]:
        """End the pass: return what each module gave, (count, ...); nothing where not wanted.

        Raises
        ------
        VizdiffUsageError
            Where a module did not run, or does not keep images apart.
        """
        (kept, self._open), count = (self._open, None), self._count
        if kept is None:
            return {}
        silent = self._names - set(kept)
        if silent:
            raise VizdiffUsageError(f"module {min(silent)} did not run in the forward pass; name another")
        for name, values in kept.items():
            if len(values) not in (1, count):
                raise VizdiffUsageError(
                    f"module {name} gives {len(values)} rows for {count} images; name one that keeps them apart"
                )
        return {
            name: values if len(values) == count else np.repeat(values, count, axis=0) for name, values in kept.items()
        }

    def _keep(self, name: str, *heard: Any) -> None:
        if self._open is None:
            return
        if name in self._open:
            raise VizdiffUsageError(f"module {name} ran twice in one forward pass; name one that runs once")
        values = to_numpy(tensor_of(heard[-1]))  # heard: the module, its arguments, its output
        if self._norms:
            values = np.sqrt(np.square(values, dtype=np.float64).reshape(len(values), -1).sum(axis=1))
        self._open[name] = values.astype(np.float32, copy=False)


class Listener:
    """Hooks on one denoiser, from :meth:`start` to :meth:`stop`.

    Parameters
    ----------
    denoiser
        The network; only a weak reference is kept.
    on_pass
        Called after each forward pass.
    activations, activations_at, norms
        Which modules' output is kept, at which timesteps (None: all), and whether only the L2 norm of
        each image's.
    """

    def __init__(
        self,
        denoiser: nn.Module,
        on_pass: Callable[[ForwardPass], None],
        *,
        activations: Sequence[str] = (),
        activations_at: Collection[int] | None = None,
        norms: bool = False,
    ) -> None:
        if not isinstance(denoiser, nn.Module):
            raise VizdiffUsageError(
                f"a Recorder hangs its hooks on an nn.Module, found a {type(denoiser).__name__}; make it one, "
                "whose forward calls it"
            )
        if activations and _is_compiled(denoiser):
            raise VizdiffUsageError("hooks do not reach into a compiled network: record activations of the original")
        self._denoiser = weakref.ref(denoiser)
        self._on_pass = on_pass
        self._outputs = Outputs(activations, norms=norms)
        self._at = None if activations_at is None else {int(t) for t in activations_at}
        self._signature = forward_signature(denoiser)
        self._handles: list[RemovableHandle] = []

    def start(self) -> None:
        """Hang the hooks."""
        if self._handles:
            raise VizdiffUsageError("this Recorder is already listening; use one Recorder for each block")
        denoiser = self._denoiser()
        if denoiser is None:
            raise VizdiffUsageError("the denoiser of this Recorder no longer exists")
        if denoiser._compiled_call_impl is not None:
            raise VizdiffUsageError(
                "this network was compiled in place, which leaves hooks out; "
                "record torch.compile(network), or the network before .compile()"
            )
        if self._outputs.start(denoiser):
            self._handles.append(denoiser.register_forward_pre_hook(self._before, with_kwargs=True))
        self._handles.append(denoiser.register_forward_hook(self._hear, with_kwargs=True))

    def stop(self) -> None:
        """Take the hooks away."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._outputs.stop()

    def _before(self, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if torch.compiler.is_compiling():
            return
        x, t, _labels = arguments(self._signature, args, kwargs)
        self._outputs.open(self._at is None or t in self._at, len(x))

    def _hear(self, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        if torch.compiler.is_compiling():
            return  # traced into someone's compiled code, it would stay there; nothing heard is said later
        x, t, labels = arguments(self._signature, args, kwargs)
        kept = self._outputs.take()
        self._on_pass(ForwardPass(t, to_numpy(x), to_numpy(tensor_of(output)), labels, kept))


def _is_compiled(denoiser: nn.Module) -> bool:
    return hasattr(denoiser, "_orig_mod") or denoiser._compiled_call_impl is not None
