"""Parts of a page: a player, pictures, curves and numbers, and what they refuse."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from report_fakes import fake_page, fake_picture, fake_player

from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.errors import VizdiffNonFiniteError, VizdiffUsageError
from viz_diffusion.report import Chapter, Picture, Table
from viz_diffusion.report.snr_chart import format_db, format_share, snr_curve


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"x_t": np.zeros((40, 28, 28), np.float32)}, "40 timesteps need"),
        ({"x0_pred": np.zeros((39, 28, 28), np.float32)}, "40 timesteps need"),
        ({"eps_pred": np.zeros((40, 27, 28), np.float32)}, "eps_pred must be"),
        ({"timesteps": np.arange(40)}, "timesteps must be 40 strictly falling"),
        ({"timesteps": np.arange(2000, 1960, -1)}, "hold every timestep"),
        ({"steps_left": np.arange(40)}, "steps_left must be"),
        ({"alphas_cumprod": np.linspace(2, 0, 1000)}, r"must lie in 0\.\.1"),
    ],
)
def test_player_refuses_what_does_not_fit(change: dict[str, np.ndarray], words: str) -> None:
    with pytest.raises(VizdiffUsageError, match=words):
        dataclasses.replace(fake_player(5, 40), **change)


@pytest.mark.parametrize("field", ["x_t", "x0_pred", "eps_pred"])
def test_player_refuses_non_finite_frames(field: str) -> None:
    player = fake_player(5, 40)
    frames = getattr(player, field).copy()
    frames[3, 4, 5] = np.nan
    with pytest.raises(VizdiffNonFiniteError, match=f"{field} holds NaN"):
        dataclasses.replace(player, **{field: frames})


def test_steps_left_may_differ_from_t() -> None:
    player = dataclasses.replace(fake_player(5, 40), steps_left=np.arange(40, 0, -1))
    assert player.left[0] == 40
    assert player.timesteps[0] == 999


def test_other_parts_refuse_what_does_not_fit() -> None:
    with pytest.raises(VizdiffUsageError, match="choose from"):
        dataclasses.replace(fake_picture(), mime="text/html")
    with pytest.raises(VizdiffUsageError, match="width"):
        Picture("a", b"", "", "", 0, 5)
    with pytest.raises(VizdiffUsageError, match="every row needs 2 cells"):
        Table("t", ("a", "b"), (("1",),))
    for anchor in ("", "A", "ui-play", "a b", '"><script>'):
        with pytest.raises(VizdiffUsageError, match="chapter id"):
            Chapter(anchor, "t", "q")
    page = fake_page()
    with pytest.raises(VizdiffUsageError, match="ids must differ"):
        dataclasses.replace(page, chapters=page.chapters[:1] * 2)
    with pytest.raises(VizdiffUsageError, match="at least one"):
        dataclasses.replace(page, players=())


def test_number_columns_are_found() -> None:
    cells = ("200", "90.5%", "−3.2 dB", "0.91 [0.88, 0.94]", "86.0–93.0%", "≈ 3", "–")
    table = Table("t", ("a", *cells), (("0", *cells), ("1", *cells)))
    assert table.numeric == (False, *[True] * len(cells))
    assert Table("t", ("a", "b"), (("0", "yes"), ("1", "2"))).numeric == (False, False)
    assert Table("t", ("a", "b"), ()).numeric == (False, False)


def test_curve_crosses_0_db_where_the_schedule_does() -> None:
    schedule = NoiseSchedule.named("linear")
    curve = snr_curve(schedule.alphas_cumprod)
    assert schedule.snr_below_one == 259
    zero = next(tick.at for tick in curve.y_ticks if tick.label == "0")
    points = [tuple(map(float, point.split())) for point in curve.path[1:].split("L")]
    crossing = next(x for x, y in points if y < zero)
    assert abs(crossing - curve.axes.x(260)) < 3
    assert curve.rows[0] == ("1000", "999", "<0.01%", "−43.9")
    assert curve.rows[-1] == ("1", "0", "99.99%", "40.0")


def test_curve_of_a_schedule_that_reaches_pure_noise() -> None:
    curve = snr_curve(np.array([1.0, 0.5, 0.0]))
    assert [row[3] for row in curve.rows] == ["−∞", "0.0", "∞"]
    assert "nan" not in curve.path
    assert "inf" not in curve.path


def test_number_formats() -> None:
    assert [format_db(v) for v in (-3.04, 0.0, np.inf)] == ["−3.0", "0.0", "∞"]
    shares = [0.0, 4e-5, 0.005, 0.0789, 0.404, 0.9999, 1.0]
    assert [format_share(v) for v in shares] == ["0%", "<0.01%", "0.50%", "7.9%", "40%", "99.99%", "100%"]
