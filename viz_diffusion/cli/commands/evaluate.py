"""``vizdiff evaluate``: how good a run is, beside real digits and beside a control that must fail."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from viz_diffusion.cli.console import Terminal, beyond
from viz_diffusion.cli.loading import load_run
from viz_diffusion.cli.option_groups import takes
from viz_diffusion.cli.options import (
    DeviceOption,
    JsonOption,
    QuietOption,
    RunOption,
    SamplerOptions,
    SeedOption,
    check_seed,
    sampler_options,
)
from viz_diffusion.diffusion.sampler_config import SamplerConfig
from viz_diffusion.diffusion.timesteps import SPACINGS, VARIANCES
from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.files import make_parent, write_json

if TYPE_CHECKING:
    from viz_diffusion.evaluation.evaluate import Evaluation
    from viz_diffusion.evaluation.likelihood import Likelihood


HELP = (
    "Example: vizdiff evaluate --run bundled --count 2000\n\n"
    "Sample, and judge the samples beside real digits; measure the loss at every timestep and the bits per pixel. "
    "Guidance is 1, none, unless asked for, so that the model itself is measured; pictures are made at 1.5. "
    "Takes minutes on two CPU cores."
)
FOR_MEASURING = SamplerConfig("ddim", 50)
"""How samples are made that are judged: without guidance, so that the model itself is measured."""
FEW = 1000
"""Samples below which FID and KID say little. Drawn 20 times with labels as even as the samples', training digits are
from as many test digits 4.16, 2.21, 0.86, 0.48, 0.26 in FID-MNIST (standard deviation 0.65, 0.25, 0.09, 0.06, 0.02)
and -10.4, -4.0, -2.9, -0.9, -0.3 in KID x1000 (10.3, 3.6, 1.7, 0.8, 0.4) at 100, 200, 500, 1000 and 2000."""


@takes(sampling=sampler_options(FOR_MEASURING))
def run_command(
    *,
    run: RunOption = None,
    count: Annotated[int, typer.Option(help="Samples, as many of each digit; 20 to 10000.")] = 2000,
    sampling: SamplerOptions,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    out: Annotated[Path | None, typer.Option(help="JSON file to write as well.")] = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Sample, judge, measure, say."""
    terminal = Terminal(as_json, quiet)
    config = sampling.config()
    check_seed(seed, count)
    if not 20 <= count <= 10000:
        raise VizdiffUsageError(f"--count must lie in 20..10000, found {count}")
    if out is not None:
        make_parent(out)
    loaded = load_run(run, device, terminal)
    chosen, model, digest = loaded
    import torch

    from viz_diffusion.cli.record import sample_all
    from viz_diffusion.evaluation.evaluate import FLOOR_DRAWS, check_count, evaluate
    from viz_diffusion.evaluation.likelihood import gaussian_losses, measure_likelihood

    schedule = chosen.config.noise_schedule
    seen, test = chosen.config.load_digits("train"), chosen.config.load_digits("test")
    training = chosen.config.data_set(seen)
    found, values = None, dict.fromkeys(("x0_beyond_scale", "classifier_sha256", "samples", "real", "clouds"))
    if chosen.config.dataset == "mnist":
        check_count(count, training, test)
        labels = torch.arange(count) % 10
        images, clipped = sample_all(loaded, labels, seed, config, terminal)
        terminal.say("Guesses", beyond(clipped, config.clip))
        terminal.say(
            "Judging",
            f"{count} samples, {count} real digits ({FLOOR_DRAWS} times), {count} Gaussian clouds, "
            f"against {count} test digits; near-copies among {len(seen)} training digits",
        )
        found = evaluate(images, labels, training, test, seen=seen)
        values |= {"x0_beyond_scale": clipped, **_values(found)}
    else:
        terminal.say(
            "Judged",
            "no samples: the bundled classifier reads MNIST's digits, and this run is of "
            f"{chosen.config.data_dir or chosen.config.dataset}",
        )
    with terminal.progress("Measuring", "the loss at every timestep", schedule.num_train_timesteps) as update:
        likelihood = measure_likelihood(
            model, schedule, test, on_step=lambda done, total: update(done, total, "the loss at every timestep")
        )
    one, each = gaussian_losses(schedule, training)
    baselines = {"one": float(one.mean()), "labels": float(each.mean())}
    how = f"{how_sampled(config)}, seeds {seed} to {seed + count - 1}"
    remarks = [] if found is None else remarks_on(found)
    judged = [] if found is None else _judged_lines(found, how)
    for label, text in (*judged, *_likelihood_lines(likelihood, baselines), *remarks):
        terminal.say(label, text)
    values = {
        "run": chosen.name_or_path,
        "weights_sha256": digest,
        **config.facts(),
        "seed": seed,
        "count": count if found else 0,
        "remarks": [text for _, text in remarks],
        "seconds": round(terminal.seconds, 1),
        **values,
        **_likelihood_values(likelihood, baselines),
    }
    if out is not None:
        terminal.replacing(out)
        write_json(out, values)
    terminal.result(values)


def how_sampled(config: SamplerConfig) -> str:
    """Return what numbers about samples belong to, in a few words: whatever is not the default is named."""
    said = {
        config.sampler_name: True,
        f"{config.steps} steps": True,
        f"variance {config.variance}": config.variance != VARIANCES[0],
        f"η = {config.eta:g}": config.eta != 0,
        f"{config.timestep_spacing} spacing": config.timestep_spacing != SPACINGS[0],
        "unclipped": not config.clip,
        "no guidance": config.guidance_scale == 1,
        f"guidance {config.guidance_scale:g}": config.guidance_scale != 1,
    }
    return ", ".join(words for words, holds in said.items() if holds)


def remarks_on(found: Evaluation) -> list[tuple[str, str]]:
    """Return what keeps a reader from taking chance for quality."""
    remarks = []
    if found.count < FEW:
        remarks.append(
            (
                "Few",
                f"FID and KID of {found.count} samples say little: those of as many real digits scatter by 0.65 and "
                f"10 at 100, by 0.09 and 1.7 at 500, by 0.06 and 0.8 at {FEW}; ask for --count {FEW} or more",
            )
        )
    below = [
        name
        for name, one, floor in (
            ("FID", found.samples.frechet, found.real.frechet),
            ("KID", found.samples.kid, found.real.kid),
        )
        if one < floor
    ]
    if below:
        remarks.append(
            (
                "Chance",
                f"{' and '.join(below)} below that of real digits is no better than real: by it, they cannot be "
                "told apart at this count",
            )
        )
    return remarks


def _judged_lines(found: Evaluation, how: str) -> list[tuple[str, str]]:
    """Return what is said of the samples, then of the floor and the control in the same columns."""
    from viz_diffusion.evaluation.evaluate import FLOOR_DRAWS

    name = f"FID-MNIST({found.classifier_sha256[:8]})"
    header = f"{'':<9}{'read as asked':>14}{name:>20}{'KID x1000':>11}{'precision':>11}{'recall':>8}{'copies':>8}"
    lines = [("Judged", f"{found.count} samples: {how}"), ("", header)]
    for label, one in (("samples", found.samples), ("real", found.real), ("clouds", found.clouds)):
        row = f"{one.accuracy.value:>14.1%}{one.frechet:>20.2f}{one.kid:>11.2f}{one.precision:>11.1%}{one.recall:>8.1%}"
        lines.append(("", f"{label:<9}{row}{one.copies.hits:>8}"))
    low, high = found.samples.accuracy.interval
    return [
        *lines,
        ("Read", f"{found.samples.accuracy.hits} of {found.count} as asked (95% interval {low:.1%} to {high:.1%})"),
        (
            "Real",
            f"the mean of {FLOOR_DRAWS} sets of training digits with the samples' labels, whose FID-MNIST has a "
            f"standard deviation of {found.real_spread:.2f}; the copies beside them are test digits'",
        ),
    ]


def _likelihood_lines(likelihood: Likelihood, baselines: dict[str, float]) -> list[tuple[str, str]]:
    """Return what is said of the model itself."""
    from viz_diffusion.evaluation.intervals import Z_95

    return [
        (
            "Loss",
            f"{likelihood.mean_loss:.4f} (Gaussian {baselines['one']:.4f}, one a label {baselines['labels']:.4f}), "
            f"{likelihood.count} test digits at each t",
        ),
        (
            "Bits",
            f"{likelihood.bits:.2f} ± {Z_95 * likelihood.bits_error:.2f} per pixel at most (95%), "
            f"{_late_share(likelihood):.0%} of them in the last twentieth of the steps",
        ),
    ]


def _late_share(likelihood: Likelihood) -> float:
    """Return the share of the bits that is spent in the last 5% of the steps, those at the smallest t."""
    late = len(likelihood.bits_by_t) // 20
    return float(likelihood.bits_by_t[:late].sum() / likelihood.bits)


def _values(found: Evaluation) -> dict[str, Any]:
    from dataclasses import asdict

    def values(one: Any) -> dict[str, Any]:
        plain = asdict(one)
        for name in ("accuracy", "copies"):
            share = getattr(one, name)
            plain[name] = {"hits": share.hits, "count": share.count, "value": share.value, "interval": share.interval}
        plain["by_label"] = [{"hits": share.hits, "count": share.count} for share in one.by_label]
        return plain

    return {
        "classifier_sha256": found.classifier_sha256,
        "samples": values(found.samples),
        "real": values(found.real) | {"frechet_spread": found.real_spread},
        "clouds": values(found.clouds),
    }


def _likelihood_values(likelihood: Likelihood, baselines: dict[str, float]) -> dict[str, Any]:
    return {
        "mean_loss": likelihood.mean_loss,
        "gaussian_loss": baselines["one"],
        "gaussian_loss_per_label": baselines["labels"],
        "loss": [round(float(v), 6) for v in likelihood.loss],
        "loss_count": likelihood.count,
        "bits_per_pixel": likelihood.bits,
        "bits_per_pixel_error": likelihood.bits_error,
        "bits_decoder": float(likelihood.bits_by_t[0]),
        "bits_last": likelihood.bits_last,
        "bits_late_share": _late_share(likelihood),
    }
