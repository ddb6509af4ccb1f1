"""Errors in Chinese: every message of the package's source has a template, and every template a message."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from string import Formatter

import pytest
from chinese_text import FILES, NAMES, english_words
from raised_messages import FIELD, PACKAGE, Messages, Reader

from viz_diffusion.cli import error_language
from viz_diffusion.cli.error_language import Template, in_language, matching, templates
from viz_diffusion.text.catalogue import languages

OTHERS = [lang for lang in languages() if lang != "en"]
OPAQUE = {
    "viz_diffusion/data/image_folder.py": "an error of another file, then more of its kind",
    "viz_diffusion/training/processes.py": "a number, of which FailedElsewhereError makes its message",
}
"""Where a whole message is a value, and why."""
BUILT = {
    "{} x {} to {} x {}",
    "larger ones were shrunk to fit, with their proportions; the rest of the square was filled with the colour of each "
    "image's border",
    "samples {}..{}",
    "samples {}..{}, steps {}..{}",
    "steps {}..{}",
    "{} {} then, {} now; {}",
}
"""Texts that the source puts together from parts in a list, which the reader of the source does not follow."""
_WORDS = """
CRC DDIMScheduler EMNIST Figure GPU GiB JSON MASTER_ADDR MASTER_PORT MP4 NaN NoiseSchedule PowerPoint PyAV Python RGB
Recorder SimpleUNet TOML TorchScript TrigFlow VAE WebP all auto bfloat16 bump bundled channels compare core cosine
count cpu cuda ddim ddpm decision dpm dtypes epsilon eta euler false float16 float32 flow fold forward frozen gif
guess guidance gzip heun images ink install int64 kmnist label latent learning linear matplotlib measure minutes mp4
mps noising null num off optimizer pdf pip pixel png potx pptx precision precomputed reversed safetensors sample scale
schedule seed shuffled sigma srun step steps subset svg tensorboard text timesteps torch torchrun torchvision trackio
transformer true uint8 unet wandb webp with zarr zip
"""
WORDS = NAMES | FILES | set(_WORDS.split())
"""Latin words allowed in a Chinese error: names, and values of options and parameters."""


@cache
def messages() -> Messages:
    return Reader().read()


def marked(text: str) -> str:
    """Return a message of the source with a mark for each value."""
    count = iter(range(99))
    return re.sub(FIELD, lambda _: f"⟦{next(count)}⟧", text)


def words_of(text: str) -> list[str]:
    """Return the Latin words of a text that are neither names nor code, options, parameters, commands or marks."""
    plain = re.sub(r"⟦\d+⟧|{\d*}", "0", text)
    plain = re.sub(r"`[^`]*`|--[\w-]+(:? [A-Z]+\b)?|vizdiff( [a-z-]+)?|'[^']*'|\"[^\"]*\"", " ", plain)
    plain = re.sub(r"[a-z0-9]+(-[a-z0-9]+)+", " ", plain)
    plain = re.sub(r"[\w.=/]*[_.(=\[/:](?=[\w…(\[\"])[\w.…=(\[,/+ ]*|\b\w+\(\)", " ", plain)
    return [word for word in re.findall(r"[A-Za-z][A-Za-z0-9_]{2,}", plain) if word not in WORDS]


def faults(text: str, lang: str) -> str:
    """Return what is wrong with the translation of a message; empty where nothing is."""
    english = marked(text)
    other = in_language(english, lang)
    if other == english:
        return "no template"
    if sorted(re.findall("⟦.*?⟧", other)) != sorted(re.findall("⟦.*?⟧", english)):
        return f"other values: {other}"
    if sorted(re.findall("`.*?`", other)) != sorted(re.findall("`.*?`", english)):
        return f"other parameters: {other}"
    left = [*words_of(other), *english_words(other)]
    return f"{left} in {other}" if left else ""


@pytest.mark.parametrize("lang", OTHERS)
def test_every_message_of_the_source_is_translated(lang: str) -> None:
    found = messages()
    assert len(found.templates) > 600
    assert len(found.phrases) > 30
    wrong = {marked(text): (fault, place) for text, place in found.templates.items() if (fault := faults(text, lang))}
    wrong |= {marked(text): (fault, place) for text, place in found.phrases.items() if (fault := faults(text, lang))}
    assert wrong == {}


def test_only_messages_that_are_values_cannot_be_read() -> None:
    assert {place.partition(":")[0] for place in messages().opaque} == set(OPAQUE)


def used(message: str, lang: str) -> Iterator[str]:
    """Yield the English texts of the templates that a message is translated with."""
    found = matching(message, lang)
    if found is not None:
        yield found[0].english
        for value in found[1]:
            yield from used(value, lang)


@pytest.mark.parametrize("lang", OTHERS)
def test_every_template_has_a_message_in_the_source(lang: str) -> None:
    """Except those for the texts of other packages and of the system."""
    sources = {*messages().templates, *messages().phrases}
    alive = {english for text in sources for english in used(marked(text), lang)}
    alive |= set(error_language.read(lang, "outside.toml")) | constants() | set(BUILT)
    dead = [one for one in templates(lang) if one.english not in alive]
    general = [one for one in templates(lang) if one.english in alive]
    assert [one for one in dead if not any(other.values(one.english) for other in general)] == []


def constants() -> set[str]:
    """Return the string constants of the source; some stand in a field of a message."""
    trees = (ast.parse(path.read_text("utf-8")) for path in PACKAGE.rglob("*.py"))
    nodes = (node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Constant))
    return {node.value for node in nodes if isinstance(node.value, str)}


@pytest.mark.parametrize("lang", OTHERS)
def test_both_texts_of_a_template_have_the_same_fields(lang: str) -> None:
    for one in templates(lang):
        names = [name for _, name, _, _ in Formatter().parse(one.other) if name is not None]
        numbers = range(sum(field is not None for _, field, _, _ in Formatter().parse(one.english)))
        assert sorted(int(name or k) for k, name in enumerate(names)) == list(numbers), one
        assert words_of(one.other) == [], one


@pytest.mark.parametrize("lang", OTHERS)
def test_a_language_keeps_each_message_once(lang: str) -> None:
    texts = [one.english for one in templates(lang)]
    assert sorted(texts) == sorted(set(texts))


@pytest.mark.parametrize(
    "without", ["`guidance_scale` must lie in 0..{}, found {}", "train again", "{} is missing", "{}; also: {}"]
)
def test_control_a_missing_template_is_found(without: str, monkeypatch: pytest.MonkeyPatch) -> None:
    left = tuple(one for one in templates("zh") if one.english != without)
    assert len(left) == len(templates("zh")) - 1
    text = without.replace("{}", FIELD)
    assert text in {*messages().templates, *messages().phrases}
    assert faults(text, "zh") == ""
    monkeypatch.setattr(error_language, "templates", lambda _: left)
    assert faults(text, "zh") != ""


def test_control_faults_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def fault(other: str) -> str:
        monkeypatch.setattr(error_language, "templates", lambda _: (Template("`a` {} is {}", other),))
        return faults(f"`a` {FIELD} is {FIELD}", "zh")

    assert fault("`a` {} 是 {}") == ""
    assert "other values" in fault("`a` {} 是")
    assert "other parameters" in fault("{} 是 {}")
    assert "['wrong']" in fault("`a` {} wrong {}")


@pytest.mark.parametrize(
    ("english", "chinese"),
    [
        ("`steps` must lie in 1..1000, found 0", "`steps` 必须在 1 到 1000 之间，给出的是 0"),
        ("a is damaged (x/zarr.json is missing); record it again", "a 已损坏（缺少 x/zarr.json）；请重新记录"),
        (
            "there is no lesson 'gide'; choose from guess, guidance; did you mean 'guidance'?",
            "没有课 'gide'；请从 guess, guidance 中选择；你是不是想写 'guidance'？",
        ),
        (
            "a was cut off after 3 of 5 steps of samples 0..15; record it again, or open it with `allow_partial`",
            "a 中断了，只记录到：样本 0 到 15 的 5 步中的 3 步；请重新记录，或以 `allow_partial` 打开",
        ),
        ("cannot write a: No space left on device", "无法写入 a：磁盘空间不足"),
        (
            "the argument 'm' was said to be a mask and is a tensor of shape (4, 1, 28, 28), float32",
            "参数 'm' 被说成是掩码，而它是形状为 (4, 1, 28, 28) 的张量，float32",
        ),
        ("a message of somebody else", "a message of somebody else"),
        ("{0} is missing", "缺少 {0}"),
    ],
)
def test_a_message_is_translated_with_its_values(english: str, chinese: str) -> None:
    assert in_language(english, "zh") == chinese
    assert in_language(english, "en") == english
