"""Methods of a network that are replaced while it is recorded: ``forward``, and what copies and pickles it.

They know nothing about what is recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial, wraps
from typing import Any

from torch import nn


@contextmanager
def wrapped_forward(
    denoiser: nn.Module, run: Callable[[Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any]
) -> Iterator[None]:
    """Let ``run`` call the module's ``forward`` within the block; programs that skip hooks call it directly."""
    own = denoiser.__dict__.get("forward")
    original = denoiser.forward

    @wraps(original)
    def forward(*args: Any, **kwargs: Any) -> Any:
        return run(original, args, kwargs)

    forward._replaced = own  # type: ignore[attr-defined]
    denoiser.__dict__["forward"] = forward
    try:
        yield
    finally:
        if own is None:
            denoiser.__dict__.pop("forward", None)
        else:
            denoiser.__dict__["forward"] = own


@contextmanager
def copies_without_hooks(
    denoiser: nn.Module, modules: Sequence[nn.Module], hook_ids: Callable[[], frozenset[int]]
) -> Iterator[None]:
    """Let ``copy.deepcopy``, pickle and ``torch.save`` of the modules leave out the hooks of those ids.

    For the time of the block each module gets its own ``__reduce_ex__``, which copy and pickle ask on the instance.
    """
    changed = [denoiser, *modules]

    def reduce_of(module: nn.Module, protocol: int) -> Any:
        reduced: Any = type(module).__reduce_ex__(module, protocol)
        if not isinstance(reduced, tuple) or len(reduced) < 3:
            return reduced
        return (*reduced[:2], _state_without(reduced[2], hook_ids()), *reduced[3:])

    for module in changed:
        module.__dict__["__reduce_ex__"] = partial(reduce_of, module)
    try:
        yield
    finally:
        for module in changed:
            module.__dict__.pop("__reduce_ex__", None)


def _state_without(state: Any, hook_ids: frozenset[int]) -> Any:
    """Return a module's pickled state without the hooks of those ids and without what stands in for its methods."""
    if not isinstance(state, dict):
        return state
    kept = {name: value for name, value in state.items() if name != "__reduce_ex__"}
    if hasattr(kept.get("forward"), "_replaced"):
        own = kept.pop("forward")._replaced
        kept |= {} if own is None else {"forward": own}
    for name, value in kept.items():
        if name.startswith(("_forward_hooks", "_forward_pre_hooks")) and isinstance(value, dict):
            kept[name] = type(value)((key, hook) for key, hook in value.items() if key not in hook_ids)
    return kept
