"""``vizdiff sample``: sample digits in bulk, without recording."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from viz_diffusion.cli.class_choice import check_choice, choose_label
from viz_diffusion.cli.console import Terminal, show_path, show_size
from viz_diffusion.cli.loading import load_run
from viz_diffusion.cli.option_groups import OUTPUT, takes
from viz_diffusion.cli.options import (
    PICTURE_SAMPLER,
    DeviceOption,
    ForceOption,
    JsonOption,
    LabelOption,
    LangOption,
    PromptOption,
    QuietOption,
    RunOption,
    SamplerOptions,
    SeedOption,
    check_at_least,
    check_seed,
    sampler_options,
)
from viz_diffusion.cli.outputs import Output, sampling_marks
from viz_diffusion.cli.record import sample_all
from viz_diffusion.errors import VizdiffInputError, VizdiffIOError, VizdiffUsageError
from viz_diffusion.files.output_places import place_file

if TYPE_CHECKING:
    import torch

    from viz_diffusion.cli.loading import LoadedRun
    from viz_diffusion.diffusion.sampler_config import SamplerConfig
    from viz_diffusion.evaluation.classifier import DigitClassifier
    from viz_diffusion.training.config import RunConfig


HELP = (
    "Sample many images, without recording their steps.\n\n"
    "Writes an array (.npz) or a grid of images (.png), and says how many are classified as the requested digit. "
    "--prompt may be repeated: the prompts are drawn in turn, each time from the same noise.\n\n"
    "Example: vizdiff sample --sampler ddim --steps 50 --out digits.png"
)


@takes(sampling=sampler_options(PICTURE_SAMPLER))
def run_command(
    *,
    out: Annotated[Path, typer.Option(help="File to write, .npz or .png.", rich_help_panel=OUTPUT)],
    run: RunOption = None,
    digit: Annotated[str | None, typer.Option(help="Digit, 0 to 9, or all: each in turn.", show_default="all")] = None,
    label: LabelOption = None,
    prompt: PromptOption = None,
    count: Annotated[int, typer.Option(help="Images to sample.")] = 100,
    sampling: SamplerOptions,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    lang: LangOption = "en",
    force: ForceOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Sample, write, and say the classifier accuracy."""
    terminal = Terminal(as_json, quiet, lang)
    one = _one_digit(digit)
    check_choice(one, label, prompt)
    check_at_least("--count", count, 1)
    config = sampling.config()
    check_seed(seed, count)
    place_file(out, ".npz", ".png")
    loaded = load_run(run, device, terminal, prompts=prompt)
    config = loaded.sampled_as(config)
    import torch

    run_config = loaded.run.config
    asked = one is not None or label is not None
    digits = [choose_label(run_config, one, label)] if asked else list(run_config.present_labels)
    Output(out, "sample", force).claim(
        terminal,
        labels=run_config.prompts or digits,
        seed=seed,
        sampling="_".join(sampling_marks(config)),
        weights=loaded.weights_sha256[:8],
    )
    labels = torch.tensor([digits[i % len(digits)] for i in range(count)])
    images, clipped = sample_all(loaded, labels, seed, config, terminal, same_noise=len(run_config.prompts) or 1)
    _write(out, images, labels, run_config.class_names)
    result = {
        "out": str(out),
        "count": count,
        **_facts(loaded, config),
        "seed": seed,
        "x0_beyond_scale": clipped,
        "seconds": round(terminal.seconds, 1),
    }
    terminal.tell_clipping(clipped, config.clip)
    terminal.tell("Done", "done_file", path=show_path(out), size=show_size(out), seconds=terminal.seconds)
    judge, wanted = _judge(run_config, terminal), _wanted_digits(labels, run_config)
    if judge is not None and wanted is not None:
        result |= _classifier_accuracy(images, wanted, judge, run_config, terminal)
    elif wanted is None:
        _tell_unclear_prompt(run_config, terminal)
    terminal.result(result)


def _facts(loaded: LoadedRun, config: SamplerConfig) -> dict[str, Any]:
    """Return what the result says of the network and the sampler."""
    timesteps = loaded.run.config.num_train_timesteps
    return {
        "run": loaded.run.name_or_path,
        "weights_sha256": loaded.weights_sha256,
        **config.facts(),
        "steps": config.num_steps(timesteps),
        "evaluations": config.num_evaluations(timesteps),
        "objective": loaded.run.config.training.objective,
    }


def _judge(config: RunConfig, terminal: Terminal) -> tuple[DigitClassifier, str] | None:
    """Return the classifier of a run's data, or None; the data are only read where any classifier was trained.

    Data that have moved cost no samples: that none are classified is said.
    """
    from viz_diffusion.evaluation.classifier import CLASSIFIERS_DIR, DigitClassifier

    if config.dataset == "mnist":
        return DigitClassifier.bundled()
    if not CLASSIFIERS_DIR.is_dir():
        return None
    try:
        training = config.load_digits("train")
    except (VizdiffInputError, VizdiffIOError) as error:
        terminal.tell("Left out", "not_classified", error=error)
        return None
    return DigitClassifier.find(config.dataset, config.data_set(training).sha256)


def _tell_unclear_prompt(config: RunConfig, terminal: Terminal) -> None:
    """Say which prompt does not name one digit, so that the images are not classified."""
    from viz_diffusion.text.class_names import shown_name
    from viz_diffusion.training.text_run import unclear_prompt

    unclear = unclear_prompt(config)
    if unclear is not None:
        prompt, digits = unclear
        named = terminal.text("and").join(map(str, digits))
        key = "prompt_of_digits" if digits else "prompt_without_digit"
        terminal.tell("Left out", key, prompt=shown_name(prompt), digits=named)


def _wanted_digits(labels: torch.Tensor, config: RunConfig) -> torch.Tensor | None:
    """Return the digit that each label means; None where a prompt names none."""
    import torch

    from viz_diffusion.training.text_run import digits_named

    if not config.prompts:
        return labels
    digits = [digit for digit in digits_named(config) if digit is not None]
    return torch.tensor(digits)[labels] if len(digits) == len(config.prompts) else None


def _classifier_accuracy(
    images: torch.Tensor,
    labels: torch.Tensor,
    judge: tuple[DigitClassifier, str],
    config: RunConfig,
    terminal: Terminal,
) -> dict[str, Any]:
    """Say how many samples the classifier reads as their labels; return the same for the command's JSON."""
    from viz_diffusion.evaluation.classifier import classifier_accuracy

    share, classifier = classifier_accuracy(images, labels, judge)
    whose = terminal.text(f"classifier_{'bundled' if config.dataset == 'mnist' else 'own'}", digest=classifier[:8])
    terminal.tell("Accuracy", "accuracy", share=terminal.share(share), whose=whose)
    return {
        "read_as_asked": share.hits,
        "read_as_asked_share": share.value,
        "read_as_asked_interval_95": share.interval,
        "classifier_sha256": classifier,
    }


def _one_digit(choice: str | None) -> int | None:
    """Return the digit that is asked for; None for all."""
    if choice is None or choice == "all":
        return None
    if not choice.lstrip("-").isdecimal():
        raise VizdiffUsageError(f"--digit must be 0 to 9 or all, found {choice!r}")
    return int(choice)


def _write(out: Path, images: torch.Tensor, labels: torch.Tensor, class_names: tuple[str, ...] | None) -> None:
    import numpy as np

    from viz_diffusion.data import to_bytes
    from viz_diffusion.files import atomic_write

    pixels = to_bytes(images)
    with atomic_write(out) as handle:
        if out.suffix == ".npz":
            names: dict[str, Any] = {} if class_names is None else {"class_names": np.array(class_names)}
            np.savez_compressed(handle, images=pixels, labels=labels.numpy(), **names)
        else:
            from viz_diffusion.plots.contact_sheet import contact_sheet

            contact_sheet(pixels).save(handle, "PNG")
