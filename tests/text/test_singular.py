"""The singular after 1 in English, and the words of a network in latents."""

from __future__ import annotations

import re

import pytest

from viz_diffusion.text.catalogue import Texts, languages, load_texts
from viz_diffusion.text.singular import singular


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{n} steps left", "{n} step left"),
        ("until {n} steps are left, {n} images were made", "until {n} step is left, {n} image was made"),
        ("{n}\nsteps left, in {n} recorded steps", "{n}\nstep left, in {n} recorded step"),
        ("{m} steps and {n:.1f} steps, 1 steps", "{m} steps and {n:.1f} steps, 1 steps"),
        ("{n} of {m} steps left, {n:g} million parameters", "{n} of {m} steps left, {n:g} million parameters"),
        ("{n} stepsisters of {name} files", "{n} stepsisters of {name} files"),
    ],
)
def test_the_singular_stands_after_a_count_of_one_and_only_there(text: str, expected: str) -> None:
    assert singular(text, {"n": 1, "m": 40, "name": "1 images"}) == expected


def test_values_stay_as_they_are() -> None:
    assert Texts("en", {"a": "{text}: {n} steps"})("a", text="1 images", n=1) == "1 images: 1 step"


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
