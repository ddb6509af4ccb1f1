"""Wrappers of a scheduler's methods and hooks on a pipeline's network, all removed when recording ends.

They know nothing about recordings: callbacks get what they find.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import update_wrapper
from typing import Any

import torch
from torch import Tensor, nn

from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.recording.pipeline_layout import NetworkCall, read_network_call
from viz_diffusion.recording.pipeline_prompts import prompts_of_call
from viz_diffusion.recording.word_attention import NetworkOutputs

BeforeStep = Callable[[Mapping[str, Any]], Callable[[Any], None]]
"""Gets the arguments of ``step`` by name before each call, and returns what is called with its output."""


class _Wrapper:
    """A wrapper of an object's method, in the object's own attributes.

    In a copy of the object, by deepcopy or pickle, the copy's own method takes its place.
    """

    def __init__(self, owner: Any, name: str, call: Callable[..., Any]) -> None:
        self._owner, self._name, self._call = owner, name, call
        update_wrapper(self, getattr(owner, name), updated=())  # pipelines inspect the signature for the parameters

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._call(*args, **kwargs)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        copied = memo.get(id(self._owner))
        return self if copied is None else getattr(copied, self._name)  # only the attributes are copied, or all of it

    def __reduce__(self) -> Any:
        return getattr, (self._owner, self._name)


class FollowedScheduler:
    """The scheduler of a pipeline, wrapped while it is the pipeline's; another one that takes its place likewise.

    Parameters
    ----------
    pipe
        The pipeline.
    on_scheduler
        Called with each scheduler before it is wrapped; may raise.
    before_step
        Called before each step; see :data:`BeforeStep`.
    on_timesteps
        Called before each ``set_timesteps``.
    """

    def __init__(
        self, pipe: Any, on_scheduler: Callable[[Any], None], before_step: BeforeStep, on_timesteps: Callable[[], None]
    ) -> None:
        self._pipe, self._on_scheduler = pipe, on_scheduler
        self._before_step, self._on_timesteps = before_step, on_timesteps
        self._scheduler: Any = None
        self._replaced: dict[str, Any] = {}  # the scheduler's attributes before wrapping, by name

    def follow(self) -> None:
        """Wrap the pipeline's scheduler, if it is another one than before."""
        scheduler: Any = self._pipe.scheduler
        if scheduler is self._scheduler:
            return
        self.release()
        self._on_scheduler(scheduler)
        self._scheduler = scheduler
        self._wrap("step", self._around_step(scheduler.step))
        if callable(getattr(scheduler, "set_timesteps", None)):
            self._wrap("set_timesteps", self._around_timesteps(scheduler.set_timesteps))

    def release(self) -> None:
        """Restore the methods of the wrapped scheduler."""
        for name, before in self._replaced.items():
            if before is None:
                delattr(self._scheduler, name)
            else:
                setattr(self._scheduler, name, before)
        self._replaced, self._scheduler = {}, None

    def _wrap(self, name: str, call: Callable[..., Any]) -> None:
        self._replaced[name] = vars(self._scheduler).get(name)
        setattr(self._scheduler, name, _Wrapper(self._scheduler, name, call))

    def _around_step(self, original: Callable[..., Any]) -> Callable[..., Any]:
        signature = inspect.signature(original)

        def step(*args: Any, **kwargs: Any) -> Any:
            after = self._before_step(_arguments(signature, args, kwargs))
            output = original(*args, **kwargs)
            after(output)
            return output

        return step

    def _around_timesteps(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def set_timesteps(*args: Any, **kwargs: Any) -> Any:
            self._on_timesteps()
            return original(*args, **kwargs)

        return set_timesteps


def _arguments(signature: inspect.Signature, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Mapping[str, Any]:
    """Return the arguments of ``step`` by name, also where its signature has others, as a wrapper's may."""
    try:
        named = signature.bind(*args, **kwargs).arguments
    except TypeError:
        named = {}
    names = ("model_output", "timestep", "sample")
    return named if all(name in named for name in names) else dict(zip(names, args, strict=False)) | kwargs


@contextmanager
def hooked_network(
    pipe: Any,
    activations: Sequence[str],
    keep_at: Callable[[float], bool],
    on_call: Callable[[NetworkCall | None], None],
    *,
    word_maps: bool = False,
) -> Iterator[NetworkOutputs]:
    """Give hooks on modules of the pipeline's ``unet`` or ``transformer`` within the block, removed at its end.

    Parameters
    ----------
    pipe
        The pipeline.
    activations
        Names or globs of the modules whose outputs are kept.
    keep_at
        Whether they are kept in the coming step, given its timestep.
    on_call
        Called before each call of the network with its arguments, None where they are not understood.
    word_maps
        Whether the attention to each token is kept too.

    Raises
    ------
    VizdiffUsageError
        Where ``activations`` match no module, there is no network or no cross-attention, or it is called twice a step.
    """
    outputs = NetworkOutputs(activations, word_maps=word_maps)
    network = network_of(pipe)
    if network is None:
        if outputs.are_wanted:
            raise VizdiffUsageError(f"{type(pipe).__name__} has no unet or transformer to keep activations of")
        yield outputs
        return

    def before_forward(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if torch.compiler.is_compiling():
            return
        call = read_network_call(network, args, kwargs)
        on_call(call)
        if not outputs.are_wanted:
            return
        if outputs.is_keeping:
            raise VizdiffUsageError("the network was asked twice in one step; activations are those of one answer")
        if call is None:
            raise VizdiffUsageError(f"{type(network).__name__} was called without x as its first argument, a tensor")
        outputs.begin_pass(call.x, keep=keep_at(call.t))

    handle = network.register_forward_pre_hook(before_forward, with_kwargs=True)
    try:
        outputs.start(network)
        yield outputs
    finally:
        handle.remove()
        outputs.stop()


def network_of(pipe: Any) -> nn.Module | None:
    """Return the pipeline's ``unet`` or ``transformer``; None where it has neither."""
    found = (getattr(pipe, name, None) for name in ("unet", "transformer"))
    return next((one for one in found if isinstance(one, nn.Module)), None)


class WatchedEnding:
    """Wrappers of a pipeline's call and of its VAE, by which the latents that it ends with are seen.

    Parameters
    ----------
    pipe
        The pipeline.
    on_latents
        Called with the latents that a call of the pipeline returns.
    on_decoded
        Called with what the VAE decodes within a call of the pipeline.
    on_prompts
        Called with the prompt of each image before a call of the pipeline, and with none after it.
    """

    def __init__(
        self,
        pipe: Any,
        on_latents: Callable[[Tensor], None],
        on_decoded: Callable[[Tensor], None],
        on_prompts: Callable[[tuple[str, ...]], None],
    ) -> None:
        self._pipe, self._on_latents, self._on_decoded = pipe, on_latents, on_decoded
        self._on_prompts = on_prompts
        self._is_running = False
        self._undo: list[Callable[[], None]] = []

    def start(self) -> None:
        """Wrap them, as far as the pipeline has them."""
        if callable(self._pipe):
            kind = type(self._pipe)
            with suppress(TypeError):  # a built-in type
                self._replace(kind, "__call__", self._around_call(kind.__call__))
        vae = getattr(self._pipe, "vae", None)
        decode: Any = getattr(vae, "decode", None)
        if isinstance(vae, nn.Module) and callable(decode):
            self._replace(vae, "decode", _Wrapper(vae, "decode", self._around_decode(decode)))

    def stop(self) -> None:
        """Restore them."""
        while self._undo:
            self._undo.pop()()

    def _replace(self, owner: Any, name: str, wrapper: Callable[..., Any]) -> None:
        before = vars(owner).get(name)
        setattr(owner, name, wrapper)
        self._undo.append(lambda: delattr(owner, name) if before is None else setattr(owner, name, before))

    def _around_call(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(pipe: Any, *args: Any, **kwargs: Any) -> Any:
            if pipe is not self._pipe:  # methods such as __call__ are looked up in the class, which others share
                return original(pipe, *args, **kwargs)
            self._is_running = True
            self._on_prompts(prompts_of_call(original, (pipe, *args), kwargs))
            try:
                output = original(pipe, *args, **kwargs)
            finally:
                self._is_running = False
                self._on_prompts(())
            if kwargs.get("output_type") == "latent":
                first = next(iter(output.values()), None) if isinstance(output, Mapping) else output
                first = first[0] if isinstance(first, tuple) and first else first
                if isinstance(first, Tensor):
                    self._on_latents(first)
            return output

        return update_wrapper(call, original)

    def _around_decode(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def decode(*args: Any, **kwargs: Any) -> Any:
            z = args[0] if args else kwargs.get("z")
            if self._is_running and isinstance(z, Tensor):
                self._on_decoded(z)
            return original(*args, **kwargs)

        return decode
