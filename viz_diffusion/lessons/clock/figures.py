"""Samples with right and wrong timesteps and without, and how well t can be estimated from the border.

Knows nothing about how anything was measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from viz_diffusion.plots import raster, theme
from viz_diffusion.plots.panels import AxisScale, Curve, draw_curves
from viz_diffusion.plots.theme import Array
from viz_diffusion.plots.words import figure_words

_SAMPLERS = ("ddim", "eta_1")
_WRONG = ("half", "reversed", "shuffled")
_ROWS = ("sampler", "border")
"""Names of the arms, in the sequence of the samples; keys of the catalogue."""
_LEFT, _TOP, _GAP, _LINE = 430, 510, 8, 88
"""Left and top of the first samples, the distance between two, and the height of a line, in page pixels."""


@dataclass(frozen=True, eq=False)
class ArmPictures:
    """Samples of A arms by S samplers, and how many of them are classified as the requested digit."""

    images: Array
    """(S, A, K, H, W) float, -1 to 1; the first four of each are drawn, in a square."""
    samples: int
    """M, how many were classified."""
    read: Array | None
    """(S, A) int, of M; None where there is no classifier."""
    read_smoothed: Array | None
    """(S, A) int: the same after a 3 × 3 mean and a contrast stretch."""


def draw_wrong_clock(arms: ArmPictures) -> Figure:
    """Draw a column for the right timestep, for each wrong one everywhere, and for each in the embedding only.

    Beneath each are the shares that are classified as the requested digit, as they are and filtered.
    """
    groups = [("", ("right",)), ("everywhere", _WRONG)]
    if arms.images.shape[1] > 4:
        groups.append(("embedding", _WRONG))
    return _draw_groups("wrong_clock", groups, arms, {"as_is": arms.read, "filtered": arms.read_smoothed})


def draw_no_clock(arms: ArmPictures) -> Figure:
    """Draw two columns for the network without timesteps and two for its twin: t from the sampler and the border."""
    groups = [("without", _ROWS), ("twin", _ROWS)]
    return _draw_groups("no_clock", groups, arms, {"accuracy": arms.read})


def _draw_groups(
    name: str, groups: Sequence[tuple[str, Sequence[str]]], arms: ArmPictures, counted: Mapping[str, Array | None]
) -> Figure:
    """Draw the arms in sequence as columns, a heading over each group, and a row of samples for each sampler.

    ``counted`` are (S, A) counts by their name in the catalogue, drawn as shares beneath the samples; None for none.
    """
    numbers = {key: hits for key, hits in counted.items() if hits is not None}
    columns, side = arms.images.shape[1], arms.images.shape[-1]
    apart, right = 40, 3140
    pitch = (right - _LEFT - apart * (len(groups) - 1)) / columns
    below = _LINE * len(numbers) + 70
    factor = int(min(pitch - 24, (1700 - _TOP) / len(_SAMPLERS) - below) - _GAP) // (2 * side)
    size = 2 * side * factor + _GAP
    with theme.use_theme():
        words = figure_words(name)
        figure = theme.new_figure(words("title"))
        page = theme.page_axes(figure)
        arm = 0
        for place, (group, names) in enumerate(groups):
            left = _LEFT + place * apart + arm * pitch
            if group:
                end = left + len(names) * pitch
                theme.write(figure, (left + end) / 2, _TOP - 260, words(group), 20, va="center", linespacing=1.2)
                page.plot([left + 16, end - 16], [_TOP - 172] * 2, color=theme.FAINT, lw=3)
            for key in names:
                middle = _LEFT + place * apart + (arm + 0.5) * pitch
                theme.write(figure, middle, _TOP - 92, words(key), va="center", linespacing=1.2)
                for s in range(len(_SAMPLERS)):
                    top = _TOP + s * (size + below)
                    _place_square(figure, middle - size / 2, top, factor, arms.images[s, arm])
                    for row, hits in enumerate(numbers.values()):
                        share = theme.percent(hits[s, arm] / arms.samples)
                        theme.write(figure, middle, top + size + 80 + _LINE * row, share, 22)
                arm += 1
        for s, sampler in enumerate(_SAMPLERS):
            top = _TOP + s * (size + below)
            theme.write(figure, 90, top + size / 2, words(sampler), ha="left", va="center", linespacing=1.3)
            for row, key in enumerate(numbers):
                theme.write(figure, 90, top + size + 80 + _LINE * row, words(key), ha="left", color=theme.MUTED)
        if numbers:
            theme.write(figure, 90, 1752, words("shares", samples=arms.samples), color=theme.MUTED, ha="left")
        return figure


def _place_square(figure: Figure, left: float, top: float, factor: int, images: Array) -> None:
    """Place the first four samples, two in a row."""
    step = images.shape[-1] * factor + _GAP
    for place, image in enumerate(images[:4]):
        raster.place_digit(figure, left + place % 2 * step, top + place // 2 * step, factor, image)


def draw_border_clock(timesteps: Array, error: Array, bound: Array, last: int) -> Figure:
    """Draw the RMS error of t estimated from the border (dots) and the bound on it at every t (line)."""
    with theme.use_theme():
        words = figure_words("border_clock")
        figure = theme.new_figure(words("title"))
        high = float(max(error.max(), bound[timesteps].max())) * 1.15
        shown = np.flatnonzero(bound <= high)
        ticks = tuple(tick for tick in (0.0, 50.0, 100.0, 150.0, 200.0, 300.0, 400.0) if tick <= high)
        curves = (
            Curve(shown, bound[shown], colour=theme.MUTED, style="--", weight=3.5),
            Curve(timesteps, error, style="o", weight=7),
        )
        box = (330, 330, 2440, 1180)
        x = AxisScale(0, last, tuple(float(t) for t in (*timesteps, last)))
        axes = draw_curves(figure, box, curves, x, AxisScale(0, high, ticks, words("vertical")))
        theme.write(figure, box[0] + box[2] / 2, 1690, words("timestep"), 22)
        style: dict[str, Any] = {"fontsize": 20, "linespacing": 1.3, "textcoords": "offset points", "va": "center"}
        style["bbox"] = {"fc": theme.PAPER, "ec": "none", "pad": 4}
        middle = shown[np.argmin(np.abs(bound[shown] - 0.72 * high))]
        place = (float(middle), float(bound[middle]))
        axes.annotate(words("bound"), place, (-24, 0), ha="right", color=theme.MUTED, **style)
        place = (float(timesteps[-1]), float(error[-1]))
        axes.annotate(words("estimate"), place, (24, -16), color=theme.PURPLE, annotation_clip=False, **style)
        return figure
