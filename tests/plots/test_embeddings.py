"""Heat maps of the time embedding and the label embedding."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure

from viz_diffusion.errors import VizdiffInputError
from viz_diffusion.plots import embeddings
from viz_diffusion.plots.point_map import place_names

Drawn = Callable[[str], Figure]


def tables(figure: Figure, least: int = 100) -> list[np.ndarray]:
    arrays = [np.asarray(image.get_array()) for axes in figure.axes for image in axes.images]
    return [array for array in arrays if array.shape[0] >= least]


def matrices(figure: Figure) -> list[QuadMesh]:
    return [mesh for axes in figure.axes for mesh in axes.collections if isinstance(mesh, QuadMesh)]


def test_time_embedding_shows_channels_and_cosine_similarities(drawn: Drawn, make: SimpleNamespace) -> None:
    embedding = make.time_embedding()
    sinusoids, cosine_raw, mlp, cosine_mlp = tables(drawn("time_embedding"))
    assert sinusoids.shape == mlp.shape == (576, 2000)
    assert np.array_equal(sinusoids[np.ceil(np.arange(128) * 4.5).astype(int), ::2], embedding.sinusoids)
    assert np.array_equal(mlp[np.ceil(np.arange(256) * 2.25).astype(int), ::2], embedding.mlp)
    middles = ((np.arange(125) + 0.5) * 576 / 125).astype(int)
    assert np.array_equal(cosine_raw[np.ix_(middles, middles)], embedding.cosine_raw)
    assert np.array_equal(cosine_mlp[np.ix_(middles, middles)], embedding.cosine_mlp)


def test_time_embedding_scales_are_fixed(drawn: Drawn) -> None:
    limits = [axes.images[0].get_clim()[1] for axes in drawn("time_embedding").axes if axes.images]
    assert limits == [1, 1, 2.8936, 1, 1, 2.8936, 1]


def test_time_embedding_marks_0_259_and_999(drawn: Drawn, words: Callable[..., list[str]]) -> None:
    texts = words(drawn("time_embedding"))
    assert [texts.count(mark) for mark in ("259", "999", "sines", "cosines", "timestep t")] == [2, 4, 1, 1, 6]
    xs = {text.get_text(): text.get_position()[0] for text in drawn("time_embedding").texts[1:4]}
    assert (xs["259"] - xs["0"]) / (xs["999"] - xs["0"]) == pytest.approx(259 / 999)


def test_time_embedding_of_the_wrong_shape_is_refused(make: SimpleNamespace) -> None:
    with pytest.raises(VizdiffInputError, match="cosine"):
        embeddings.draw_time_embedding(replace(make.time_embedding(), cosine_timesteps=np.arange(3)))


def test_label_matrix_is_largest_and_writes_its_values(drawn: Drawn, make: SimpleNamespace) -> None:
    figure, labels = drawn("label_embedding"), make.label_embedding()
    (matrix,) = matrices(figure)
    assert np.array_equal(matrix.get_array().reshape(10, 10), labels.cosine)
    assert matrix.get_clim() == (-1, 1)
    areas = sorted(axes.get_position().width * axes.get_position().height for axes in figure.axes)
    assert areas[-1] > 2 * areas[-2]
    cells = [text.get_text() for text in matrix.axes.texts]
    assert [cells.count(value) for value in ("1", ".81", ".31", "−.31", "−.81")] == [10, 20, 20, 20, 20]


def test_label_cells_and_columns_line_up(drawn: Drawn) -> None:
    figure = drawn("label_embedding")
    (matrix,) = matrices(figure)
    box = matrix.axes.get_position()
    on_page = matrix.axes.transData + figure.transFigure.inverted()
    ones = [text.get_position() for text in matrix.axes.texts if text.get_text() == "1"]
    middles = [(box.x0 + (n + 0.5) / 10 * box.width, box.y1 - (n + 0.5) / 10 * box.height) for n in range(10)]
    assert set(map(tuple, np.round(middles, 6))) <= set(map(tuple, np.round(on_page.transform(ones), 6)))
    names = [text.get_position() for text in figure.texts if text.get_text() in set("0123456789")]
    for x, y in middles:
        assert any(abs(name[0] - x) < 1e-6 for name in names)
        assert any(abs(name[1] - y) < 1e-6 for name in names)


def test_pca_names_its_shares_and_places_digits_on_equal_units(
    drawn: Drawn, make: SimpleNamespace, words: Callable[..., list[str]]
) -> None:
    figure, labels = drawn("label_embedding"), make.label_embedding()
    assert {"component 1: 41%", "component 2: 23%", "PCA", "t-SNE, seed 1"} <= set(words(figure))
    maps = [axes for axes in figure.axes if axes.texts and not axes.collections]
    assert len(maps) == 4
    assert [text.get_text() for text in maps[0].texts] == [str(n) for n in range(10)]
    dots, *leaders = maps[0].lines
    assert np.allclose(dots.get_xydata(), labels.pca)
    names = [text.get_position() for text in maps[0].texts]
    assert np.allclose([line.get_xydata() for line in leaders], np.stack([labels.pca, names], axis=1))
    assert len({(round(axes.get_position().width, 6), round(axes.get_position().height, 6)) for axes in maps}) == 1
    for axes in maps:
        box, (left, right), (low, high) = axes.get_position(), axes.get_xlim(), axes.get_ylim()
        assert (right - left) / (box.width * 16) == pytest.approx((high - low) / (box.height * 9))
        assert axes.get_xticks().size == axes.get_yticks().size == 0
        assert len({text.get_color() for text in axes.texts}) == 1


def test_names_stand_off_all_dots_and_off_each_other() -> None:
    """Two clusters, closer than a name is wide; control: names at their points would overlap."""
    points = np.array([[300.0, 300], [310, 305], [305, 320], [700, 60], [720, 70], [20, 580]])
    sizes = np.full((len(points), 2), (60.0, 70.0))

    def overlaps(places: np.ndarray) -> int:
        apart = np.abs(places[:, None] - places[None]) >= sizes[0] - 1e-9
        return int((~apart.any(axis=2)).sum() - len(places)) // 2

    places = place_names(points, sizes, (800, 600))
    assert overlaps(points) > 2
    assert overlaps(places) == 0
    assert (np.abs(places[:, None] - points[None]) >= sizes[0] / 2).any(axis=2).all()
    assert (places >= sizes / 2).all()
    assert (places <= np.array([800, 600]) - sizes / 2).all()
    assert np.linalg.norm(places - points, axis=1).max() < 250


@pytest.mark.parametrize(
    ("value", "text"), [(0.314, ".31"), (-0.2, "−.20"), (1.0, "1"), (-1.0, "−1"), (-0.001, "0"), (0.996, "1")]
)
def test_short(value: float, text: str) -> None:
    assert embeddings._short(value) == text


def test_labels_of_the_wrong_shape_are_refused(make: SimpleNamespace) -> None:
    with pytest.raises(VizdiffInputError, match="10x10"):
        replace(make.label_embedding(), cosine=np.eye(9))
