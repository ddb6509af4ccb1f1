"""Samples with right and wrong timesteps and without, and how well t can be estimated from the border.

Knows nothing about how anything was measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from viz_diffusion.plots import raster, theme
from viz_diffusion.plots.panels import AxisScale, Curve, draw_curves, write_notes
from viz_diffusion.plots.theme import Array
from viz_diffusion.plots.words import FigureWords, figure_words

_SAMPLERS = ("row_ddim", "row_eta_1")
_WRONG = ("half", "reversed", "shuffled")
_ROWS = ("sampler", "border")
"""Names of the arms, in the sequence of the samples; keys of the catalogue."""
_LEFT, _TOP, _GAP, _LINE = 430, 510, 8, 76
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
    chance: float
    """The share that a classifier would get right that always says the same."""
    steps: int
    """Denoising steps of each sample."""
    T: int
    """Timesteps of the training."""


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
    below = _LINE * len(numbers) + 26
    factor = int(min(pitch - 24, (1564 - _TOP) / len(_SAMPLERS) - below) - _GAP) // (2 * side)
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
                head = words(key, half=arms.T // 2, last=arms.T - 1)
                theme.write(figure, middle, _TOP - 92, head, va="center", linespacing=1.2)
                for s in range(len(_SAMPLERS)):
                    top = _TOP + s * (size + below)
                    _place_square(figure, middle - size / 2, top, factor, arms.images[s, arm])
                    for row, hits in enumerate(numbers.values()):
                        share = theme.percent(hits[s, arm] / arms.samples)
                        theme.write(figure, middle, top + size + 68 + _LINE * row, share, 22)
                arm += 1
        for s, sampler in enumerate(_SAMPLERS):
            top = _TOP + s * (size + below)
            theme.write(figure, 90, top + size / 2, words(sampler), ha="left", va="center", linespacing=1.3)
            for row, key in enumerate(numbers):
                theme.write(figure, 90, top + size + 68 + _LINE * row, words(key), ha="left", color=theme.MUTED)
        shares = words("shares", samples=arms.samples, chance=theme.percent(arms.chance)) if numbers else ""
        write_notes(figure, shares, words("notes") if numbers else "", words("same", steps=arms.steps))
        return figure


def _place_square(figure: Figure, left: float, top: float, factor: int, images: Array) -> None:
    """Place the first four samples, two in a row."""
    step = images.shape[-1] * factor + _GAP
    for place, image in enumerate(images[:4]):
        raster.place_digit(figure, left + place % 2 * step, top + place // 2 * step, factor, image)


@dataclass(frozen=True, eq=False)
class BorderEstimates:
    """Estimates of t from the border, at K timesteps."""

    timesteps: Array
    """(K,) int, rising."""
    error: Array
    """(K,) float: RMS error."""
    at_end: Array
    """(K,) float: share of the estimates that are T-1, the largest t."""
    bound: Array
    """(T,) float: the smallest error of an unbiased estimate, at every t."""
    count: int
    """Estimates at each timestep."""
    black: Array
    """(H, W) bool: the pixels of the border."""
    image: Array
    """(H, W) float, -1 to 1: a sample, to show the border on."""


def draw_border_clock(found: BorderEstimates) -> Figure:
    """Draw the RMS error of t estimated from the border (dots), the bound on it (line), and where the border is."""
    with theme.use_theme():
        words = figure_words("border_clock")
        figure = theme.new_figure(words("title"))
        timesteps, error, bound = found.timesteps, found.error, found.bound
        high = float(max(error.max(), bound[timesteps].max())) * 1.15
        last = int(min(len(bound) - 1, round(1.08 * timesteps[-1])))
        shown = np.flatnonzero(bound[: last + 1] <= high)
        ticks = tuple(tick for tick in (0.0, 50.0, 100.0, 150.0, 200.0, 300.0, 400.0) if tick <= high)
        curves = (
            Curve(shown, bound[shown], colour=theme.MUTED, style="--", weight=3.5),
            Curve(timesteps, error, style="o", weight=7),
        )
        box = (330, 360, 1620, 1150)
        x = AxisScale(0, last, tuple(float(t) for t in timesteps))
        axes = draw_curves(figure, box, curves, x, AxisScale(0, high, ticks, words("vertical")))
        theme.write(figure, box[0] + box[2] / 2, 1690, words("t_noise"), 22)
        middle = (ticks[-2] + ticks[-1]) / 2 if len(ticks) > 1 else 0.72 * high  # between two of the axis' lines
        at = shown[np.argmin(np.abs(bound[shown] - ticks[-2]))] if len(ticks) > 1 else last
        style: dict[str, Any] = {"fontsize": theme.TEXT_SIZE, "linespacing": 1.2, "va": "center", "color": theme.MUTED}
        axes.annotate(words("bound"), (at, middle), (-30, 0), textcoords="offset points", ha="right", **style)
        _explain_border(figure, words, found)
        return figure


def _explain_border(figure: Figure, words: FigureWords, found: BorderEstimates) -> None:
    """Say at the right what a dot is and, where it is so, why it lies below the bound; draw the border beneath."""
    left, last = 2040, len(found.bound) - 1
    style: dict[str, Any] = {"ha": "left", "va": "top", "linespacing": 1.2}
    theme.write(figure, left, 350, words("estimate"), color=theme.PURPLE, **style)
    theme.write(figure, left, 516, words("count", count=found.count), color=theme.PURPLE, **style)
    if found.error[-1] < found.bound[found.timesteps[-1]] and found.at_end[-1] > 0:
        share = theme.percent(float(found.at_end[-1]))
        theme.write(figure, left, 640, words("limited", share=share, last=last), color=theme.MUTED, **style)
    factor = max(1, 560 // found.image.shape[-1])
    raster.place_digit(figure, left, 930, factor, found.image)
    size = factor * found.image.shape[-1]
    page = theme.page_axes(figure)
    page.set_zorder(10)
    for row, column in np.argwhere(found.black):
        corner = (left + column * factor, 930 + row * factor)
        page.add_patch(Rectangle(corner, factor, factor, fc=theme.ORANGE, ec=theme.INK, lw=0.5))
    pixels = words("pixels", pixels=int(found.black.sum()))
    theme.write(figure, left, 930 + size + 30, pixels, color=theme.ORANGE, **style)
