"""Labels in figures: short names, formulas never, numbers for letters that the font lacks."""

from __future__ import annotations

import numpy as np
import pytest

from viz_diffusion.plots import theme
from viz_diffusion.plots.class_names import label_text, named
from viz_diffusion.plots.class_sheet import draw_class_sheet
from viz_diffusion.plots.strip import draw_ten_digits


def test_labels_are_digits_unless_named() -> None:
    assert label_text(3) == "3"
    with named(["cat", "a very long name", "$x$", "猫", "🐈"]):
        assert [label_text(np.int64(k)) for k in range(6)] == ["cat", "a very l…", r"\$x\$", "猫", "#4", "5"]
    assert label_text(3) == "3"


def test_figures_write_names_and_no_formulas() -> None:
    images = np.zeros((2, 2, 8, 8, 3), np.float32)
    with named(["$x^2$", "dog"]):
        figure = draw_ten_digits(images, np.array([5, 0]), np.array([0, 1]))
    written = [text for text in figure.texts if text.get_text() in (r"\$x^2\$", "dog")]
    assert len(written) == 2
    figure.canvas.draw()  # no error of a formula, and no warning of a missing letter


def test_a_sheet_has_a_row_for_each_class() -> None:
    images = np.zeros((3, 4, 8, 8, 3), np.uint8)
    figure = draw_class_sheet(images, ["a", "b", "c"])
    assert len(figure.axes) == 12
    assert [text.get_text() for text in figure.texts] == ["a", "b", "c"]
    longest = draw_class_sheet(images, [label_text(0)] * 2 + ["WWWWWWW…"])
    for text in longest.texts:
        assert text.get_fontsize() >= theme.TEXT_SIZE
        assert text.get_window_extent().x0 > 0
    with pytest.raises(ValueError, match="1 to 60 classes"):
        draw_class_sheet(images, ["a"])
