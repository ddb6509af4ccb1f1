"""Labels in figures: short names, formulas never, numbers for letters that the font lacks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from viz_diffusion.lessons.training.figures import LossByT, draw_loss_by_t
from viz_diffusion.plots import theme
from viz_diffusion.plots.class_names import LONGEST, fitted, label_text, named, short_names, width_of
from viz_diffusion.plots.class_sheet import draw_class_sheet
from viz_diffusion.plots.compare import ChangedInput, draw_compare
from viz_diffusion.plots.latent_channels import LatentFrames, draw_latent_channels
from viz_diffusion.plots.strip import draw_steps, draw_ten_digits
from viz_diffusion.plots.word_maps import draw_word_maps
from viz_diffusion.plots.words import use_texts
from viz_diffusion.text.catalogue import Texts, load_texts


def test_labels_are_digits_unless_named() -> None:
    assert label_text(3) == "3"
    with named(["cat", "a very long name", "$x$", "猫", "🐈"]):
        assert [label_text(np.int64(k)) for k in range(6)] == ["cat", "a ve…name", r"\$x\$", "猫", "#4", "5"]
    assert label_text(3) == "3"


def test_long_names_differ_and_are_as_wide_as_they_say() -> None:
    names = ("a thick slanted seven", "a thin slanted seven", "a thin slanted 猫猫猫猫猫猫猫猫", "W" * 9)
    short = short_names(names)
    assert len(set(short)) == len(names)
    for name in (*short, *names):
        with theme.use_theme():
            text = theme.write(theme.new_figure(), 0, 0, name, 24)
            measured = text.get_window_extent().width / (24 * theme.DPI / 72)
        assert width_of(name) == pytest.approx(measured, abs=0.2)
    assert max(map(width_of, short)) <= LONGEST
    assert fitted("$a$b" * 5, 300, 24) == r"\$a…\$b"


ENGLISH = "a very thick and slanted seven that is wide and also tall ok"
CHINESE = "一个又粗又斜又宽又高的七一个又粗又斜又宽又高的七又粗又斜又高"


@pytest.mark.parametrize(("lang", "prompt"), [("en", ENGLISH), ("zh", CHINESE)])
def test_prompts_of_sixty_letters_stay_inside_every_figure(prompt: str, lang: str, make: SimpleNamespace) -> None:
    assert len(ENGLISH) == 60
    assert len(CHINESE) == 30
    names, rng = [f"{prompt[:-1]}{k}" for k in "0123456789"], np.random.default_rng(0)
    texts = Texts(lang, load_texts(lang))
    texts.class_names = tuple(names)
    plain, changed, _ = make.compare()
    told = ChangedInput("y", (names[0],) * 9, (names[1],) * 9)
    latents = LatentFrames(
        np.array([9, 0]), np.array([900, 0]), rng.normal(size=(2, 28, 28)), rng.normal(size=(2, 4, 7, 7)), prompt
    )
    edges, row, whole = np.array([0, 300, 600, 1000]), np.full(3, 0.1), np.full(1000, 0.2)
    loss = LossByT(edges, row, row / 9, np.arange(10), np.ones((10, 3)), whole, whole, row, row, 4)
    drawn: dict[str, Callable[[], Figure]] = {
        "loss_by_t": lambda: draw_loss_by_t(loss),
        "steps": lambda: draw_steps(replace(make.steps(), prompt=prompt)),
        "latent_channels": lambda: draw_latent_channels(latents),
        "word_maps": lambda: draw_word_maps(
            np.array([900, 500]), rng.normal(size=(2, 28, 28)), rng.uniform(size=(2, 3, 7, 7)), [prompt, "a", "七"]
        ),
        "ten_digits": lambda: draw_ten_digits(rng.normal(size=(10, 2, 28, 28)), np.array([9, 0]), np.arange(10)),
        "compare": lambda: draw_compare(plain, changed, (told,)),
    }
    for name, draw in drawn.items():
        with use_texts(texts):
            figure = draw()
        page = figure.bbox
        written = [text for text in figure.findobj(Text) if "…" in text.get_text() or prompt[:6] in text.get_text()]
        assert written, name
        for text in written:
            box = text.get_window_extent()
            inside = box.width == 0 or (box.x0 >= 0 and box.x1 <= page.x1 and box.y0 >= 0 and box.y1 <= page.y1)
            assert inside, (name, text.get_text())


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
