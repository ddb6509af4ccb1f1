"""Message catalogues: keys, fields, languages, and the two READMEs."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path
from string import Formatter

import pytest
from chinese_text import foreign_words, is_command

from viz_diffusion.errors import VizdiffInputError, VizdiffUsageError
from viz_diffusion.text.catalogue import Texts, languages, load_texts


def test_english_exists_and_no_interface_text_is_blank() -> None:
    assert "en" in languages()
    texts = load_texts("en")
    assert all(text.strip() for text in texts.section("interface").values())


def sources(ending: str) -> str:
    """Return all template files with one file name ending, joined."""
    folder = resources.files("viz_diffusion.report").joinpath("templates")
    files = [entry.read_text("utf-8") for entry in folder.iterdir() if entry.name.endswith(ending)]
    assert files
    return "\n".join(files)


def test_every_key_used_in_templates_exists() -> None:
    keys = set(re.findall(r"interface\.[a-z_.]+(?=[\"'])", sources(".html.j2")))
    assert len(keys) > 50
    assert keys <= set(load_texts("en"))


def test_the_keys_used_in_scripts_are_those_of_the_catalogue() -> None:
    keys = set(re.findall(r"\btext\.([a-z_]+)", sources(".js")))
    assert keys == set(load_texts("en").section("interface.script"))


def fields(text: str) -> list[tuple[str, str, str]]:
    """Return the (name, format, conversion) of every field of a text, sorted."""
    parts = Formatter().parse(text)
    return sorted((name, spec or "", conversion or "") for _, name, spec, conversion in parts if name is not None)


def test_languages_have_the_same_keys_and_fields() -> None:
    english = load_texts("en")
    for lang in languages():
        other = load_texts(lang)
        assert sorted(set(english) - set(other)) == [], f"missing from {lang}"
        assert sorted(set(other) - set(english)) == [], f"in {lang}, and not in en"
        for key in english:
            assert fields(other[key]) == fields(english[key]), (lang, key)


def test_control_fields_differ_by_format() -> None:
    assert fields("{a[0]:.2f} {b}") == fields("{b} {a[0]:.2f}") != fields("{a[0]:.3f} {b}")


def test_no_text_is_empty_where_the_english_one_is_not() -> None:
    english = load_texts("en")
    assert [key for key in english if not english[key].strip()] == ["report.variance_none"]
    for lang in languages():
        other = load_texts(lang)
        assert [key for key in other if not other[key].strip()] == ["report.variance_none"], lang


def test_chinese_texts_hold_no_english_words() -> None:
    texts = load_texts("zh")
    assert {key: words for key in texts if (words := foreign_words(key, texts[key]))} == {}
    assert texts["language.tag"] == "zh-Hans"


def test_commands_are_the_same_in_every_language() -> None:
    english = load_texts("en")
    for lang in languages():
        for key in filter(is_command, english):
            assert load_texts(lang)[key] == english[key]


def test_control_english_words_are_detected() -> None:
    english = load_texts("en")
    assert sum(bool(foreign_words(key, english[key])) for key in english) > 0.8 * len(english)
    assert foreign_words("a.b", "由噪声调度 decided，SNR") == ["decided"]


@pytest.mark.parametrize("lang", languages())
@pytest.mark.parametrize("figure", ["loss", "learning"])
def test_captions_name_the_training_steps(lang: str, figure: str) -> None:
    assert {"en": "training steps", "zh": "训练步数"}[lang] in load_texts(lang)[f"picture.{figure}.caption"]


def test_missing_key_is_named() -> None:
    with pytest.raises(VizdiffInputError, match=r"'interface\.nothing' is missing from the catalogue en"):
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
    with pytest.raises(VizdiffInputError, match="'a' of the catalogue en"):
        Texts("en", {"a": "digit {digit}"})("a")


ROOT = Path(__file__).parents[2]


def test_readmes_name_the_same_commands_and_link_to_each_other() -> None:
    english, chinese = ((ROOT / name).read_text("utf-8") for name in ("README.md", "README.zh-CN.md"))
    assert "(README.zh-CN.md)" in english.partition("## ")[0]
    assert "(README.md)" in chinese.partition("## ")[0]
    commands = [re.findall(r"`(vizdiff [^`]*)`", text) for text in (english, chinese)]
    assert len(commands[0]) >= 5
    assert commands[0] == commands[1]
    pictures = [re.findall(r"images/[\w.]+", text) for text in (english, chinese)]
    assert pictures[0] == pictures[1]
    blocks = [
        [re.sub("#.*", "#", b) for b in re.findall(r"```.*?\n(.*?)```", text, re.S)] for text in (english, chinese)
    ]
    assert blocks[0] == blocks[1]
    numbers = [re.findall(r"\d[\d.,]*\d%?", "".join(re.findall(r"^\|.*\|$", t, re.M))) for t in (english, chinese)]
    assert numbers[0] == numbers[1]
