"""Curves: the signal-to-noise ratio (SNR) of noise schedules over t, and the losses of a training run.

Measures and smooths nothing; all values are given.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from viz_diffusion.errors import VizdiffInputError
from viz_diffusion.plots import raster, theme
from viz_diffusion.plots.theme import Array
from viz_diffusion.plots.words import figure_words

SNR_LOW, SNR_HIGH = -45.0, 40.0
"""Decibels: the range of the SNR axis."""


@dataclass(frozen=True, eq=False)
class SnrCurve:
    """The SNR of the schedule in use and of the cosine schedule, and a digit noised to some timesteps."""

    timesteps: Array
    """(T,) int, rising from 0."""
    snr_db: Array
    """(T,) float, decibels: 10 log10 SNR of the schedule in use."""
    cosine_db: Array
    """(T,) float, decibels: the same of the cosine schedule."""
    crossing: int | None
    """The first t whose SNR is below 1, or None."""
    thumbnails: Array
    """(M, H, W) float, or (M, H, W, 3), about [-3, 3]: an image noised to each of M timesteps; M is usually 6."""
    thumbnail_timesteps: Array
    """(M,) int, rising."""


@dataclass(frozen=True, eq=False)
class LossHistory:
    """The losses of one training run and samples drawn during it. All losses are mean squared errors of ε̂."""

    steps: Array
    """(S,) int, rising: training steps at which the training loss was logged."""
    train: Array
    """(S,) float, positive: the training loss of single batches."""
    train_smooth: Array
    """(S,) float, positive: the smoothed training loss."""
    heldout_steps: Array
    """(E,) int, rising: training steps at which the held-out loss was measured."""
    heldout: Array
    """(E, 4) float, positive: held-out loss by quarter of t."""
    quarters: Array
    """(4, 2) int: first and last t of each quarter."""
    sample_steps: Array
    """(M,) int, rising: training steps at which samples were drawn; may be empty."""
    samples: Array
    """(M, N, H, W) float, in [-1, 1]: N samples at each of them."""
    references: tuple[tuple[float, str], ...] = ()
    """(loss, symbol) of horizontal reference lines."""


def _leaders(figure: Figure, xs: Array, places: Array, top: float, bottom: float) -> None:
    """Draw hairlines from the axis at ``xs`` down to the thumbnails at ``places`` (page pixels)."""
    page = theme.page_axes(figure)
    knee = (top + bottom) / 2
    for x, place in zip(xs, places, strict=True):
        page.plot([x, x, place, place], [top, knee - 12, knee + 12, bottom], color=theme.MUTED, lw=1.4)


def _frame(axes: Axes, ticks: list[float], labels: list[str]) -> None:
    """Draw horizontal hairlines at the y ticks, and no frame."""
    axes.set_axis_on()
    axes.spines[:].set_visible(False)
    axes.patch.set_visible(False)
    axes.set_yticks(ticks, labels, fontsize=theme.TEXT_SIZE, color=theme.MUTED)
    axes.set_yticks([], minor=True)
    axes.set_xticks([])
    axes.tick_params(length=0, pad=14)
    axes.grid(axis="y", color=theme.FAINT, lw=1)
    axes.set_axisbelow(True)


def draw_snr(curve: SnrCurve) -> Figure:
    """Draw SNR in decibels over t, noise at the right, and beneath it the digit at some timesteps.

    Values outside -45 to 40 dB are not shown. A dot marks the crossing, labelled with its t.
    """
    count = len(curve.thumbnail_timesteps)
    if len(curve.thumbnails) != count:
        raise VizdiffInputError(f"{count} timesteps need as many thumbnails, found {len(curve.thumbnails)}")
    with theme.use_theme():
        figure = theme.new_figure()
        left, right, top, bottom = 300, 2900, 210, 1210
        axes = theme.add_axes(figure, left, top, right - left, bottom - top)
        first, last = int(curve.timesteps[0]), int(curve.timesteps[-1])
        axes.set(xlim=(first, last), ylim=(SNR_LOW, SNR_HIGH))
        ticks = [-40.0, -20.0, 0.0, 20.0, 40.0]
        _frame(axes, ticks, [theme.number(tick) for tick in ticks])
        axes.axhline(0, color=theme.INK, lw=1.6, zorder=1.5)
        for values, colour, weight in ((curve.cosine_db, theme.MUTED, 2), (curve.snr_db, theme.PURPLE, 5)):
            visible = np.where((values >= SNR_LOW) & (values <= SNR_HIGH), values, np.nan)
            axes.plot(curve.timesteps, visible, color=colour, lw=weight, clip_on=False)
        theme.write(figure, 60, top - 80, "SNR, dB", 20, ha="left")
        _end_label(axes, curve)
        if curve.crossing is not None:
            axes.plot([curve.crossing], [0], "o", color=theme.ORANGE, ms=18, mec="white", mew=3, zorder=4)
            axes.annotate(
                f"$t$ = {curve.crossing}",
                (curve.crossing, 0),
                (-26, -34),
                textcoords="offset points",
                fontsize=24,
                ha="right",
            )
        side = curve.thumbnails.shape[2]
        factor = max(1, min(10, int((right - left + 280) / max(1, count) - 24) // side))
        xs = left + (curve.thumbnail_timesteps - first) / max(1, last - first) * (right - left)
        places = theme.spread(xs, side * factor + 30, left, right)
        strip = 1320
        _leaders(figure, xs, places, bottom + 14, strip - 16)
        for place, t, image in zip(places, curve.thumbnail_timesteps, curve.thumbnails, strict=True):
            raster.place_digit(figure, place - side * factor / 2, strip, factor, image)
            theme.write(figure, place, strip + side * factor + 80, str(int(t)), 22)
        theme.write(figure, left - 190, strip + side * factor + 80, "$t$", 24)
        return figure


def _end_label(axes: Axes, curve: SnrCurve) -> None:
    """Label the cosine curve at the right, near the lower end of the axis."""
    height = float(np.clip(curve.cosine_db[-1 - len(curve.cosine_db) // 33], SNR_LOW + 4, SNR_HIGH))
    axes.annotate(
        "cos",
        (float(curve.timesteps[-1]), height),
        (14, 0),
        textcoords="offset points",
        fontsize=20,
        color=theme.MUTED,
        va="center",
        annotation_clip=False,
    )


def draw_loss(history: LossHistory) -> Figure:
    """Draw the losses over training steps (log scale), and samples beneath at their training steps.

    The thin black line is the smoothed training loss, drawn over the faint unsmoothed one; the four coloured lines are
    the held-out loss by quarter of t. Each line is labelled at its end with the t it covers.
    """
    with theme.use_theme():
        figure = theme.new_figure()
        left, right, top = 300, 2640, 200
        count, rows, side = history.samples.shape[:3] if history.samples.size else (0, 0, 1)
        room = min((right - left + 200) / max(1, count) - 24, 600 / max(1, rows) - 8, 224)
        factor = max(1, int(room) // side)
        bottom = 1640 - (rows * (side * factor + 8) + 90 if count else 0)
        axes = theme.add_axes(figure, left, top, right - left, bottom - top)
        last = int(max(history.steps[-1], history.heldout_steps[-1]))
        references = np.array([value for value, _ in history.references])
        losses = np.concatenate([history.train, history.heldout.ravel(), references])
        low, high = np.min(losses) / 1.15, np.max(losses) * 1.15
        axes.set(yscale="log", xlim=(0, last), ylim=(low, high))
        ticks = [digit * 10.0**power for power in range(-6, 4) for digit in (1, 2, 5)]
        ticks = [tick for tick in ticks if low <= tick <= high]
        _frame(axes, ticks, [theme.number(tick) for tick in ticks])
        ends = _loss_lines(axes, history)
        heights = [bottom - np.log(value / low) / np.log(high / low) * (bottom - top) for value, _, _ in ends]
        page = theme.page_axes(figure)
        places = theme.spread(np.array(heights), 78, top, bottom)
        for y, place, (_, name, colour) in zip(heights, places, ends, strict=True):
            page.plot([right + 16, right + 60], [y, place], color=colour, lw=3)
            theme.write(figure, right + 76, place, name, ha="left", va="center")
        theme.write(figure, 60, top - 80, theme.MEAN_SQUARE, 26, ha="left")
        _samples(figure, history, factor, (left, right, bottom), last)
        return figure


def _loss_lines(axes: Axes, history: LossHistory) -> list[tuple[float, str, str]]:
    """Draw every line; return the (last value, name, colour) of each, from the highest to the lowest."""
    axes.plot(history.steps, history.train, color=theme.FAINT, lw=1.2, zorder=1.5)
    axes.plot(history.steps, history.train_smooth, color=theme.INK, lw=2.4, zorder=3)
    ends = [(float(history.train_smooth[-1]), _span(history.quarters[0, 0], history.quarters[-1, 1]), theme.INK)]
    for column, colour in enumerate(theme.QUARTERS):
        axes.plot(history.heldout_steps, history.heldout[:, column], color=colour, lw=4.5, zorder=2.5)
        ends.append((float(history.heldout[-1, column]), _span(*history.quarters[column]), colour))
    for value, symbol in history.references:
        axes.axhline(value, color=theme.MUTED, lw=2, ls=(0, (1, 2.5)), zorder=1.6)
        ends.append((value, symbol, theme.MUTED))
    return sorted(ends, key=lambda end: -end[0])


def _span(first: int, last: int) -> str:
    """Return the label of the timesteps from ``first`` to ``last``."""
    return f"$t$ {int(first)}–{int(last)}"


def _samples(figure: Figure, history: LossHistory, factor: int, box: tuple[int, int, int], last: int) -> None:
    """Draw the samples beneath an axis at ``box`` (left, right, bottom); without samples, number the axis."""
    left, right, bottom = box
    if not history.samples.size:
        theme.write(figure, (left + right) / 2, bottom + 140, figure_words("loss")("training_step"))
        for step in (0, last // 2, last):
            theme.write(figure, left + step / last * (right - left), bottom + 76, str(step))
        return
    side, strip = factor * history.samples.shape[3], bottom + 90
    theme.write(figure, (left + right) / 2, 1780, figure_words("loss")("training_step"))
    xs = left + history.sample_steps / last * (right - left)
    places = theme.spread(xs, max(side + 24, 44 * len(str(last))), left, right)
    _leaders(figure, xs, places, bottom + 14, strip - 14)
    for place, step, images in zip(places, history.sample_steps, history.samples, strict=True):
        for row, image in enumerate(images):
            raster.place_digit(figure, place - side / 2, strip + row * (side + 8), factor, image)
        theme.write(figure, place, 1715, str(int(step)))
