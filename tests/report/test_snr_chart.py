"""The line of the SNR chart goes through the places where the page's script puts its dot."""

from __future__ import annotations

import numpy as np
import pytest

from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.report.chart_axes import ChartAxes
from viz_diffusion.report.snr_chart import DrawnSnrCurve, snr_curve


def points(curve: DrawnSnrCurve) -> np.ndarray:
    """Return the (N, 2) points of a drawn line, in SVG units."""
    return np.array([[float(value) for value in point.split()] for point in curve.path[1:].split("L")])


def dots(axes: ChartAxes, alphas_cumprod: np.ndarray, timesteps: np.ndarray) -> np.ndarray:
    """Return (N, 2) places of the dot at N timesteps, by the formulas of ``player.js``."""
    shares = alphas_cumprod[timesteps]
    decibels = np.clip(10 * np.log10(shares / (1 - shares)), axes.low, axes.high)
    x = axes.left + axes.width * (1 - (timesteps + 1) / axes.steps)
    return np.stack([x, axes.top + axes.height * (axes.high - decibels) / (axes.high - axes.low)], axis=1)


@pytest.mark.parametrize("name", ["linear", "cosine"])
def test_a_short_line_has_a_point_at_every_dot(name: str) -> None:
    shares = NoiseSchedule.named(name, 20).alphas_cumprod
    curve = snr_curve(shares)
    np.testing.assert_allclose(points(curve), dots(curve.axes, shares, np.arange(20)[::-1]), atol=0.01)


def test_every_point_of_a_long_line_is_a_dot() -> None:
    shares = NoiseSchedule.named("linear").alphas_cumprod
    curve = snr_curve(shares)
    drawn = points(curve)
    timesteps = np.rint(1000 * (1 - (drawn[:, 0] - curve.axes.left) / curve.axes.width)).astype(int) - 1
    assert (len(drawn), timesteps[0], timesteps[-1]) == (250, 999, 0)
    np.testing.assert_allclose(drawn, dots(curve.axes, shares, timesteps), atol=0.01)


def test_a_generation_that_skips_timesteps_has_an_axis_of_timesteps() -> None:
    """The numbers stand where the dot is at that t; control: the axis of steps left counts one more."""
    shares = NoiseSchedule.named("linear").alphas_cumprod
    counted, by_timestep = snr_curve(shares), snr_curve(shares, by_timestep=True)
    assert [tick.label for tick in counted.x_ticks] == ["1000", "750", "500", "250", "0"]
    assert [tick.label for tick in by_timestep.x_ticks] == ["999", "749", "500", "250", "0"]
    timesteps = np.array([int(tick.label) for tick in by_timestep.x_ticks])
    places = dots(by_timestep.axes, shares, timesteps)[:, 0]
    np.testing.assert_allclose([tick.at for tick in by_timestep.x_ticks], places, atol=0.01)
    assert by_timestep.rows[0] == counted.rows[0][1:]
    assert by_timestep.path == counted.path
