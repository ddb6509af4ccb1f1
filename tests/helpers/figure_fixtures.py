"""Fixtures: one figure of every kind by its name, and what makes its data."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest
from figure_data import (
    FIGURES,
    FORWARD_T,
    LINEAR,
    make_activations,
    make_compare,
    make_conditioning_map,
    make_label_embedding,
    make_loss,
    make_model,
    make_snr,
    make_steps,
    make_time_embedding,
    make_training,
    make_training_samples,
    noise,
)
from matplotlib.figure import Figure
from matplotlib.text import Text


@pytest.fixture(scope="session")
def draw() -> Callable[[str], Figure]:
    """Return a function that draws a figure by its name."""
    return lambda name: FIGURES[name]()


@pytest.fixture(scope="session")
def drawn() -> Callable[[str], Figure]:
    """Return a function that gives a figure by its name, drawn once."""
    figures: dict[str, Figure] = {}

    def get(name: str) -> Figure:
        if name not in figures:
            figures[name] = FIGURES[name]()
        return figures[name]

    return get


@pytest.fixture(params=list(FIGURES))
def any_figure(request: pytest.FixtureRequest, drawn: Callable[[str], Figure]) -> Figure:
    return drawn(request.param)


@pytest.fixture(scope="session")
def make() -> SimpleNamespace:
    """Return the functions that make the figures' data."""
    return SimpleNamespace(
        steps=make_steps,
        training=make_training,
        snr=make_snr,
        loss=make_loss,
        time_embedding=make_time_embedding,
        label_embedding=make_label_embedding,
        conditioning_map=make_conditioning_map,
        training_samples=make_training_samples,
        model=make_model,
        compare=make_compare,
        activations=make_activations,
        noise=noise,
        linear=LINEAR,
        forward_t=FORWARD_T,
    )


@pytest.fixture(scope="session")
def words() -> Callable[[Figure], list[str]]:
    """Return a function that gives all non-empty texts of a figure."""
    return lambda figure: [text.get_text() for text in figure.findobj(Text) if text.get_text()]


@pytest.fixture(scope="session")
def pictures() -> Callable[..., list[np.ndarray]]:
    """Return a function that gives a figure's 28x28 images of one colour map, at their own size."""

    def get(figure: Figure, colours: str) -> list[np.ndarray]:
        images = [image for axes in figure.axes for image in axes.images if image.get_cmap().name == colours]
        arrays = [np.asarray(image.get_array()) for image in images]
        squares = [array for array in arrays if array.shape[0] == array.shape[1] and array.shape[0] % 28 == 0]
        return [array[:: len(array) // 28, :: len(array) // 28] for array in squares]

    return get
