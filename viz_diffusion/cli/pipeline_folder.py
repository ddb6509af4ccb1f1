"""A saved pipeline of 🤗 diffusers in a folder: loaded, and looked at before anything is sampled.

Nothing is downloaded, and nothing is unpickled.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from viz_diffusion.cli.common import Voice
from viz_diffusion.errors import VizdiffInputError, VizdiffUsageError

WEIGHTS = "diffusion_pytorch_model.safetensors"
_GIVEN = ("batch_size", "generator", "output_type")
"""What every pipeline is told, besides its number of steps."""


def load_pipeline(folder: Path, voice: Voice) -> Any:
    """Load the pipeline in a folder, from safetensors and without network."""
    index = folder / "model_index.json"
    if not index.is_file():
        raise VizdiffInputError(f"{folder} is no pipeline of diffusers (no model_index.json); pipe.save_pretrained one")
    try:
        name = str(json.loads(index.read_text("utf-8"))["_class_name"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise VizdiffInputError(f"{index} is damaged ({_first_line(error)}); save the pipeline again") from error
    voice.say("Loading", f"PyTorch, diffusers, {name}")
    try:
        diffusers: Any = import_module("diffusers")
    except ImportError:
        raise VizdiffUsageError(
            "--diffusers needs 🤗 diffusers, which is not here: pip install 'viz-diffusion[diffusers]'"
        ) from None
    with _quiet_loading():
        try:
            return diffusers.DiffusionPipeline.from_pretrained(
                str(folder), local_files_only=True, use_safetensors=True, low_cpu_mem_usage=False
            )
        except Exception as error:  # diffusers raises whatever its parts do
            raise VizdiffInputError(f"{folder} does not load as a pipeline ({_first_line(error)})") from error


@contextmanager
def _quiet_loading() -> Iterator[None]:
    """Keep diffusers from drawing its own bar while the block lasts."""
    from diffusers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def check_pipeline(folder: Path, pipe: Any, parameters: Any) -> None:
    """Refuse a pipeline that does not make pictures of one or three channels from noise alone."""
    name = type(pipe).__name__
    wanted = [
        one.name for one in parameters.values()
        if one.default is one.empty and one.kind not in (one.VAR_KEYWORD, one.VAR_POSITIONAL)
    ]  # fmt: skip
    python = "record it in Python with viz_diffusion.record_pipeline"
    anything = any(one.kind is one.VAR_KEYWORD for one in parameters.values())
    lacking = [] if anything else [given for given in _GIVEN if given not in parameters]
    if lacking:
        raise VizdiffInputError(f"{folder} holds a {name}, which takes no {', '.join(lacking)}; {python}")
    if wanted or "num_inference_steps" not in parameters:
        needs = f"wants {', '.join(wanted)}" if wanted else "takes no number of steps"
        raise VizdiffInputError(f"{folder} holds a {name}, which {needs}; {python}")
    if getattr(pipe, "unet", None) is None or not (folder / "unet" / WEIGHTS).is_file():
        raise VizdiffInputError(f"{folder} holds a {name} without unet/{WEIGHTS}; {python}")
    channels, given = pipe.unet.config.in_channels, pipe.unet.config.out_channels
    if channels not in (1, 3) or given not in (channels, 2 * channels):
        raise VizdiffInputError(
            f"{folder} holds a network with {channels} channels in and {given} out, and pictures have 1 or 3; {python}"
        )


def check_label(folder: Path, pipe: Any, label: int | None) -> int | None:
    """Return the class to ask for; None where the network takes none."""
    classes = getattr(pipe.unet.config, "num_class_embeds", None)
    if classes is None:
        if label is not None:
            raise VizdiffUsageError(f"--digit {label}: the network in {folder} takes no class; leave it out")
        return None
    if not 0 <= (label or 0) < classes:
        raise VizdiffUsageError(f"--digit must lie in 0..{classes - 1} for {folder}, found {label}")
    return label or 0


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
