"""``vizdiff evaluate``: the quality of a run's samples and the likelihood of its network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from viz_diffusion.cli.console import Terminal, estimate_text
from viz_diffusion.cli.evaluated_samples import MOST, StoredSamples, open_samples
from viz_diffusion.cli.evaluation_text import (
    evaluation_lines,
    evaluation_values,
    how_sampled,
    likelihood_lines,
    likelihood_values,
    remarks_on,
)
from viz_diffusion.cli.loading import LoadedRun, load_run
from viz_diffusion.cli.option_groups import OUTPUT, takes
from viz_diffusion.cli.options import (
    DataDirOption,
    DeviceOption,
    ForceOption,
    JsonOption,
    LangOption,
    QuietOption,
    RunOption,
    SamplerOptions,
    SeedOption,
    check_seed,
    sampler_options,
)
from viz_diffusion.cli.outputs import Output, sampling_marks
from viz_diffusion.diffusion.sampler_config import SamplerConfig
from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.files import write_json
from viz_diffusion.files.output_places import place_file

if TYPE_CHECKING:
    from viz_diffusion.data import Digits
    from viz_diffusion.diffusion.schedule import NoiseSchedule
    from viz_diffusion.evaluation.classifier import DigitClassifier
    from viz_diffusion.evaluation.evaluate import Evaluation
    from viz_diffusion.evaluation.likelihood import Likelihood
    from viz_diffusion.training.config import RunConfig


HELP = (
    "Measure a model: sample quality, loss, likelihood.\n\n"
    "Samples images and compares them with real ones; measures the loss at every timestep and the bits per pixel. "
    "No guidance is used unless --guidance is given, so that the model itself is measured. Takes minutes on two CPU "
    "cores. With --samples, the samples of a store are measured (vizdiff sample --out digits.zarr).\n\n"
    "Example: vizdiff evaluate --run bundled --count 2000"
)
COUNT, FEWEST = 2000, 20
"""Samples by default, and at least."""
LOSSES_A_TIMESTEP = 20
"""Held-out images at each timestep of the loss."""
EVALUATION_SAMPLER = SamplerConfig("ddim", 50)
"""The defaults of the sampler: without guidance, so that the model itself is measured."""
_QUALITY = ("classifier_sha256", "compared", "frechet_excess", "frechet_excess_half", "samples", "real", "clouds")
"""Keys whose values are null where no samples are evaluated."""
CountOption = Annotated[
    int | None,
    typer.Option(
        "--count",
        help="Images to sample, 20 to 10000, equally many of each label; at most as many as your held-out images.",
        show_default="2000",
    ),
]
SamplesOption = Annotated[
    str | None,
    typer.Option(
        "--samples",
        metavar="PATH|URL",
        help="Store of samples to evaluate instead of new ones; at most its first 10000.",
    ),
]
OutOption = Annotated[Path | None, typer.Option(help="JSON file to write as well.", rich_help_panel=OUTPUT)]


@takes(sampling=sampler_options(EVALUATION_SAMPLER))
def run_command(
    *,
    run: RunOption = None,
    count: CountOption = None,
    samples: SamplesOption = None,
    sampling: SamplerOptions,
    seed: SeedOption = 0,
    data_dir: DataDirOption = None,
    device: DeviceOption = "auto",
    lang: LangOption = "en",
    out: OutOption = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Sample, evaluate, measure the likelihood, say."""
    terminal = Terminal(as_json, quiet, lang)
    config = sampling.config()
    _check_options(count, seed, out)
    loaded = load_run(run, device, terminal, data_dir)
    stored = None if samples is None else open_samples(samples, loaded, sampling, seed)
    config = loaded.sampled_as(config) if stored is None else stored.config
    _claim(out, force, seed, config, loaded, stored, terminal)
    from viz_diffusion.evaluation.classifier import DigitClassifier
    from viz_diffusion.evaluation.evaluate import most_samples

    run_config = loaded.run.config
    trained_on, test = run_config.load_digits("train"), run_config.load_digits("test")
    training = run_config.data_set(trained_on)
    evaluation, clipped = None, None
    judge = DigitClassifier.find(run_config.dataset, training.sha256)
    most = COUNT if run_config.dataset == "mnist" else most_samples(test, run_config.present_labels)
    count = _count(count, most, stored, len(test))
    is_judged = judge is not None and most >= FEWEST
    _tell_time(loaded, config, count if is_judged and stored is None else 0, terminal)
    if judge is not None and is_judged:
        data = (training, test, trained_on)
        evaluation, clipped = _evaluate_samples(loaded, config, seed, count, *data, judge, terminal, stored)
    else:
        terminal.say("Samples", _why_not_judged(run_config, judge is not None, most, terminal))
    measured = None if loaded.model.latent_space else _measure_likelihood(loaded, training, test, terminal)
    how = _how(config, terminal, seed, count, samples)
    remarks = _say_results(evaluation, measured, run_config.noise_schedule, how, terminal)
    values = {
        "run": loaded.run.name_or_path,
        "weights_sha256": loaded.weights_sha256,
        "objective": run_config.training.objective,
        **config.facts(),
        **({"seed": seed} if stored is None else stored.facts()),
        "count": 0 if evaluation is None else count,
        "remarks": remarks,
        "seconds": round(terminal.seconds, 1),
        "x0_beyond_scale": clipped,
        **(dict.fromkeys(_QUALITY) if evaluation is None else evaluation_values(evaluation)),
        **({} if measured is None else likelihood_values(*measured, run_config.noise_schedule)),
    }
    if out is not None:
        write_json(out, values)
    terminal.result(values)


def _check_options(count: int | None, seed: int, out: Path | None) -> None:
    """Refuse impossible numbers; make the folder of the file to write."""
    check_seed(seed, count or COUNT)
    if count is not None and not FEWEST <= count <= 10000:
        raise VizdiffUsageError(f"--count must lie in 20..10000, found {count}")
    if out is not None:
        place_file(out, ".json")


def _count(count: int | None, most: int, stored: StoredSamples | None, heldout: int) -> int:
    """Return how many samples are evaluated."""
    if stored is None:
        return min(COUNT, most) if count is None else count
    if count is not None and count > len(stored.store):
        raise VizdiffUsageError(
            f"--count {count} is more than the {len(stored.store):,} samples of {stored.store.name}"
        )
    return min(len(stored.store), heldout, MOST) if count is None else count


def _claim(
    out: Path | None,
    force: bool,
    seed: int,
    config: SamplerConfig,
    loaded: LoadedRun,
    stored: StoredSamples | None,
    terminal: Terminal,
) -> None:
    """Refuse to overwrite a file of another origin, where one is written."""
    if out is not None:
        shown: dict[str, object] = {"seed": seed} if stored is None else {"store": stored.store.root_hash[:8]}
        shown |= {"sampling": "_".join(sampling_marks(config)), "weights": loaded.weights_sha256[:8]}
        Output(out, "evaluate", force).claim(terminal, **shown)


def _tell_time(loaded: LoadedRun, config: SamplerConfig, count: int, terminal: Terminal) -> None:
    """Say how long the evaluation takes, from the time of one forward pass."""
    import time

    import torch

    from viz_diffusion.diffusion.prediction import predict_noise

    run, images = loaded.run.config, torch.zeros(LOSSES_A_TIMESTEP, *loaded.run.config.x_shape)
    for _ in range(2):  # the first one is slower
        begun = time.perf_counter()
        predict_noise(loaded.model, images, run.num_train_timesteps // 2, run.present_labels[0])
        seconds = (time.perf_counter() - begun) / len(images)
    evaluations = config.num_evaluations(run.num_train_timesteps) * (1 if config.guidance_scale == 1 else 2)
    total = seconds * (count * evaluations + LOSSES_A_TIMESTEP * run.num_train_timesteps)
    steps = config.num_steps(run.num_train_timesteps)
    key = "estimate" if count else "estimate_losses"
    terminal.tell("Time", key, duration=estimate_text(total), count=count, steps=steps)


def _how(config: SamplerConfig, terminal: Terminal, seed: int, count: int, samples: str | None) -> str:
    """Return how the evaluated samples were made, and their seeds or the store that they were read from."""
    if samples is None:
        origin = terminal.text("of_seeds", first=seed, last=seed + count - 1)
    else:
        origin = terminal.text("of_store", path=samples)
    return f"{how_sampled(config, terminal.text)}{origin}"


def _say_results(
    evaluation: Evaluation | None,
    measured: tuple[Likelihood, dict[str, float]] | None,
    schedule: NoiseSchedule,
    how: str,
    terminal: Terminal,
) -> list[str]:
    """Say what was measured, of samples that were made as ``how`` says; return the remarks on it."""
    remarks = [] if evaluation is None else remarks_on(evaluation, terminal.text)
    lines = [] if evaluation is None else evaluation_lines(evaluation, how, terminal.text)
    if measured is None:
        lines.append(("Bits", terminal.text("no_bits_of_latents")))
    else:
        lines += likelihood_lines(*measured, schedule, terminal.text)
    for label, text in (*lines, *remarks):
        terminal.say(label, text)
    return [text for _, text in remarks]


def _why_not_judged(config: RunConfig, has_classifier: bool, most: int, terminal: Terminal) -> str:
    """Return why no samples are judged."""
    where = config.data_dir or config.dataset
    if has_classifier:
        return terminal.text("too_few_images", where=where, most=most, fewest=FEWEST)
    given = f"--data-dir {where}" if config.data_dir else f"--dataset {where}"
    return terminal.text("no_classifier", where=where, command=f"vizdiff train-classifier {given}")


def _evaluate_samples(
    loaded: LoadedRun,
    config: SamplerConfig,
    seed: int,
    count: int,
    training: Digits,
    test: Digits,
    trained_on: Digits,
    judge: tuple[DigitClassifier, str],
    terminal: Terminal,
    stored: StoredSamples | None,
) -> tuple[Evaluation, float | None]:
    """Evaluate ``count`` samples, new ones or those of a store; return also the share of clipped pixels."""
    import torch

    from viz_diffusion.cli.record import sample_all
    from viz_diffusion.evaluation.evaluate import FLOOR_DRAWS, check_count, evaluate
    from viz_diffusion.evaluation.heldout_splits import images_of_each

    present = torch.tensor(loaded.run.config.present_labels)
    labels = present[torch.arange(count) % len(present)]
    kept = None if stored is None else stored.first(count)
    labels = labels if kept is None else kept[1]
    compared = sum(images_of_each(labels, test).values())
    check_count(count, compared, test)
    if kept is None:
        images, clipped = sample_all(loaded, labels, seed, config, terminal)
    else:
        images, clipped = kept[0], None
    terminal.tell_clipping(clipped, config.clip)
    facts = {"count": count, "compared": compared, "draws": FLOOR_DRAWS, "training": len(trained_on)}
    terminal.tell("Comparing", "comparing", **facts)
    return evaluate(images, labels, training, test, trained_on=trained_on, judge=judge), clipped


def _measure_likelihood(
    loaded: LoadedRun, training: Digits, test: Digits, terminal: Terminal
) -> tuple[Likelihood, dict[str, float]]:
    """Return the likelihood of the network, and the mean losses of one Gaussian and of one per label."""
    from viz_diffusion.evaluation.likelihood import gaussian_losses, measure_likelihood

    schedule, text = loaded.run.config.noise_schedule, terminal.text("loss_by_timestep")
    with terminal.progress("Measuring", text, schedule.num_train_timesteps) as update:
        likelihood = measure_likelihood(
            loaded.model,
            schedule,
            test,
            on_step=lambda done, total: update(done, total, text),
            training=training,
        )
    overall, per_label = gaussian_losses(schedule, training)
    return likelihood, {"one": float(overall.mean()), "labels": float(per_label.mean())}
