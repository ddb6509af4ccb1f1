"""``vizdiff sample``: many digits, no recording."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from viz_diffusion.cli.common import (
    DEFAULT_GUIDANCE,
    ClipOption,
    DeviceOption,
    EtaOption,
    GuidanceOption,
    JsonOption,
    QuietOption,
    RunOption,
    SamplerOption,
    Sampling,
    SeedOption,
    StepsOption,
    TimestepSpacingOption,
    VarianceOption,
    Voice,
    beyond,
    check_at_least,
    check_digit,
    check_seed,
    load_run,
    show_path,
    show_size,
)
from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.files import make_place

if TYPE_CHECKING:
    import torch

HELP = (
    "Example: vizdiff sample --digit all --count 100 --sampler ddim --steps 50 --out digits.png\n\n"
    "Sample digits in bulk, without recording, into an .npz file or a .png grid."
)


def run_command(
    out: Annotated[Path, typer.Option(help="File to write; its ending decides: .npz or .png.")],
    run: RunOption = None,
    digit: Annotated[str, typer.Option(help="0 to 9, or all: each in turn.")] = "all",
    count: Annotated[int, typer.Option(help="Images in all.")] = 100,
    sampler: SamplerOption = "ddpm",
    steps: StepsOption = None,
    guidance: GuidanceOption = DEFAULT_GUIDANCE,
    variance: VarianceOption = "beta",
    eta: EtaOption = 0.0,
    timestep_spacing: TimestepSpacingOption = "trailing",
    clip: ClipOption = True,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Sample, write, and say how many the bundled classifier reads as asked."""
    voice = Voice(as_json, quiet)
    digits = _digits(digit)
    check_at_least("--count", count, 1)
    asked = Sampling(sampler, steps, guidance, variance, eta, timestep_spacing, clip)
    check_seed(seed, count)
    if out.suffix not in (".npz", ".png"):
        raise VizdiffUsageError(f"--out must end in .npz or .png, found {out}")
    make_place(out)
    chosen, model, digest = load_run(run, device, voice)
    voice.replacing(out)
    import torch

    labels = torch.tensor([digits[i % len(digits)] for i in range(count)])
    images, clipped = sample_all(chosen.config.noise_schedule, model, labels, seed, asked, voice)
    _write(out, images, labels)
    result = {
        "out": str(out), "count": count, "run": str(chosen.path) if not chosen.is_bundled else "bundled",
        "weights_sha256": digest, **asked.facts(), "steps": steps or chosen.config.num_train_timesteps,
        "seed": seed, "x0_beyond_scale": clipped, "seconds": round(voice.seconds, 1),
    }  # fmt: skip
    voice.say("Guesses", beyond(clipped, clip))
    voice.say("Done", f"{show_path(out)} ({show_size(out)}, {voice.seconds:.0f} s)")
    if chosen.config.dataset == "mnist":
        from viz_diffusion.quality import read_as_asked

        share, classifier = read_as_asked(images, labels)
        voice.say("Read as", f"asked: {share}, by the bundled classifier {classifier[:8]}")
        result |= {
            "read_as_asked": share.hits, "read_as_asked_share": share.value,
            "read_as_asked_interval_95": share.interval, "classifier_sha256": classifier,
        }  # fmt: skip
    voice.result(result)


def _digits(choice: str) -> list[int]:
    if choice == "all":
        return list(range(10))
    if not choice.lstrip("-").isdecimal():
        raise VizdiffUsageError(f"--digit must be 0 to 9 or all, found {choice!r}")
    return [check_digit(int(choice))]


def sample_all(
    schedule: object,
    model: torch.nn.Module,
    labels: torch.Tensor,
    seed: int,
    asked: Sampling,
    voice: Voice,
) -> tuple[torch.Tensor, float]:
    """Sample N labels with seeds ``seed`` and on, showing progress.

    Returns
    -------
    tuple
        (N, 1, 28, 28) images, and the share of pixels of x̂_0 beyond [-1, 1], over all steps and images (the
        padding of the last batch included).
    """
    import torch

    from viz_diffusion.sample import sample_images
    from viz_diffusion.schedule import NoiseSchedule

    assert isinstance(schedule, NoiseSchedule)
    count = len(labels)
    place = next(model.parameters()).device
    images: list[torch.Tensor] = []
    beyond: list[torch.Tensor] = []
    text = f"{count} images, {asked.name}"
    with voice.progress("Sampling", text, count) as update:
        for batch in sample_images(
            model, schedule, labels.to(place), range(seed, seed + count), **asked.keywords(),
            on_step=lambda step: beyond.append(step.clipped_share.mean()),
        ):  # fmt: skip
            images.append(batch)
            update(sum(map(len, images)), count, text)
    return torch.cat(images), float(torch.stack(beyond).mean())


def _write(out: Path, images: torch.Tensor, labels: torch.Tensor) -> None:
    import numpy as np

    from viz_diffusion.data import to_bytes
    from viz_diffusion.files import atomic_write

    pixels = to_bytes(images)
    with atomic_write(out) as handle:
        if out.suffix == ".npz":
            np.savez_compressed(handle, images=pixels, labels=labels.numpy())
        else:
            from viz_diffusion.plots.sheet import contact_sheet

            contact_sheet(pixels).save(handle, "PNG")
