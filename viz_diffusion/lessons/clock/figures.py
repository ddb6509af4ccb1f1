"""Samples with right and wrong timesteps and without, and how well t can be estimated from the border.

Knows nothing about how anything was measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from viz_diffusion.plots import raster, theme
from viz_diffusion.plots.panels import AxisScale, Curve, draw_curves
from viz_diffusion.plots.theme import Array

SHOWN = 5
"""Samples of each arm and sampler that are drawn."""
_GAP, _NUMBER = 8, 220
"""Distances between samples, and between numbers, in page pixels."""
_SAMPLERS = ("DDIM, no noise added", "DDIM, noise added (η = 1)")
_WRONG = ("always T/2", "reversed", "shuffled")
_SHARES = "Percentages: of {samples} samples, the share that a classifier assigns to the requested digit"


@dataclass(frozen=True, eq=False)
class ArmPictures:
    """Samples of A arms by S samplers, and how many of them are classified as the requested digit."""

    images: Array
    """(S, A, K, H, W) float, -1 to 1; the first :data:`SHOWN` are drawn."""
    samples: int
    """M, how many were classified."""
    read: Array | None
    """(S, A) int, of M; None where there is no classifier."""
    read_smoothed: Array | None
    """(S, A) int: the same after a 3 × 3 mean and a contrast stretch."""


def draw_wrong_clock(arms: ArmPictures) -> Figure:
    """Draw a row for the right timestep, for each wrong one everywhere, and for each in the embedding only.

    Next to each row are the shares that are classified as the requested digit, as they are and denoised.
    """
    groups = [("", ("right timestep",)), ("Wrong timestep everywhere", _WRONG)]
    if arms.images.shape[1] > 4:
        groups.append(("Wrong timestep in the embedding only", _WRONG))
    with theme.use_theme():
        figure = theme.new_figure("One network, the same noise, right and wrong timesteps")
        numbers = _counted({"as is": arms.read, "denoised": arms.read_smoothed})
        _draw_groups(figure, (580, 325, 5, 155), groups, arms, numbers)
        if arms.read is not None:
            note = (
                f"{_SHARES.format(samples=arms.samples)},\nas they are, and after a 3 × 3 mean and a contrast stretch"
            )
            theme.write(figure, 90, 1758, note, color=theme.MUTED, ha="left", linespacing=1.3)
        return figure


def draw_no_clock(arms: ArmPictures) -> Figure:
    """Draw two rows for the network without timesteps and two for its twin: t from the sampler and from the border."""
    rows = ("timestep of\nthe sampler", "estimated\nfrom the border")
    groups = [("Network without timesteps", rows), ("Its twin with timesteps, trained equally", rows)]
    with theme.use_theme():
        figure = theme.new_figure("A network without timesteps, and the timestep of the sampler")
        _draw_groups(figure, (630, 360, 7, 245), groups, arms, _counted({"": arms.read}))
        theme.write(figure, 90, 1740, _SHARES.format(samples=arms.samples), color=theme.MUTED, ha="left")
        return figure


def _counted(numbers: Mapping[str, Array | None]) -> dict[str, Array]:
    return {name: hits for name, hits in numbers.items() if hits is not None}


def _draw_groups(
    figure: Figure,
    layout: tuple[int, int, int, int],
    groups: Sequence[tuple[str, Sequence[str]]],
    arms: ArmPictures,
    numbers: Mapping[str, Array],
) -> None:
    """Draw the arms in order: a heading for each group, a row for each of its arms, a block for each sampler.

    Parameters
    ----------
    layout
        Left and top of the first sample, page pixels of one of its pixels, and the distance of two rows.
    numbers
        By the name of their column, (S, A) counts; drawn as shares.
    """
    left, top, factor, pitch = layout
    size = arms.images.shape[-1] * factor
    step = size + _GAP
    block = SHOWN * step + _NUMBER * max(1, len(numbers)) + 60
    for s, sampler in enumerate(_SAMPLERS):
        theme.write(figure, left + s * block + (SHOWN * step - _GAP) / 2, top - 100, sampler, 20)
        for column, name in enumerate(numbers):
            x = left + s * block + SHOWN * step + (column + 0.5) * _NUMBER
            theme.write(figure, x, top - 24, name, color=theme.MUTED)
    y, arm = top, 0
    for heading, rows in groups:
        if heading:
            theme.write(figure, 90, y + 56, heading, 22, ha="left")
            y += 84
        for name in rows:
            theme.write(figure, left - 40, y + size / 2, name, 20, ha="right", va="center")
            for s in range(len(_SAMPLERS)):
                x = left + s * block
                for k, image in enumerate(arms.images[s, arm, :SHOWN]):
                    raster.place_digit(figure, x + k * step, y, factor, image)
                for column, hits in enumerate(numbers.values()):
                    share, place = hits[s, arm] / arms.samples, SHOWN * step + (column + 0.5) * _NUMBER
                    theme.write(figure, x + place, y + size / 2, f"{share:.0%}", 20, va="center")
            y, arm = y + pitch, arm + 1


def draw_border_clock(timesteps: Array, error: Array, bound: Array, last: int) -> Figure:
    """Draw the RMS error of t estimated from the border (dots) and the bound on it at every t (line)."""
    with theme.use_theme():
        figure = theme.new_figure("How well black border pixels tell the timestep")
        high = float(max(error.max(), bound[timesteps].max())) * 1.15
        shown = np.flatnonzero(bound <= high)
        ticks = tuple(tick for tick in (0.0, 50.0, 100.0, 150.0, 200.0, 300.0, 400.0) if tick <= high)
        curves = (
            Curve(shown, bound[shown], "bound for an\nunbiased estimate", colour=theme.MUTED, style="--", weight=3.5),
            Curve(timesteps, error, "most likely t", style="o", weight=7),
        )
        x = AxisScale(0, last, tuple(float(t) for t in (*timesteps, last)), "timestep t")
        y = AxisScale(0, high, ticks, "RMS error of the estimated timestep")
        draw_curves(figure, (330, 300, 2080, 1200), curves, x, y)
        return figure
