"""The loss over t, compared with the best denoisers of Gaussian data, by digit, and the bits over t.

Knows nothing about how a loss was measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from viz_diffusion.plots import theme
from viz_diffusion.plots.class_names import label_text
from viz_diffusion.plots.panels import AxisScale, Curve, draw_curves, draw_table, write_key, write_notes
from viz_diffusion.plots.theme import Array
from viz_diffusion.plots.words import figure_words

MAP_LIMIT = float(np.log2(3))
"""The shades of the map run over a factor of 3 either way, in powers of 2."""
MAP_COLOURS = "YlOrBr"
"""From light, a low loss, to dark, a high one: the same sequence in grey."""


@dataclass(frozen=True, eq=False)
class LossByT:
    """Losses over strata of t (J of them, with K digits), and two baselines at every t."""

    edges: Array
    """(J+1,) int, rising from 0 to T: stratum j holds edges[j] .. edges[j+1]-1."""
    loss: Array
    """(J,) float, positive: mean squared error of ε̂ per pixel in each stratum."""
    error: Array
    """(J,) float: half the 95% interval of it."""
    labels: Array
    """(K,) int: the digits."""
    by_label: Array
    """(K, J) float, positive: the same for each digit."""
    gaussian: Array
    """(T,) float, positive: of the best denoiser that knows one Gaussian."""
    per_label: Array
    """(T,) float, positive: of the best one that knows a Gaussian a label."""
    bits: Array
    """(J,) float: what the stratum adds to the bound on the code length, bits per pixel."""
    gaussian_bits: Array
    """(J,) float: the same of one Gaussian."""
    draws: int
    """Noised images of each digit in each stratum."""


def draw_loss_by_t(found: LossByT) -> Figure:
    """Draw the loss over t with both baselines (log scale); beneath, each digit's loss compared with the mean of all.

    Dark is more than all digits' mean at that t, light less; the shades end at three times and at a third of it.
    """
    with theme.use_theme():
        words = figure_words("loss_by_t")
        figure = theme.new_figure(words("title"))
        T = int(found.edges[-1])
        middle = (found.edges[:-1] + found.edges[1:] - 1) / 2
        box = (330, 290, 2230, 410)
        values = np.concatenate([found.loss, found.gaussian])
        low, high = float(values.min()) / 1.3, min(float(values.max()) * 1.3, 2.0)
        powers = [power for power in range(-8, 1) if low <= 10.0**power <= high]
        labels = tuple(f"{10.0**power:.{-power}f}" for power in powers)
        y = AxisScale(low, high, tuple(10.0**power for power in powers), words("vertical"), log=True, labels=labels)
        curves = (
            Curve(np.arange(T), found.gaussian, words("one"), colour=theme.MUTED, style=":", weight=3.5),
            Curve(np.arange(T), found.per_label, words("per_label"), colour=theme.ORANGE, style="--", weight=3.5),
            Curve(middle, found.loss, words("network"), found.loss - found.error, found.loss + found.error),
        )
        marks = _marks(T)
        axes = draw_curves(figure, box, curves, AxisScale(0, T - 1), y, 130)
        axes.vlines(marks, low, high, color=theme.FAINT, lw=1, zorder=0)
        axes.plot(middle, found.loss, "o", color=theme.PURPLE, ms=9, mec="white", mew=1, zorder=4)
        ratio = np.log2(found.by_label / found.by_label.mean(axis=0))
        wide = np.repeat(ratio, np.diff(found.edges), axis=1)  # each stratum as wide as the t it holds
        rows = [label_text(label, box[0] - 60) for label in found.labels]
        columns = [(tick / (T - 1), theme.number(tick)) for tick in marks]
        draw_table(figure, (box[0], 820, box[2], 620), wide, rows, columns, MAP_LIMIT, MAP_COLOURS)
        theme.write(figure, box[0] - 20, 786, words("digits"), 22, ha="left")
        theme.write(figure, box[0] + box[2] / 2, 1590, words("t_noise"), 22)
        bar = (2680, 1220, 380, 28)
        theme.colour_bar(figure, bar, MAP_COLOURS, MAP_LIMIT, ticks=())
        for share, text, said in ((0.0, "×⅓", "low"), (0.5, "×1", ""), (1.0, "×3", "high")):
            theme.write(figure, bar[0] + share * bar[2], 1314, text, color=theme.MUTED)
            if said:
                theme.write(figure, bar[0] + share * bar[2], 1190, words(said), color=theme.MUTED)
        write_notes(figure, words("gaussians"), words("spans", draws=found.draws, bands=words("bands")))
        return figure


def draw_bits_by_t(found: LossByT) -> Figure:
    """Draw how many bits per pixel lie below t, over t on a logarithmic axis."""
    with theme.use_theme():
        words = figure_words("bits_by_t")
        figure = theme.new_figure(words("title"))
        box = (330, 300, 2250, 1140)
        upto = found.edges[1:].astype(float)
        model, gaussian = np.cumsum(found.bits), np.cumsum(found.gaussian_bits)
        high = float(max(model.max(), gaussian.max())) * 1.08
        step = 0.5 if high < 4 else 1.0
        curves = (
            Curve(upto, gaussian, words("one"), colour=theme.MUTED, style=":", weight=3.5),
            Curve(upto, model, words("network")),
        )
        ticks = tuple(float(t) for t in (1, 10, 50, 100, 1000) if t <= upto[-1])
        y = AxisScale(0, high, tuple(np.arange(0, high, step)), words("vertical"))
        x = AxisScale(1, float(upto[-1]), ticks, log=True, labels=tuple(f"{t:.0f}" for t in ticks))
        draw_curves(figure, box, curves, x, y)
        theme.write(figure, box[0] + box[2] / 2, 1620, words("timestep"), 22)
        write_notes(figure, words("gaussians"))
        return figure


def draw_loss_by_snr(decibels: Array, densities: Sequence[Array]) -> Figure:
    """Draw densities of the training steps, of the training loss and of the bits over the SNR, noise to the right.

    A density is drawn at the middle of its stratum; one that is 0, such as that of the bits at t = 0, is left out.

    Parameters
    ----------
    decibels
        (J+1,) float, falling: the SNR in dB at the edges of J strata.
    densities
        Three times (J,) float: shares of the strata over their widths in dB.
    """
    with theme.use_theme():
        words = figure_words("loss_by_snr")
        figure = theme.new_figure(words("title"))
        box = (330, 640, 2700, 890)
        middles = (decibels[:-1] + decibels[1:])[::-1] / 2
        percent = [1000 * density[::-1] for density in densities]
        high = float(max(values.max() for values in percent)) * 1.06
        styles = ((theme.MUTED, ":"), (theme.PURPLE, "-"), (theme.ORANGE, "--"))
        curves = [
            Curve(middles[values > 0], values[values > 0], colour=colour, style=style, weight=6)
            for values, (colour, style) in zip(percent, styles, strict=True)
        ]
        step = next(one for one in (5, 10, 20, 50) if high / one <= 6)
        ticks = tuple(float(tick) for tick in np.arange(0, high, step))
        y = AxisScale(0, high, ticks, labels=tuple(f"{tick:.0f}%" for tick in ticks))
        marks = tuple(float(mark) for mark in range(40, -50, -20) if decibels[-1] <= mark <= decibels[0])
        x = AxisScale(float(decibels[0]), float(decibels[-1]), marks)
        draw_curves(figure, box, curves, x, y)
        theme.write(figure, 100, 300, words("vertical"), 22, ha="left")
        key = [(colour, words(name)) for name, (colour, _) in zip(("steps", "loss", "bits"), styles, strict=True)]
        write_key(figure, 100, 390, key)
        theme.write(figure, box[0] + box[2] / 2, 1700, words("snr"), 22)
        return figure


def _marks(T: int) -> tuple[float, ...]:
    """Return where t is numbered: the quarters and the last one."""
    return tuple(sorted({float(min(T * quarter // 4, T - 1)) for quarter in range(5)}))
