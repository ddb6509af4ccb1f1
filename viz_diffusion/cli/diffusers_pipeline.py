"""Loading of a saved pipeline of 🤗 diffusers, and the checks of what it can do.

Nothing is downloaded. How it is recorded: :mod:`viz_diffusion.cli.diffusers_recording`.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from viz_diffusion.cli.console import Terminal
from viz_diffusion.errors import VizdiffInputError, VizdiffUsageError
from viz_diffusion.files import damage_named, read_json

WEIGHTS = "diffusion_pytorch_model.safetensors"
_ARGUMENTS = ("batch_size", "generator", "output_type")
"""The arguments with which every pipeline is called, besides its number of steps; with a prompt, not the first."""


def load_pipeline(folder: Path, terminal: Terminal) -> Any:
    """Load the pipeline in a folder, from safetensors and without network.

    Raises
    ------
    VizdiffInputError
        Where the folder holds no pipeline, or it is damaged.
    VizdiffUsageError
        Where diffusers is not installed.
    """
    index = folder / "model_index.json"
    if not index.is_file():
        raise VizdiffInputError(f"{folder} is no pipeline of diffusers (no model_index.json); pipe.save_pretrained one")
    with damage_named(index, "save the pipeline again"):
        name = str(read_json(index)["_class_name"])
    terminal.say("Loading", f"PyTorch, diffusers, {name}")
    try:
        diffusers: Any = import_module("diffusers")
    except ImportError:
        raise VizdiffUsageError(
            "vizdiff record needs 🤗 diffusers, which is not here: pip install 'viz-diffusion[diffusers]'"
        ) from None
    with _quiet_loading():
        try:
            return diffusers.DiffusionPipeline.from_pretrained(
                str(folder), local_files_only=True, use_safetensors=True, low_cpu_mem_usage=False
            )
        except Exception as error:  # diffusers raises errors of many types
            raise VizdiffInputError(f"{folder} does not load as a pipeline ({_first_line(error)})") from error


@contextmanager
def _quiet_loading() -> Iterator[None]:
    """Hide the progress bars of diffusers, and of transformers where that is installed, while the block lasts."""
    bars = [import_module("diffusers.utils.logging")]
    with suppress(ImportError):
        bars.append(import_module("transformers.utils.logging"))
    shown = [one for one in bars if one.is_progress_bar_enabled()]
    for one in shown:
        one.disable_progress_bar()
    try:
        yield
    finally:
        for one in shown:
            one.enable_progress_bar()


def check_pipeline(folder: Path, pipe: Any) -> None:
    """Refuse a pipeline that does not generate, from noise only or a prompt, images or latents that its VAE decodes."""
    name = type(pipe).__name__
    parameters = inspect.signature(pipe.__call__).parameters
    required = [
        parameter.name
        for parameter in parameters.values()
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
    ]
    python = "record it in Python with viz_diffusion.record_pipeline"
    takes_all = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    wanted = _ARGUMENTS[is_prompted(pipe) :]
    missing = [] if takes_all else [argument for argument in wanted if argument not in parameters]
    if missing:
        raise VizdiffInputError(f"{folder} holds a {name}, which takes no {', '.join(missing)}; {python}")
    if required or "num_inference_steps" not in parameters:
        needs = f"wants {', '.join(required)}" if required else "takes no number of steps"
        raise VizdiffInputError(f"{folder} holds a {name}, which {needs}; {python}")
    if getattr(pipe, "unet", None) is None or not (folder / "unet" / WEIGHTS).is_file():
        raise VizdiffInputError(f"{folder} holds a {name} without unet/{WEIGHTS}; {python}")
    channels, outputs = pipe.unet.config.in_channels, pipe.unet.config.out_channels
    is_decoded = is_prompted(pipe) and getattr(pipe, "vae", None) is not None
    if not (channels in (1, 3) or is_decoded) or outputs not in (channels, 2 * channels):
        raise VizdiffInputError(
            f"{folder} holds a network with {channels} channels in and {outputs} out, and pictures have 1 or 3; "
            f"{python}"
        )


def is_prompted(pipe: Any) -> bool:
    """Return whether a pipeline is called with a prompt."""
    return "prompt" in inspect.signature(pipe.__call__).parameters


def check_prompt(folder: Path, pipe: Any, prompt: str | None, count: int, most: int) -> None:
    """Refuse a prompt that a pipeline does not take or lacks, and more images than are recorded of one."""
    name = type(pipe).__name__
    if not is_prompted(pipe):
        if prompt is not None:
            raise VizdiffUsageError(f"--prompt: the {name} in {folder} takes no prompt; leave it out")
        return
    if prompt is None:
        raise VizdiffUsageError(f"--prompt: the {name} in {folder} needs one; give --prompt TEXT")
    if count > most:
        raise VizdiffUsageError(f"--count must lie in 1..{most} for a prompt, found {count}")


def call_pipeline(pipe: Any, folder: Path, **call: Any) -> None:
    """Call a pipeline.

    Raises
    ------
    VizdiffInputError
        Where it does not sample.
    """
    try:
        pipe(**call)
    except (TypeError, ValueError, IndexError, AttributeError) as error:
        raise VizdiffInputError(
            f"the {type(pipe).__name__} in {folder} does not sample with its {type(pipe.scheduler).__name__} "
            f"({_first_line(error)}); save it with another scheduler"
        ) from error


def generators(seed: int, count: int) -> Any:
    """Return a generator for each image, so that none depends on how many there are."""
    import torch

    return [torch.Generator().manual_seed(seed + index) for index in range(count)]


def check_label(folder: Path, pipe: Any, label: int | None) -> int | None:
    """Return the label that the network gets, by default 0; None where it takes none."""
    classes = getattr(pipe.unet.config, "num_class_embeds", None)
    if classes is None:
        if label is not None:
            raise VizdiffUsageError(f"--label {label}: the network in {folder} takes no class; leave it out")
        return None
    if not 0 <= (label or 0) < classes:
        raise VizdiffUsageError(f"--label must lie in 0..{classes - 1} for {folder}, found {label}")
    return label or 0


def check_steps(pipe: Any, steps: int | None, eta: float) -> int:
    """Return the number of steps, by default the pipeline's own; refuse steps or η that it does not take."""
    parameters = inspect.signature(pipe.__call__).parameters
    most = int(getattr(pipe.scheduler.config, "num_train_timesteps", 1000))
    steps = min(parameters["num_inference_steps"].default or most, most) if steps is None else steps
    if not 1 <= steps <= most:
        raise VizdiffUsageError(f"--steps must lie in 1..{most}, found {steps}")
    if eta and "eta" not in parameters:
        raise VizdiffUsageError(f"--eta does not go with {type(pipe).__name__}, which takes none")
    return steps


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
