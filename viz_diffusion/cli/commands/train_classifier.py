"""``vizdiff train-classifier``: train a classifier on your own data, by which samples are judged."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from viz_diffusion.cli.console import Terminal, show_path
from viz_diffusion.cli.data_text import data_summary
from viz_diffusion.cli.option_groups import MODEL, OUTPUT
from viz_diffusion.cli.options import (
    DataDirOption,
    ForceOption,
    ImageSizeOption,
    JsonOption,
    LangOption,
    QuietOption,
    check_at_least,
    check_seed,
)
from viz_diffusion.cli.outputs import Output
from viz_diffusion.errors import VizdiffUsageError

HELP = (
    "Train a classifier on your own data.\n\n"
    "vizdiff evaluate and vizdiff sample use it for runs that were trained on the same images. MNIST has a classifier "
    "already.\n\n"
    "Example: vizdiff train-classifier --data-dir photos"
)


def run_command(
    data_dir: DataDirOption = None,
    image_size: ImageSizeOption = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            metavar="fashion-mnist|kmnist", help="Data set to use instead of --data-dir.", rich_help_panel=MODEL
        ),
    ] = None,
    steps: Annotated[int, typer.Option(help="Training steps, of 64 images each.")] = 600,
    seed: Annotated[int, typer.Option(help="Seed of the initial weights and of the order of the images.")] = 0,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder to write.", show_default="under classifiers/", rich_help_panel=OUTPUT),
    ] = None,
    lang: LangOption = "en",
    force: ForceOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Read, train, measure, write."""
    terminal = Terminal(as_json, quiet, lang)
    check_at_least("--steps", steps, 1)
    check_seed(seed)
    if (data_dir is None) == (dataset is None) or dataset == "mnist":
        raise VizdiffUsageError("give --data-dir, or --dataset fashion-mnist or kmnist; MNIST has its classifier")
    terminal.say("Loading", "PyTorch")
    from viz_diffusion.data import DataSet, load_data_set, load_digits
    from viz_diffusion.evaluation.classifier import classifier_dir
    from viz_diffusion.evaluation.classifier_training import save_classifier, train_classifier

    if data_dir is not None:
        data = load_data_set(data_dir, image_size)
    else:
        named = dataset or ""
        data = DataSet(load_digits("train", named), load_digits("test", named))
    terminal.say("Data", data_summary(data, terminal))
    folder = classifier_dir(data.train.sha256) if out is None else out
    names = ("model.safetensors", "provenance.json")
    written = Output(folder / names[0], "train-classifier", force, others=names[1:], owns=names.__contains__)
    written.claim(terminal, data=data.train.sha256[:8], steps=steps, seed=seed)
    with terminal.progress("Training", terminal.text("the_classifier"), steps) as update:
        classifier = train_classifier(
            data.train, steps, seed, lambda done, loss: update(done, steps, terminal.text("loss", loss=loss))
        )
    source = {"data_dir": None if data_dir is None else str(data_dir), "dataset": dataset, "steps": steps, "seed": seed}
    facts = save_classifier(classifier, folder, data.train, data.test, source)
    low, high = facts["test_interval_95"]
    counts = {"hits": facts["test_correct"], "count": facts["test_count"], "value": facts["test_accuracy"]}
    key = "accuracy_training" if data.test.sha256 == data.train.sha256 else "accuracy_heldout"
    terminal.tell("Accuracy", key, share=terminal.text("share", **counts, low=low, high=high))
    terminal.tell("Done", "done_seconds", path=show_path(folder), seconds=terminal.seconds)
    terminal.result({"out": str(folder), "seconds": round(terminal.seconds, 1), **facts})
