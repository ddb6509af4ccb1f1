"""Layout of line charts: paths, ticks, labels and the table of values."""

from __future__ import annotations

import numpy as np
import pytest
from report_fakes import fake_chart

from viz_diffusion.report import Chart, Line
from viz_diffusion.report.line_chart import LETTER, draw_chart


def chart(*rows: np.ndarray, left: np.ndarray | None = None) -> Chart:
    steps = np.arange(len(rows[0]), 0, -1) if left is None else left
    return Chart("c", "title", "caption", steps, tuple(Line(f"line {k}", row) for k, row in enumerate(rows)))


def points(path: str) -> np.ndarray:
    return np.array([list(map(float, point.split())) for point in path[1:].split("L")])


def test_a_line_runs_from_the_first_step_on_the_left() -> None:
    drawn = draw_chart(fake_chart(np.arange(1000, 0, -1)))
    falling = points(drawn.lines[0].path)
    assert falling.shape == (1000, 2)
    assert falling[0].tolist() == [drawn.axes.left, drawn.axes.top], "1 at the upper left"
    assert falling[-1][0] == pytest.approx(drawn.axes.left + drawn.axes.width * 0.999, abs=0.01)
    assert (np.diff(falling[:, 0]) > 0).all()
    assert [tick.label for tick in drawn.x_ticks] == ["1000", "750", "500", "250", "0"]
    assert [tick.label for tick in drawn.y_ticks] == ["0.00", "0.25", "0.50", "0.75", "1.00"]


@pytest.mark.parametrize(
    ("low", "high", "labels"),
    [
        (0.0, 0.0034, ["0.000", "0.001", "0.002", "0.003", "0.004"]),
        (-3.0, 4.0, ["−4", "−2", "0", "2", "4"]),
        (0.4, 9.7, ["0.0", "2.5", "5.0", "7.5", "10.0"]),
        (100.0, 101.0, ["100.00", "100.25", "100.50", "100.75", "101.00"]),
        (5.0, 5.0, ["2", "4", "6", "8"]),
        (0.0, 0.0, ["−0.50", "−0.25", "0.00", "0.25", "0.50"]),
    ],
)
def test_ticks_are_round_and_hold_every_value(low: float, high: float, labels: list[str]) -> None:
    values = np.linspace(high, low, 20)
    drawn = draw_chart(chart(values))
    assert [tick.label for tick in drawn.y_ticks] == labels
    assert drawn.axes.low <= low <= high <= drawn.axes.high


def test_the_table_has_eleven_rows_with_the_first_and_last_step() -> None:
    drawn = draw_chart(fake_chart(np.arange(1000, 0, -1)))
    assert len(drawn.rows) == 11
    assert drawn.rows[0] == ("1000", "1.00", "0.50")
    assert drawn.rows[-1] == ("1", "0.00", "1.00")
    assert len(draw_chart(chart(np.array([3.0, 2.0, -1.0]))).rows) == 3
    assert draw_chart(chart(np.array([3.0, 2.0, -1.0]))).rows[-1] == ("1", "−1.00")


def test_the_marker_shows_the_value_of_the_table() -> None:
    """Rounded first to 0.4165, the value 0.416496 could become 0.416 or 0.417, depending on the browser."""
    drawn = draw_chart(chart(np.array([0.416496, 0.5, 0.4165004])))
    read = [f"{value:.{drawn.decimals}f}" for value in drawn.lines[0].values]
    assert read == [row[1] for row in drawn.rows] == ["0.416", "0.500", "0.417"]


def test_labels_are_nearest_to_their_own_line() -> None:
    share = np.arange(200, 0, -1) / 200
    drawn = draw_chart(chart(share, share + 0.5, 2 - share))
    paths = [points(line.path) for line in drawn.lines]
    for own, line in enumerate(drawn.lines):
        gaps = []
        for path in paths:
            inside = path[np.abs(path[:, 0] - line.label.x) < 0.275 * LETTER * len(line.label.text)]
            gaps.append(np.abs(inside[:, 1] - (line.label.y + 4 - LETTER / 2)).min())
        assert int(np.argmin(gaps)) == own
        assert gaps[own] < 2.5 * LETTER
        assert min(gaps) >= LETTER / 2 - 1, "no line goes through a name"


def test_one_step_and_flat_lines_can_be_drawn() -> None:
    drawn = draw_chart(chart(np.array([1.0]), np.array([1.0])))
    assert "nan" not in "".join(line.path for line in drawn.lines)
    assert drawn.lines[0].label != drawn.lines[1].label
    assert len(draw_chart(chart(np.zeros(3))).rows) == 3
