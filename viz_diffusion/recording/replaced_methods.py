"""Methods of a network that are replaced while it is recorded: those that run it, and what copies and pickles it.

They know nothing about what is recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn

from viz_diffusion.errors import VizdiffUsageError


class RecordingHooks:
    """Base of the objects whose methods are forward hooks of a Recorder, by which copies know what to leave out."""


@dataclass
class _StandIn:
    """What a replaced method is."""

    replaced: Any
    """The network's own method in its ``__dict__`` before; None where it had none."""
    is_recording: bool = True


METHODS = ("_call_impl", "forward")
"""The methods that are replaced: what runs a network with all its hooks, and what it runs without."""
_STAND_INS: WeakKeyDictionary[Callable[..., Any], _StandIn] = WeakKeyDictionary()


@contextmanager
def wrapped_method(
    denoiser: nn.Module, name: str, run: Callable[[Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any]
) -> Iterator[None]:
    """Let ``run`` call the module's method ``name``, one of :data:`METHODS`, within the block.

    A replaced ``_call_impl`` sees what hooks see, for a fraction of what calling hooks costs; programs that skip hooks
    call ``forward``. Blocks may end in any order, and the program may replace methods inside them: what is not ours
    stays.
    """
    original = getattr(denoiser, name)
    state = _StandIn(denoiser.__dict__.get(name))

    @wraps(original)
    def method(*args: Any, **kwargs: Any) -> Any:
        return run(original, args, kwargs) if state.is_recording else original(*args, **kwargs)

    _STAND_INS[method] = state
    denoiser.__dict__[name] = method
    try:
        yield
    finally:
        state.is_recording = False
        while (found := _stand_in(denoiser.__dict__, name)) is not None and not found.is_recording:
            _put_back(denoiser.__dict__, name, found)


@contextmanager
def copies_without_hooks(modules: Sequence[nn.Module]) -> Iterator[None]:
    """Let ``copy.deepcopy``, pickle, ``torch.save`` and ``nn.DataParallel`` leave out the hooks of all Recorders.

    For the time of the block each module gets its own ``__reduce_ex__``, which copy and pickle ask on the instance,
    its own ``_replicate_for_data_parallel``, and its own ``__deepcopy__`` where its class has one.
    """
    for module in modules:
        if not isinstance(module.__dict__.get("__reduce_ex__"), _Copier):
            copier = module.__dict__["__reduce_ex__"] = _Copier(module)
            module.__dict__["_replicate_for_data_parallel"] = copier.replicate
            if hasattr(type(module), "__deepcopy__"):
                module.__dict__["__deepcopy__"] = copier.deepcopy
        module.__dict__["__reduce_ex__"].uses += 1
    try:
        yield
    finally:
        for module in modules:
            copier = module.__dict__["__reduce_ex__"]
            copier.uses -= 1
            if not copier.uses:
                _take_copier(module.__dict__)


class _Copier:
    """Copies and pickles one module as it is without Recorders; shared by all Recorders that listen to it."""

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self.uses = 0

    def __call__(self, protocol: int) -> Any:
        with self._bare():
            reduced: Any = type(self._module).__reduce_ex__(self._module, protocol)
        if not isinstance(reduced, tuple) or len(reduced) < 3 or not isinstance(reduced[2], dict):
            return reduced
        return (*reduced[:2], _without_recording(reduced[2]), *reduced[3:])

    def deepcopy(self, memo: dict[int, Any]) -> Any:
        with self._bare():
            return type(self._module).__deepcopy__(self._module, memo)  # type: ignore[attr-defined]

    def replicate(self) -> Any:
        with self._bare():  # a replica shares the hooks' tables and has the same ``__dict__`` otherwise
            return type(self._module)._replicate_for_data_parallel(self._module)  # type: ignore[no-untyped-call]

    @contextmanager
    def _bare(self) -> Iterator[None]:
        """Take everything of Recorders out of the module for the time of the block."""
        space = self._module.__dict__
        saved = dict(space)
        bare = _without_recording(saved)
        space.clear()
        space.update(bare)
        try:
            yield
        finally:
            space.clear()
            space.update(saved)


def require_hookable(denoiser: nn.Module) -> None:
    """Refuse a denoiser that forward hooks do not reach.

    Raises
    ------
    VizdiffUsageError
        Where it is not an ``nn.Module``, TorchScript made it, or it was compiled in place.
    """
    if isinstance(denoiser, (torch.jit.ScriptModule, torch.jit.ScriptFunction)):
        raise VizdiffUsageError(
            "a TorchScript network (torch.jit.script or trace) gives hooks nothing to copy: record the nn.Module "
            "that it was made from"
        )
    if not isinstance(denoiser, nn.Module):
        raise VizdiffUsageError(
            f"a Recorder hangs its hooks on an nn.Module, found a {type(denoiser).__name__}; make it one, "
            "whose forward calls it"
        )
    if denoiser._compiled_call_impl is not None:
        raise VizdiffUsageError(
            "this network was compiled in place, which leaves hooks out; "
            "record torch.compile(network), or the network before .compile()"
        )


def _stand_in(space: dict[str, Any], name: str) -> _StandIn | None:
    """Return what a module's method ``name`` is, where a Recorder put it there."""
    method = space.get(name)
    return None if method is None else _STAND_INS.get(method)


def _put_back(space: dict[str, Any], name: str, stand_in: _StandIn) -> None:
    """Put the method back that a stand-in replaced."""
    if stand_in.replaced is None:
        del space[name]
    else:
        space[name] = stand_in.replaced


def _take_copier(space: dict[str, Any]) -> None:
    copier = space.pop("__reduce_ex__", None)
    if isinstance(copier, _Copier):
        space.pop("__deepcopy__", None)
        space.pop("_replicate_for_data_parallel", None)


def _without_recording(state: dict[str, Any]) -> dict[str, Any]:
    """Return a module's ``__dict__`` without the hooks of Recorders and without what stands in for its methods."""
    kept = dict(state)
    _take_copier(kept)
    for name in METHODS:
        while (found := _stand_in(kept, name)) is not None:
            _put_back(kept, name, found)
    tables = [name for name in kept if name.startswith(("_forward_hooks", "_forward_pre_hooks"))]
    ours = {key for name in tables for key, hook in kept[name].items() if _is_ours(hook)}
    for name in tables:
        kept[name] = type(kept[name])((key, hook) for key, hook in kept[name].items() if key not in ours)
    return kept


def _is_ours(hook: Any) -> bool:
    return isinstance(getattr(getattr(hook, "func", hook), "__self__", None), RecordingHooks)
