"""``vizdiff trajectory`` of many images: block by block into one recording, whose first image is drawn at the end."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from viz_diffusion.cli.class_choice import choose_label
from viz_diffusion.cli.console import Terminal, show_path, show_size
from viz_diffusion.cli.latent_drawings import draw_latent_channels
from viz_diffusion.cli.many import (
    Filled,
    fill_store,
    load_worker,
    network_facts,
    quiet_terminal,
    several_workers,
    this_worker,
)
from viz_diffusion.cli.outputs import RECORDING, Output
from viz_diffusion.cli.record import StorageOptions, draw_steps
from viz_diffusion.cli.several_processes import said_once
from viz_diffusion.errors import VizdiffInputError
from viz_diffusion.files import remove_dir, write_json
from viz_diffusion.files.output_places import require_own_folder
from viz_diffusion.launch import launched
from viz_diffusion.recording.store.layout import partial_path
from viz_diffusion.recording.store.places import is_url

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from viz_diffusion.cli.loading import LoadedRun
    from viz_diffusion.cli.many_options import ManyOptions
    from viz_diffusion.diffusion.sampler_config import SamplerConfig

STORE, FACTS = "trajectory.zarr", "trajectory.json"
_DRAWN = tuple(pattern for pattern in RECORDING if not pattern.endswith(".zarr"))
_PICTURES = tuple(pattern.split(".")[0] for pattern in _DRAWN)


@dataclass(frozen=True, eq=False)
class ManyTrajectories:
    """Many generations that are to be recorded."""

    out: str
    """A folder, or a URL; the recording lies in it."""
    digit: int | None
    label: str | None
    prompt: list[str] | None
    seeds: NDArray[np.int64]
    config: SamplerConfig
    frames: str | None
    storage: StorageOptions
    size: str | None
    many: ManyOptions
    force: bool

    @property
    def store(self) -> str:
        """Where the recording lies."""
        return f"{self.out.rstrip('/')}/{STORE}" if is_url(self.out) else str(Path(self.out) / STORE)


def record_many(request: ManyTrajectories, run: str | None, device: str, terminal: Terminal) -> None:
    """Record this worker's part; where the recording is complete then, draw its first image and say the result."""
    with said_once(launched()):
        worker = this_worker(request.many, request.force)
    quiet = quiet_terminal(terminal, worker, request.many.shard)
    if not is_url(request.out):
        _check_folder(request)
    loaded = load_worker(run, device, quiet, request.prompt)
    filled = _fill(request, loaded, quiet)
    if not filled.is_complete and several_workers():
        return  # the worker that completes the recording says the result
    config = loaded.sampled_as(request.config)
    result = {
        "out": request.out,
        "run": loaded.run.name_or_path,
        "weights_sha256": loaded.weights_sha256,
        "objective": loaded.run.config.training.objective,
        "evaluations": config.num_evaluations(loaded.run.config.num_train_timesteps),
        "count": len(request.seeds),
        **filled.facts,
    }
    if filled.is_complete:
        terminal.tell_clipping(filled.facts["x0_beyond_scale"], config.clip)
        if not is_url(request.out):
            result = _draw(request, loaded, result, terminal)
        terminal.tell(
            "Done", "done_store", path=request.store, hash=str(filled.root_hash)[:12], seconds=terminal.seconds
        )
    terminal.result({**result, "seconds": round(terminal.seconds, 1)})


def _check_folder(request: ManyTrajectories) -> None:
    """Refuse a folder with anything else; remove a recording that was interrupted, where it is to be replaced."""
    partial = partial_path(Path(request.store))
    own = {STORE, FACTS, partial.name}
    require_own_folder(Path(request.out), lambda name: name in own or name.split(".")[0] in _PICTURES)
    if partial.exists() and not request.force:
        raise VizdiffInputError(f"{partial} was interrupted; `force` replaces it, another `out` keeps it")
    if partial.exists():
        remove_dir(partial)


def _fill(request: ManyTrajectories, loaded: LoadedRun, terminal: Terminal) -> Filled:
    from viz_diffusion.recording.many.images import Images
    from viz_diffusion.recording.many.trajectories import KIND, TrajectoryMaker

    run, config = loaded.run.config, loaded.sampled_as(request.config)
    network, schedule = run.sampled(loaded.model, config.sampler)
    images = Images(request.seeds, [choose_label(run, request.digit, request.label)])
    maker = TrajectoryMaker(
        network, schedule, config, images, run.image_shape, loaded.weights_sha256, **request.storage.keywords()
    )
    facts: dict[str, Any] = {
        "kind": KIND,
        **config.facts(),
        "steps": maker.steps,
        **network_facts(loaded),
        "prompts": list(run.prompts),
        **request.storage.keywords(),
    }
    return fill_store(request.store, maker, facts, request.many, request.force, terminal)


def _draw(request: ManyTrajectories, loaded: LoadedRun, result: dict[str, Any], terminal: Terminal) -> dict[str, Any]:
    """Draw the first image into the folder, write the facts, and return them."""
    from viz_diffusion.recording.trajectory import Trajectory

    out, run = Path(request.out), loaded.run.config
    Output(out / FACTS, "trajectory", True, terminal.texts.lang, _DRAWN).claim(
        terminal, seeds=len(request.seeds), weights=loaded.weights_sha256[:8]
    )
    texts = terminal.texts.for_classes(run.class_names).for_space(run.space).for_prompts(run.prompts)
    first = Trajectory.open(Path(request.store), samples=slice(0, 1))
    facts = draw_steps(first, request.frames, texts, out, terminal, size=request.size)
    facts |= draw_latent_channels(first, facts, texts, out)
    whole = {**facts, **result}
    write_json(out / FACTS, {**whole, "seconds": round(terminal.seconds, 1)})
    terminal.say("Written", f"{show_path(out)} (steps.png {show_size(out / 'steps.png')})")
    return whole
