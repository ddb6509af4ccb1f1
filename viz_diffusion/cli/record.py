"""Recording and sampling for a command: with progress, to disk, and the drawings of a recording.

The options are checked before anything heavy is loaded.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from viz_diffusion.cli.console import Terminal
from viz_diffusion.cli.option_groups import RECORDING, OptionGroup, option
from viz_diffusion.cli.outputs import removed_where_not_finite
from viz_diffusion.cli.threads import spare_core
from viz_diffusion.diffusion.sampler_config import SamplerConfig
from viz_diffusion.errors import VizdiffNonFiniteError, VizdiffUsageError
from viz_diffusion.recording.store.layout import CHUNK_SAMPLES, DTYPES, WIDE

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray
    from torch import nn

    from viz_diffusion.cli.loading import LoadedRun
    from viz_diffusion.diffusion.unet import SimpleUNet
    from viz_diffusion.recording.trajectory import Float32, Trajectory
    from viz_diffusion.text.catalogue import Texts


FILM_FRAMES, FILM_PIXELS = 100, 224
"""Frames of a film, and about how many pixels its longer side has."""
ActivationsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--activations",
        metavar="GLOB",
        help="Modules whose feature maps are recorded at the drawn frames, such as 'down.*'; may be repeated.",
        rich_help_panel=RECORDING,
    ),
]


@dataclass(frozen=True)
class StorageOptions:
    """The form of a recording on disk.

    Raises
    ------
    VizdiffUsageError
        Where there is no such ``dtype``.
    """

    dtype: str = WIDE
    """float32 or float16."""
    compress: bool = False

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise VizdiffUsageError(f"`dtype` must be {' or '.join(DTYPES)}, found {self.dtype!r}")

    def keywords(self) -> dict[str, Any]:
        """Return the arguments of :meth:`~viz_diffusion.recording.trajectory.Trajectory.save`."""
        return {"dtype": self.dtype, "compress": self.compress}


def _storage(*, dtype: str | None, compress: bool | None) -> StorageOptions:
    return StorageOptions(dtype or WIDE, bool(compress))


STORAGE = OptionGroup(
    (
        option(
            "--dtype",
            str,
            "Number format of the recording; float16 takes half the space on disk.",
            metavar="|".join(DTYPES),
            default=WIDE,
            heading=RECORDING,
        ),
        option("--compress", bool, "Compress the recording.", heading=RECORDING),
    ),
    _storage,
)


def record(
    loaded: LoadedRun,
    digit: int,
    seed: int,
    count: int,
    config: SamplerConfig,
    terminal: Terminal,
    *,
    denoiser: nn.Module | None = None,
    store: Path | None = None,
    storage: StorageOptions | None = None,
    activations: Collection[str] = (),
    activations_at: Collection[int] | None = None,
) -> Trajectory:
    """Record ``count`` generations of one digit with seeds ``seed`` and on, showing progress.

    With a ``store`` they are written to disk meanwhile, and the first batch of 16 is returned. ``denoiser`` replaces
    the run's network as the sampler evaluates it (:meth:`RunConfig.sampled`).
    """
    import torch

    from viz_diffusion.recording.generation import record_generation

    network, schedule = loaded.run.config.sampled(loaded.model, config.sampler)
    batches = 1 if store is None else -(-count // CHUNK_SAMPLES)
    total = config.num_steps(loaded.run.config.num_train_timesteps) * batches
    device = next(loaded.model.parameters()).device
    names = loaded.run.config.class_names
    text = terminal.text("sampling_class" if names else "sampling", digit=names[digit] if names else digit, seed=seed)
    done = 0
    with spare_core(count), removed_where_not_finite(store), terminal.progress("Sampling", text, total) as update:

        def count_step(_: object) -> None:
            nonlocal done
            done += 1
            update(done, total, text)

        return record_generation(
            network if denoiser is None else denoiser,
            schedule,
            torch.full((count,), digit, device=device),
            range(seed, seed + count),
            config,
            image_shape=loaded.run.config.image_shape,
            weights_sha256=loaded.weights_sha256,
            on_step=count_step,
            store=store,
            activations=tuple(activations),
            activations_at=activations_at,
            **(storage or StorageOptions()).keywords(),
        )


def read_store(store: Path, count: int) -> tuple[float | None, Float32]:
    """Read a store, a batch of images at a time.

    Returns
    -------
    share, x0
        The share of pixels of all predicted x_0 outside [-1, 1], None of latents; all finished images, (B, C, H, W).
    """
    import numpy as np

    from viz_diffusion.recording.latent_pictures import is_latent, pictured
    from viz_diffusion.recording.trajectory import Trajectory

    shares, finished = [], []
    for first in range(0, count, CHUNK_SAMPLES):
        batch = Trajectory.open(store, samples=slice(first, first + CHUNK_SAMPLES))
        if is_latent(batch):
            finished.append(pictured(batch).x0)
            continue
        shares.append(batch.x0_beyond_scale)
        finished.append(batch.x0)
    return float(np.concatenate(shares).mean()) if shares else None, np.concatenate(finished)


def find_modules(
    model: SimpleUNet, globs: Sequence[str], config: SamplerConfig, frames: str | None
) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Return the modules that match ``globs``, in the network's order, and the timesteps of the frames.

    Raises
    ------
    VizdiffUsageError
        Where a glob matches none.
    """
    from viz_diffusion.recording.hooks import match_modules
    from viz_diffusion.views.feature_maps import choose

    visited = config.timesteps(model.config.num_train_timesteps)
    return tuple(match_modules(model, globs)), visited[choose(len(visited), frames if globs else None)]


def draw_steps(
    recorded: Trajectory,
    frames: str | None,
    texts: Texts,
    out: Path,
    terminal: Terminal,
    picture: str = "steps",
    extra_facts: Mapping[str, Any] | None = None,
    size: str | None = None,
) -> dict[str, Any]:
    """Write the strip and the film; return their values for the JSON file.

    ``picture`` is the name of the strip's texts in the catalogue, which may use ``extra_facts``; ``size`` is the
    film's, by name.
    """
    import numpy as np

    from viz_diffusion.plots.film import film_frames, film_page, write_gif
    from viz_diffusion.plots.words import use_texts
    from viz_diffusion.recording.latent_pictures import pictured
    from viz_diffusion.recording.requested_label import unlabelled
    from viz_diffusion.study.narrative import drawings, save_drawing
    from viz_diffusion.study.wording import without_label, wording
    from viz_diffusion.views import frames as frames_view
    from viz_diffusion.views import strip as strip_view

    texts, recorded = without_label(texts, unlabelled(recorded)), pictured(recorded)
    terminal.tell("Drawing", "strip_and_film")
    data = strip_view.measure(recorded, frames=frames)
    facts = strip_view.facts(data) | dict(extra_facts or {})
    with use_texts(texts):
        figures = {picture: strip_view.draw(data)["steps"]}
    (drawing,) = drawings(figures, wording(facts, texts), texts)
    save_drawing(replace(drawing, name="steps"), out)
    states = frames_view.pictures(np.concatenate([recorded.x_t[0], recorded.x0[:1]]))
    shown = film_frames(len(states), min(FILM_FRAMES, len(states)))
    scale = max(1, FILM_PIXELS // max(states.shape[1:3]))
    scale, page = film_page(states.shape[1], states.shape[2], size, scale)
    with use_texts(texts):
        counts = frames_view.film_counts(recorded, shown)
        write_gif(states[shown], out / "steps.gif", counts=counts, scale=scale, size=page)
    return facts | {"caption": drawing.caption}


def draw_activations(
    recorded: Trajectory,
    names: Sequence[str],
    texts: Texts,
    out: Path,
    terminal: Terminal,
    extra_words: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Draw the feature maps of modules, and say which have none; return their values for the JSON file.

    The texts may use ``extra_words``.
    """
    from viz_diffusion.plots.words import use_texts
    from viz_diffusion.study.narrative import drawings, save_drawing
    from viz_diffusion.study.wording import wording
    from viz_diffusion.views import feature_maps as activations

    data = activations.measure(recorded, names)
    if data.left_out:
        terminal.tell("Not drawn", "not_drawn", modules=", ".join(data.left_out))
    if not data.blocks:
        return activations.facts(data)
    terminal.tell("Drawing", "feature_maps", modules=", ".join(block.name for block in data.blocks))
    facts = activations.facts(data)
    with use_texts(texts):
        figures = activations.draw(data)
    for drawing in drawings(figures, wording(facts, texts) | dict(extra_words or {}), texts):
        save_drawing(drawing, out)
    return {**facts, "caption": drawing.caption}


def sample_all(
    loaded: LoadedRun, labels: torch.Tensor, seed: int, config: SamplerConfig, terminal: Terminal, same_noise: int = 1
) -> tuple[torch.Tensor, float | None]:
    """Sample an image for each of N labels with seeds ``seed`` and on, showing progress.

    As many images in turn as ``same_noise`` have the same seed.

    Returns
    -------
    tuple
        (N, C, H, W) images, and the share of pixels of predicted x_0 outside [-1, 1], over all steps and
        images (the padding of the last batch included); None where the network works in latents.
    """
    import torch

    from viz_diffusion.diffusion.sampling import sample_images

    count = len(labels)
    network, schedule = loaded.run.config.sampled(loaded.model, config.sampler)
    device = next(network.parameters()).device
    images: list[torch.Tensor] = []
    clipped_shares: list[torch.Tensor] = []
    text = terminal.text("sampling_images", count=count, sampler=config.sampler_name)
    with spare_core(count), terminal.progress("Sampling", text, count) as update:
        for batch in sample_images(
            network,
            schedule,
            labels.to(device),
            [seed + number // same_noise for number in range(count)],
            config,
            null_label=loaded.model.null_label,
            image_shape=loaded.run.config.image_shape,
            on_step=lambda step: clipped_shares.append(step.clipped_share.mean()),
        ):
            images.append(batch)
            update(sum(map(len, images)), count, text)
    made = torch.cat(images)
    lost = int((~torch.isfinite(made)).flatten(1).any(dim=1).sum())
    if lost:
        raise VizdiffNonFiniteError(f"{lost} of {count} samples hold NaN or infinity; nothing was written")
    return made, None if loaded.model.latent_space else float(torch.stack(clipped_shares).mean())
