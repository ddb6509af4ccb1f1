"""The inputs that a network gets at each step of a generation. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class NetworkInputs:
    """What a network gets at each of S steps of one generation."""

    labels: tuple[int | None, ...]
    """(S,) the label; None for the null label."""
    timesteps: tuple[int, ...]
    """(S,) t."""
    guidance: tuple[float, ...]
    """(S,) the guidance scale; 1 where both halves of the batch get the label."""
