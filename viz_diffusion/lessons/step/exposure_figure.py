"""Length of the predicted noise while generating and on noised images, over the timestep.

Knows nothing about how a length was measured.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from viz_diffusion.plots import theme
from viz_diffusion.plots.panels import AxisScale, Curve, PanelBox, draw_curves, write_key, write_notes
from viz_diffusion.plots.theme import Array
from viz_diffusion.plots.words import FigureWords, figure_words

_BOXES = (270, 660, 1130, 770), (2000, 660, 1080, 770)


def draw_exposure(
    timesteps: Array, lengths: Sequence[Array], excesses: Sequence[tuple[Array, Array]], noise_length: float
) -> Figure:
    """Draw the length of ε̂ over t (left), and how much longer it is while generating (right).

    Parameters
    ----------
    timesteps
        (K,) rising or falling; drawn as steps left, t + 1, on a logarithmic axis, noise to the right.
    lengths
        Three times (K,): mean L2 norms on generated states, on the finished images noised again, on noised test digits.
    excesses
        Four times (K,) and half its 95% interval: how much longer ε̂ is while generating, as a share, with the variance
        β and with β̃, and of an exact denoiser with β and with β̃.
    noise_length
        Length of the noise itself, √D.
    """
    order = np.argsort(timesteps)
    with theme.use_theme():
        words = figure_words("exposure")
        figure = theme.new_figure(words("title"))
        left = timesteps[order] + 1.0
        marks = tuple(float(mark) for mark in (1, 10, 100, 1000) if mark <= left[-1])
        x = AxisScale(float(left[0]), float(left[-1]), marks, log=True, labels=tuple(f"{mark:.0f}" for mark in marks))
        _draw_lengths(figure, words, left, [one[order] for one in lengths], noise_length, x)
        _draw_excesses(figure, words, left, [(mean[order], half[order]) for mean, half in excesses], x)
        for box in _BOXES:
            theme.write(figure, box[0] + box[2] / 2, 1620, words("steps_left"), 20)
        write_notes(figure, words("bands"))
        return figure


def _draw_lengths(
    figure: Figure, words: FigureWords, left: Array, lengths: Sequence[Array], noise_length: float, x: AxisScale
) -> None:
    own, again, real = lengths
    box = _BOXES[0]
    low = float(np.floor(min(one.min() for one in lengths) - 1))
    high = float(np.ceil(max(noise_length, *(one.max() for one in lengths)) + 1))
    step = float(np.ceil((high - low) / 6))
    curves = (
        Curve(left, real, colour=theme.MUTED, style=":", weight=5),
        Curve(left, again, colour=theme.ORANGE, style="--", weight=5),
        Curve(left, own),
    )
    axes = draw_curves(figure, box, curves, x, AxisScale(low, high, tuple(np.arange(low, high, step))))
    axes.axhline(noise_length, color=theme.INK, lw=2, zorder=1)
    theme.write(figure, 100, 270, words("length"), 22, ha="left")
    names = ((theme.PURPLE, "generated"), (theme.ORANGE, "finished"), (theme.MUTED, "real"))
    write_key(figure, 100, 350, [(colour, words(name)) for colour, name in names])
    at = box[1] + box[3] * (high - noise_length) / (high - low)
    theme.write(figure, box[0] + box[2] + 16, at, words("noise", length=f"{noise_length:.3g}"), ha="left", va="center")


def _draw_excesses(
    figure: Figure, words: FigureWords, left: Array, excesses: Sequence[tuple[Array, Array]], x: AxisScale
) -> None:
    """Draw the excesses in percent, with their intervals."""
    percent = [(100 * mean, 100 * half) for mean, half in excesses]
    high = float(np.ceil(max((mean + half).max() for mean, half in percent))) + 1
    low = float(np.floor(min((mean - half).min() for mean, half in percent))) - 1
    step = float(next(one for one in (1, 2, 5, 10, 20, 50, 1e9) if (high - low) / one <= 8))
    ticks = tuple(float(tick) for tick in step * np.arange(np.ceil(low / step), high / step))
    labels = tuple(f"{tick:+.0f}%".replace("-", theme.MINUS) if tick else "0" for tick in ticks)
    styles = ((theme.PURPLE, "-"), (theme.ORANGE, "--"), (theme.MUTED, ":"), (theme.INK, "-."))
    curves = [
        Curve(left, mean, "", mean - half, mean + half, colour, style, 5)
        for (mean, half), (colour, style) in zip(percent, styles, strict=True)
    ]
    box: PanelBox = _BOXES[1]
    axes = draw_curves(figure, box, curves[::-1], x, AxisScale(low, high, ticks, labels=labels))
    axes.axhline(0, color=theme.INK, lw=2, zorder=1)
    theme.write(figure, box[0] - 170, 270, words("excess"), 22, ha="left")
    names = [
        (colour, words(name))
        for (colour, _), name in zip(styles, ("beta", "tilde", "exact", "exact_tilde"), strict=True)
    ]
    write_key(figure, box[0] - 170, 350, names)
