"""The texts and JSON values of ``vizdiff evaluate``."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from viz_diffusion.diffusion.sampler_config import SamplerConfig
from viz_diffusion.diffusion.timesteps import SPACINGS, VARIANCES

if TYPE_CHECKING:
    from viz_diffusion.diffusion.schedule import NoiseSchedule
    from viz_diffusion.evaluation.evaluate import Evaluation, QualityMetrics
    from viz_diffusion.evaluation.likelihood import Likelihood


FEW = 1000
"""Samples below which FID and KID are unreliable."""


def how_sampled(config: SamplerConfig) -> str:
    """Return the sampler's configuration in a few words: its name, steps, guidance, and what is not the default."""
    words = {
        config.sampler_name: True,
        f"{config.steps} steps" + (" of two evaluations, the last of one" if config.sampler == "heun" else ""): True,
        f"variance {config.variance}": config.variance != VARIANCES[0],
        f"η = {config.eta:g}": config.eta != 0,
        f"{config.timestep_spacing} spacing": config.timestep_spacing != SPACINGS[0],
        "unclipped": not config.clip,
        "no guidance": config.guidance_scale == 1,
        f"guidance {config.guidance_scale:g}": config.guidance_scale != 1,
    }
    return ", ".join(word for word, applies in words.items() if applies)


def remarks_on(evaluation: Evaluation) -> list[tuple[str, str]]:
    """Return remarks, label and text, where a result may be chance: few samples, or no difference from real digits."""
    remarks = []
    if evaluation.count < FEW:
        remarks.append(
            (
                "Few",
                f"FID and KID of {evaluation.count} samples say little: see their intervals; ask for --count {FEW} or "
                "more",
            )
        )
    samples = evaluation.samples
    same = {
        "FID": evaluation.excess <= evaluation.excess_half,
        "KID": samples.kid <= samples.kid_half,
    }
    if any(same.values()):
        remarks.append(
            (
                "Chance",
                f"by {' and '.join(name for name, alike in same.items() if alike)}, samples and real digits cannot be "
                "told apart at this count",
            )
        )
    return remarks


def evaluation_lines(evaluation: Evaluation, how: str) -> list[tuple[str, str]]:
    """Return the lines, label and text, on the samples, the real digits and the control, in the same columns.

    ``how`` says how the samples were sampled; see :func:`how_sampled`.
    """
    from viz_diffusion.evaluation.evaluate import FLOOR_DRAWS

    name = f"FID-MNIST({evaluation.classifier_sha256[:8]})"
    header = f"{'':<9}{'read as asked':>14}{name:>20}{'KID x1000':>11}{'precision':>11}{'recall':>8}{'copies':>8}"
    lines = [("Judged", f"{evaluation.count} samples: {how}"), ("", header)]
    for label, metrics in (
        ("samples", evaluation.samples),
        ("real", evaluation.real),
        ("clouds", evaluation.control),
    ):
        accuracy = f"{label:<9}{metrics.accuracy.value:>14.1%}"
        distances = f"{metrics.frechet:>20.2f}{metrics.kid:>11.2f}{metrics.precision:>11.1%}{metrics.recall:>8.1%}"
        lines.append(("", f"{accuracy}{distances}{metrics.copies.hits:>8}"))
    samples, compared = evaluation.samples, evaluation.compared
    low, high = samples.accuracy.interval
    return [
        *lines,
        (
            "Quality",
            f"KID x1000 {samples.kid:.2f} ± {samples.kid_half:.2f}, unbiased: 0 for real digits; FID-MNIST exceeds "
            f"that of real digits by {evaluation.excess:.3f} ± {evaluation.excess_half:.3f}, both of {compared} images "
            "(95%)",
        ),
        (
            "Read",
            f"{samples.accuracy.hits} of {evaluation.count} as asked (95% interval {low:.1%} to {high:.1%}), real "
            f"digits {evaluation.real.accuracy.value:.1%}; a share alone says nothing of their variety: see recall",
        ),
        (
            "Real",
            f"the mean over {FLOOR_DRAWS} pairs of disjoint sets of {compared} test digits with the samples' labels, "
            f"one of each pair the reference; their FID-MNIST has a standard deviation of "
            f"{evaluation.real_spread:.3f}",
        ),
    ]


def likelihood_lines(
    likelihood: Likelihood, baselines: dict[str, float], schedule: NoiseSchedule
) -> list[tuple[str, str]]:
    """Return the lines, label and text, on the loss and on each term of the bound, in bits per pixel."""
    from viz_diffusion.evaluation.decoders import gaussian_decoder_levels, known_pixel_bits
    from viz_diffusion.evaluation.intervals import Z_95, half_of_mean

    decoders, last = likelihood.decoders, len(likelihood.loss) - 1
    black, grey = known_pixel_bits(schedule)
    lines = [
        (
            "Loss",
            f"{likelihood.mean_loss:.4f} (Gaussian {baselines['one']:.4f}, one a label {baselines['labels']:.4f}), "
            f"{likelihood.count} test digits at each t",
        ),
        (
            "Bits",
            f"{likelihood.bits:.2f} ± {Z_95 * likelihood.bits_error:.2f} per pixel at most, given the label (95%): "
            f"L_T {likelihood.bits_last:.5f} + L_1 to L_{last} {likelihood.bits_middle:.2f} ± "
            f"{Z_95 * likelihood.bits_middle_error:.2f} ({likelihood.count} test digits at each t) + "
            f"L_0 {decoders.gaussian.mean():.3f} ± {half_of_mean(decoders.gaussian):.3f} "
            f"({len(decoders.gaussian)} test digits)",
        ),
        (
            "Decoder",
            f"this L_0 is that of Ho et al. 2020, a Gaussian whose standard deviation is "
            f"{gaussian_decoder_levels(schedule):.2f} of the distance of two grey levels: a pixel that is known to be "
            f"black costs {black:.2f} bits, one that is known to be grey {grey:.2f}",
        ),
    ]
    total, error = likelihood.bits_categorical, likelihood.bits_categorical_error
    if decoders.categorical is not None and total is not None and error is not None:
        lines.append(
            (
                "",
                f"with a categorical decoder, fitted to {decoders.fitted} training digits, L_0 is "
                f"{decoders.categorical.mean():.3f} ± {half_of_mean(decoders.categorical):.3f}, and the bound "
                f"{total:.2f} ± {Z_95 * error:.2f} bits per pixel",
            )
        )
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
