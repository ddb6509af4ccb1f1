"""Recording and drawing of a pipeline with a prompt, such as Stable Diffusion, for ``vizdiff record --prompt``.

Its x is a latent: predicted x_0 is decoded at every step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from viz_diffusion.cli.diffusers_pipeline import WEIGHTS, call_pipeline, generators
from viz_diffusion.files import sha256_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from viz_diffusion.cli.diffusers_recording import PipelineRequest
    from viz_diffusion.cli.record import StorageOptions
    from viz_diffusion.recording.trajectory import Trajectory
    from viz_diffusion.text.catalogue import Texts

MOST_SIDE = 192
"""Pixels of the longer side to which decoded pictures are reduced: a strip and the report have room for as many."""


def record_prompted(
    pipe: Any,
    request: PipelineRequest,
    steps: int,
    modules: tuple[str, ...],
    activation_steps: list[int],
    store: Path,
    storage: StorageOptions,
) -> None:
    """Call the pipeline with its prompt, record it, decode predicted x_0 at all steps, and write it to ``store``."""
    from viz_diffusion.recording.pipeline import record_pipeline
    from viz_diffusion.recording.word_attention import cross_attention_of

    seed, count, eta = request.seed, request.count, request.eta
    is_latent = pipe.unet.config.in_channels not in (1, 3)
    call: dict[str, Any] = {"num_inference_steps": steps, "output_type": "latent" if is_latent else "np"}
    with record_pipeline(
        pipe,
        seeds=range(seed, seed + count),
        activations=modules,
        activation_steps=activation_steps,
        word_maps=bool(cross_attention_of(pipe.unet)),
        eta=eta,
        weights_sha256=sha256_file(request.folder / "unet" / WEIGHTS),
    ) as recording:
        call |= {"prompt": [request.prompt] * count, "generator": generators(seed, count)}
        call_pipeline(pipe, request.folder, **(call | ({"eta": eta} if eta else {})))
    decode_at = range(recording.trajectory().num_steps + 1) if is_latent else ()
    recording.trajectory(decode_at=decode_at, most_side=MOST_SIDE).save(store, **storage.keywords())


def draw_prompted(recorded: Trajectory, facts: Mapping[str, Any], texts: Texts, out: Path) -> dict[str, Any]:
    """Write the figures of a latent's channels and of the attention to words; return their captions, as far as any."""
    from viz_diffusion.plots.words import use_texts
    from viz_diffusion.recording.latent_pictures import is_latent
    from viz_diffusion.recording.word_maps import has_word_maps
    from viz_diffusion.study.narrative import drawings, save_drawing
    from viz_diffusion.study.wording import wording
    from viz_diffusion.views.latent_channels import draw_channels
    from viz_diffusion.views.word_maps import draw_word_maps

    draw: dict[str, Callable[[Trajectory], Figure]] = {}
    draw |= {"latent_channels": draw_channels} if recorded.prompts and is_latent(recorded) else {}
    draw |= {"word_maps": draw_word_maps} if has_word_maps(recorded) else {}
    found: dict[str, Any] = {}
    for name, figure in draw.items():
        with use_texts(texts):
            figures = {f"pipeline_{name}": figure(recorded)}
        (drawing,) = drawings(figures, wording(dict(facts), texts), texts)
        save_drawing(replace(drawing, name=name), out)
        found[name] = {"caption": drawing.caption}
    return found
