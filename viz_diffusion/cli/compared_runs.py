"""Measuring and texts of ``vizdiff compare``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from viz_diffusion.cli.console import Terminal
from viz_diffusion.cli.evaluation_text import FEW, evaluation_values
from viz_diffusion.cli.loading import LoadedRun
from viz_diffusion.diffusion.sampler_config import SamplerConfig

if TYPE_CHECKING:
    import torch

    from viz_diffusion.evaluation.classifier import DigitClassifier
    from viz_diffusion.study.run_comparison import ComparedRun
    from viz_diffusion.training.config import RunConfig

TableCells = tuple[list[str], list[list[str]]]
"""The header of a table, and its rows."""
_SAMPLED = ("sampler", "steps", "guidance_scale", "compared")
"""What evaluations have in common that can be compared, of their JSON values."""


def measure_runs(
    loaded: Sequence[LoadedRun], count: int, seed: int, config: SamplerConfig, terminal: Terminal, *, evaluated: bool
) -> tuple[list[ComparedRun], list[int]]:
    """Sample ``count`` images of each run, from the same noise, and measure them.

    Returns
    -------
    The runs as they were measured, and the labels of the images.
    """
    import torch

    from viz_diffusion.cli.record import sample_all
    from viz_diffusion.evaluation.classifier import classifier_accuracy
    from viz_diffusion.study.reading import classifier_of
    from viz_diffusion.study.run_comparison import ComparedRun, heldout_curve, short_names, stored_evaluation

    shared = set.intersection(*(set(one.run.config.present_labels) for one in loaded))
    present = torch.tensor(sorted(shared or loaded[0].run.config.present_labels))
    labels = present[torch.arange(count) % len(present)]
    judge = classifier_of(loaded[0].run.config)
    compared = []
    for one, name in zip(loaded, short_names([one.run for one in loaded]), strict=True):
        steps = terminal.text("training_steps", steps=one.run.trained_steps)
        facts = terminal.text("comma").join([steps, one.weights_sha256[:8]])
        terminal.tell("Weights", "compared_run", name=name, facts=facts)
        images, _ = sample_all(one, labels, seed, one.sampled_as(config), terminal)
        share = None if judge is None else classifier_accuracy(images, labels, judge)[0]
        found = stored_evaluation(one.run, one.weights_sha256)
        if evaluated and judge is not None:
            facts_of_sampling = config.facts() | {"seed": seed, "count": count}
            found = _evaluate(one.run.config, images, labels, judge) | facts_of_sampling
        curve = heldout_curve(one.run)
        compared.append(ComparedRun(one.run, name, one.weights_sha256, *curve, share, images.numpy(), found))
    return compared, labels.tolist()


def _evaluate(
    config: RunConfig, images: torch.Tensor, labels: torch.Tensor, judge: tuple[DigitClassifier, str]
) -> dict[str, Any]:
    """Return the quality of samples as JSON values."""
    from viz_diffusion.evaluation.evaluate import evaluate

    trained_on, test = config.load_digits("train"), config.load_digits("test")
    training = config.data_set(trained_on)
    return evaluation_values(evaluate(images, labels, training, test, trained_on=trained_on, judge=judge))


def quality_table(compared: Sequence[ComparedRun], terminal: Terminal) -> TableCells:
    """Return losses and quality, a row for each run."""
    names = ["run", "steps", "heldout_loss", "share"]
    if any(one.evaluation for one in compared):
        names += ["kid", "excess"]
    rows = [_cells(one, terminal)[: len(names)] for one in compared]
    return [terminal.text(f"column_{name}") for name in names], rows


def _cells(one: ComparedRun, terminal: Terminal) -> list[str]:
    """Return the cells of a run."""
    share, found, none = "–", one.evaluation, "–"
    if one.accuracy is not None:
        low, high = one.accuracy.interval
        share = terminal.text("share_cell", value=one.accuracy.value, low=low, high=high)
    distances = [none, none]
    if found is not None:
        samples = found["samples"]
        distances = [f"{samples['kid']:.2f} ± {samples['kid_half']:.2f}"]
        distances.append(f"{found['frechet_excess']:.3f} ± {found['frechet_excess_half']:.3f}")
    loss = f"{one.heldout[-1]:.4f}" if len(one.heldout) else none
    return [one.name, f"{one.run.trained_steps:,}", loss, share, *distances]


def settings_table(compared: Sequence[ComparedRun], terminal: Terminal) -> TableCells | None:
    """Return the settings that differ, a row for each, or for each run where they are more; None where none do."""
    from viz_diffusion.study.run_comparison import different_settings, setting_text

    different = different_settings([one.run for one in compared])
    if not different:
        return None
    if len(compared) <= len(different):
        header = [terminal.text("column_setting"), *(one.name for one in compared)]
        return header, [[name, *map(setting_text, values)] for name, values in different.items()]
    columns = [list(map(setting_text, values)) for values in different.values()]
    rows = [[one.name, *(column[number] for column in columns)] for number, one in enumerate(compared)]
    return [terminal.text("column_run"), *different], rows


def remarks_on(compared: Sequence[ComparedRun], terminal: Terminal) -> list[tuple[str, str]]:
    """Return remarks, label and text, on what is not comparable, not finished or not shown."""
    from viz_diffusion.plots.run_comparison import MOST_RUNS
    from viz_diffusion.study.run_comparison import losses_are_comparable

    runs = [one.run for one in compared]
    evaluations = [one.evaluation for one in compared if one.evaluation]
    few = [found["count"] for found in evaluations if found["count"] < FEW]
    alike = len({tuple(found.get(name) for name in _SAMPLED) for found in evaluations}) <= 1
    remarks = [("Note", terminal.text("unfinished_run", name=one.name)) for one in compared if not one.run.is_finished]
    remarks += [] if losses_are_comparable(runs) else [("Note", terminal.text("other_latents"))]
    remarks += [] if alike else [("Note", terminal.text("unlike_evaluations"))]
    remarks += [("Few", terminal.text("few_samples", count=min(few), enough=FEW))] if few else []
    remarks += [("Note", terminal.text("drawn_runs", count=MOST_RUNS))] if len(runs) > MOST_RUNS else []
    missing = any(one.accuracy is None for one in compared)
    return remarks + ([("Left out", terminal.text("no_judge"))] if missing else [])
