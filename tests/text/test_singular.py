"""The singular after 1 in English, and the words of a network in latents."""

from __future__ import annotations

import re

import pytest

from viz_diffusion.text.catalogue import Texts, languages, load_texts
from viz_diffusion.text.singular import singular


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 steps left", "1 step left"),
        ("until 1 steps are left, 1 images were made", "until 1 step is left, 1 image was made"),
        ("1\nsteps left, in 1 recorded steps", "1\nstep left, in 1 recorded step"),
        ("11 steps, 0.1 steps, t = 1 steps on, −1 steps", "11 steps, 0.1 steps, t = 1 steps on, −1 steps"),
        ("1 of 40 steps left; 1.0 steps; 1 million parameters", "1 of 40 steps left; 1.0 steps; 1 million parameters"),
        ("1,001 steps and 1 stepsister", "1,001 steps and 1 stepsister"),
    ],
)
def test_the_singular_stands_after_one_and_only_there(text: str, expected: str) -> None:
    assert singular(text) == expected


def test_texts_of_the_catalogue_are_filled_in_with_the_singular() -> None:
    english, chinese = load_texts("en"), load_texts("zh")
    assert english("figure.latent_channels.row", left=1, t="0") == "1 step left\nt = 0"
    assert english("terminal.count_slides", count=1) == "1 slide"
    assert english("terminal.count_slides", count=21) == "21 slides"
    assert "1" in chinese("terminal.count_slides", count=1)
    assert Texts("zh", {"a": "{n} steps"})("a", n=1) == "1 steps"


MEASURED = r"chapter\.(step)\.|(picture|figure|deck\.slide)\.(ledger|directions|exposure)\.|deck\.correction\.step\."


@pytest.mark.parametrize("lang", languages())
def test_what_is_measured_on_latents_is_not_said_of_images(lang: str) -> None:
    plain, latent = load_texts(lang), load_texts(lang).for_space("latent")
    image = {"en": r"\b([Pp]ixel|[Ii]mage)s?\b(?![^{]*\})", "zh": "像素|图像"}[lang]
    keys = [key for key in plain if re.match(MEASURED, key)]
    assert [key for key in keys if re.search(image, latent[key])] == []
    assert sum(bool(re.search(image, plain[key])) for key in keys) > 20  # a control
    for key in keys:  # the fields stay
        if f"latent.{key}" not in plain:
            assert re.findall(r"\{[^}]*\}", plain[key]) == re.findall(r"\{[^}]*\}", latent[key])
