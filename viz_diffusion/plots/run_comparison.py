"""Several training runs side by side: their held-out losses, and beneath them their samples from the same noise.

Knows nothing about networks or files; measures nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from viz_diffusion.errors import VizdiffInputError
from viz_diffusion.plots import raster, theme
from viz_diffusion.plots.class_names import fitted, label_text
from viz_diffusion.plots.panels import AxisScale, Curve, PanelBox, draw_curves, write_notes
from viz_diffusion.plots.theme import Array
from viz_diffusion.plots.words import figure_words

MOST_RUNS = 6
"""Runs in one figure; the samples of more would be too small."""
MOST_SAMPLES = 10
"""Samples of each run in the figure."""
_COLOURS, _STYLES = (theme.PURPLE, theme.ORANGE, theme.MUTED), ("-", "--", ":")
_LEFT, _RIGHT, _FIRST, _LAST, _FOOT = 330, 2330, 960, 2470, 1670
"""Page pixels: left and right end of the curves, of the samples, and the lower end of the samples."""
_LINE, _WEIGHT = 68, 3.5
"""Page pixels from line to line, and points of the curves."""


@dataclass(frozen=True, eq=False)
class DrawnRun:
    """One run of a comparison."""

    name: str
    """As the user named it."""
    settings: tuple[str, ...]
    """The settings in which it differs from the others, each as ``name value``; at most two are shown."""
    steps: Array
    """(E,) int, rising: training steps at which the held-out loss was measured; empty where the run kept none."""
    heldout: Array
    """(E,) float, positive: the held-out loss, the mean squared error of ε̂."""
    images: Array
    """(N, H, W) float, or (N, H, W, 3), in [-1, 1]: samples; image k of every run has the same noise and label."""
    accuracy: tuple[float, float, float] | None
    """The share of its samples that are classified as requested, in 0..1, and the ends of its 95% interval; None where
    there is no classifier."""


def draw_run_comparison(runs: Sequence[DrawnRun], labels: Sequence[int]) -> Figure:
    """Draw held-out loss over training steps, both axes logarithmic, each line named at its end; beneath, a row a run.

    Parameters
    ----------
    labels
        The label of each of the N samples.

    Raises
    ------
    VizdiffInputError
        Where there are more than :data:`MOST_RUNS` runs or :data:`MOST_SAMPLES` samples.
    """
    if not 1 <= len(runs) <= MOST_RUNS or not 1 <= len(labels) <= MOST_SAMPLES:
        raise VizdiffInputError(
            f"a comparison shows 1 to {MOST_RUNS} runs and 1 to {MOST_SAMPLES} samples of each, found {len(runs)} and "
            f"{len(labels)}"
        )
    with theme.use_theme():
        words = figure_words("run_comparison")
        figure = theme.new_figure(words("title"))
        lines = min(2, max(len(run.settings) for run in runs))
        pitch = min((156.0, 168.0, 244.0)[lines], 670 / len(runs))
        notes = _notes(runs)
        top = _FOOT - _LINE * (len(notes) - 1) - pitch * len(runs)
        _curves(figure, runs, (_LEFT, 290, _RIGHT - _LEFT, round(top) - 250 - 290))
        columns = (_LAST - _FIRST) / MOST_SAMPLES
        for column, label in enumerate(labels):
            name = label_text(label, columns - 10)
            theme.write(figure, _FIRST + (column + 0.5) * columns, top - 22, name, color=theme.MUTED)
        theme.write(figure, _FIRST - 30, top - 22, words("label"), ha="right", color=theme.MUTED)
        if any(run.accuracy for run in runs):
            theme.write(figure, _LAST + 40, top - 22, words("accuracy"), ha="left", color=theme.MUTED)
        for row, run in enumerate(runs):
            _row(figure, run, row, top + row * pitch, pitch)
        write_notes(figure, *notes)
        return figure


def _notes(runs: Sequence[DrawnRun]) -> list[str]:
    """Return the lines at the foot; one names the runs that have no curve where others have one."""
    words = figure_words("run_comparison")
    missing = [run.name for run in runs if not len(run.steps)]
    if not missing or len(missing) == len(runs):
        return [words("note")]
    room = theme.PAGE_WIDTH - 2 * theme.TITLE_LEFT
    return [fitted(words("no_curve", names=", ".join(missing)), room, theme.TEXT_SIZE), words("note")]


def _row(figure: Figure, run: DrawnRun, row: int, top: float, pitch: float) -> None:
    """Draw a run's samples with its name and settings at the left, and its accuracy at the right."""
    middle, left = top + (pitch - 10) / 2, 230
    room, (colour, style) = _FIRST - 30 - left, _look(row)
    theme.page_axes(figure).plot([theme.TITLE_LEFT, left - 34], [middle, middle], style, color=colour, lw=_WEIGHT)
    settings = run.settings[: 2 if pitch > 3 * _LINE else int(pitch > 2 * _LINE)]
    if 0 < len(settings) < len(run.settings):
        settings = (*settings[:-1], f"{settings[-1]}, …")
    first = middle - _LINE / 2 * len(settings)
    theme.write(figure, left, first, fitted(run.name, room, 20), 20, ha="left", va="center")
    for line, setting in enumerate(settings, start=1):
        said = fitted(setting, room, theme.TEXT_SIZE)
        theme.write(figure, left, first + _LINE * line, said, ha="left", va="center", color=theme.MUTED)
    columns, size = (_LAST - _FIRST) / MOST_SAMPLES, int(pitch) - 10
    for column, image in enumerate(run.images):
        shown, factor = raster.fitted(image, min(size, int(columns) - 8))
        height, width = (factor * length for length in shown.shape[:2])
        x = _FIRST + (column + 0.5) * columns - width / 2
        raster.place_digit(figure, x, middle - height / 2, factor, shown)
    if run.accuracy is not None:
        value, low, high = run.accuracy
        said = figure_words("run_comparison")("share", value=value, low=low, high=high)
        theme.write(figure, _LAST + 40, middle, said, ha="left", va="center")


def _look(row: int) -> tuple[str, str]:
    """Return the colour and the line style of a run."""
    return _COLOURS[row % len(_COLOURS)], _STYLES[row // len(_COLOURS)]


def _curves(figure: Figure, runs: Sequence[DrawnRun], box: PanelBox) -> None:
    """Draw the held-out losses; where no run kept any, say so."""
    words, (left, top, width, height) = figure_words("run_comparison"), box
    shown = [row for row, run in enumerate(runs) if len(run.steps)]
    if not shown:
        theme.write(figure, left + width / 2, top + height / 2, words("no_losses"), 22, color=theme.MUTED)
        return
    curves = []
    for row in shown:
        run, (colour, style) = runs[row], _look(row)
        name = f"{fitted(run.name, 3110 - (left + width + 68) - 240, 20)}  {run.heldout[-1]:#.3g}"
        curves.append(Curve(run.steps, run.heldout, name, colour=colour, style=style, weight=_WEIGHT))
    steps = np.concatenate([runs[row].steps for row in shown])
    losses = np.concatenate([runs[row].heldout for row in shown])
    axes = draw_curves(figure, box, curves, _steps_axis(steps), _loss_axis(losses, height, words("vertical")), 72)
    for curve in curves:  # one that ends earlier is led to its name
        ends = (curve.x[-1], max(steps.max(), 2))
        axes.plot(ends, (curve.y[-1], curve.y[-1]), color=curve.colour, lw=1, zorder=1.8)
        if len(curve.x) == 1:  # a line of one point shows nothing
            axes.plot(curve.x, curve.y, "o", color=curve.colour, ms=11, clip_on=False)
    theme.write(figure, left + width + 150, top + height + 104, words("training_step"), ha="left")


def _steps_axis(steps: Array) -> AxisScale:
    """Return a logarithmic axis from the first to the last training step, with powers of ten and the last step."""
    first, last = max(1, int(steps.min())), max(2, int(steps.max()))
    decades = np.log10(last / first)
    powers = [10**power for power in range(10) if first <= 10**power and last >= 10 ** (power + 0.14 * decades)]
    ticks = tuple(map(float, (first, *powers, last) if not powers else (*powers, last)))
    return AxisScale(first if first < last else last / 2, last, ticks, "", True, tuple(f"{tick:.0f}" for tick in ticks))


def _loss_axis(losses: Array, height: int, name: str) -> AxisScale:
    """Return a logarithmic axis, ``height`` page pixels high: ticks at round numbers, or at both ends where few are."""
    low, high = float(losses.min()) / 1.1, float(losses.max()) * 1.1
    decade = height / np.log10(high / low)
    digits = (1, 2, 3, 5, 7) if 0.14 * decade > 72 else (1, 2, 5) if 0.3 * decade > 72 else (1,)
    ticks = tuple(t for power in range(-8, 5) for d in digits if low <= (t := d * 10.0**power) <= high)
    return AxisScale(low, high, ticks if len(ticks) > 1 else (low * 1.1, high / 1.1), name, True)
