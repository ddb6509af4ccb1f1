"""``vizdiff trajectory``: one generation, every step of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from viz_diffusion.cli.common import (
    DEFAULT_GUIDANCE,
    DEFAULT_SEED,
    ClipOption,
    DeviceOption,
    DigitOption,
    EtaOption,
    GuidanceOption,
    JsonOption,
    LangOption,
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
from viz_diffusion.cli.intervene import (
    ClockOption,
    DropLabelOption,
    GuideWithinOption,
    SwitchOption,
    compare,
    parse,
    read_finished,
)
from viz_diffusion.files import make_dir, write_json

if TYPE_CHECKING:
    from torch import nn

    from viz_diffusion.catalogue import Texts
    from viz_diffusion.run import Run
    from viz_diffusion.trajectory import Trajectory

HELP = (
    "Example: vizdiff trajectory --digit 5\n\n"
    "Record a generation, every step of it, and draw it: a zarr store, a strip and a film. With --switch, --clock, "
    "--drop-label or --guide-within, record it a second time from the same noise, with the network told that "
    "instead (changed.zarr), and draw both runs beside each other (compare)."
)
FILM_FRAMES = 100
MOST_COMPARED = 11
"""Frames a comparison has room for."""


def run_command(
    digit: DigitOption = 5,
    run: RunOption = None,
    count: Annotated[int, typer.Option(help="Images in all; the first one is drawn.")] = 1,
    sampler: SamplerOption = "ddpm",
    steps: StepsOption = None,
    guidance: GuidanceOption = DEFAULT_GUIDANCE,
    variance: VarianceOption = "beta",
    eta: EtaOption = 0.0,
    timestep_spacing: TimestepSpacingOption = "trailing",
    clip: ClipOption = True,
    seed: SeedOption = DEFAULT_SEED,
    frames: Annotated[
        str | None, typer.Option(help="A number of frames, or a list of steps left such as 1000,500,1.")
    ] = None,
    switch: SwitchOption = None,
    clock: ClockOption = None,
    drop_label: DropLabelOption = False,
    guide_within: GuideWithinOption = None,
    device: DeviceOption = "auto",
    lang: LangOption = "en",
    out: Annotated[Path, typer.Option(help="Folder to write.")] = Path("reports/trajectory"),
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Record, draw, write."""
    voice = Voice(as_json, quiet)
    check_digit(digit)
    check_at_least("--count", count, 1)
    asked = Sampling(sampler, steps, guidance, variance, eta, timestep_spacing, clip)
    check_seed(seed, count)
    told = parse(switch, clock, drop_label, guide_within, guidance)
    from viz_diffusion.catalogue import load_texts
    from viz_diffusion.lessons.guess import MOST_FRAMES, choose_frames

    texts = load_texts(lang)
    choose_frames(
        steps or 1000, frames, most=MOST_COMPARED if told else MOST_FRAMES
    )  # refuses a bad list before anything is sampled
    make_dir(out)
    chosen, model, digest = load_run(run, device, voice)
    recorded = record(chosen, model, digest, digit, seed, count, asked, voice)
    recorded.save(out / "trajectory.zarr")
    share = float(recorded.x0_beyond_scale.mean())
    voice.say("Guesses", beyond(share, clip))
    facts = _draw(recorded, frames, texts, out, voice) | {"x0_beyond_scale": share}
    result = {
        "out": str(out), "run": "bundled" if chosen.is_bundled else str(chosen.path),
        "weights_sha256": digest, "count": count, "seconds": round(voice.seconds, 1), **facts,
    }  # fmt: skip
    if told:
        other = told.around(model, chosen.config.num_train_timesteps)
        voice.say("Telling", other.interventions)
        changed = record(chosen, other, digest, digit, seed, count, asked, voice)
        changed.save(out / "changed.zarr")
        found = compare(recorded, changed, other, frames, texts, out, voice)
        result["compare"] = found | read_finished(recorded, changed, told, chosen, voice)
    write_json(out / "trajectory.json", result)
    voice.say("Done", f"{show_path(out)} (steps.png {show_size(out / 'steps.png')}, {voice.seconds:.0f} s)")
    voice.say("Next", f"vizdiff report --trajectory {show_path(out)} --open")
    voice.result(result)


def record(
    chosen: Run,
    model: nn.Module,
    digest: str,
    digit: int,
    seed: int,
    count: int,
    asked: Sampling,
    voice: Voice,
) -> Trajectory:
    """Record ``count`` generations of one digit with seeds ``seed`` and on, showing progress."""
    import torch

    from viz_diffusion.record import record_generation

    total = asked.steps or chosen.config.num_train_timesteps
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
        )  # fmt: skip


def _draw(recorded: Trajectory, frames: str | None, texts: Texts, out: Path, voice: Voice) -> dict[str, object]:
    """Write the strip and the film; return what the JSON file says of them."""
    import numpy as np

    from viz_diffusion.lessons import guess
    from viz_diffusion.plots.film import film_frames, write_gif
    from viz_diffusion.report.chapters import drawings, save_drawing, wording

    voice.say("Drawing", "strip and film")
    data = guess.measure(recorded, frames=frames)
    facts = guess.facts(data)
    for drawing in drawings(guess.draw(data), wording(facts, texts), texts):
        save_drawing(drawing, out)
    states = np.concatenate([recorded.x_t[0, :, 0], recorded.x0[0]])
    shown = film_frames(len(states), min(FILM_FRAMES, len(states)))
    write_gif(states[shown], out / "steps.gif", counts=guess.film_counts(recorded, shown))
    return facts | {"caption": drawing.caption}
