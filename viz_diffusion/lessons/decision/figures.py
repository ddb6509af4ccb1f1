"""Figures of the probability of the class over t with settled generations, and of forks as a tree of images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from viz_diffusion.plots import raster, theme
from viz_diffusion.plots.panels import AxisScale, Curve, PanelBox, draw_curves, write_notes
from viz_diffusion.plots.theme import Array
from viz_diffusion.plots.words import FigureWords, figure_words

Estimate = tuple[Array, Array, Array]
"""(K,) means, and the lower and upper ends of their intervals."""


@dataclass(frozen=True)
class Quartiles:
    """Median and quartiles of many timesteps."""

    median: float
    """Half lie below."""
    lower: float
    """A quarter lies below."""
    upper: float
    """A quarter lies above."""
    low: float
    """Lower end of the median's interval."""
    high: float
    """Upper end of it."""


@dataclass(frozen=True, eq=False)
class Settled:
    """One row of settled timesteps."""

    name: str
    """Whose generations: a key of the catalogue."""
    timesteps: Array
    """(Q,) int."""
    quartiles: Quartiles | None
    """Their median and quartiles; None where they are few."""
    colour: str
    """Of the row."""


def draw_decision(
    timesteps: Array,
    ideal: Array,
    x0_probability: Estimate | None,
    returned: Estimate | None,
    window: tuple[int, int],
    strip: Array,
    strip_timesteps: Array,
    num_train_timesteps: int,
    count: int,
) -> Figure:
    """Draw the probability of a digit's class over t, noise at the left, and below it x̂_0 of one generation.

    Parameters
    ----------
    timesteps, ideal
        (K,) falling t, and p(class | x_t) of the ideal denoiser (dashed).
    x0_probability, returned
        Probability of the class of x̂_0 (line), and share of digits that keep it (dots); None without a classifier.
    window
        (first, last) t of the shaded span.
    strip, strip_timesteps
        (F, H, W) x̂_0 of one generation at F falling timesteps, each drawn under its t.
    count
        Digits that the means and shares are of.
    """
    with theme.use_theme():
        words = figure_words("decision")
        figure = theme.new_figure(words("title"))
        box: PanelBox = (270, 330, 1790, 880)
        last = num_train_timesteps - 1
        curves = [Curve(-timesteps, ideal, colour=theme.MUTED, style="--", weight=3.5)]
        names = [(theme.MUTED, words("ideal"))]
        if x0_probability is not None:
            curves.append(Curve(-timesteps, x0_probability[0], "", *x0_probability[1:]))
            names.insert(0, (theme.PURPLE, words("classifier")))
        if returned is not None:
            curves.append(Curve(-timesteps, returned[0], "", *returned[1:], theme.ORANGE, style="o", weight=7))
            names.insert(0, (theme.ORANGE, words("finished")))
        marks = tuple(-float(t) for t in strip_timesteps)
        x = AxisScale(-last, 0, marks, labels=tuple(f"{t}" for t in strip_timesteps))
        y = AxisScale(0, 1, (0, 0.25, 0.5, 0.75, 1), "", labels=("0", "25%", "50%", "75%", "100%"))
        axes = draw_curves(figure, box, curves, x, y)
        axes.axvspan(-window[0], -window[1], color=theme.FAINT, alpha=0.5, zorder=0, lw=0)
        for t, side in zip(window, ("right", "left"), strict=True):
            place = box[0] + (last - t) / last * box[2]
            theme.write(figure, place, box[1] - 20, f"t = {t}", ha=side, color=theme.MUTED)
        theme.write(figure, 90, 225, words("vertical"), 20, ha="left")
        theme.write(figure, box[0] + box[2] / 2, 1560, words("t_generation"), 20)
        _draw_strip(figure, box, strip, strip_timesteps, last)
        _name_curves(figure, box[0] + box[2] + 68, [*names, (theme.INK, words("window"))])
        write_notes(figure, *words("notes", count=count).split("\n"))
        return figure


def _name_curves(figure: Figure, left: int, names: Sequence[tuple[str, str]]) -> None:
    """Write the names of the curves, and last that of the shade with a piece of it, from the top to the bottom."""
    top = 330
    page = theme.page_axes(figure)
    for colour, name in names:
        lines = name.count("\n") + 1
        theme.write(figure, left + 60, top, name, color=colour, ha="left", va="top", linespacing=1.2)
        mark = {"alpha": 0.5, "color": theme.FAINT} if colour == theme.INK else {"color": colour}
        page.add_patch(Rectangle((left, top + 8), 36, 72 * lines - 24, lw=0, **mark))
        top += 72 * lines + 34


def draw_settling(
    groups: Sequence[tuple[str, Sequence[Settled]]], num_train_timesteps: int, sure: float, late: int
) -> Figure:
    """Draw rows of ticks where generations are settled, over t, noise at the left.

    Parameters
    ----------
    groups
        (name of the rule in the catalogue, rows), from the top.
    sure, late
        Probability from which on a class counts as settled, and the t below which it is the end.
    """
    with theme.use_theme():
        words = figure_words("settling")
        figure = theme.new_figure(words("title"))
        last, box = num_train_timesteps - 1, (170, 220, 2080, 1110)
        draw_curves(figure, box, (), _falling_time(last), AxisScale(0, 1))
        top = box[1] + 10
        for rule, rows in groups:
            theme.write(figure, 90, top, words(rule), 22, ha="left", va="top")
            for row, one in enumerate(rows):
                _draw_settled(figure, words, (box[0], top + 120 + 200 * row, box[2], 160), one, last)
            top += 120 + 200 * len(rows) + 30
        theme.write(figure, box[0] + box[2] / 2, 1505, words("t_generation"), 20)
        write_notes(figure, words("rule", sure=theme.percent(sure)), words("marks"), words("left_out", late=late))
        return figure


def _falling_time(last: int) -> AxisScale:
    """Return an axis of the timesteps from ``last``, the noise, at the left to 0; its values are -t."""
    marks = (last, *(tick for tick in (800, 600, 400, 200, 0) if tick < 0.9 * last))
    return AxisScale(-last, 0, tuple(-float(mark) for mark in marks), labels=tuple(map(str, marks)))


def _draw_settled(figure: Figure, words: FigureWords, box: PanelBox, settled: Settled, last: int) -> None:
    """Draw a tick for each t and, over them, median and quartiles; the row's name, median and count at the right."""
    left, top, width, height = box
    axes = theme.add_axes(figure, *box)
    axes.set(xlim=(-last, 0), ylim=(0, 1))
    axes.vlines(-settled.timesteps, 0.0, 0.42, color=settled.colour, lw=2.2, alpha=0.4)
    found, count = settled.quartiles, words("count", count=len(settled.timesteps))
    said = count
    if found is not None:
        _mark_quartiles(axes, found, 0.72, settled.colour)
        said = f"{words('median', median=found.median)}, {count}"
    style: dict[str, Any] = {"ha": "left", "color": settled.colour}
    theme.write(figure, left + width + 40, top + height * 0.4, words(settled.name), 20, **style)
    theme.write(figure, left + width + 40, top + height * 0.4 + 76, said, **style)


def draw_settled_share(
    timesteps: Array,
    share: Estimate,
    quartiles: Quartiles | None,
    num_train_timesteps: int,
    sure: float,
    generations: str,
) -> Figure:
    """Draw the share of generations whose class is settled by t, noise at the left; below it when those on the way are.

    Parameters
    ----------
    timesteps, share
        (K,) falling t, and the share that is settled there or was before, with its interval.
    quartiles
        Of those that are settled neither from the start nor at the end; None where they are few.
    sure
        Probability from which on a class counts as settled.
    generations
        Which generations they are, and how many.
    """
    with theme.use_theme():
        words = figure_words("settled_store")
        figure = theme.new_figure(words("title"))
        last, box = num_train_timesteps - 1, (270, 330, 2660, 850)
        y = AxisScale(0, 1, (0, 0.25, 0.5, 0.75, 1), labels=("0", "25%", "50%", "75%", "100%"))
        draw_curves(figure, box, [Curve(-timesteps, share[0], "", share[1], share[2])], _falling_time(last), y)
        theme.write(figure, 90, 225, words("vertical"), 22, ha="left")
        theme.write(figure, box[0] + box[2] / 2, 1480, words("t_generation"), 20)
        if quartiles is not None:
            _draw_quartiles(figure, words, (box[0], 1290, box[2], 90), quartiles, last)
        write_notes(figure, generations, words("rule", sure=theme.percent(sure)), words("marks"))
        return figure


def _draw_quartiles(figure: Figure, words: FigureWords, box: PanelBox, found: Quartiles, last: int) -> None:
    """Draw median and quartiles over t in a row of their own, and the median in words on the side with more room."""
    left, top, width, height = box
    axes = theme.add_axes(figure, *box)
    axes.set(xlim=(-last, 0), ylim=(0, 1))
    _mark_quartiles(axes, found, 0.5, theme.PURPLE)
    said = words("median", median=found.median, low=found.low, high=found.high)
    is_early = found.median > last / 2
    end = min(found.lower, found.low) if is_early else max(found.upper, found.high)
    place = left + (last - end) / last * width + (50 if is_early else -50)
    style: dict[str, Any] = {"ha": "left" if is_early else "right", "va": "center", "color": theme.PURPLE}
    theme.write(figure, place, top + height / 2, said, 20, **style)


def _mark_quartiles(axes: Axes, found: Quartiles, y: float, colour: str) -> None:
    """Draw quartiles as a wide bar, the median's interval as a thin one, and the median as a dot."""
    axes.plot([-found.upper, -found.lower], [y, y], color=colour, lw=14, alpha=0.35)
    axes.plot([-found.high, -found.low], [y, y], color=colour, lw=4)
    axes.plot([-found.median], [y], "o", color=colour, ms=15, mec="white", mew=2)


def _draw_strip(figure: Figure, box: PanelBox, strip: Array, timesteps: Array, last: int) -> None:
    """Draw images centred below their t, or as near to it as they fit."""
    factor = max(1, 150 // strip.shape[-1])
    size = factor * strip.shape[-1]
    top = box[1] + box[3] + 106
    wanted = box[0] + (last - timesteps) / last * box[2]
    centres = theme.spread(wanted, size + 16, box[0] - 40, box[0] + box[2] + 40)
    for image, centre in zip(strip, centres, strict=True):
        raster.place_digit(figure, centre - size / 2, top, factor, image)
    at, name = (float(box[0] + box[2] + 68), top + size / 2), figure_words("decision")("strip")
    theme.write(figure, *at, name, ha="left", va="center", linespacing=1.3)


def draw_forks(tree: Array, timesteps: Array, spread: Array, agree: Array | None, states: int) -> Figure:
    """Draw a state at the left of each row, its finished images at the right, and two numbers.

    Parameters
    ----------
    tree
        (J, 1+K, H, W): at J falling timesteps a state, and its K finished images.
    spread, agree
        (J,) V, and the share of pairs that are classified as the same digit; None without a classifier.
    states
        How many states these are means over.
    """
    with theme.use_theme():
        words = figure_words("forks")
        figure = theme.new_figure(words("title"))
        page = theme.page_axes(figure)
        rows, count, side = len(tree), tree.shape[1] - 1, tree.shape[-1]
        top, bottom, left = 318, 1650, 430
        pitch = min((bottom - top) / rows, 320)
        factor = max(1, int(pitch - 8) // side)
        size = factor * side
        first = left + size + 270
        step = min(size + 24, (2170 - first) // count)
        right, end = 2420, 2900
        for row, (images, t) in enumerate(zip(tree, timesteps, strict=True)):
            y = top + row * pitch
            theme.write(figure, 300, y + size / 2, str(int(t)), 26, ha="right", va="center")
            raster.place_digit(figure, left, y, factor, images[0])
            _fan(page, left + size, first, y + size / 2, size, float(spread[row]))
            for k, image in enumerate(images[1:]):
                raster.place_digit(figure, first + k * step, y, factor, image)
            theme.write(figure, right, y + size / 2, f"{spread[row]:.2f}", 24, va="center", color=theme.PURPLE)
            if agree is not None:
                theme.write(figure, end, y + size / 2, theme.percent(float(agree[row])), 24, va="center")
        heads = [(205, "timestep"), (left + size / 2, "state"), (first + (count * step - step + size) / 2, "finished")]
        heads += [(right, "variance"), (end, "agree")] if agree is not None else [(right, "variance")]
        for x, key in heads:
            colour = theme.PURPLE if key == "variance" else theme.INK
            for line, text in enumerate(reversed(words(key).split("\n"))):
                theme.write(figure, x, top - 34 - 70 * line, text, color=colour)
        write_notes(figure, words("notes"), words("means", states=states))
        return figure


def _fan(page: Axes, start: float, end: float, y: float, size: float, spread: float) -> None:
    """Draw five lines from a state to its forks, as far apart as the forks are."""
    for share in np.linspace(-1, 1, 5):
        reach = share * min(1.0, float(np.sqrt(max(spread, 0)))) * size * 0.46
        page.plot([start + 26, end - 26], [y, y + reach], color=theme.MUTED, lw=1.6)
