"""The numbers that texts and JSON files say of latent diffusion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from viz_diffusion.lessons.facts import FactGroup


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
    time_ratio_interval: tuple[float, float]
    """Its 95% interval, from the rounds in order."""
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
    work: float
    """Multiplications of its training in 10¹², of a network in latents with those of its autoencoder."""
    core_minutes: float | None
    """Minutes of its training times threads of the processor, a latent network's with its autoencoder's; None where
    they are not known."""


@dataclass(frozen=True)
class MapFacts:
    """What texts and JSON files say of a network in latents of two numbers, and of F states of its paths."""

    map_digit: int
    """Label of the path whose states are decoded in the figure."""
    map_steps: int
    """DDIM steps of each path."""
    map_noises: int
    """Noises from each of which a path of every label was generated."""
    map_paths: int
    """All of these paths."""
    map_decoded: float
    """Share of reconstructed test digits that are classified as their labels."""
    map_decoded_interval: tuple[float, float]
    """Its 95% interval."""
    map_outside: float
    """Share of test digits that lie beyond the edge of the map."""
    map_ends: float
    """Share of paths that end in the region of their label: of generated digits that are classified as requested."""
    map_ends_half: float
    """Half its 95% interval, from the means of the noises."""
    map_labels: tuple[float, ...]
    """(L,) the same of each label."""
    map_label_intervals: tuple[tuple[float, float], ...]
    """(L,) their 95% intervals."""
    map_lowest: int
    """The label with the smallest share."""
    map_lowest_share: float
    """Its share."""
    map_lowest_interval: tuple[float, float]
    """Its 95% interval."""
    map_highest: int
    """The label with the largest share."""
    map_highest_share: float
    """Its share."""
    map_highest_interval: tuple[float, float]
    """Its 95% interval."""
    map_shuffled: float
    """Share of paths from the same noises, but of other labels, that end in the region of a label."""
    map_shuffled_half: float
    """Half its 95% interval."""
    map_left: tuple[int, ...]
    """(F,) steps left at the states that were decoded."""
    map_inside: tuple[float, ...]
    """(F,) share of states in the region of their label."""


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
    joint_text_parameters: int
    """Parameters of the text encoder of the bundled run in latents with prompts; 0 where there is none."""
    joint_parameters: int
    """Of its denoiser."""
    joint_autoencoder_parameters: int
    """Of its autoencoder."""
    map: Annotated[MapFacts | None, FactGroup()]
    """Of a network in latents of two numbers."""
