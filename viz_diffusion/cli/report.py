"""``vizdiff report``: all of it, in one page."""

from __future__ import annotations

import shlex
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from viz_diffusion.cli.common import (
    DEFAULT_GUIDANCE,
    DeviceOption,
    DigitOption,
    GuidanceOption,
    JsonOption,
    QuietOption,
    RunOption,
    SamplerOption,
    SeedOption,
    StepsOption,
    Voice,
    check_digit,
    check_sampling,
    check_seed,
    load_run,
    show_path,
    show_size,
)
from viz_diffusion.errors import VizdiffInputError
from viz_diffusion.files import make_dir

if TYPE_CHECKING:
    from viz_diffusion.lessons.companions import Companions
    from viz_diffusion.model import SimpleUNet
    from viz_diffusion.run import Run
    from viz_diffusion.trajectory import Trajectory

HELP = (
    "Example: vizdiff report --digit 5 --open\n\n"
    "Record a digit, measure and draw everything, and write one HTML file that opens offline."
)


def run_command(
    digit: DigitOption = 5,
    run: RunOption = None,
    trajectory: Annotated[
        Path | None,
        typer.Option(help="Folder written by vizdiff trajectory; its digit is not sampled again."),
    ] = None,
    sampler: SamplerOption = "ddpm",
    steps: StepsOption = None,
    guidance: GuidanceOption = DEFAULT_GUIDANCE,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    figures: Annotated[Path | None, typer.Option(help="Folder for the nine pictures, PNG and SVG.")] = None,
    out: Annotated[Path, typer.Option(help="HTML file to write.")] = Path("reports/report.html"),
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Record, measure, draw, write."""
    voice = Voice(as_json, quiet)
    check_digit(digit)
    check_sampling(sampler, steps, guidance)
    check_seed(seed)
    make_dir(out.parent)
    recorded = None if trajectory is None else _open(trajectory)
    chosen, model, digest = load_run(run, device, voice)
    if recorded is None:
        from viz_diffusion.cli.trajectory import record

        recorded = record(chosen, model, digest, digit, seed, 1, sampler, steps, guidance, voice)
    elif recorded.weights_sha256 != digest:
        raise VizdiffInputError(
            f"{trajectory} was recorded with weights {recorded.weights_sha256[:8]}, not {digest[:8]}; "
            "give the run it came from as --run"
        )
    from viz_diffusion.catalogue import load_texts
    from viz_diffusion.report import write_report
    from viz_diffusion.report.chapters import Drawing, save_drawing, tell
    from viz_diffusion.report.gather import assemble, study

    companions = _companions(model, recorded, trajectory, voice)
    with voice.progress("Measuring", "the lessons", None) as update:
        found = study(chosen, model, recorded, companions, on_finding=lambda f: update(0, None, f.lesson.name))
    texts = load_texts("en")
    pictures = {}
    with voice.progress("Drawing", "the pictures", None) as update:

        def keep(drawing: Drawing) -> None:
            pictures[drawing.name] = drawing.picture()
            if figures is not None:
                save_drawing(drawing, make_dir(figures))
            update(len(pictures), None, drawing.name)

        told = tell(found.findings, found.recording, texts, keep)
        page = assemble(found, told, pictures, _command(recorded, chosen), texts)
    write_report(page, out)
    voice.say("Done", f"{show_path(out)} ({show_size(out)}, {voice.seconds:.0f} s)")
    voice.say("Next", "vizdiff train   (10 min; Ctrl-C keeps your work)")
    voice.result({
        "out": str(out), "bytes": out.stat().st_size, "digit": int(recorded.labels[0]),
        "seed": int(recorded.seeds[0]), "weights_sha256": digest, "seconds": round(voice.seconds, 1),
    })  # fmt: skip
    if open_page:
        webbrowser.open(out.resolve().as_uri())


def _companions(model: SimpleUNet, recorded: Trajectory, folder: Path | None, voice: Voice) -> Companions:
    """Return the recording's companions: those beside it in its folder, or new ones, kept there."""
    from viz_diffusion.lessons.companions import load_companions, sample_companions, save_companions

    kept = None if folder is None else (folder if folder.suffix != ".zarr" else folder.parent) / "companions.npz"
    found = None if kept is None else load_companions(kept, recorded)
    if found is not None:
        return found
    text = "its companions, same noise"
    with voice.progress("Sampling", text, None) as update:
        found = sample_companions(model, recorded, on_step=lambda done, total: update(done, total, text))
    if kept is not None:
        save_companions(found, recorded, kept)
    return found


def _open(folder: Path) -> Trajectory:
    """Open the recording in a folder written by ``vizdiff trajectory``, or the store itself."""
    from viz_diffusion.trajectory import Trajectory

    return Trajectory.open(folder if (folder / "zarr.json").is_file() else folder / "trajectory.zarr")


def _command(recorded: Trajectory, run: Run) -> str:
    """Return the command that makes the same page again; no path outside the current folder is told."""
    words = ["vizdiff", "report", "--digit", str(recorded.labels[0]), "--seed", str(recorded.seeds[0])]
    if recorded.sampler != "ddpm":
        words += ["--sampler", recorded.sampler]
    if recorded.num_steps != recorded.schedule.num_train_timesteps:
        words += ["--steps", str(recorded.num_steps)]
    if recorded.guidance_scale != DEFAULT_GUIDANCE:
        words += ["--guidance", f"{recorded.guidance_scale:g}"]
    inside = run.path.resolve().is_relative_to(Path.cwd())
    words += ["--run", run.name if run.is_bundled or not inside else show_path(run.path)]
    return shlex.join(words)
