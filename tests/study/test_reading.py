"""How a classifier reads a study's images, and which sentences follow from it."""

from __future__ import annotations

from dataclasses import replace
from string import Formatter
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from worksheet_fakes import fake_digit, fake_others, fake_trajectory

from viz_diffusion.data import load_digits
from viz_diffusion.study.reading import Reading, read_images
from viz_diffusion.text.catalogue import languages, load_texts
from viz_diffusion.worksheet.page import render_answer_key, render_worksheet
from viz_diffusion.worksheet.plan import make_worksheet


def reading(*read: int, finished: bool = True) -> Reading:
    """Return a reading of images of the labels 0, 1 and so on, of which the recording's is 0."""
    return Reading(56, finished, 0, dict(enumerate(read)))


def run(dataset: str = "mnist", finished: bool = True) -> SimpleNamespace:
    config = SimpleNamespace(dataset=dataset, prompts=(), space="pixel")
    return SimpleNamespace(trained_steps=56, is_finished=finished, config=config)


def test_images_are_read_as_the_classifier_reads_them() -> None:
    """Oracle: real digits. The recording's image is a test digit 7, the others are of their label but for one."""
    test = load_digits("test")
    real = {label: test.images[torch.nonzero(test.labels == label)[0, 0]].numpy() for label in range(10)}
    recorded = fake_trajectory(digit=7, x0=real[7][None])
    others = [
        replace(one, x_t=np.concatenate([one.x_t[:-1], real[one.digit if one.digit != 3 else 8]]))
        for one in fake_others(label=7)
    ]
    found = read_images(run(), recorded, others)
    assert found.labels[7] == 7
    assert found.labels[3] == 8
    assert found.misread == {3}
    assert found.is_as_requested is True
    assert (found.share.hits, found.share.count) == (9, 10)
    assert found.warning(load_texts("en")) == ""


@pytest.mark.parametrize("lang", languages())
def test_of_a_generation_without_a_label_no_request_is_claimed(lang: str) -> None:
    texts, title = load_texts(lang), {"digit": 5, "num_steps": 9}
    labelled = fake_trajectory(guidance_scale=2.0)
    unguided = read_images(run(), replace(labelled, guidance_scale=0.0), fake_others())
    assert (unguided.labels, unguided.share, unguided.misread) == ({}, None, frozenset())
    assert unguided.long_warning(texts) == ""
    said = unguided.texts(texts)
    assert said("report.title", **title) != read_images(run(), labelled).texts(texts)("report.title", **title)
    assert texts("unlabelled.why_guidance", digit=5) in said("picture.latent_channels.caption", sampler="DDIM", digit=5)
    prompts = ("a seven", "∅")
    named = texts.for_classes(prompts).for_prompts(prompts)
    empty = read_images(run(), replace(labelled, prompts=prompts, labels=np.array([1]))).texts(named)
    assert named["unlabelled.why_empty"] in empty("picture.latent_channels.caption", sampler="DDIM", digit="∅")
    asked = read_images(run(), replace(labelled, prompts=prompts, labels=np.array([0])))
    assert asked.unlabelled == ""


@pytest.mark.parametrize("lang", languages())
@pytest.mark.parametrize("prefix", ["", "latent.", "two_numbers."])
def test_each_text_without_a_label_replaces_one_and_needs_no_other_facts(lang: str, prefix: str) -> None:
    texts = load_texts(lang)
    replaced = texts.preferring(prefix.rstrip(".")) if prefix else texts
    for key, text in texts.section(f"{prefix}unlabelled").items():
        if not key.startswith("why_"):
            known = {name for _, name, _, _ in Formatter().parse(replaced[key]) if name} | {"why"}
            found = {name for _, name, _, _ in Formatter().parse(text) if name}
            assert found <= known, key
            assert prefix or "why" in found or not key.startswith("picture") or key.endswith("title"), key


def test_without_a_classifier_nothing_is_claimed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("viz_diffusion.study.reading.classifier_of", lambda _: None)
    found = read_images(run("photos"), fake_trajectory(), fake_others())
    texts = load_texts("en")
    assert (found.share, found.is_as_requested, found.misread) == (None, None, frozenset())
    assert found.texts(texts) is texts
    assert found.warning(texts) == ""
    unfinished = read_images(run("photos", finished=False), fake_trajectory())
    assert unfinished.long_warning(texts) == unfinished.warning(texts)
    assert "not finished: it was trained for 56 steps" in unfinished.warning(texts)


def test_the_banner_stands_below_eight_in_ten() -> None:
    texts = load_texts("en")
    eight, seven = reading(*range(8), 0, 0), reading(*range(7), 0, 0, 0)
    assert eight.warning(texts) == ""
    assert seven.warning(texts) == (
        "This model was trained for 56 steps; its samples are classified as requested 70% of the time."
    )
    assert "7 of 10 images" in seven.long_warning(texts)
    assert "not finished" in reading(*range(7), 0, 0, 0, finished=False).warning(texts)


@pytest.mark.parametrize("lang", languages())
def test_texts_follow_the_reading_of_the_recording(lang: str) -> None:
    texts = load_texts(lang)
    assert reading(0, 5).texts(texts) is texts  # the recording is read as requested, whatever the others are
    other = reading(6).texts(texts)
    said = other("chapter.guess.answer", digit=0)
    assert said != texts["chapter.guess.answer"]
    assert "6" in said
    named = replace(reading(1)).texts(texts.for_classes(("cat", "{dog}")))
    assert "{dog}" in named("chapter.guess.answer", digit="cat")
    assert named.class_names == ("cat", "{dog}")


@pytest.mark.parametrize("lang", languages())
def test_each_text_replaces_one_and_needs_no_other_facts(lang: str) -> None:
    texts = load_texts(lang)

    def fields(text: str) -> set[str]:
        return {name for _, name, _, _ in Formatter().parse(text) if name}

    for key, text in texts.section("unreadable").items():
        assert fields(text) - {"read_as", "digit"} <= fields(texts[key]), key


def test_a_worksheet_leaves_out_what_the_recording_does_not_support() -> None:
    trajectory, others, real = fake_trajectory(), fake_others(), fake_digit(3)
    whole, _ = make_worksheet(trajectory, others, real, misread={5 + 20})
    assert whole.left_out == {}
    sheet, key = make_worksheet(trajectory, others, real, misread={0, 1, 2, 3, 4})
    assert sheet.left_out == {}
    assert set(key.digits.digits) == {6, 7, 8, 9}  # the classifier reads the others as another digit
    sheet, key = make_worksheet(trajectory, others, real, misread=set(range(9)))
    assert sheet.left_out == {"guess": "unreadable", "pixel": "left_out"}
    assert (sheet.digits, sheet.pixel, key.pixel) == (None, None, None)
    noise = np.random.default_rng(0).standard_normal((1, 1, 28, 28)).astype(np.float32)
    noisy, noisy_key = make_worksheet(fake_trajectory(x0=noise), others, real)
    assert noisy.left_out == {"order": "left_out"}
    assert noisy_key.facts()["order"] == []
    for lang in languages():
        texts = load_texts(lang)
        for shown, answers in ((sheet, key), (noisy, noisy_key)):
            reasons = [texts[f"worksheet.{name}.{reason}"] for name, reason in shown.left_out.items()]
            for page in (
                render_worksheet(shown, texts, "a warning"),
                render_answer_key(shown, answers, "vizdiff worksheet", texts, "a warning"),
            ):
                assert "a warning" in page
                assert all(reason in page for reason in reasons)
