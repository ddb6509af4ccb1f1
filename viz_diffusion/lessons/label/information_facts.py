"""What texts and JSON files say of the information in the label."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class InformationFacts:
    """What texts and JSON files say of the information in the label, at K timesteps."""

    worth_count: int
    """Images for the bits."""
    worth_timesteps: tuple[int, ...]
    """(K,) falling."""
    worth_bits: tuple[float, ...]
    """(K,) bits that the label saves the denoiser down to this t."""
    worth_bits_ideal: tuple[float, ...]
    """(K,) bits of the label that the ideal denoiser knows at this t."""
    bits_total: float
    """The last of ``worth_bits``."""
    bits_total_interval: float
    """Half its 95% interval."""
    bits_total_direct: float
    """The same from the gain in squared error."""
    bits_total_direct_interval: float
    """Half its 95% interval."""
    estimates_apart: float
    """``bits_total`` minus ``bits_total_direct``."""
    estimates_apart_interval: float
    """Half its 95% interval, image by image."""
    bits_excess: float
    """``bits_total`` minus ``bits_ideal``: what is saved beyond what the label holds."""
    bits_excess_interval: float
    """Half its 95% interval."""
    excess_t: int
    """The largest t at which predictions are mixed."""
    excess_before: float
    """The part of ``bits_excess`` down to the timestep before ``excess_t``."""
    mixed_bits: float
    """Bits by which the mixture of the predictions under all labels is better than the prediction without a label."""
    mixed_bits_interval: float
    """Half its 95% interval."""
    mixed_share: float
    """Its share of all bits that are saved after the timestep before ``excess_t``."""
    bits_ideal: float
    """The last of ``worth_bits_ideal``: what the label holds."""
    bits_entropy: float
    """Entropy of the labels, bits."""
    half_bits: float
    """Half of what the label holds, bits."""
    half_t: int
    """The t down to which the network saves so much."""
    half_t_interval: int
    """Half its 95% interval."""
    half_t_ideal: int
    """The t of the ideal denoiser."""
    half_t_ideal_interval: int
    """Half its 95% interval."""
    worth_last_t: int
    """The last of ``worth_timesteps``."""
    read_hits: int
    """Held-out digits that the denoiser classifies correctly."""
    read_count: int
    """Held-out digits that it classifies."""
    read_low: float
    """Lower end of the 95% interval of the share."""
    read_high: float
    """Upper end of it."""
    read_questions: int
    """Draws of (t, ε) for each digit, under each label."""
