"""``vizdiff sample``: sample digits in bulk, without recording."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from viz_diffusion.cli.class_choice import check_choice, choose_label
from viz_diffusion.cli.console import Terminal, show_path, show_size
from viz_diffusion.cli.loading import load_run
from viz_diffusion.cli.many import is_store, load_worker, quiet_terminal, several_workers, this_worker
from viz_diffusion.cli.many_options import MANY_SAMPLES, ManyOptions
from viz_diffusion.cli.many_samples import ManySamples, check_export, count_accurate, sample_into_store
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
    sampler_options,
)
from viz_diffusion.cli.outputs import Output, sampling_marks
from viz_diffusion.cli.record import sample_all
from viz_diffusion.cli.several_processes import said_once
from viz_diffusion.errors import VizdiffInputError, VizdiffIOError, VizdiffUsageError
from viz_diffusion.files.output_places import place_file
from viz_diffusion.launch import launched

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

    from viz_diffusion.cli.loading import LoadedRun
    from viz_diffusion.diffusion.sampler_config import SamplerConfig
    from viz_diffusion.evaluation.classifier import DigitClassifier
    from viz_diffusion.evaluation.intervals import Share
    from viz_diffusion.training.config import RunConfig


COUNT = 100
"""Images by default."""
_Asked = tuple[int | None, str | None, list[str] | None]
"""The digit, the class name and the prompts that are asked for."""
HELP = (
    "Sample many images, without recording their steps.\n\n"
    "Writes an array (.npz) or a grid of images (.png), and says how many are classified as the requested digit. "
    "--prompt may be repeated: the prompts are drawn in turn, each time from the same noise. Many images go into a "
    "store (.zarr, or a URL), whose number does not cost memory, and which several workers can fill.\n\n"
    "Example: vizdiff sample --sampler ddim --steps 50 --out digits.png"
)


@takes(sampling=sampler_options(PICTURE_SAMPLER), many=MANY_SAMPLES)
def run_command(
    *,
    out: Annotated[
        str,
        typer.Option(metavar="PATH|URL", help="What to write: .npz, .png, or a store, .zarr.", rich_help_panel=OUTPUT),
    ],
    run: RunOption = None,
    digit: Annotated[str | None, typer.Option(help="Digit, 0 to 9, or all: each in turn.", show_default="all")] = None,
    label: LabelOption = None,
    prompt: PromptOption = None,
    count: Annotated[int | None, typer.Option(help="Images to sample.", show_default="100")] = None,
    sampling: SamplerOptions,
    many: ManyOptions,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    lang: LangOption = "en",
    force: ForceOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Sample, write, and say the classifier accuracy."""
    terminal = Terminal(as_json, quiet, lang)
    with said_once(launched()):
        one = _one_digit(digit)
        check_choice(one, label, prompt)
        config = sampling.config()
        seeds = many.chosen_seeds(seed, 0, count, COUNT)
        if not is_store(out):
            many.refuse("goes with a store: let `out` end in .zarr, or be a URL")
        if not is_store(out) and several_workers():
            raise VizdiffUsageError(
                f"several workers fill one store: let `out` end in .zarr, or be a URL, found {out!r}"
            )
    asked = (one, label, prompt)
    if is_store(out):
        return _sample_into_store(out, run, asked, seeds, config, many, device, force, terminal)
    _sample_into_file(Path(out), run, asked, len(seeds), seed, config, device, force, terminal)


def _sample_into_file(
    out: Path,
    run: str | None,
    asked: _Asked,
    count: int,
    seed: int,
    config: SamplerConfig,
    device: str,
    force: bool,
    terminal: Terminal,
) -> None:
    """Sample all images in memory, write a file, and say the classifier accuracy."""
    place_file(out, ".npz", ".png")
    loaded = load_run(run, device, terminal, prompts=asked[2])
    config = loaded.sampled_as(config)
    import torch

    from viz_diffusion.evaluation.classifier import classifier_accuracy

    run_config = loaded.run.config
    digits = _digits(run_config, asked)
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
        result |= _classifier_accuracy(*classifier_accuracy(images, wanted, judge), run_config, terminal)
    elif wanted is None:
        _tell_unclear_prompt(run_config, terminal)
    terminal.result(result)


def _sample_into_store(
    out: str,
    run: str | None,
    asked: _Asked,
    seeds: NDArray[np.int64],
    config: SamplerConfig,
    many: ManyOptions,
    device: str,
    force: bool,
    terminal: Terminal,
) -> None:
    """Sample this worker's part of a store; where it is complete then, say the classifier accuracy."""
    import torch

    from viz_diffusion.recording.many.images import Images

    with said_once(launched()):
        worker = this_worker(many, force)
    quiet = quiet_terminal(terminal, worker, many.shard)
    loaded = load_worker(run, device, quiet, asked[2])
    config, run_config = loaded.sampled_as(config), loaded.run.config
    same_noise = len(run_config.prompts) or 1
    limit = len(seeds) if many.seeds is None else len(seeds) * same_noise
    images = Images(seeds[: -(-limit // same_noise)], _digits(run_config, asked), same_noise, limit)
    request = ManySamples(out, images, config, many, force)
    check_export(request, loaded, quiet)
    filled = sample_into_store(loaded, request, quiet)
    if not filled.is_complete and several_workers():
        return  # the worker that completes the store says the result
    result = {"out": out, "count": images.count, **_facts(loaded, config), "seeds": images.facts()["seeds"]}
    result |= {**filled.facts, "seconds": round(terminal.seconds, 1)}
    if filled.is_complete:
        terminal.tell_clipping(filled.facts["x0_beyond_scale"], config.clip)
        terminal.tell("Done", "done_store", path=out, hash=str(filled.root_hash)[:12], seconds=terminal.seconds)
        judge = _judge(run_config, terminal)
        probe = _wanted_digits(torch.tensor(images.labels), run_config)
        if judge is not None and probe is not None:
            found = count_accurate(out, judge, lambda labels: _wanted_digits(labels, run_config))
            result |= _classifier_accuracy(*found, run_config, terminal)
        elif probe is None:
            _tell_unclear_prompt(run_config, terminal)
    terminal.result(result)


def _digits(config: RunConfig, asked: _Asked) -> list[int]:
    """Return the labels that the images have in turn."""
    one, label, _ = asked
    return list(config.present_labels) if one is None and label is None else [choose_label(config, one, label)]


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
        terminal.tell("Left out", "not_classified", error=terminal.message(error.marked))
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


def _classifier_accuracy(share: Share, classifier: str, config: RunConfig, terminal: Terminal) -> dict[str, Any]:
    """Say how many samples a classifier reads as their labels; return the same for the command's JSON."""
    whose = terminal.text(f"classifier_{'bundled' if config.dataset == 'mnist' else 'own'}", digest=classifier[:8])
    terminal.tell("Accuracy", "accuracy", share=terminal.share(share), whose=whose)
    return {
        "classified_as_requested": share.hits,
        "classified_as_requested_share": share.value,
        "classified_as_requested_interval_95": share.interval,
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
