"""Views drawn into a user's Axes."""

from __future__ import annotations

from dataclasses import replace

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from small_trajectory import make_trajectory

from viz_diffusion.errors import VizdiffInputError, VizdiffUsageError
from viz_diffusion.plots.mosaic import MosaicRow, draw_mosaic
from viz_diffusion.recording.trajectory import Trajectory


@pytest.fixture
def trajectory() -> Trajectory:
    rng = np.random.default_rng(3)
    return make_trajectory(
        activations={"mid": rng.standard_normal((3, 2, 4, 3, 3)).astype(np.float32)},
        activation_steps=np.array([1, 3]),
    )


def tile(axes: Axes, row: int, column: int, side: tuple[int, int], rows: int) -> np.ndarray:
    """Return one image of a mosaic of ``rows`` rows, (H, W, 4) uint8 at its own size ``side`` (H, W)."""
    mosaic = np.asarray(axes.images[0].get_array())
    height, width = 4 * side[0], 4 * side[1]
    assert mosaic.shape[0] == rows * (height + 8) - 8
    part = mosaic[row * (height + 8) :][:height, column * (width + 8) :][:, :width]
    return part[::4, ::4]


def test_a_strip_in_axes_shows_each_frame_on_its_scale(trajectory: Trajectory) -> None:
    axes = Figure().add_subplot()
    assert trajectory.plot_strip(axes, sample=1, frames="5,1") is axes.figure
    assert [text.get_text() for text in axes.get_xticklabels()] == ["5", "1", "0"]
    assert len(axes.get_yticklabels()) == 3
    grey = mpl.colormaps["gray"](np.clip((trajectory.x_t[1, 0, 0] + 1) / 2, 0, 1), bytes=True)
    assert np.array_equal(tile(axes, 0, 0, (4, 6), 3), grey)
    noise = mpl.colormaps["PuOr"](np.clip((trajectory.eps_pred[1, 4, 0] + 3) / 6, 0, 1), bytes=True)
    assert np.array_equal(tile(axes, 2, 1, (4, 6), 3), noise)
    finished = mpl.colormaps["gray"](np.clip((trajectory.x0[1, 0] + 1) / 2, 0, 1), bytes=True)
    assert np.array_equal(tile(axes, 0, 2, (4, 6), 3), finished)
    assert not tile(axes, 1, 2, (4, 6), 3).any()  # there is no x̂_0 of the finished image


@pytest.mark.parametrize(("frames", "shown"), [(2, "2"), ([5, 1], "5,1"), ((3,), "3,3")])
def test_frames_may_be_a_number_or_a_sequence(frames: object, shown: str, trajectory: Trajectory) -> None:
    first, second = (Figure().add_subplot() for _ in range(2))
    trajectory.plot_strip(first, frames=frames)
    trajectory.plot_strip(second, frames=shown)
    assert np.array_equal(first.images[0].get_array(), second.images[0].get_array())
    with pytest.raises(VizdiffUsageError, match=r"sample must lie in 0\.\.2 here, found 3"):
        trajectory.plot_strip(first, sample=3)


def test_a_comparison_in_axes_marks_the_changed_recording_with_a_prime(trajectory: Trajectory) -> None:
    changed = replace(trajectory, x0_pred=-trajectory.x0_pred, x0=-trajectory.x0)
    axes = Figure().add_subplot()
    assert trajectory.plot_comparison(changed, axes, frames="5,1") is axes.figure
    assert [text.get_text() for text in axes.get_yticklabels()] == [
        "$x_t$",
        r"$\hat{x}_0$",
        "$x_t'$",
        r"$\hat{x}_0'$",
    ]
    x0_pred = mpl.colormaps["gray"](np.clip((changed.x0_pred[0, 4, 0] + 1) / 2, 0, 1), bytes=True)
    assert np.array_equal(tile(axes, 3, 1, (4, 6), 4), x0_pred)
    with pytest.raises(VizdiffInputError, match="one noise"):
        trajectory.plot_comparison(replace(trajectory, x_t=trajectory.x_t + 1), axes)


def test_feature_maps_in_axes_have_a_row_for_each_module(trajectory: Trajectory) -> None:
    axes = Figure().add_subplot()
    assert trajectory.plot_feature_maps(axes) is axes.figure
    labels = [text.get_text() for text in axes.get_yticklabels()]
    assert labels[0] == "$x_t$"
    assert labels[1].startswith("mid [")
    channel = int(labels[1][5:-1])
    values = trajectory.activations["mid"][0]
    unit = values[1, channel] / np.sqrt(np.mean(np.square(values[1], dtype=np.float64)))
    shown = mpl.colormaps["RdBu"](np.clip((unit + 3) / 6, 0, 1), bytes=True)
    mosaic = np.asarray(axes.images[0].get_array())[4 * 4 + 8 :]
    assert mosaic.shape[0] == 3 * 8  # the 3 x 3 maps are enlarged to the width of the 4 x 6 states
    assert np.array_equal(mosaic[::8, 24 + 8 :: 8], shown)
    with pytest.raises(VizdiffInputError, match="no activations"):
        make_trajectory().plot_feature_maps(axes)


def test_without_axes_a_page_is_drawn(trajectory: Trajectory) -> None:
    figures = (trajectory.plot_strip(), trajectory.plot_feature_maps(), trajectory.plot_comparison(trajectory))
    assert [tuple(figure.get_size_inches().round(2)) for figure in figures] == [(13.33, 7.5)] * 3


def test_images_of_three_colours_keep_them() -> None:
    axes = Figure().add_subplot()
    image = np.stack([np.full((2, 2), value) for value in (-1.0, 0.0, 2.0)], axis=-1)
    draw_mosaic(axes, [MosaicRow("a", [image])], ["1"], "")
    assert np.asarray(axes.images[0].get_array())[0, 0].tolist() == [0, 128, 255, 255]
