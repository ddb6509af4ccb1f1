"""``vizdiff trajectory --diffusers DIR``: a saved pipeline of 🤗 diffusers, recorded and drawn.

The pipeline samples as it was saved, with its own scheduler; nothing is downloaded.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from viz_diffusion.cli.console import Terminal
from viz_diffusion.cli.loading import pick_device
from viz_diffusion.cli.record import StorageOptions, draw_activations, draw_steps, read_store
from viz_diffusion.errors import VizdiffInputError, VizdiffUsageError
from viz_diffusion.files import sha256_file
from viz_diffusion.recording.store.fields import recording_bytes
from viz_diffusion.recording.store.layout import CHUNK_SAMPLES
from viz_diffusion.recording.store.writer import require_space

if TYPE_CHECKING:
    from viz_diffusion.recording.trajectory import Trajectory
    from viz_diffusion.text.catalogue import Texts


WEIGHTS = "diffusion_pytorch_model.safetensors"
_GIVEN = ("batch_size", "generator", "output_type")
"""What every pipeline is told, besides its number of steps."""


def load_pipeline(folder: Path, terminal: Terminal) -> Any:
    """Load the pipeline in a folder, from safetensors and without network."""
    index = folder / "model_index.json"
    if not index.is_file():
        raise VizdiffInputError(f"{folder} is no pipeline of diffusers (no model_index.json); pipe.save_pretrained one")
    try:
        name = str(json.loads(index.read_text("utf-8"))["_class_name"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise VizdiffInputError(f"{index} is damaged ({_first_line(error)}); save the pipeline again") from error
    terminal.say("Loading", f"PyTorch, diffusers, {name}")
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
        one.name
        for one in parameters.values()
        if one.default is one.empty and one.kind not in (one.VAR_KEYWORD, one.VAR_POSITIONAL)
    ]
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


DiffusersOption = Annotated[
    Path | None,
    typer.Option(
        "--diffusers",
        metavar="DIR",
        help="Record a pipeline of 🤗 diffusers instead, saved there with save_pretrained; --digit is its class.",
    ),
]
_OURS = (
    "run",
    "sampler",
    "guidance",
    "variance",
    "timestep_spacing",
    "clip",
    "switch",
    "clock",
    "drop_label",
    "guide_within",
)
"""Options that say how our own network samples, or change what it is told."""


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
    store: Path,
    *,
    label: int | None,
    count: int,
    seed: int,
    steps: int | None,
    eta: float,
    frames: str | None,
    activations: Sequence[str],
    storage: StorageOptions,
    device: str,
    terminal: Terminal,
) -> tuple[Any, Trajectory, tuple[str, ...]]:
    """Load a pipeline and record ``count`` images of it, seeds ``seed`` and on, to disk while it samples.

    Parameters
    ----------
    store
        Where to; batches of 16 images go there, so that memory does not grow with their number.
    label
        The class; None where none was asked for, which is class 0 of a network that wants one.
    steps, eta
        Network evaluations, the pipeline's own number by default; and DDIM's η.
    frames
        What is going to be drawn of it, so that it is refused before anything is sampled.
    activations
        Globs of the network's modules whose output is kept at the frames.

    Returns
    -------
    The pipeline, the first batch, and the names of those modules.

    Raises
    ------
    VizdiffUsageError
        Where diffusers is not installed, or what is asked is not what the pipeline can do.
    VizdiffInputError
        Where the folder holds no pipeline, or one that makes no pictures from noise alone.
    VizdiffIOError
        Where the disk has no room for the recording.
    """
    from viz_diffusion.recording.hooks import match_modules
    from viz_diffusion.recording.pipeline import record_pipeline
    from viz_diffusion.recording.trajectory import Trajectory
    from viz_diffusion.views.feature_maps import choose

    pipe = load_pipeline(folder, terminal)
    steps = _check_steps(folder, pipe, steps, eta, frames)
    modules = tuple(match_modules(pipe.unet, activations))
    kept = choose(steps, frames if activations else None).tolist()
    label = check_label(folder, pipe, label)
    _require_space(pipe, store, count, steps, storage)
    pipe.to(pick_device(device))
    pipe.set_progress_bar_config(disable=True)
    call = {"num_inference_steps": steps, "output_type": "np"} | ({"eta": eta} if eta else {})
    text, total = f"{type(pipe).__name__}, seed {seed}", steps * -(-count // CHUNK_SAMPLES)
    with (
        terminal.progress("Sampling", text, total) as update,
        _told_class(pipe.unet, label),
        _counted(pipe.unet, lambda done: update(done, total, text)),
        record_pipeline(
            pipe,
            seeds=range(seed, seed + count),
            activations=modules,
            activation_steps=kept,
            store=store,
            aim=(count, steps),
            eta=eta,
            weights_sha256=sha256_file(folder / "unet" / WEIGHTS),
            **storage.keywords(),
        ),
    ):
        for first in range(0, count, CHUNK_SAMPLES):
            batch = min(CHUNK_SAMPLES, count - first)
            pipe(generator=_generators(seed + first, batch), batch_size=batch, **call)
    return pipe, Trajectory.open(store, samples=slice(0, CHUNK_SAMPLES)), modules


def _check_steps(folder: Path, pipe: Any, steps: int | None, eta: float, frames: str | None) -> int:
    """Return the number of steps; refuse what the pipeline cannot do, or what cannot be drawn of it."""
    from viz_diffusion.views.frames import choose_frames

    parameters = inspect.signature(pipe.__call__).parameters
    check_pipeline(folder, pipe, parameters)
    last = int(pipe.scheduler.config.num_train_timesteps)
    steps = min(parameters["num_inference_steps"].default or last, last) if steps is None else steps
    if not 1 <= steps <= last:
        raise VizdiffUsageError(f"--steps must lie in 1..{last}, found {steps}")
    if eta and "eta" not in parameters:
        raise VizdiffUsageError(f"--eta does not go with {type(pipe).__name__}, which takes none")
    choose_frames(steps, frames)
    return steps


def _require_space(pipe: Any, store: Path, count: int, steps: int, storage: StorageOptions) -> None:
    """Refuse a recording that the disk has no room for, where the network says how large its pictures are."""
    size = getattr(pipe.unet.config, "sample_size", None)
    if size is None:
        return
    image = (pipe.unet.config.in_channels, *((size, size) if isinstance(size, int) else size))
    require_space(store, recording_bytes(count, steps, image, 3, storage.dtype))


def trajectory_of_pipeline(
    folder: Path,
    *,
    count: int,
    frames: str | None,
    texts: Texts,
    out: Path,
    terminal: Terminal,
    **asked: Any,
) -> dict[str, Any]:
    """Record a folder's pipeline (see :func:`record_folder`) and draw it; return what the JSON file says."""
    store = out / "trajectory.zarr"
    pipe, recorded, modules = record_folder(folder, store, count=count, frames=frames, terminal=terminal, **asked)
    label = int(recorded.labels[0])
    told = {
        "pipeline": type(pipe).__name__,
        "label_note": "" if label < 0 else texts("picture.pipeline_steps.label_note", label=label),
        "num_images": count,
    }
    facts = draw_steps(recorded, frames, texts, out, terminal, words="pipeline_steps", told=told)
    facts |= {
        "diffusers": str(folder),
        "label": None if label < 0 else label,
        "weights_sha256": recorded.weights_sha256,
        "x0_beyond_scale": read_store(store, count)[0],
    }
    if modules:
        from viz_diffusion.study.recording_study import recording_words

        words = texts.preferring("alone")
        facts["activations"] = draw_activations(
            recorded, modules, words, out, terminal, recording_words(recorded, words)
        )
    return facts


@contextmanager
def _told_class(unet: Any, label: int | None) -> Iterator[None]:
    """Tell the network its class while the block lasts: unconditional pipelines pass none on."""
    if label is None:
        yield
        return
    import torch

    def narrate(_: object, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        x = args[0] if args else kwargs["sample"]
        return args, kwargs | {"class_labels": torch.full((len(x),), label, device=x.device)}

    handle = unet.register_forward_pre_hook(narrate, with_kwargs=True)
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
