"""What was measured of latent diffusion, and the numbers that texts and JSON files say of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from viz_diffusion.evaluation.intervals import Share, half_of_mean
from viz_diffusion.lessons.facts import FactGroup
from viz_diffusion.lessons.latent.cost import Cost
from viz_diffusion.lessons.latent.reconstruction import Channels, Reconstruction
from viz_diffusion.lessons.latent.sample_quality import Quality, SampleQuality
from viz_diffusion.lessons.latent.walks import SURE, Walks


@dataclass(frozen=True, eq=False)
class LatentStudy:
    """A network that works in latents, its autoencoder, and a network that works on pixels."""

    reconstruction: Reconstruction
    """What the autoencoder keeps of test digits."""
    channels: Channels
    """What a channel of the latent holds."""
    walks: Walks
    """Straight lines between digits."""
    cost: Cost
    """What an image costs."""
    quality: Quality
    """How good samples are."""
    kl_weight: float
    """Weight of the KL divergence in the autoencoder's training."""
    latent_sha256: str
    """Of the latent network's weights: results that ship belong to these too."""
    autoencoder_sha256: str
    """Of the autoencoder's weights, likewise."""
    text_parameters: int | None
    """Parameters of the bundled text encoder; None where there is none."""


@dataclass(frozen=True)
class AutoencoderFacts:
    """What texts and JSON files say of an autoencoder with latents of c channels."""

    latent_shape: str
    """Channels, rows and columns of a latent."""
    latent_numbers: int
    """Numbers of a latent."""
    pixel_numbers: int
    """Numbers of an image."""
    kl_weight: float
    """Weight of the KL divergence."""
    digit_count: int
    """Test digits that were encoded and decoded."""
    digit_accuracy: float
    """Share of these digits that are classified as their labels."""
    decoded_accuracy: float
    """Share of their reconstructions: the ceiling of generation in latents."""
    decoded_interval: tuple[float, float]
    """Its 95% interval."""
    rms_error: float
    """Root mean square difference of digits and reconstructions, per pixel, in the grey scale from -1 to 1."""
    deviations: tuple[float, ...]
    """(c,) standard deviation of each channel on test digits."""
    channel_count: int
    """Digits of which a channel was left out."""
    whole_accuracy: float
    """Share of their reconstructions from whole latents that are classified as their labels."""
    without_accuracy: tuple[float, ...]
    """(c,) the same with one channel at its mean."""
    moved_count: int
    """Digits whose latents were moved at every place."""
    near: float
    """Share of the squared change of the image near the place that was moved."""
    near_half: float
    """Half its 95% interval."""
    near_area: float
    """The share of an evenly spread change."""


@dataclass(frozen=True)
class WalkFacts:
    """What texts and JSON files say of straight lines between digits."""

    walk_count: int
    """Pairs of digits."""
    walk_sure: float
    """Probability from which on a reading counts as sure."""
    walk_latent: float
    """Share of middles between latents that are read surely."""
    walk_pixel: float
    """The same between pixels."""
    walk_ends: float
    """The same of reconstructed digits."""
    walk_latent_either: float
    """Share of middles between latents that are read as one of the two digits."""
    walk_pixel_either: float
    """The same between pixels."""


@dataclass(frozen=True)
class CostFacts:
    """What texts and JSON files say of the cost of an image."""

    latent_ms: float
    """Milliseconds for an image in latents, with the decoder, median."""
    pixel_ms: float
    """Milliseconds for an image in pixels, median."""
    latent_ms_range: tuple[float, float]
    """Least and most of all rounds."""
    pixel_ms_range: tuple[float, float]
    """Least and most of all rounds."""
    time_ratio: float
    """Seconds in latents over seconds in pixels, median of the rounds."""
    time_ratio_range: tuple[float, float]
    """Least and most of all rounds."""
    rounds: int
    """Rounds that were timed."""
    timed_steps: int
    """DDIM steps of each generation that was timed."""
    batch: int
    """Images of each."""
    threads: int
    """Threads of the processor."""
    latent_products: float
    """Millions of multiplications for an image in latents, with the decoder."""
    pixel_products: float
    """Millions of multiplications for an image in pixels."""
    products_ratio: float
    """The first over the second."""
    latent_parameters: int
    """Parameters of the latent network."""
    pixel_parameters: int
    """Parameters of the pixel network."""
    autoencoder_parameters: int
    """Parameters of encoder and decoder."""


@dataclass(frozen=True)
class ArmFacts:
    """What texts and JSON files say of the samples of one network."""

    accuracy: float
    """Share of samples that are classified as the requested digit."""
    accuracy_interval: tuple[float, float]
    """Its 95% interval."""
    frechet: float
    """Fréchet distance to real digits in the classifier's features."""
    frechet_ratio: float
    """The same over that of other real digits."""
    frechet_ratio_half: float
    """Half the 95% interval of that ratio."""
    kid: float
    """KID of the same features, times 1000."""
    kid_half: float
    """Half its 95% interval."""
    trained: int
    """Training steps of the network."""
    core_minutes: float | None
    """Minutes of its training times threads of the processor, a latent network's with its autoencoder's; None where
    they are not known."""


@dataclass(frozen=True)
class LatentFacts:
    """What texts and JSON files say of generation in latents."""

    autoencoder: Annotated[AutoencoderFacts, FactGroup()]
    """Of the autoencoder."""
    walks: Annotated[WalkFacts, FactGroup()]
    """Of straight lines between digits."""
    cost: Annotated[CostFacts, FactGroup()]
    """Of what an image costs."""
    sample_count: int
    """Samples of each network."""
    sampled_steps: int
    """DDIM steps of each sample."""
    scale: float
    """Guidance scale of the samples."""
    compared: int
    """Images in each set that is compared."""
    frechet_real: float
    """Fréchet distance of other real digits."""
    latent: Annotated[ArmFacts, FactGroup("latent_")]
    """Samples in latents."""
    pixel: Annotated[ArmFacts, FactGroup("pixel_")]
    """Samples in pixels."""
    short: Annotated[ArmFacts | None, FactGroup("short_")]
    """Samples in pixels of the network that was trained shortly."""
    scales: tuple[float, ...]
    """(K,) by which the controls multiply every latent that the network is given; the first is 1."""
    scaled_count: int
    """Samples of each."""
    scaled_accuracy: tuple[float, ...]
    """(K,) share of them that are classified as requested."""
    scaled_frechet: tuple[float, ...]
    """(K,) Fréchet distance of so many samples to real digits."""
    classifier: str
    """First 8 digits of the classifier's SHA-256."""
    text_parameters: int | None
    """Parameters of the bundled text encoder; None where there is none."""


def facts(data: LatentStudy) -> LatentFacts:
    """Return the numbers that captions and tables are filled with."""
    quality = data.quality
    short, real = quality.short, quality.frechet_real
    return LatentFacts(
        autoencoder=_autoencoder_facts(data),
        walks=_walk_facts(data.walks),
        cost=_cost_facts(data.cost),
        sample_count=len(quality.latent.right),
        sampled_steps=quality.sampler_steps,
        scale=quality.guidance_scale,
        compared=quality.compared,
        frechet_real=real,
        latent=arm_facts(quality.latent, real),
        pixel=arm_facts(quality.pixel, real),
        short=None if short is None else arm_facts(short, real),
        scales=tuple(quality.scales.tolist()),
        scaled_count=len(quality.scaled[0].right),
        scaled_accuracy=tuple(float(one.right.mean()) for one in quality.scaled),
        scaled_frechet=tuple(one.frechet for one in quality.scaled),
        classifier=quality.classifier_sha256[:8],
        text_parameters=data.text_parameters,
    )


def _autoencoder_facts(data: LatentStudy) -> AutoencoderFacts:
    made, channels = data.reconstruction, data.channels
    near = channels.near
    return AutoencoderFacts(
        latent_shape=" × ".join(map(str, made.latents.shape[1:])),
        latent_numbers=int(np.prod(made.latents.shape[1:])),
        pixel_numbers=int(np.prod(made.images.shape[1:])),
        kl_weight=data.kl_weight,
        digit_count=len(made.right),
        digit_accuracy=float(made.right.mean()),
        decoded_accuracy=float(made.decoded_right.mean()),
        decoded_interval=share(made.decoded_right).interval,
        rms_error=float(np.sqrt(made.squared_error.mean())),
        deviations=tuple(made.channel_deviation.tolist()),
        channel_count=len(channels.whole_right),
        whole_accuracy=float(channels.whole_right.mean()),
        without_accuracy=tuple(channels.without_right.mean(axis=1).tolist()),
        moved_count=len(near),
        near=float(near.mean()),
        near_half=float(half_of_mean(near)),
        near_area=channels.near_area,
    )


def _walk_facts(walks: Walks) -> WalkFacts:
    return WalkFacts(
        walk_count=len(walks.latent_sure),
        walk_sure=SURE,
        walk_latent=float(walks.latent_sure.mean()),
        walk_pixel=float(walks.pixel_sure.mean()),
        walk_ends=float(walks.end_sure.mean()),
        walk_latent_either=float(walks.latent_ends.mean()),
        walk_pixel_either=float(walks.pixel_ends.mean()),
    )


def _cost_facts(cost: Cost) -> CostFacts:
    latent_products, pixel_products = image_products(cost)
    return CostFacts(
        latent_ms=1000 * float(np.median(cost.latent_seconds)),
        pixel_ms=1000 * float(np.median(cost.pixel_seconds)),
        latent_ms_range=_range(1000 * cost.latent_seconds),
        pixel_ms_range=_range(1000 * cost.pixel_seconds),
        time_ratio=float(np.median(cost.ratio)),
        time_ratio_range=_range(cost.ratio),
        rounds=len(cost.ratio),
        timed_steps=cost.steps,
        batch=cost.batch,
        threads=cost.threads,
        latent_products=latent_products / 1e6,
        pixel_products=pixel_products / 1e6,
        products_ratio=latent_products / pixel_products,
        latent_parameters=cost.latent_parameters,
        pixel_parameters=cost.pixel_parameters,
        autoencoder_parameters=cost.encoder_parameters + cost.decoder_parameters,
    )


def arm_facts(arm: SampleQuality, real: float) -> ArmFacts:
    """Return the numbers of one network's samples; ``real`` is the Fréchet distance of other real digits."""
    right = share(arm.right)
    return ArmFacts(
        right.value,
        right.interval,
        arm.frechet,
        frechet_ratio=1 + arm.excess / real,
        frechet_ratio_half=arm.excess_half / real,
        kid=arm.kid,
        kid_half=arm.kid_half,
        trained=arm.steps,
        core_minutes=core_minutes(arm),
    )


def core_minutes(arm: SampleQuality) -> float | None:
    """Return the minutes of a network's training times its threads; None where they are not known."""
    return None if arm.seconds is None or arm.threads is None else arm.seconds * arm.threads / 60


def image_products(cost: Cost) -> tuple[int, int]:
    """Return the multiplications for an image in latents, with the decoder, and in pixels."""
    return cost.steps * cost.latent_products + cost.decoder_products, cost.steps * cost.pixel_products


def share(hits: NDArray[np.bool_]) -> Share:
    """Return the share of (N,) hits."""
    return Share(int(hits.sum()), len(hits))


def _range(values: NDArray[np.float64]) -> tuple[float, float]:
    return float(values.min()), float(values.max())
