"""``vizdiff trajectory --diffusers DIR``: a saved pipeline of 🤗 diffusers, recorded and drawn.

The pipeline samples as it was saved, with its own scheduler; nothing is downloaded.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from viz_diffusion.cli.common import Voice, pick_device
from viz_diffusion.cli.recording import Storing, draw_steps
from viz_diffusion.errors import VizdiffInputError, VizdiffUsageError
from viz_diffusion.files import sha256_file

if TYPE_CHECKING:
    from viz_diffusion.catalogue import Texts
    from viz_diffusion.trajectory import Trajectory

DiffusersOption = Annotated[
    Path | None,
    typer.Option(
        "--diffusers",
        metavar="DIR",
        help="Record a pipeline of 🤗 diffusers instead, saved there with save_pretrained; --digit is its class.",
    ),
]
_OURS = ("run", "sampler", "guidance", "variance", "timestep_spacing", "clip", "switch", "clock", "drop_label",
         "guide_within", "activations")  # fmt: skip
"""Options that say how our own network samples, or look into it."""
_GIVEN = ("batch_size", "generator", "output_type")
"""What every pipeline is told, besides its number of steps."""
WEIGHTS = "diffusion_pytorch_model.safetensors"


def check_options(context: typer.Context) -> None:
    """Refuse what does not go with a pipeline of diffusers."""
    for name in _OURS:
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            raise VizdiffUsageError(
                f"--{name.replace('_', '-')} does not go with --diffusers, whose pipeline samples as it was saved"
            )


def record_folder(
    folder: Path,
    *,
    label: int | None,
    count: int,
    seed: int,
    steps: int | None,
    eta: float,
    frames: str | None,
    device: str,
    voice: Voice,
) -> tuple[Any, Trajectory]:
    """Load a pipeline, record ``count`` images of it with seeds ``seed`` and on, and return both.

    Parameters
    ----------
    label
        The class; None where none was asked for, which is class 0 of a network that wants one.
    steps, eta
        Network evaluations, the pipeline's own number by default; and DDIM's η.
    frames
        What is going to be drawn of it, so that it is refused before anything is sampled.

    Raises
    ------
    VizdiffUsageError
        Where diffusers is not installed, or what is asked is not what the pipeline can do.
    VizdiffInputError
        Where the folder holds no pipeline, or one that makes no pictures from noise alone.
    """
    from viz_diffusion.diffusers import record_pipeline
    from viz_diffusion.lessons.guess import choose_frames

    pipe = _load(folder, voice)
    parameters = inspect.signature(pipe.__call__).parameters
    _check_pipeline(folder, pipe, parameters)
    last = int(pipe.scheduler.config.num_train_timesteps)
    steps = min(parameters["num_inference_steps"].default or last, last) if steps is None else steps
    if not 1 <= steps <= last:
        raise VizdiffUsageError(f"--steps must lie in 1..{last}, found {steps}")
    if eta and "eta" not in parameters:
        raise VizdiffUsageError(f"--eta does not go with {type(pipe).__name__}, which takes none")
    choose_frames(steps, frames)
    label = _check_label(folder, pipe, label)
    place = pick_device(device)
    pipe.to(place)
    pipe.set_progress_bar_config(disable=True)
    call = {"num_inference_steps": steps, "batch_size": count, "output_type": "np"} | ({"eta": eta} if eta else {})
    text = f"{type(pipe).__name__}, seed {seed}"
    with (
        voice.progress("Sampling", text, steps) as update,
        _told_class(pipe.unet, label, count, place),
        _counted(pipe.unet, lambda done: update(done, steps, text)),
        record_pipeline(pipe, seeds=range(seed, seed + count)) as recording,
    ):
        pipe(generator=_generators(seed, count), **call)
    digest = sha256_file(folder / "unet" / WEIGHTS)
    return pipe, replace(recording.trajectory(), weights_sha256=digest, eta=eta)


def trajectory_of_pipeline(
    folder: Path,
    *,
    frames: str | None,
    storing: Storing,
    texts: Texts,
    out: Path,
    voice: Voice,
    **asked: Any,
) -> dict[str, Any]:
    """Record a folder's pipeline (see :func:`record_folder`), store and draw it; return what the JSON file says."""
    pipe, recorded = record_folder(folder, frames=frames, voice=voice, **asked)
    recorded.save(out / "trajectory.zarr", **storing.keywords())
    label = int(recorded.labels[0])
    told = {
        "pipeline": type(pipe).__name__,
        "label_note": "" if label < 0 else texts("picture.pipeline_steps.label_note", label=label),
        "num_images": recorded.num_images,
    }
    facts = draw_steps(recorded, frames, texts, out, voice, words="pipeline_steps", told=told)
    return {**facts, "diffusers": str(folder), "label": None if label < 0 else label, "weights_sha256":
            recorded.weights_sha256, "x0_beyond_scale": float(recorded.x0_beyond_scale.mean())}  # fmt: skip


def _load(folder: Path, voice: Voice) -> Any:
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


def _check_pipeline(folder: Path, pipe: Any, parameters: Any) -> None:
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


def _check_label(folder: Path, pipe: Any, label: int | None) -> int | None:
    """Return the class to ask for; None where the network takes none."""
    classes = getattr(pipe.unet.config, "num_class_embeds", None)
    if classes is None:
        if label is not None:
            raise VizdiffUsageError(f"--digit {label}: the network in {folder} takes no class; leave it out")
        return None
    if not 0 <= (label or 0) < classes:
        raise VizdiffUsageError(f"--digit must lie in 0..{classes - 1} for {folder}, found {label}")
    return label or 0


@contextmanager
def _told_class(unet: Any, label: int | None, count: int, place: Any) -> Iterator[None]:
    """Tell the network its class while the block lasts: unconditional pipelines pass none on."""
    if label is None:
        yield
        return
    import torch

    labels = torch.full((count,), label, device=place)
    handle = unet.register_forward_pre_hook(
        lambda _, args, kwargs: (args, kwargs | {"class_labels": labels}), with_kwargs=True
    )
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def _counted(unet: Any, on_pass: Callable[[int], None]) -> Iterator[None]:
    """Call ``on_pass`` with the number of passes after each, while the block lasts."""
    done = 0

    def count(*_: object) -> None:
        nonlocal done
        done += 1
        on_pass(done)

    handle = unet.register_forward_hook(count)
    try:
        yield
    finally:
        handle.remove()


def _generators(seed: int, count: int) -> Any:
    """Return a generator for each image, so that none depends on how many there are."""
    import torch

    return [torch.Generator().manual_seed(seed + index) for index in range(count)]


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
