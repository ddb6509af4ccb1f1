"""Filling a store of many images from a command: bytes and minutes beforehand, progress, and what is still missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from viz_diffusion.cli.console import Terminal, duration
from viz_diffusion.cli.several_processes import said_once
from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.files.output_places import require_outside
from viz_diffusion.launch import launched

if TYPE_CHECKING:
    from viz_diffusion.cli.loading import LoadedRun
    from viz_diffusion.cli.many_options import ManyOptions
    from viz_diffusion.recording.many.samples import SampleMaker
    from viz_diffusion.recording.many.trajectories import TrajectoryMaker
    from viz_diffusion.recording.many.workers import Worker
    from viz_diffusion.recording.store.blocks import BlockPlan, BlockStore


@dataclass(frozen=True, eq=False)
class Filled:
    """What this worker did to a store."""

    root_hash: str | None
    """The store's; None where blocks are missing."""
    facts: dict[str, Any]
    """JSON values of it."""

    @property
    def is_complete(self) -> bool:
        """Whether the store is complete."""
        return self.root_hash is not None


def this_worker(many: ManyOptions, force: bool) -> Worker:
    """Return the worker that this process is.

    Raises
    ------
    VizdiffUsageError
        Where there is none, or one of several workers is to replace a store.
    """
    from viz_diffusion.recording.many.workers import find_worker

    worker = find_worker(many.shard, launched())
    if force and worker.count > 1:
        raise VizdiffUsageError("`force` is for one worker: of several, each would remove what the others wrote")
    if force and many.resume:
        raise VizdiffUsageError("`force` and `resume` exclude each other; give one")
    return worker


def is_store(out: str) -> bool:
    """Return whether an output is a store of many images: a folder that ends in ``.zarr``, or a URL."""
    from viz_diffusion.recording.store.places import is_url

    return is_url(out) or out.rstrip("/\\").lower().endswith(".zarr")


def several_workers() -> bool:
    """Return whether this process was started as one of several, such as by torchrun."""
    return launched().world_size > 1


def quiet_terminal(terminal: Terminal, worker: Worker, shard: str | None) -> Terminal:
    """Return the terminal of one worker: of those started together, only the first says how far it is."""
    if not launched().is_main:
        return Terminal(False, True, terminal.texts.lang)
    if worker.count > 1 and shard is not None:
        terminal.tell("Note", "worker", index=worker.index, count=worker.count)
    return terminal


def load_worker(run: str | None, device: str, terminal: Terminal, prompts: Sequence[str] | None) -> LoadedRun:
    """Load the run of a worker, on the device that is its own.

    An error that all workers of a machine have is shown by one of them.
    """
    from viz_diffusion.cli.loading import load_run
    from viz_diffusion.recording.many.workers import local_device

    launch = launched()
    with said_once(launch):
        own = local_device(device, launch)
    with said_once(launch, launch.local_rank == 0 or own != device):
        return load_run(run, own, terminal, prompts=prompts)


def fill_store(
    where: str,
    maker: SampleMaker | TrajectoryMaker,
    facts: Mapping[str, Any],
    many: ManyOptions,
    force: bool,
    terminal: Terminal,
) -> Filled:
    """Make this worker's blocks of a store that are missing, and complete the store where none is missing then.

    ``facts`` are what the store's plan holds besides seeds and labels.
    """
    import torch

    from viz_diffusion.recording.many.filling import fill, own_missing
    from viz_diffusion.recording.store.blocks import BlockStore, read_plan
    from viz_diffusion.recording.store.places import StorePlace

    worker = this_worker(many, force)
    place = StorePlace(where)
    if place.folder is not None:
        require_outside(place.folder)
    store = BlockStore(place, _plan(maker, facts))
    plan = store.plan
    if force or read_plan(place) is None:
        _check_space(store, maker.num_bytes(plan.num_blocks))
    with said_once(launched(), launched().local_rank == 0):
        kept = store.begin(join=many.resume or worker.count > 1, replace=force)
    if kept["threads"] != torch.get_num_threads():
        torch.set_num_threads(kept["threads"])
        terminal.tell("Note", "threads_of_store", threads=kept["threads"])
    todo = own_missing(store, worker, check=many.resume)
    all_missing = len({*store.missing(range(plan.num_blocks)), *todo})
    _check_space(store, maker.num_bytes(all_missing))
    estimate = _tell_plan(store, maker, todo, all_missing, terminal)
    done = [0, *accumulate(min(maker.block, plan.count - k * maker.block) for k in todo)]
    text = terminal.text("many_images", count=plan.count)
    begun = terminal.seconds
    if todo:
        with terminal.progress("Sampling", text, done[-1]) as update:
            fill(store, todo, maker.make, lambda blocks: update(done[blocks], done[-1], text))
    seconds = terminal.seconds - begun
    root_hash = store.finish()
    missing = 0 if root_hash else len(store.missing(range(plan.num_blocks)))
    if missing:
        terminal.tell("Missing", "blocks_missing", missing=missing, blocks=plan.num_blocks)
    shares = [] if missing else [fact for _, fact in store.facts()]
    return Filled(
        root_hash,
        {
            "root_sha256": root_hash,
            "blocks": plan.num_blocks,
            "blocks_made": len(todo),
            "blocks_missing": missing,
            **estimate,
            "sampling_seconds": round(seconds, 2),
            "x0_beyond_scale": _mean_share(shares),
        },
    )


def network_facts(loaded: LoadedRun) -> dict[str, str]:
    """Return the SHA-256 of the weights, and of the autoencoder and the text encoder where the run has them."""
    from viz_diffusion.files import sha256_file
    from viz_diffusion.training.latent_run import AUTOENCODER
    from viz_diffusion.training.text_run import TEXT_ENCODER

    files = {"autoencoder_sha256": AUTOENCODER, "text_encoder_sha256": TEXT_ENCODER}
    paths = {name: loaded.run.path / file for name, file in files.items()}
    others = {name: sha256_file(path) for name, path in paths.items() if path.is_file()}
    return {"weights_sha256": loaded.weights_sha256, **others}


def _plan(maker: SampleMaker | TrajectoryMaker, facts: Mapping[str, Any]) -> BlockPlan:
    """Return what a store is to hold, and what the last bits of its images depend on besides."""
    from viz_diffusion.diffusion.environment import environment
    from viz_diffusion.diffusion.prediction import device_of
    from viz_diffusion.recording.store.blocks import BlockPlan

    conditions = environment(device_of(maker.denoiser))
    return BlockPlan(maker.images.count, maker.block, {**facts, **maker.images.facts(), **conditions})


def _tell_plan(
    store: BlockStore, maker: SampleMaker | TrajectoryMaker, todo: list[int], all_missing: int, terminal: Terminal
) -> dict[str, Any]:
    """Say how many bytes and minutes a worker's blocks take, from a short run; return both for the command's JSON."""
    from viz_diffusion.recording.many.filling import estimate_seconds

    needed = maker.num_bytes(len(todo))
    runs = sum(maker.num_runs(k) for k in todo)
    seconds = runs * estimate_seconds(maker.run, maker.steps) if todo else 0.0
    size, about = f"{needed:,}", duration(seconds) if todo else "0 s"
    done = store.plan.num_blocks - all_missing
    terminal.tell(
        "Time", "many_plan", blocks=len(todo), block=maker.block, size=size, duration=about, done=done,
        total=store.plan.num_blocks,
    )  # fmt: skip
    return {"bytes_estimate": needed, "seconds_estimate": round(seconds, 2)}


def _check_space(store: BlockStore, needed: int) -> None:
    from viz_diffusion.recording.store.writer import require_space

    folder = store.place.folder
    if folder is not None:
        require_space(folder, needed, what="store", mend="make fewer images or steps, or choose another disk")


def _mean_share(facts: list[dict[str, Any]]) -> float | None:
    """Return the mean share of clipped pixels over blocks; None where there is none."""
    shares = [(fact["images"], fact["x0_beyond_scale"]) for fact in facts if fact["x0_beyond_scale"] is not None]
    return sum(count * share for count, share in shares) / sum(count for count, _ in shares) if shares else None
