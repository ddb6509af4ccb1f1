"""Loading for a command: the device, and a run with its network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from viz_diffusion.cli.console import Terminal, show_path
from viz_diffusion.cli.training_space import shape_text
from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.training.bundled_runs import BUNDLED_TEXT

if TYPE_CHECKING:
    import torch

    from viz_diffusion.diffusion.sampler_config import SamplerConfig
    from viz_diffusion.diffusion.unet import SimpleUNet
    from viz_diffusion.training.run import Run


def pick_device(choice: str) -> torch.device:
    """Return the device of ``--device``, or with ``auto`` the fastest one available."""
    import torch

    if choice == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(choice)
    except RuntimeError:  # torch lists the names of all devices that it was ever built for
        raise VizdiffUsageError(f"--device must be auto, cpu, cuda, cuda:1 or mps, found {choice!r}") from None
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).strip().splitlines()[0]
        raise VizdiffUsageError(f"--device {choice!r} cannot be used here ({reason}); try --device cpu") from None
    return device


class LoadedRun(NamedTuple):
    """A run, its network, and the SHA-256 of the weights."""

    run: Run
    model: SimpleUNet
    weights_sha256: str

    def sampled_as(self, config: SamplerConfig) -> SamplerConfig:
        """Return a configuration as the run is sampled with it: without clipping where it works in latents."""
        from viz_diffusion.diffusion.sampling import sampled_as

        return sampled_as(self.model, config)


def open_run(choice: str | None, terminal: Terminal) -> Run:
    """Open a run (see ``choose_run``); where a newer one is passed over, say why, and how to take it."""
    from viz_diffusion.training.run_choice import MOST_LOSS_RATIO, choose_run

    run, passed_over = choose_run(choice)
    if passed_over is not None:
        path, loss, bundled = passed_over
        terminal.tell(
            "Note",
            "passed_over_unfinished" if loss is None else "passed_over_loss",
            path=show_path(path),
            loss=loss,
            ratio=MOST_LOSS_RATIO,
            bundled=bundled,
        )
    return run


def _prompted(run: Run, prompts: Sequence[str], terminal: Terminal) -> Run:
    """Return a run whose labels are prompts, and say where one of them is empty."""
    from viz_diffusion.diffusion.tokenizer import EMPTY_PROMPT
    from viz_diffusion.training.text_run import prompted_run

    prompted = prompted_run(run, prompts)
    if EMPTY_PROMPT in prompted.config.prompts:
        terminal.tell("Note", "empty_prompt")
    return prompted


def load_run(
    choice: str | None,
    device: str,
    terminal: Terminal,
    data_dir: Path | None = None,
    prompts: Sequence[str] | None = None,
) -> LoadedRun:
    """Open a run (see :func:`open_run`) and its network, and say which one it is.

    Parameters
    ----------
    data_dir
        Where the run's data lie, if they have moved.
    prompts
        Prompts that take the place of the run's labels; the run that is chosen without ``choice`` then is bundled-text.
    """
    terminal.say("Loading", "PyTorch")
    from viz_diffusion.training.moved_data import with_data_dir

    run = open_run(choice if choice or not prompts else BUNDLED_TEXT, terminal)
    if data_dir is not None:
        run = with_data_dir(run, data_dir)
    if prompts:
        run = _prompted(run, prompts, terminal)
    model, digest = run.load_model(pick_device(device), lambda remark: terminal.note(remark))
    objective = run.config.training.objective
    if run.is_bundled:
        terminal.tell("Weights", "weights_bundled", digest=digest[:8])
    else:
        facts = [run.config.dataset, terminal.text("training_steps", steps=run.trained_steps), digest[:8]]
        facts += [] if objective == "epsilon" else [terminal.text("objective", objective=objective)]
        facts += (
            [] if run.config.space == "pixel" else [terminal.text("in_latents", shape=shape_text(run.config.x_shape))]
        )
        facts += [] if run.config.model.text is None else [terminal.text("with_text")]
        facts += [] if run.is_finished else [terminal.text("unfinished")]
        terminal.tell("Weights", "weights_own", path=run.name_or_path, facts=terminal.text("comma").join(facts))
    return LoadedRun(run, model, digest)
