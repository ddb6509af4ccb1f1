"""Wrapper of a scheduler's ``step`` and hooks on a pipeline's network, both removed when recording ends.

They know nothing about recordings: callbacks get what they find.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import Any

import torch
from torch import Tensor, nn

from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.recording.hooks import ModuleOutputs
from viz_diffusion.recording.scheduler_steps import SchedulerStep, read_step


@contextmanager
def wrapped_step(
    scheduler: Any, schedule: NoiseSchedule, outputs: ModuleOutputs, on_step: Callable[[SchedulerStep], None]
) -> Iterator[None]:
    """Wrap ``scheduler.step`` within the block, and restore it at its end.

    Parameters
    ----------
    scheduler, schedule
        The scheduler and its forward process.
    outputs
        The hooks of :func:`hooked_network`; their pass ends with each step.
    on_step
        Called after each step.
    """
    original = scheduler.step
    before = scheduler.__dict__.get("step")

    @wraps(original)  # pipelines inspect the signature for the parameters of step
    def step(*args: Any, **kwargs: Any) -> Any:
        call = dict(zip(("model_output", "timestep", "sample"), args, strict=False)) | kwargs
        x_in = scheduler.scale_model_input(call["sample"], call["timestep"])
        x_in = x_in.clone() if x_in is call["sample"] else x_in
        output = original(*args, **kwargs)
        activations = {name: values[-len(x_in) :] for name, values in outputs.end_pass().items()}
        on_step(read_step(scheduler, schedule, call, output, x_in, activations))
        return output

    scheduler.step = step
    try:
        yield
    finally:
        if before is None:
            del scheduler.step
        else:
            scheduler.step = before


@contextmanager
def hooked_network(
    pipe: Any,
    activations: Sequence[str],
    keep_at: Callable[[float], bool],
    on_labels: Callable[[Tensor], None],
) -> Iterator[ModuleOutputs]:
    """Give hooks on modules of the pipeline's ``unet`` or ``transformer`` within the block, removed at its end.

    Parameters
    ----------
    pipe
        The pipeline.
    activations
        Names or globs of the modules whose outputs are kept.
    keep_at
        Whether they are kept in the coming step, given its timestep.
    on_labels
        Called with the integer ``class_labels``, (n,), of each call that has them.

    Raises
    ------
    VizdiffUsageError
        Where ``activations`` match no module, there is no network, or it is called twice a step.
    """
    outputs = ModuleOutputs(activations)
    network = getattr(pipe, "unet", None) or getattr(pipe, "transformer", None)
    if not isinstance(network, nn.Module):
        if activations:
            raise VizdiffUsageError(f"{type(pipe).__name__} has no unet or transformer to keep activations of")
        yield outputs
        return

    def before_forward(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        labels = kwargs.get("class_labels")
        if isinstance(labels, Tensor) and not labels.is_floating_point() and labels.ndim == 1:
            on_labels(labels)
        if not activations:
            return
        if outputs.is_keeping:
            raise VizdiffUsageError("the network was asked twice in one step; activations are those of one answer")
        call = dict(zip(("sample", "timestep"), args, strict=False)) | kwargs
        t = float(torch.as_tensor(call["timestep"]).flatten()[0])
        outputs.begin_pass(len(call["sample"]), keep=keep_at(t))

    handle = network.register_forward_pre_hook(before_forward, with_kwargs=True)
    try:
        outputs.start(network)
        yield outputs
    finally:
        handle.remove()
        outputs.stop()
