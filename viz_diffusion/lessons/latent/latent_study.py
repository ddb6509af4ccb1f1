"""What was measured of latent diffusion, and its facts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from viz_diffusion.evaluation.intervals import Share, half_of_mean
from viz_diffusion.lessons.latent.cost import Cost
from viz_diffusion.lessons.latent.joint_run import joint_sizes
from viz_diffusion.lessons.latent.latent_facts import (
    ArmFacts,
    AutoencoderFacts,
    CostFacts,
    LatentFacts,
    MapFacts,
    WalkFacts,
)
from viz_diffusion.lessons.latent.latent_map import STEPS, LatentMap
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
    plane: LatentMap | None
    """Of a network in latents of two numbers; None where none comes with the package."""

    @property
    def plane_sha256(self) -> str | None:
        """Of that network's weights."""
        return None if self.plane is None else self.plane.sha256


def facts(data: LatentStudy) -> LatentFacts:
    """Return the numbers that captions and tables are filled with."""
    quality, joint = data.quality, joint_sizes()
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
        joint_text_parameters=0 if joint is None else joint.text_encoder,
        joint_parameters=0 if joint is None else joint.denoiser,
        joint_autoencoder_parameters=0 if joint is None else joint.autoencoder,
        map=None if data.plane is None else _map_facts(data.plane),
    )


def _map_facts(plane: LatentMap) -> MapFacts:
    ends, shuffled = plane.inside[-1], plane.shuffled
    labels = [share(hits) for hits in ends]
    lowest, highest = int(ends.mean(axis=1).argmin()), int(ends.mean(axis=1).argmax())
    return MapFacts(
        map_digit=plane.digit,
        map_steps=STEPS,
        map_noises=ends.shape[1],
        map_paths=ends.size,
        map_decoded=float(plane.right.mean()),
        map_decoded_interval=share(plane.right).interval,
        map_outside=plane.outside,
        map_ends=float(ends.mean()),
        map_ends_half=float(half_of_mean(ends.mean(axis=0))),
        map_labels=tuple(one.value for one in labels),
        map_label_intervals=tuple(one.interval for one in labels),
        map_lowest=lowest,
        map_lowest_share=labels[lowest].value,
        map_lowest_interval=labels[lowest].interval,
        map_highest=highest,
        map_highest_share=labels[highest].value,
        map_highest_interval=labels[highest].interval,
        map_shuffled=float(shuffled.mean()),
        map_shuffled_half=float(half_of_mean(shuffled.mean(axis=0))),
        map_left=tuple(plane.steps_left.tolist()),
        map_inside=tuple(plane.inside.mean(axis=(1, 2)).tolist()),
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
        time_ratio_interval=cost.ratio_interval,
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
        work=arm.products / 1e12,
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
