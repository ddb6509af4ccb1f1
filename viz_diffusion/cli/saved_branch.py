"""``vizdiff trajectory --from FILE``: make a branch of the live page again, record it and draw it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from viz_diffusion.cli.console import Terminal
from viz_diffusion.cli.option_groups import BASICS
from viz_diffusion.cli.record import StorageOptions, draw_steps
from viz_diffusion.errors import VizdiffInputError, VizdiffUsageError

if TYPE_CHECKING:
    from viz_diffusion.live.saved_branch import SavedBranch
    from viz_diffusion.text.catalogue import Texts
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


def trajectory_of_branch(
    file: Path,
    run: str | None,
    frames: str | None,
    storage: StorageOptions,
    texts: Texts,
    out: Path,
    terminal: Terminal,
) -> dict[str, Any]:
    """Sample a saved branch again, record it and draw it; return its values for the JSON file.

    Raises
    ------
    VizdiffInputError
        Where the file is no saved branch, or the run has other weights.
    """
    from viz_diffusion.live.saved_branch import read_branch

    branch = read_branch(file)
    terminal.say("Loading", "PyTorch")
    from viz_diffusion.live.replay import replay_branch

    chosen, name = _run_of(branch, run)
    network, digest = chosen.load_model("cpu", lambda remark: terminal.note(remark))
    if digest != branch.weights_sha256:
        raise VizdiffInputError(
            f"{file} was saved with the weights {branch.weights_sha256[:8]}, and the run {name} has {digest[:8]}; "
            "choose the `run` it was saved with"
        )
    steps = len(branch.timesteps)
    with terminal.progress("Sampling", f"{steps} steps", steps) as update:
        done = iter(range(1, steps + 1))
        replay = replay_branch(branch, network, chosen.config, lambda: update(next(done), steps, "sampling"))
    terminal.say("Equal", f"to the page's last state within {replay.deviation:.1e}")
    replay.trajectory.save(out / "trajectory.zarr", **storage.keywords())
    facts = draw_steps(replay.trajectory, frames, texts.for_classes(chosen.config.class_names), out, terminal)
    return {
        "from": str(file),
        "run": name,
        "weights_sha256": digest,
        "interventions": replay.trajectory.interventions,
        "deviation": replay.deviation,
        **facts,
    }


def _run_of(branch: SavedBranch, choice: str | None) -> tuple[Run, str]:
    """Return the run that is named, or a bundled one with the branch's weights, or the newest one; with its name."""
    from viz_diffusion.files import sha256_file
    from viz_diffusion.training.run import Run

    named = {"bundled": Run.bundled(), "bundled-flow": Run.control("flow")}
    for name, run in named.items():
        weights = run.path / "model.safetensors"
        if choice == name or (choice is None and sha256_file(weights) == branch.weights_sha256):
            return run, name
    run = Run.choose(choice)
    return run, run.name_or_path
