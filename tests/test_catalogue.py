from __future__ import annotations

import re
from importlib import resources

import pytest

from viz_diffusion.catalogue import Texts, languages, load_texts
from viz_diffusion.errors import VizdiffInputError, VizdiffUsageError


def test_english_is_there_and_every_text_says_something() -> None:
    assert "en" in languages()
    texts = load_texts("en")
    assert all(text.strip() for text in texts.section("interface").values())


def test_every_key_the_template_asks_for_exists() -> None:
    template = resources.files("viz_diffusion.report").joinpath("templates", "report.html.j2").read_text("utf-8")
    asked = set(re.findall(r"interface\.[a-z_.]+(?=[\"'])", template))
    asked.remove("interface.column_")  # four keys are made from it
    asked |= {f"interface.column_{name}" for name in ("steps", "timestep", "signal", "snr")}
    assert asked <= set(load_texts("en"))


def test_every_key_the_script_asks_for_exists() -> None:
    script = resources.files("viz_diffusion.report").joinpath("templates", "report.js").read_text("utf-8")
    asked = set(re.findall(r"\btext\.([a-z_]+)", script))
    assert asked == set(load_texts("en").section("interface.script"))


def test_languages_have_the_same_interface_keys_and_fields() -> None:
    english = load_texts("en")
    for lang in languages():
        other = load_texts(lang)
        keys = {key for key in english if key.startswith("interface.")}
        assert keys == {key for key in other if key.startswith("interface.")}, lang
        for key in keys:
            assert set(re.findall(r"{\w+}", english[key])) == set(re.findall(r"{\w+}", other[key])), (lang, key)


def test_missing_key_is_named() -> None:
    with pytest.raises(VizdiffInputError, match=r"'interface\.nothing' is missing from the catalogue en\.toml"):
        load_texts("en")["interface.nothing"]


def test_missing_section_is_named() -> None:
    with pytest.raises(VizdiffInputError, match="section 'nothing'"):
        load_texts("en").section("nothing")


@pytest.mark.parametrize("lang", ["xx", "", "../en", "en/../en"])
def test_unknown_language_is_refused(lang: str) -> None:
    with pytest.raises(VizdiffUsageError, match="has no catalogue"):
        load_texts(lang)


def test_values_are_inserted_and_never_parsed() -> None:
    texts = Texts("en", {"a": "digit {digit}"})
    assert texts("a", digit="{digit} {0.__class__}") == "digit {digit} {0.__class__}"


def test_missing_value_is_named() -> None:
    with pytest.raises(VizdiffInputError, match="'a' of en"):
        Texts("en", {"a": "digit {digit}"})("a")
