"""``vizdiff trajectory --from FILE``: make a branch of the live page again, record it and draw it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from viz_diffusion.cli.console import Terminal, show_path, show_size
from viz_diffusion.cli.option_groups import BASICS
from viz_diffusion.cli.outputs import RECORDING, Output, default_out
from viz_diffusion.cli.record import StorageOptions, draw_steps
from viz_diffusion.errors import VizdiffInputError, VizdiffUsageError
from viz_diffusion.files import sha256_file, write_json
from viz_diffusion.files.output_places import place_folder
from viz_diffusion.text.class_names import file_name

if TYPE_CHECKING:
    from viz_diffusion.live.saved_branch import SavedBranch
    from viz_diffusion.training.run import Run


FromOption = Annotated[
    Path | None,
    typer.Option(
        "--from",
        metavar="FILE",
        help="State or branch that was saved in the live page (vizdiff live): sampled again by PyTorch, and recorded.",
        rich_help_panel=BASICS,
    ),
]
_GO_WITH_IT = ("saved", "run", "frames", "dtype", "compress", "lang", "out", "force", "as_json", "quiet")


def check_options(context: typer.Context) -> None:
    """Refuse options of a command that do not go with ``--from``."""
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name or "")
        if parameter.name not in _GO_WITH_IT and source is not None and source.name == "COMMANDLINE":
            raise VizdiffUsageError(f"{parameter.opts[0]} does not go with --from, whose file says how it was sampled")


def record_branch(
    file: Path,
    run: str | None,
    frames: str | None,
    storage: StorageOptions,
    out: Path | None,
    force: bool,
    terminal: Terminal,
) -> None:
    """Sample a saved branch again, record it and draw it into a folder.

    Raises
    ------
    VizdiffInputError
        Where the file is no saved branch, or the run has other weights.
    """
    from viz_diffusion.live.saved_branch import read_branch

    branch = read_branch(file)
    out = default_out(f"trajectory_{file_name(file.stem)}", "", lang=terminal.texts.lang) if out is None else out
    place_folder(out)
    terminal.say("Loading", "PyTorch")
    from viz_diffusion.live.replay import replay_branch

    chosen, name = _run_of(branch, run)
    network, digest = chosen.load_model("cpu", lambda remark: terminal.note(remark))
    if digest != branch.weights_sha256:
        raise VizdiffInputError(
            f"{file} was saved with the weights {branch.weights_sha256[:8]}, and the run {name} has {digest[:8]}; "
            "choose the `run` it was saved with"
        )
    claimed = Output(out / "trajectory.json", "trajectory", force, terminal.texts.lang, RECORDING, shares=True)
    claimed.claim(terminal, branch=sha256_file(file)[:8], weights=digest[:8])
    steps, text = (
        len(branch.timesteps),
        terminal.text("branch_steps", count=len(branch.timesteps), file=show_path(file)),
    )
    with terminal.progress("Sampling", text, steps) as update:
        done = iter(range(1, steps + 1))
        replay = replay_branch(branch, network, chosen.config, lambda: update(next(done), steps, text))
    terminal.tell("Replayed", "branch_deviation", deviation=replay.deviation)
    replay.trajectory.save(out / "trajectory.zarr", **storage.keywords())
    texts = terminal.texts.for_classes(chosen.config.class_names)
    result = {
        "out": str(out),
        "from": str(file),
        "run": name,
        "weights_sha256": digest,
        "interventions": replay.trajectory.interventions,
        "deviation": replay.deviation,
        **draw_steps(replay.trajectory, frames, texts, out, terminal),
        "seconds": round(terminal.seconds, 1),
    }
    write_json(out / "trajectory.json", result)
    files = f"steps.png {show_size(out / 'steps.png')}"
    terminal.tell("Done", "done_folder", path=show_path(out), files=files, seconds=terminal.seconds)
    terminal.result(result)


def _run_of(branch: SavedBranch, choice: str | None) -> tuple[Run, str]:
    """Return the run that is named, or a bundled one with the branch's weights, or the newest one; with its name."""
    from viz_diffusion.training.bundled_runs import BUNDLED_RUNS
    from viz_diffusion.training.run_choice import choose_run

    if choice is None:
        fitting = (n for n, p in BUNDLED_RUNS.items() if sha256_file(p / "model.safetensors") == branch.weights_sha256)
        choice = next(fitting, None)
    run = choose_run(choice).run
    return run, run.name_or_path
