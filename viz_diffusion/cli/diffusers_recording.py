"""Recording and drawing of a saved pipeline of 🤗 diffusers, for ``vizdiff record``.

The pipeline samples as it was saved, with its own scheduler.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from viz_diffusion.cli.console import Terminal
from viz_diffusion.cli.diffusers_pipeline import (
    WEIGHTS,
    call_pipeline,
    check_label,
    check_pipeline,
    check_prompt,
    check_steps,
    generators,
    load_pipeline,
)
from viz_diffusion.cli.loading import pick_device
from viz_diffusion.cli.outputs import removed_where_not_finite
from viz_diffusion.cli.record import StorageOptions, draw_activations, draw_steps, read_store
from viz_diffusion.files import sha256_file
from viz_diffusion.recording.store.layout import CHUNK_SAMPLES

if TYPE_CHECKING:
    from viz_diffusion.recording.trajectory import Trajectory
    from viz_diffusion.text.catalogue import Texts


@dataclass(frozen=True)
class PipelineRequest:
    """The generation of a pipeline that a command records."""

    folder: Path
    """Where ``save_pretrained`` wrote the pipeline."""
    label: int | None
    """The label; None where none was given, which is 0 for a network with labels."""
    count: int
    """Images in all."""
    seed: int
    """Of the first image's noise; image k gets seed + k."""
    steps: int | None
    """Network evaluations; None for the pipeline's own number."""
    eta: float
    """η of DDIM."""
    frames: str | None
    """The frames to draw, as the command line gives them."""
    activations: Sequence[str]
    """Globs of the modules whose output is recorded at the frames."""
    prompt: str | None = None
    """The prompt; None where none was given."""
    size: str | None = None
    """Size of the film, by name; None for that of its enlarged frames."""


def trajectory_of_pipeline(
    request: PipelineRequest, storage: StorageOptions, device: str, texts: Texts, out: Path, terminal: Terminal
) -> dict[str, Any]:
    """Record a pipeline (see :func:`record_folder`) and draw it; return its values for the JSON file."""
    from viz_diffusion.cli.prompted_pipeline import draw_prompted
    from viz_diffusion.recording.latent_pictures import is_latent
    from viz_diffusion.text.class_names import shown_name

    store = out / "trajectory.zarr"
    pipe, recorded, modules = record_folder(request, store, storage, device, terminal)
    label, predicts = -1 if recorded.prompts else int(recorded.labels[0]), recorded.prediction_type
    note = "" if label < 0 else texts("picture.pipeline_steps.label_note", label=label)
    if request.prompt is not None:
        note = texts("picture.pipeline_steps.prompt_note", prompt=shown_name(request.prompt))
    texts = texts.for_space("latent" if is_latent(recorded) else "pixel")
    extra_facts = {
        "pipeline": type(pipe).__name__,
        "label_note": note,
        "num_images": request.count,
        "prediction_note": "" if predicts == "epsilon" else texts(f"picture.pipeline_steps.predicts_{predicts}"),
    }
    facts = draw_steps(recorded, request.frames, texts, out, terminal, "pipeline_steps", extra_facts, request.size)
    facts |= {
        "diffusers": str(request.folder),
        "label": None if label < 0 else label,
        "prompt": request.prompt,
        "prediction_type": predicts,
        "weights_sha256": recorded.weights_sha256,
        "x0_beyond_scale": read_store(store, request.count)[0],
    }
    facts |= draw_prompted(recorded, facts, texts, out)
    if modules:
        from viz_diffusion.study.recording_study import recording_words

        words = texts.preferring("alone")
        facts["activations"] = draw_activations(
            recorded, modules, words, out, terminal, recording_words(recorded, words)
        )
    return facts


def record_folder(
    request: PipelineRequest, store: Path, storage: StorageOptions, device: str, terminal: Terminal
) -> tuple[Any, Trajectory, tuple[str, ...]]:
    """Load a pipeline and record its images to disk while it samples.

    Batches of 16 images are written to ``store``, so that memory does not grow with their number.

    Returns
    -------
    The pipeline, the first batch, and the names of the modules whose output was recorded.

    Raises
    ------
    VizdiffUsageError
        Where diffusers is not installed, or the pipeline does not take the request.
    VizdiffInputError
        Where the folder holds no pipeline, or one that does not generate images from noise only.
    VizdiffIOError
        Where the disk has no room for the recording.
    """
    from viz_diffusion.cli.prompted_pipeline import record_prompted
    from viz_diffusion.recording.hooks import match_modules
    from viz_diffusion.recording.trajectory import Trajectory
    from viz_diffusion.views.feature_maps import choose
    from viz_diffusion.views.frames import choose_frames

    folder, count = request.folder, request.count
    pipe = load_pipeline(folder, terminal)
    check_pipeline(folder, pipe)
    check_prompt(folder, pipe, request.prompt, count, CHUNK_SAMPLES)
    steps = check_steps(pipe, request.steps, request.eta)
    choose_frames(steps, request.frames)
    modules = tuple(match_modules(pipe.unet, request.activations))
    is_drawn = bool(request.activations) or request.prompt is not None
    activation_steps = choose(steps, request.frames if is_drawn else None).tolist()
    label = check_label(folder, pipe, request.label)
    _require_space(pipe, store, count, steps, storage)
    pipe.to(pick_device(device))
    pipe.set_progress_bar_config(disable=True)
    text = terminal.text("sampling_class", digit=type(pipe).__name__, seed=request.seed)
    batches = -(-count // CHUNK_SAMPLES)

    def evaluated(done: int) -> None:
        # a scheduler of second order has two timesteps a step; a pipeline may evaluate its network twice at each
        total = len(getattr(pipe.scheduler, "timesteps", ())) * batches or steps * batches
        update(min(done, total), total, text)

    with (
        removed_where_not_finite(store),
        terminal.progress("Sampling", text, steps * batches) as update,
        _with_label(pipe.unet, label),
        _counted(pipe.unet, evaluated),
    ):
        sample = _sample if request.prompt is None else record_prompted
        sample(pipe, request, steps, modules, activation_steps, store, storage)
    return pipe, Trajectory.open(store, samples=slice(0, CHUNK_SAMPLES)), modules


def _sample(
    pipe: Any,
    request: PipelineRequest,
    steps: int,
    modules: tuple[str, ...],
    activation_steps: list[int],
    store: Path,
    storage: StorageOptions,
) -> None:
    """Call the pipeline, batch after batch, and record it."""
    from viz_diffusion.recording.pipeline import record_pipeline

    count, seed, eta = request.count, request.seed, request.eta
    call = {"num_inference_steps": steps, "output_type": "np"} | ({"eta": eta} if eta else {})
    with record_pipeline(
        pipe,
        seeds=range(seed, seed + count),
        activations=modules,
        activation_steps=activation_steps,
        store=store,
        aim=(count, steps),
        eta=eta,
        weights_sha256=sha256_file(request.folder / "unet" / WEIGHTS),
        **storage.keywords(),
    ):
        for first in range(0, count, CHUNK_SAMPLES):
            batch = min(CHUNK_SAMPLES, count - first)
            call_pipeline(pipe, request.folder, generator=generators(seed + first, batch), batch_size=batch, **call)


def _require_space(pipe: Any, store: Path, count: int, steps: int, storage: StorageOptions) -> None:
    """Refuse a recording that the disk has no room for, where the network's config holds the image size."""
    from viz_diffusion.recording.store.fields import recording_bytes
    from viz_diffusion.recording.store.writer import require_space

    size = getattr(pipe.unet.config, "sample_size", None)
    if size is None:
        return
    image = (pipe.unet.config.in_channels, *((size, size) if isinstance(size, int) else size))
    require_space(store, recording_bytes(count, steps, image, 3, storage.dtype))


@contextmanager
def _with_label(unet: Any, label: int | None) -> Iterator[None]:
    """Give the network its label while the block lasts, since unconditional pipelines pass none on."""
    if label is None:
        yield
        return
    import torch

    def add_label(_: object, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        x = args[0] if args else kwargs["sample"]
        return args, kwargs | {"class_labels": torch.full((len(x),), label, device=x.device)}

    handle = unet.register_forward_pre_hook(add_label, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def _counted(unet: Any, on_evaluation: Callable[[int], None]) -> Iterator[None]:
    """Call ``on_evaluation`` with the number of network evaluations after each, while the block lasts.

    Raises
    ------
    VizdiffNonFiniteError
        Where an evaluation's prediction holds NaN or infinity.
    """
    from viz_diffusion.diffusion.finite import require_finite

    done = 0

    def count(_: object, __: object, output: Any) -> None:
        nonlocal done
        done += 1
        require_finite(output[0])
        on_evaluation(done)

    handle = unet.register_forward_hook(count)
    try:
        yield
    finally:
        handle.remove()
