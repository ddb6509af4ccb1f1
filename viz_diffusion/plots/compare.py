"""Two generations from the same noise, one above the other: an unchanged one, and one with changed network inputs.

Knows nothing about what was changed; the caller chooses the frames and gives the inputs at each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from viz_diffusion.errors import VizdiffInputError
from viz_diffusion.plots import raster, theme
from viz_diffusion.plots.class_names import fitted, width_of
from viz_diffusion.plots.frame_header import (
    Columns,
    Frame,
    draw_direction,
    draw_header,
    header_height,
    name_row,
)
from viz_diffusion.plots.strip import StepFrames
from viz_diffusion.plots.words import figure_words

MOST_FRAMES = 11
"""The largest number of columns, without the finished image."""
_LEFT, _RIGHT, _TOP, _END = 480, 3150, 176, 1780
_HEADER_LINE, _LINE, _BETWEEN, _GAP = 84, 76, 40, 10
_BOLD = 1.15
"""How much wider bold letters are."""


@dataclass(frozen=True)
class ChangedInput:
    """One input of the network at each frame, in both generations."""

    symbol: str
    """The input: ``y`` (label), ``t`` (timestep) or ``s`` (guidance scale)."""
    plain: tuple[str, ...]
    """(F,) texts: its values in the unchanged generation; where one is wider than its column, equal values are written
    once over all their columns."""
    changed: tuple[str, ...]
    """(F,) texts: its values in the changed generation; drawn in orange where they differ."""


def draw_compare(plain: StepFrames, changed: StepFrames, inputs: tuple[ChangedInput, ...] = ()) -> Figure:
    """Draw x_t and x̂_0 of the unchanged generation, and beneath them those of the changed one at the same steps.

    The header of each column gives the steps left, t and ᾱ, as in a strip. Each generation is named at the left; above
    its images is a line for each entry of ``inputs``, which it was given.

    Raises
    ------
    VizdiffInputError
        Where the two differ in timesteps or image size, or have more than 11 frames.
    """
    frames = len(plain.timesteps)
    if not np.array_equal(plain.timesteps, changed.timesteps) or plain.x0.shape != changed.x0.shape:
        raise VizdiffInputError("two runs are compared at the same timesteps and in the same size")
    if frames > MOST_FRAMES:
        raise VizdiffInputError(f"a comparison has room for {MOST_FRAMES} frames, found {frames}")
    with theme.use_theme():
        words = figure_words("compare")
        figure = theme.new_figure(words("title"))
        page = theme.page_axes(figure)
        side, count, header = plain.x0.shape[1], frames + 1, 30 + header_height(_HEADER_LINE)
        lines = _LINE * len(inputs)
        room = (_END - _TOP - header - _BETWEEN) / 2 - lines
        factor = max(1, min(280, (_RIGHT - _LEFT) // count - 12, int(room - _GAP) // 2) // side)
        size = side * factor
        pitch = min((_RIGHT - _LEFT) / count, size + 60)
        columns = Columns(_LEFT + max(0.0, (_RIGHT - _LEFT - pitch * count) / 2), pitch, size)
        block = lines + 2 * size + _GAP
        top = _TOP + max(0.0, (_END - _TOP - header - 2 * block - _BETWEEN) / 2)
        said = [
            Frame(int(left), float(t), float(share))
            for left, t, share in zip(plain.steps_left, plain.timesteps, plain.alphas_cumprod, strict=True)
        ]
        draw_direction(page, columns, count, top)
        draw_header(figure, page, columns, [*said, Frame(0, None, 1.0)], top + 30, _HEADER_LINE)
        for generation, is_changed in ((plain, False), (changed, True)):
            start = top + header + is_changed * (block + _BETWEEN)
            _name_block(figure, page, columns, words("changed" if is_changed else "plain"), start, start + block)
            _draw_inputs(figure, inputs, is_changed, columns, start)
            _draw_generation(figure, generation, columns, start + lines, factor)
        return figure


def _name_block(figure: Figure, page: Axes, columns: Columns, name: str, top: float, bottom: float) -> None:
    """Write the name of a generation upwards at the left edge, and draw a line along its rows."""
    x = columns.left - _LEFT + 60
    theme.write(figure, x, (top + bottom) / 2, name, 20, rotation=90, va="center")
    page.plot([x + 38, x + 38], [top, bottom], color=theme.FAINT, lw=3)


def _draw_inputs(
    figure: Figure, inputs: tuple[ChangedInput, ...], is_changed: bool, columns: Columns, top: float
) -> None:
    """Write a generation's network inputs over its columns, a line for each input."""
    words, em = figure_words("compare"), 20 * theme.DPI / 72
    for line, entry in enumerate(inputs):
        baseline = top + _LINE * line + 56
        name_row(figure, columns, baseline, words(f"input_{entry.symbol}"), va="baseline")
        given = [
            (changed if is_changed else plain, is_changed and plain != changed)
            for plain, changed in zip(entry.plain, entry.changed, strict=True)
        ]
        are_wide = any(em * width_of(text) > columns.pitch - 12 for text in (*entry.plain, *entry.changed))
        for first, last in _spans(given) if are_wide else [(k, k) for k in range(len(given))]:
            text, differs = given[first]
            style = {"color": theme.ORANGE, "weight": "bold"} if differs else {"color": theme.INK}
            room = (last + 1 - first) * columns.pitch - 24
            said = fitted(text, room / _BOLD if differs else room, 20)
            theme.write(figure, columns.middle((first + last) / 2), baseline, said, 20, **style)


def _spans(values: Sequence[object]) -> list[tuple[int, int]]:
    """Return the first and the last index of each run of equal values."""
    ends = [k for k in range(len(values)) if k + 1 == len(values) or values[k] != values[k + 1]]
    return list(zip([0, *(end + 1 for end in ends)], ends, strict=False))


def _draw_generation(figure: Figure, frames: StepFrames, columns: Columns, top: float, factor: int) -> None:
    """Draw x_t at each frame, x̂_0 beneath it, and the finished image at the end."""
    words, size = figure_words("compare"), columns.width
    for row, name in enumerate(("noised_image", "predicted_x0")):
        name_row(figure, columns, top + row * (size + _GAP) + size / 2, words(name))
    for index in range(len(frames.timesteps) + 1):
        edge = columns.middle(index) - size / 2
        if index == len(frames.timesteps):
            raster.place_digit(figure, edge, top, factor, frames.x0)
            continue
        raster.place_digit(figure, edge, top, factor, frames.x_t[index])
        raster.place_digit(figure, edge, top + size + _GAP, factor, frames.x0_pred[index])
