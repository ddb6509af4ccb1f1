"""The texts and JSON values of ``vizdiff evaluate``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from viz_diffusion.cli.console import table
from viz_diffusion.diffusion.sampler_config import SamplerConfig
from viz_diffusion.diffusion.timesteps import SPACINGS, VARIANCES

if TYPE_CHECKING:
    from viz_diffusion.diffusion.schedule import NoiseSchedule
    from viz_diffusion.evaluation.evaluate import Evaluation, QualityMetrics
    from viz_diffusion.evaluation.likelihood import Likelihood


Text = Callable[..., str]
"""Returns a text of the terminal's catalogue, filled in: ``Terminal.text``."""
FEW = 1000
"""Samples below which FID and KID are unreliable."""


def how_sampled(config: SamplerConfig, text: Text) -> str:
    """Return the sampler's configuration in a few words: its name, steps, guidance, and what is not the default."""
    parts = [config.sampler_name, text("of_heun" if config.sampler == "heun" else "of_steps", steps=config.steps)]
    scale = config.guidance_scale
    others = {
        text("of_variance", variance=config.variance): config.variance != VARIANCES[0],
        f"η = {config.eta:g}": config.eta != 0,
        text("of_spacing", spacing=config.timestep_spacing): config.timestep_spacing != SPACINGS[0],
        text("of_unclipped"): not config.clip,
    }
    parts += [word for word, applies in others.items() if applies]
    parts.append(text("of_no_guidance") if scale == 1 else text("of_guidance", scale=scale))
    return text("comma").join(parts)


def remarks_on(evaluation: Evaluation, text: Text) -> list[tuple[str, str]]:
    """Return remarks, label and text, where a result may be chance: few samples, or no difference from real digits."""
    remarks = []
    if evaluation.count < FEW:
        remarks.append(("Few", text("few_samples", count=evaluation.count, enough=FEW)))
    samples = evaluation.samples
    same = {
        "FID": evaluation.excess <= evaluation.excess_half,
        "KID": samples.kid <= samples.kid_half,
    }
    if any(same.values()):
        names = text("and").join(name for name, alike in same.items() if alike)
        remarks.append(("Chance", text("by_chance", names=names)))
    return remarks


def evaluation_lines(evaluation: Evaluation, how: str, text: Text) -> list[tuple[str, str]]:
    """Return the lines, label and text, on the samples, the real digits and the control, in the same columns.

    ``how`` says how the samples were sampled; see :func:`how_sampled`.
    """
    from viz_diffusion.evaluation.evaluate import FLOOR_DRAWS

    fid = f"FID-MNIST({evaluation.classifier_sha256[:8]})"
    header = ["", text("column_accuracy"), fid, "KID x1000", *map(text, ("column_precision", "column_recall"))]
    rows = [
        [
            text(f"row_{name}"),
            f"{metrics.accuracy.value:.1%}",
            f"{metrics.frechet:.2f}",
            f"{metrics.kid:.2f}",
            f"{metrics.precision:.1%}",
            f"{metrics.recall:.1%}",
            str(metrics.copies.hits),
        ]
        for name, metrics in (
            ("samples", evaluation.samples),
            ("real", evaluation.real),
            ("gaussian", evaluation.control),
        )
    ]
    samples, compared = evaluation.samples, evaluation.compared
    low, high = samples.accuracy.interval
    quality = {
        "kid": samples.kid,
        "kid_half": samples.kid_half,
        "excess": evaluation.excess,
        "excess_half": evaluation.excess_half,
    }
    read = {"hits": samples.accuracy.hits, "count": evaluation.count, "real": evaluation.real.accuracy.value}
    return [
        ("Samples", text("evaluated", count=evaluation.count, how=how)),
        *(("", line) for line in table([*header, text("column_copies")], rows)),
        ("Quality", text("quality", compared=compared, **quality)),
        ("Accuracy", text("accuracy_alone", low=low, high=high, **read)),
        ("Real", text("real_digits", draws=FLOOR_DRAWS, compared=compared, spread=evaluation.real_spread)),
    ]


def likelihood_lines(
    likelihood: Likelihood, baselines: dict[str, float], schedule: NoiseSchedule, text: Text
) -> list[tuple[str, str]]:
    """Return the lines, label and text, on the loss and on each term of the bound, in bits per pixel."""
    from viz_diffusion.evaluation.decoders import gaussian_decoder_levels, known_pixel_bits
    from viz_diffusion.evaluation.intervals import Z_95, half_of_mean

    decoders, last = likelihood.decoders, len(likelihood.loss) - 1
    black, grey = known_pixel_bits(schedule)
    bits = {
        "bits": likelihood.bits,
        "half": Z_95 * likelihood.bits_error,
        "last_term": likelihood.bits_last,
        "last": last,
        "middle": likelihood.bits_middle,
        "middle_half": Z_95 * likelihood.bits_middle_error,
        "count": likelihood.count,
        "first": decoders.gaussian.mean(),
        "first_half": half_of_mean(decoders.gaussian),
        "decoder_count": len(decoders.gaussian),
    }
    loss = {"one": baselines["one"], "labels": baselines["labels"], "count": likelihood.count}
    lines = [
        ("Loss", text("mean_loss", loss=likelihood.mean_loss, **loss)),
        ("Bits", text("bits", **bits)),
        ("Decoder", text("decoder", levels=gaussian_decoder_levels(schedule), black=black, grey=grey)),
    ]
    total, error = likelihood.bits_categorical, likelihood.bits_categorical_error
    if decoders.categorical is not None and total is not None and error is not None:
        first, half = decoders.categorical.mean(), half_of_mean(decoders.categorical)
        facts = {"fitted": decoders.fitted, "first": first, "first_half": half, "total": total, "half": Z_95 * error}
        lines.append(("", text("categorical_decoder", **facts)))
    return lines


def _late_share(likelihood: Likelihood) -> float:
    """Return the share of the bits in the last 5% of the steps, those at the smallest t."""
    late = len(likelihood.bits_by_t) // 20
    return float(likelihood.bits_by_t[:late].sum() / likelihood.bits)


def evaluation_values(evaluation: Evaluation) -> dict[str, Any]:
    """Return the values of an evaluation for the JSON object."""

    def values(metrics: QualityMetrics) -> dict[str, Any]:
        plain = asdict(metrics)
        for name in ("accuracy", "copies"):
            share = getattr(metrics, name)
            plain[name] = {"hits": share.hits, "count": share.count, "value": share.value, "interval": share.interval}
        plain["by_label"] = [{"hits": share.hits, "count": share.count} for share in metrics.by_label]
        return plain

    return {
        "classifier_sha256": evaluation.classifier_sha256,
        "compared": evaluation.compared,
        "frechet_excess": evaluation.excess,
        "frechet_excess_half": evaluation.excess_half,
        "samples": values(evaluation.samples),
        "real": values(evaluation.real) | {"frechet_spread": evaluation.real_spread},
        "clouds": values(evaluation.control),
    }


def likelihood_values(likelihood: Likelihood, baselines: dict[str, float], schedule: NoiseSchedule) -> dict[str, Any]:
    """Return the values of a likelihood and its Gaussian baselines for the JSON object; errors are standard errors."""
    from viz_diffusion.evaluation.decoders import known_pixel_bits
    from viz_diffusion.evaluation.intervals import Z_95, half_of_mean

    decoders, categorical = likelihood.decoders, likelihood.decoders.categorical
    return {
        "mean_loss": likelihood.mean_loss,
        "gaussian_loss": baselines["one"],
        "gaussian_loss_per_label": baselines["labels"],
        "loss": [round(float(v), 6) for v in likelihood.loss],
        "loss_count": likelihood.count,
        "bits_per_pixel": likelihood.bits,
        "bits_per_pixel_error": likelihood.bits_error,
        "bits_last": likelihood.bits_last,
        "bits_middle": likelihood.bits_middle,
        "bits_middle_error": likelihood.bits_middle_error,
        "bits_decoder": float(decoders.gaussian.mean()),
        "bits_decoder_error": half_of_mean(decoders.gaussian) / Z_95,
        "bits_decoder_count": len(decoders.gaussian),
        "bits_decoder_known_black": known_pixel_bits(schedule)[0],
        "bits_decoder_known_grey": known_pixel_bits(schedule)[1],
        "bits_categorical_decoder": None if categorical is None else float(categorical.mean()),
        "bits_categorical_decoder_error": None if categorical is None else half_of_mean(categorical) / Z_95,
        "bits_categorical_decoder_fitted": decoders.fitted,
        "bits_per_pixel_categorical": likelihood.bits_categorical,
        "bits_per_pixel_categorical_error": likelihood.bits_categorical_error,
        "bits_late_share": _late_share(likelihood),
    }
