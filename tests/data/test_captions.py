"""Shapes of drawn lines whose slant and thickness are known, and captions that are true of their digits."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from viz_diffusion.data import Digits
from viz_diffusion.data.caption_words import (
    LEVEL_WORDS,
    OTHER_WORDS,
    PLAIN_PROMPTS,
    SENSES,
    VOCABULARY,
    Meaning,
    fits,
    meaning_of,
)
from viz_diffusion.data.captions import HELD_OUT, CaptionedDigits, all_captions, caption_numbers
from viz_diffusion.data.digit_shapes import ATTRIBUTES, ShapeLevels, measure_shapes
from viz_diffusion.diffusion.tokenizer import Tokenizer
from viz_diffusion.errors import VizdiffUsageError

LENGTH = 18
TOKENIZER = Tokenizer(VOCABULARY)


def line(slant: float, thickness: float) -> torch.Tensor:
    """Draw a (1, 28, 28) straight stroke of 18 rows, ``slant`` columns to the right for each row upwards."""
    fine = 8
    y, x = (np.mgrid[: 28 * fine, : 28 * fine] + 0.5) / fine
    across = np.abs(x - 14 + slant * (y - 14)) / np.hypot(1, slant)
    inside = (across < thickness / 2) & (np.abs(y - 14) < LENGTH / 2)
    return torch.from_numpy(inside.reshape(28, fine, 28, fine).mean(axis=(1, 3)) * 2 - 1).float()[None]


LINES = list(itertools.product((-0.5, 0.0, 0.3, 0.7), (2.0, 3.0, 4.5)))


@pytest.fixture(scope="module")
def lines() -> Digits:
    return Digits(torch.stack([line(*one) for one in LINES]), torch.ones(len(LINES), dtype=torch.int64))


@pytest.fixture(scope="module")
def thresholds() -> ShapeLevels:
    """Thresholds at which lines of slant 0.7 and thickness 4.5 are high, of -0.5 and 2 low."""
    lower, upper = np.tile([-0.2, 2.2, 0.0, 0.0], (10, 1)), np.tile([0.5, 3.1, 99.0, 99.0], (10, 1))
    return ShapeLevels(lower, upper)


def test_slant_and_height_of_a_drawn_line_are_its_own(lines: Digits) -> None:
    shapes = measure_shapes(lines.images)
    assert shapes[:, 0] == pytest.approx([slant for slant, _ in LINES], abs=0.01)
    assert shapes[:, 3] == pytest.approx(np.sqrt((LENGTH**2) / 12), abs=0.02)  # of a uniform density over 18 rows


def test_thickness_of_a_drawn_line_is_its_own_less_its_two_ends(lines: Digits) -> None:
    found = measure_shapes(lines.images)[:, 1]
    for (slant, thickness), measured in zip(LINES, found, strict=True):
        length = LENGTH * np.hypot(1, slant)
        # area L w, edges 2 L + 2 w: 2 L w / (2 L + 2 w)
        assert measured == pytest.approx(thickness / (1 + thickness / length), rel=0.15)
    by_thickness = found.reshape(4, 3)
    assert np.all(np.diff(by_thickness, axis=1) > 0.5)


def test_captions_of_drawn_lines_name_their_slant_and_thickness(lines: Digits, thresholds: ShapeLevels) -> None:
    captioned = CaptionedDigits.of(lines, thresholds)
    for (slant, thickness), levels in zip(LINES, captioned.known_levels, strict=True):
        assert levels.tolist()[:2] == [
            (slant == 0.7) - (slant == -0.5),
            (thickness == 4.5) - (thickness == 2.0),
        ]
    thick = captioned.fitting(TOKENIZER.words("a thick slanted one"))
    assert np.flatnonzero(thick).tolist() == [LINES.index((0.7, 4.5))]
    assert captioned.fitting(TOKENIZER.words("一个又粗又斜的一")).tolist() == thick.tolist()
    assert not captioned.fitting(TOKENIZER.words("a thick slanted two")).any()


def test_drawn_captions_are_true_of_their_digits_and_the_same_each_time(lines: Digits, thresholds: ShapeLevels) -> None:
    captioned = CaptionedDigits.of(lines, thresholds)
    rows = torch.arange(len(lines)).repeat(40)
    first = captioned.draw_labels(rows, torch.Generator().manual_seed(3))
    assert torch.equal(first, captioned.draw_labels(rows, torch.Generator().manual_seed(3)))
    said = set()
    for row, number in zip(rows.tolist(), first.tolist(), strict=True):
        words = TOKENIZER.words(all_captions()[number])
        said |= set(words)
        assert captioned.fitting(words)[row]
    assert {"thick", "slanted", "粗", "斜", "one", "一", "1"} <= said
    assert "seven" not in said
    plain = [meaning_of(TOKENIZER.words(all_captions()[number])) for number in first.tolist()]
    assert 0.15 < np.mean([not any(one.levels) for one in plain]) < 0.8  # some captions leave out what is true
    assert 0.02 < np.mean([one.digit is None for one in plain]) < 0.25


def test_every_number_is_that_of_a_caption_with_its_meaning() -> None:
    captions = all_captions()
    assert len(captions) == 11 * 3**4 * 8
    draw = np.random.default_rng(0)
    digits, levels = draw.integers(0, 11, 300), draw.integers(-1, 2, (300, 4)).astype(np.int8)
    variants = draw.integers(0, 8, 300)
    for number, digit, level in zip(caption_numbers(digits, levels, variants), digits, levels, strict=True):
        found = meaning_of(TOKENIZER.words(captions[number]))
        assert found == Meaning(None if digit == 10 else int(digit), tuple(level.tolist()))


def test_the_vocabulary_has_about_forty_words_a_language() -> None:
    for lang in ("en", "zh"):
        count = 10 + len(OTHER_WORDS[lang]) + sum(map(len, LEVEL_WORDS[lang].values()))
        assert 30 <= count <= 45
    assert len(set(VOCABULARY)) == len(VOCABULARY)
    assert [meaning_of(TOKENIZER.words(prompt)).digit for prompt in PLAIN_PROMPTS] == list(range(10))
    assert {sense[0] for sense in SENSES.values() if sense is not None} == {"digit", *ATTRIBUTES}


def test_words_that_contradict_each_other_fit_nothing() -> None:
    labels, levels = np.array([7, 7]), np.array([[0, 1, 0, 0], [0, -1, 0, 0]], np.int8)
    assert fits(["thick", "seven"], labels, levels).tolist() == [True, False]
    assert fits(["thick", "thin", "seven"], labels, levels).tolist() == [False, False]
    assert meaning_of(["thick", "thin", "seven"]) == Meaning(7, (0, 0, 0, 0))
    assert meaning_of(["seven", "eight"]).digit is None


def test_held_out_digits_are_those_of_their_class_and_levels_only(lines: Digits) -> None:
    slant, thickness = HELD_OUT[1].levels[:2]
    levels = np.array([[slant, thickness, 0, 0], [slant, -thickness, 0, 0], [slant, thickness, 1, 0]], np.int8)
    labels = torch.tensor([1, 1, 7])
    captioned = CaptionedDigits(lines.images[:3], labels, (), levels)
    assert captioned.held_out().tolist() == [True, False, False]
    kept = captioned.without_held_out()
    assert kept.labels.tolist() == [1, 7]
    assert kept.known_levels.tolist() == levels[1:].tolist()


def test_digits_are_labelled_by_the_prompts_that_fit_them(lines: Digits, thresholds: ShapeLevels) -> None:
    captioned = CaptionedDigits.of(lines, thresholds)
    found = captioned.labelled([TOKENIZER.words("a thick one"), TOKENIZER.words("seven"), ()], ("a", "b", "c"))
    assert torch.bincount(found.labels, minlength=3).tolist() == [4, 0, len(LINES)]
    assert found.class_names == ("a", "b", "c")


def test_levels_are_thirds_of_each_class() -> None:
    shapes = np.random.default_rng(0).normal(size=(2000, 4)) + np.repeat([[0.0], [5.0]], 1000, axis=0)
    labels = torch.tensor([0] * 1000 + [1] * 1000)
    levels = ShapeLevels.of(Digits(torch.zeros(2000, 1, 1, 1), labels), shapes).levels(shapes, labels.numpy())
    for k in (0, 1):
        own = levels[labels.numpy() == k]
        assert np.mean(own == 1, axis=0) == pytest.approx(0.3, abs=0.01)
        assert np.mean(own == -1, axis=0) == pytest.approx(0.3, abs=0.01)


def test_only_grey_images_are_measured() -> None:
    with pytest.raises(VizdiffUsageError, match=r"\(2, 3, 28, 28\)"):
        measure_shapes(torch.zeros(2, 3, 28, 28))
