"""Curves: the signal-to-noise ratio (SNR) of noise schedules over t, and the losses of a training run.

Measures and smooths nothing; all values are given.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

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
        words = figure_words("snr")
        figure = theme.new_figure(words("title"))
        left, right, top, bottom = 330, 3020, 300, 1180
        axes = theme.add_axes(figure, left, top, right - left, bottom - top)
        first, last = int(curve.timesteps[0]), int(curve.timesteps[-1])
        axes.set(xlim=(first, last), ylim=(SNR_LOW, SNR_HIGH))
        ticks = [-40.0, -20.0, 0.0, 20.0, 40.0]
        _frame(axes, ticks, [theme.number(tick) for tick in ticks])
        axes.axhline(0, color=theme.INK, lw=1.6, zorder=1.5)
        lines = ((curve.cosine_db, theme.MUTED, 2.0, "cosine"), (curve.snr_db, theme.PURPLE, 5.0, "model"))
        for values, colour, weight, name in lines:
            visible = np.where((values >= SNR_LOW) & (values <= SNR_HIGH), values, np.nan)
            axes.plot(curve.timesteps, visible, color=colour, lw=weight, clip_on=False)
            _key(axes, words(name), colour, weight, 0.93 if name == "model" else 0.83)
        theme.write(figure, 60, top - 66, words("vertical"), 20, ha="left")
        if curve.crossing is not None:
            axes.plot([curve.crossing], [0], "o", color=theme.ORANGE, ms=18, mec="white", mew=3, zorder=4)
            near = curve.crossing - first < 0.2 * (last - first)  # no room at the left of the dot
            axes.annotate(
                words("crossing", t=curve.crossing),
                (curve.crossing, 0),
                (26, 18) if near else (-22, -20),
                textcoords="offset points",
                fontsize=20,
                ha="left" if near else "right",
                va="bottom" if near else "top",
                linespacing=1.2,
            )
        _thumbnails(figure, curve, (left, right, bottom))
        return figure


def _key(axes: Axes, name: str, colour: str, weight: float, height: float) -> None:
    """Write the name of a line with a piece of it in the upper right corner, which falling lines leave free."""
    axes.plot([0.56, 0.6], [height, height], color=colour, lw=weight, transform=axes.transAxes)
    place: dict[str, Any] = {"ha": "left", "va": "center", "transform": axes.transAxes}
    axes.text(0.612, height, name, fontsize=20, color=colour, **place)


def _thumbnails(figure: Figure, curve: SnrCurve, box: tuple[int, int, int]) -> None:
    """Draw the noised digits beneath an axis at ``box`` (left, right, bottom), and name their timesteps."""
    left, right, bottom = box
    count, side = len(curve.thumbnail_timesteps), curve.thumbnails.shape[2]
    first, last = int(curve.timesteps[0]), int(curve.timesteps[-1])
    factor = max(1, min(252, int((right - left + 280) / max(1, count) - 24)) // side)
    xs = left + (curve.thumbnail_timesteps - first) / max(1, last - first) * (right - left)
    places = theme.spread(xs, side * factor + 30, left, right)
    strip = bottom + 110
    _leaders(figure, xs, places, bottom + 14, strip - 16)
    for place, t, image in zip(places, curve.thumbnail_timesteps, curve.thumbnails, strict=True):
        raster.place_digit(figure, place - side * factor / 2, strip, factor, image)
        theme.write(figure, place, strip + side * factor + 76, str(int(t)), 22)
    theme.write(figure, (left + right) / 2, strip + side * factor + 176, figure_words("snr")("t_noise"), 20)


def draw_loss(history: LossHistory) -> Figure:
    """Draw the losses over training steps, both axes logarithmic, and samples beneath at their training steps.

    The thin black line is the smoothed training loss, drawn over the faint unsmoothed one; the four coloured lines are
    the held-out loss by quarter of t. Each line is named at its end. What was measured before the first logged
    training step has no place on the axis.
    """
    with theme.use_theme():
        words = figure_words("loss")
        figure = theme.new_figure(words("title"))
        left, right, top = 330, 2440, 300
        count, rows, side = history.samples.shape[:3] if history.samples.size else (0, 0, 1)
        room = min((right - left + 200) / max(1, count) - 24, 560 / max(1, rows) - 8, 196)
        factor = max(1, int(room) // side)
        bottom = 1680 - (rows * (side * factor + 8) + 170 if count else 100)
        axes = theme.add_axes(figure, left, top, right - left, bottom - top)
        first, last = max(1, int(history.steps[0])), int(max(history.steps[-1], history.heldout_steps[-1]))
        losses = np.concatenate([history.train, history.heldout[history.heldout_steps >= first].ravel()])
        low, high = np.min(losses) / 1.15, np.max(losses) * 1.15
        axes.set(xscale="log", yscale="log", xlim=(first, max(last, first + 1)), ylim=(low, high))
        digits = (1, 2, 5) if 0.3 * (bottom - top) / np.log10(high / low) > 64 else (1,)
        ticks = [digit * 10.0**power for power in range(-6, 4) for digit in digits]
        ticks = [tick for tick in ticks if low <= tick <= high]
        _frame(axes, ticks, [theme.number(tick) for tick in ticks])
        axes.set_xticks([], minor=True)
        ends = _loss_lines(axes, history, first)
        heights = [bottom - np.log(value / low) / np.log(high / low) * (bottom - top) for value, _, _ in ends]
        page = theme.page_axes(figure)
        places = theme.spread(np.array(heights), 84, top, bottom - 30)
        for y, place, (_, name, colour) in zip(heights, places, ends, strict=True):
            page.plot([right + 16, right + 60], [y, place], color=colour, lw=3)
            theme.write(figure, right + 76, place, name, ha="left", va="center")
        theme.write(figure, 60, top - 66, words("vertical"), 20, ha="left")
        _number_steps(figure, (left, right, bottom), first, last)
        _samples(figure, history, factor, (left, right, bottom), (first, last))
        return figure


def _loss_lines(axes: Axes, history: LossHistory, first: int) -> list[tuple[float, str, str]]:
    """Draw every line; return the (last value, name, colour) of each, from the highest to the lowest."""
    words = figure_words("loss")
    axes.plot(history.steps, history.train, color=theme.FAINT, lw=1.2, zorder=1.5)
    axes.plot(history.steps, history.train_smooth, color=theme.INK, lw=2.4, zorder=3)
    ends = [(float(history.train_smooth[-1]), words("training"), theme.INK)]
    shown = history.heldout_steps >= first
    for column, colour in enumerate(theme.QUARTERS):
        axes.plot(history.heldout_steps[shown], history.heldout[shown, column], color=colour, lw=4.5, zorder=2.5)
        low, high = map(int, history.quarters[column])
        ends.append((float(history.heldout[-1, column]), words("heldout", first=low, last=high), colour))
    return sorted(ends, key=lambda end: -end[0])


def _on_axis(steps: Array, box: tuple[int, int, int], first: int, last: int) -> Array:
    """Return where training steps stand on the logarithmic axis of ``box``, in page pixels."""
    left, right, _ = box
    span = np.log(max(last, first + 1) / first)
    return np.asarray(left + np.log(np.maximum(steps, first) / first) / span * (right - left))


def _number_steps(figure: Figure, box: tuple[int, int, int], first: int, last: int) -> None:
    """Write powers of ten and the last step beneath the axis of training steps, and its name at the right."""
    powers = [10**power for power in range(8) if first <= 10**power <= last / 2]
    shown = np.array([*powers, last])
    page = theme.page_axes(figure)
    for step, x in zip(shown.tolist(), _on_axis(shown, box, first, last).tolist(), strict=True):
        page.plot([x, x], [box[2], box[2] + 12], color=theme.MUTED, lw=2)
        theme.write(figure, x, box[2] + 74, f"{step}", color=theme.MUTED)
    theme.write(figure, box[1] + 130, box[2] + 86, figure_words("loss")("training_step"), ha="left")


def _samples(
    figure: Figure, history: LossHistory, factor: int, box: tuple[int, int, int], ends: tuple[int, int]
) -> None:
    """Draw the samples beneath an axis at ``box`` (left, right, bottom) from its first to its last step."""
    if not history.samples.size:
        return
    left, right, bottom = box
    side, strip = factor * history.samples.shape[3], bottom + 170
    xs = _on_axis(history.sample_steps, box, *ends)
    places = theme.spread(xs, max(side + 24, 44 * len(str(ends[1]))), left, right)
    _leaders(figure, xs, places, bottom + 96, strip - 14)
    height = len(history.samples[0]) * (side + 8)
    name = figure_words("loss")("samples")
    theme.write(figure, places[0] - side / 2 - 50, strip + height / 2, name, ha="right", va="center", linespacing=1.2)
    for place, step, images in zip(places, history.sample_steps, history.samples, strict=True):
        for row, image in enumerate(images):
            raster.place_digit(figure, place - side / 2, strip + row * (side + 8), factor, image)
        theme.write(figure, place, strip + height + 66, str(int(step)))
