"""A recording that a command makes of a run: what is recorded, how it is drawn, and the values for its JSON file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from viz_diffusion.cli.console import Terminal
from viz_diffusion.cli.latent_drawings import draw_latent_channels
from viz_diffusion.cli.loading import LoadedRun
from viz_diffusion.cli.record import (
    StorageOptions,
    draw_activations,
    draw_steps,
    find_modules,
    read_store,
    record,
)
from viz_diffusion.cli.word_drawings import attended, draw_words

if TYPE_CHECKING:
    from viz_diffusion.diffusion.sampler_config import SamplerConfig
    from viz_diffusion.recording.trajectory import Float32, Trajectory
    from viz_diffusion.text.catalogue import Texts


@dataclass(frozen=True)
class RecordingRequest:
    """The generations to record, and their drawings."""

    digit: int
    """The label."""
    seed: int
    """Of the first image; image k gets seed + k."""
    count: int
    """Images in all."""
    config: SamplerConfig
    frames: str | None
    """The frames to draw, as the command line gives them."""
    storage: StorageOptions
    activations: tuple[str, ...] = ()
    """Globs of the modules whose feature maps are recorded and drawn."""
    size: str | None = None
    """Size of the films, by name; None for that of their enlarged frames."""


@dataclass(frozen=True, eq=False)
class Recorded:
    """Generations that are on disk, and what their drawings say."""

    first: Trajectory
    """The first batch of 16."""
    finished: Float32
    """(B, C, H, W) float32: all finished images."""
    facts: dict[str, Any]
    """The values for the JSON file."""


def record_and_draw(
    loaded: LoadedRun, request: RecordingRequest, texts: Texts, out: Path, terminal: Terminal
) -> Recorded:
    """Record the generations into a folder and draw the first one."""
    frames, config, store = request.frames, loaded.sampled_as(request.config), out / "trajectory.zarr"
    modules, timesteps = find_modules(loaded.model, request.activations, config, frames)
    words = attended(loaded, request.digit, config.guidance_scale, modules)
    first = record(
        loaded,
        request.digit,
        request.seed,
        request.count,
        config,
        terminal,
        store=store,
        storage=request.storage,
        activations=(*modules, *words),
        activations_at=timesteps,
    )
    share, finished = read_store(store, request.count)
    terminal.tell_clipping(share, config.clip)
    facts = draw_steps(first, frames, texts, out, terminal, size=request.size) | {"x0_beyond_scale": share}
    facts |= draw_latent_channels(first, facts, texts, out) | draw_words(first, facts, texts, out)
    facts = {
        "out": str(out),
        "run": loaded.run.name_or_path,
        "weights_sha256": loaded.weights_sha256,
        "objective": loaded.run.config.training.objective,
        "evaluations": config.num_evaluations(loaded.run.config.num_train_timesteps),
        "count": request.count,
        "seconds": round(terminal.seconds, 1),
        **facts,
    }
    names = loaded.run.config.class_names
    if names is not None:
        facts["label"] = names[request.digit]
    if request.activations:
        facts["activations"] = draw_activations(first, modules, texts, out, terminal)
    return Recorded(first, finished, facts)
