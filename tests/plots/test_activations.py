"""Feature maps: position, unit and size of each map."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle

from viz_diffusion.errors import VizdiffInputError
from viz_diffusion.plots import raster, theme
from viz_diffusion.plots.activations import FeatureMaps, draw_activations, short_name

Drawn = Callable[[str], Figure]


def signed(figure: Figure) -> list[AxesImage]:
    """Return the maps in drawing sequence, without the colour bar, which has its own axes."""
    (shared,) = [axes for axes in figure.axes if axes.get_gid() == raster.PICTURES]
    return [image for image in shared.images if image.get_cmap().name == theme.SIGNED_MAP]


def gauges(figure: Figure) -> list[float]:
    """Return the filled share of every gauge in drawing sequence."""
    (page,) = [axes for axes in figure.axes if axes.get_zorder() == -1]
    widths = [patch.get_width() for patch in page.patches if isinstance(patch, Rectangle)]
    return [full / empty for empty, full in zip(widths[::2], widths[1::2], strict=True)]


def test_each_map_stands_in_its_row_and_column_in_units_of_its_modules_rms(make: SimpleNamespace) -> None:
    data = make.activations(3, 2)
    images = signed(draw_activations(data))
    assert len(images) == 3 * 2 * 4
    shown = iter(images)
    for block, side in zip(data.blocks, (14, 7, 28), strict=True):
        for maps, rms in zip(block.maps, block.rms, strict=True):
            for channel in maps:
                image = np.asarray(next(shown).get_array())
                factor = len(image) // side
                np.testing.assert_allclose(image[::factor, ::factor], channel / rms if rms else channel)
    lefts, _, bottoms, tops = zip(*(image.get_extent() for image in images), strict=True)  # downward from the top
    assert all(min(tops[8 * row : 8 * row + 8]) > max(bottoms[8 * row - 8 : 8 * row]) for row in (1, 2))
    assert max(lefts[:4]) < min(lefts[4:8])


def test_the_gauges_are_the_rms_as_a_share_of_the_rows_largest(make: SimpleNamespace) -> None:
    data = make.activations(3, 6)
    shares = gauges(draw_activations(data))
    np.testing.assert_allclose(shares[:6], data.alphas_cumprod)
    for row, block in enumerate(data.blocks):
        expected = block.rms / (block.rms.max() or 1)
        np.testing.assert_allclose(shares[6 + 6 * row : 12 + 6 * row], expected, atol=1e-12)


def test_a_row_gives_its_modules_name_and_its_largest_rms(
    make: SimpleNamespace, words: Callable[[Figure], list[str]]
) -> None:
    data = make.activations(2, 2)
    texts = words(draw_activations(data))
    assert {"down_outer", "mid1"} <= set(texts)
    assert theme.number(float(data.blocks[0].rms[0])) in texts
    assert theme.number(float(data.blocks[0].rms[1])) not in texts


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("down_outer", "down_outer"),
        ("unet.down_blocks.0.resnets.1", "…0.resnets.1"),
        ("up_blocks.1.attentions.0", "…attentions.0"),
        ("a_module_without_any_dots", "…hout_any_dots"),
    ],
)
def test_a_long_name_keeps_its_end(name: str, short: str) -> None:
    assert short_name(name) == short


def test_maps_larger_than_their_cell_are_subsampled_without_interpolation(make: SimpleNamespace) -> None:
    wide = np.arange(4 * 1200 * 600, dtype=float).reshape(1, 4, 1200, 600) % 2 - 0.5
    figure = draw_activations(replace(make.activations(1, 1), blocks=(FeatureMaps(wide, np.array([0.5])),)))
    for shown in signed(figure):
        image = np.asarray(shown.get_array())
        assert set(np.unique(image)) == {-1, 1}
        assert image.shape[0] < 1200
        assert image.shape[0] == pytest.approx(2 * image.shape[1], abs=1)


@pytest.mark.parametrize(("blocks", "frames"), [(9, 2), (2, 7), (0, 2)])
def test_too_many_or_no_blocks_or_frames_are_refused(blocks: int, frames: int, make: SimpleNamespace) -> None:
    with pytest.raises(VizdiffInputError, match="1 to 6 frames of 1 to 8 blocks"):
        make.activations(blocks, frames)


def test_every_frame_needs_its_maps(make: SimpleNamespace) -> None:
    data = make.activations(2, 3)
    with pytest.raises(VizdiffInputError, match="all 3 frames"):
        replace(data, blocks=(replace(data.blocks[0], rms=np.ones(2)),))
