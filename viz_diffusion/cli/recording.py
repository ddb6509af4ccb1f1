"""How ``vizdiff trajectory`` records: to disk while it samples, and what a network's modules gave on the way.

The options are checked before anything heavy is loaded.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from viz_diffusion.cli.common import Sampling, Voice
from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.store.layout import CHUNK_SAMPLES, DTYPES, WIDE

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import nn

    from viz_diffusion.catalogue import Texts
    from viz_diffusion.model import SimpleUNet
    from viz_diffusion.run import Run
    from viz_diffusion.trajectory import Float32, Trajectory

FILM_FRAMES, FILM_PIXELS = 100, 224
"""Frames of a film, and about how many pixels its longer side has."""
ActivationsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--activations",
        metavar="GLOB",
        help="Modules whose feature maps are recorded at the frames and drawn, such as 'down.*'; may be repeated.",
    ),
]
DtypeOption = Annotated[
    str,
    typer.Option("--dtype", metavar="|".join(DTYPES), help="Numbers of the recording; float16 takes half the disk."),
]
CompressOption = Annotated[bool, typer.Option("--compress", help="Compress the recording.")]


@dataclass(frozen=True)
class Storing:
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
            raise VizdiffUsageError(f"--dtype must be {' or '.join(DTYPES)}, found {self.dtype!r}")

    def keywords(self) -> dict[str, Any]:
        """Return it as :meth:`~viz_diffusion.trajectory.Trajectory.save` is told."""
        return {"dtype": self.dtype, "compress": self.compress}


def record(
    chosen: Run,
    model: nn.Module,
    digest: str,
    digit: int,
    seed: int,
    count: int,
    asked: Sampling,
    voice: Voice,
    *,
    store: Path | None = None,
    storing: Storing | None = None,
    activations: Collection[str] = (),
    activations_at: Collection[int] | None = None,
) -> Trajectory:
    """Record ``count`` generations of one digit with seeds ``seed`` and on, showing progress.

    With a ``store`` they go to disk meanwhile, and the first batch of 16 is returned.
    """
    import torch

    from viz_diffusion.record import record_generation

    batches = 1 if store is None else -(-count // CHUNK_SAMPLES)
    total = (asked.steps or chosen.config.num_train_timesteps) * batches
    place = next(model.parameters()).device
    text = f"digit {digit}, seed {seed}"
    done = 0
    with voice.progress("Sampling", text, total) as update:

        def count_step(_: object) -> None:
            nonlocal done
            done += 1
            update(done, total, text)

        return record_generation(
            model, chosen.config.noise_schedule, torch.full((count,), digit, device=place),
            range(seed, seed + count), **asked.keywords(), weights_sha256=digest, on_step=count_step,
            store=store, activations=tuple(activations), activations_at=activations_at,
            **(storing or Storing()).keywords(),
        )  # fmt: skip


def look_through(store: Path, count: int) -> tuple[float, Float32]:
    """Read a store, a batch of images at a time.

    Returns
    -------
    share, x0
        The share of the pixels of all guesses beyond [-1, 1], and all finished images, (B, C, H, W).
    """
    import numpy as np

    from viz_diffusion.trajectory import Trajectory

    shares, finished = [], []
    for first in range(0, count, CHUNK_SAMPLES):
        part = Trajectory.open(store, samples=slice(first, first + CHUNK_SAMPLES))
        shares.append(part.x0_beyond_scale)
        finished.append(part.x0)
    return float(np.concatenate(shares).mean()), np.concatenate(finished)


def find_modules(
    model: SimpleUNet, globs: Sequence[str], asked: Sampling, frames: str | None
) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Return the modules meant, in the order in which the network has them, and the timesteps of the frames.

    Raises
    ------
    VizdiffUsageError
        Where a glob finds none.
    """
    from viz_diffusion.lessons.activations import choose
    from viz_diffusion.listening import match_modules
    from viz_diffusion.timesteps import spaced_timesteps

    last = model.config.num_train_timesteps
    steps = asked.steps or last
    visited = spaced_timesteps(last, steps, asked.timestep_spacing)
    return tuple(match_modules(model, globs)), visited[choose(steps, frames if globs else None)]


def draw_steps(
    recorded: Trajectory,
    frames: str | None,
    texts: Texts,
    out: Path,
    voice: Voice,
    words: str = "steps",
    told: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Write the strip and the film; return what the JSON file says of them.

    ``words`` names the catalogue's texts of the strip, which may name what is in ``told``.
    """
    import numpy as np

    from viz_diffusion.lessons import guess
    from viz_diffusion.plots.film import film_frames, write_gif
    from viz_diffusion.report.chapters import drawings, save_drawing, wording

    voice.say("Drawing", "strip and film")
    data = guess.measure(recorded, frames=frames)
    facts = guess.facts(data) | dict(told or {})
    (drawing,) = drawings({words: guess.draw(data)["steps"]}, wording(facts, texts), texts)
    save_drawing(replace(drawing, name="steps"), out)
    states = guess.pictures(np.concatenate([recorded.x_t[0], recorded.x0[:1]]))
    shown = film_frames(len(states), min(FILM_FRAMES, len(states)))
    scale = max(1, FILM_PIXELS // max(states.shape[1:3]))
    write_gif(states[shown], out / "steps.gif", counts=guess.film_counts(recorded, shown), scale=scale)
    return facts | {"caption": drawing.caption}


def draw_activations(
    recorded: Trajectory,
    names: Sequence[str],
    texts: Texts,
    out: Path,
    voice: Voice,
    told: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Draw the feature maps of these modules, and say what is none; return what the JSON file says of them.

    The texts may name what is in ``told``.
    """
    from viz_diffusion.lessons import activations
    from viz_diffusion.report.chapters import drawings, save_drawing, wording

    data = activations.measure(recorded, names)
    if data.left_out:
        voice.say("Not drawn", f"{', '.join(data.left_out)}: in trajectory.zarr")
    if not data.blocks:
        return activations.facts(data)
    voice.say("Drawing", f"feature maps of {', '.join(block.name for block in data.blocks)}")
    facts = activations.facts(data)
    for drawing in drawings(activations.draw(data), wording(facts, texts) | dict(told or {}), texts):
        save_drawing(drawing, out)
    return {**facts, "caption": drawing.caption}
