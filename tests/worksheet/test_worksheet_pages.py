"""The two pages of a worksheet: the students' page holds no answer, the key holds all of them."""

from __future__ import annotations

import base64
import re
import struct
from dataclasses import replace
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from worksheet_fakes import COMMAND, fake_digit, fake_others, fake_trajectory

from viz_diffusion.live.tasks import TASK_NAMES
from viz_diffusion.plots.pixels import to_gray8
from viz_diffusion.text.catalogue import languages, load_texts
from viz_diffusion.worksheet.page import (
    ENLARGED,
    LIVE_TASKS,
    picture_uri,
    render_answer_key,
    render_worksheet,
    write_worksheet,
)
from viz_diffusion.worksheet.plan import make_worksheet
from viz_diffusion.worksheet.tasks import AnswerKey, Worksheet


class Reader(HTMLParser):
    """Collects the text, attributes, comments and pictures of an HTML file."""

    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []
        self.pictures: list[bytes] = []
        self.attributes: list[tuple[str, str]] = []
        self.comments: list[str] = []
        self._hidden = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._hidden = tag == "style"
        for name, value in attrs:
            if name == "src" and value and value.startswith("data:image/png;base64,"):
                self.pictures.append(base64.b64decode(value.partition(",")[2], validate=True))
            elif name != "content":  # the content policy's hash
                self.attributes.append((name, value or ""))

    def handle_endtag(self, tag: str) -> None:
        self._hidden = self._hidden and tag != "style"

    def handle_data(self, data: str) -> None:
        if not self._hidden and data.strip():
            self.words.append(" ".join(data.split()))

    def handle_comment(self, data: str) -> None:
        self.comments.append(data)

    @property
    def text(self) -> str:
        """All text, attributes and comments, in one line."""
        return " | ".join([*self.words, *(value for _, value in self.attributes), *self.comments])


def read(html: str) -> Reader:
    reader = Reader()
    reader.feed(html)
    reader.close()
    return reader


def pixel_answers(sheet: Worksheet, key: AnswerKey) -> list[str]:
    """Return the numbers of exercise 4 that are not also among the given ones, without their signs."""
    given = {f"{abs(v):.2f}" for v in (*sheet.pixel.x_t, *sheet.pixel.eps_pred)}
    return [text for v in (*key.pixel.x0, *key.pixel.recorded) if (text := f"{abs(v):.2f}") not in given]


def found_answers(html: str, sheet: Worksheet, key: AnswerKey) -> set[str]:
    """Return the exercises whose answers an HTML file contains."""
    text = read(html).text
    found = set()
    letters = key.frame_order.letters
    joints = r"[\s,;|>–—→-]*"
    for sequence in (letters, letters[::-1]):
        if any(
            re.search(rf"\b{a}\b{joints}\b{b}\b{joints}\b{c}\b", text)
            for a, b, c in zip(sequence, sequence[1:], sequence[2:], strict=False)
        ):
            found.add("order")
    for name, digit in zip(key.digits.names, key.digits.digits, strict=True):
        if re.search(rf"\b{name}\b[^|0-9]{{0,20}}(?<!\d){digit}(?!\d)(?! of| steps|%)", text):
            found.add("guess")
    if re.search(rf"(?<!\d){key.snr.crossing}(?!\d)", text):
        found.add("snr")
    if any(re.search(rf"(?<![\d.]){value}(?!\d)", text) for value in pixel_answers(sheet, key)):
        found.add("pixel")
    for secret in (key.seed, "ab" * 32, ("ab" * 32)[:8]):
        if str(secret) in text:
            found.add(str(secret))
    return found


@pytest.mark.parametrize("lang", languages())
def test_the_students_file_holds_no_answer_and_the_key_holds_all(
    worksheet: tuple[Worksheet, AnswerKey], lang: str
) -> None:
    sheet, key = worksheet
    texts = load_texts(lang)
    for lab in (None, "", "../live.html"):
        assert found_answers(render_worksheet(sheet, texts, lab=lab), sheet, key) == set()
    control = found_answers(render_answer_key(sheet, key, COMMAND, texts), sheet, key)
    assert control == {"order", "guess", "snr", "pixel", str(key.seed)}


@pytest.mark.parametrize("lang", languages())
def test_exercises_name_the_tasks_of_the_live_lab(worksheet: tuple[Worksheet, AnswerKey], lang: str) -> None:
    sheet, texts = worksheet[0], load_texts(lang)
    assert set(LIVE_TASKS.values()) <= set(TASK_NAMES)
    titles = [texts[f"live.task.{task}.title"] for task in LIVE_TASKS.values()]
    other, named, linked = (read(render_worksheet(sheet, texts, lab=lab)) for lab in (None, "", "../my live.html"))
    assert "vizdiff live" not in other.text
    assert all(title in named.text for title in titles)
    assert "href" not in dict(named.attributes)
    links = [value for name, value in linked.attributes if name == "href"]
    assert links == [f"../my%20live.html#task={task}" for task in LIVE_TASKS.values()]


@pytest.mark.parametrize(
    ("leak", "exercise"),
    [
        ("<!-- {order} -->", "order"),
        ('<p id="{order}"></p>', "order"),
        ('<img alt="run W shows a {digit}">', "guess"),
        ("<p>t = 259</p>", "snr"),
        ("<i title='{x0}'></i>", "pixel"),
        ("<p data-seed=31337>", "31337"),
    ],
)
def test_control_the_search_finds_a_leak(worksheet: tuple[Worksheet, AnswerKey], leak: str, exercise: str) -> None:
    sheet, key = worksheet
    words = {
        "order": " ".join(key.frame_order.letters),
        "digit": key.digits.digits[0],
        "x0": pixel_answers(sheet, key)[0],
    }
    html = render_worksheet(sheet, load_texts("en")).replace("</main>", leak.format(**words) + "</main>")
    assert found_answers(html, sheet, key) == {exercise}


def test_the_students_page_does_not_change_when_only_the_answers_do() -> None:
    others = fake_others()
    renamed = [replace(one, digit=(one.digit + 3) % 10, x0_pred=-one.x0_pred) for one in others]
    texts = load_texts("en")
    sheet, key = make_worksheet(fake_trajectory(), others, fake_digit(3))
    other_sheet, other_key = make_worksheet(fake_trajectory(), renamed, fake_digit(3))
    assert render_worksheet(sheet, texts) == render_worksheet(other_sheet, texts)
    assert key.digits.digits != other_key.digits.digits
    assert render_answer_key(sheet, key, COMMAND, texts) != render_answer_key(other_sheet, other_key, COMMAND, texts)


def test_the_teachers_words_are_not_on_the_students_page(worksheet: tuple[Worksheet, AnswerKey]) -> None:
    texts = load_texts("en")
    students_text = read(render_worksheet(worksheet[0], texts)).text
    for text in texts.section("worksheet.key").values():
        for piece in re.split(r"{[^}]*}", text):
            assert len(piece) < 14 or piece.strip() not in students_text


def test_pictures_reveal_nothing_but_their_pixels(worksheet: tuple[Worksheet, AnswerKey]) -> None:
    reader = read(render_worksheet(worksheet[0], load_texts("en")))
    assert len(reader.pictures) == 8 + 4 * 4 + 9 + 1
    assert len({len(data) for data in reader.pictures}) == 1  # a noisy PNG would be longer, were it compressed
    for data in reader.pictures:
        kinds, at = [], 8
        while at < len(data):
            (length,) = struct.unpack(">I", data[at : at + 4])
            kinds.append(data[at + 4 : at + 8])
            at += 12 + length
        assert set(kinds) == {b"IHDR", b"IDAT", b"IEND"}
    alts = [value for name, value in reader.attributes if name == "alt"]
    assert alts[:8] == [f"Frame {letter}" for letter in "ABCDEFGH"]
    assert not [value for name, value in reader.attributes if name in ("class", "id") and re.search(r"\d{2}", value)]


def test_a_picture_is_the_frame_on_the_fixed_scale() -> None:
    frame = np.random.default_rng(0).uniform(-2, 2, (28, 28)).astype(np.float32)
    data = base64.b64decode(picture_uri(frame).partition(",")[2])
    pixels = np.asarray(Image.open(BytesIO(data)))
    assert np.array_equal(pixels[::ENLARGED, ::ENLARGED], to_gray8(frame))
    assert np.array_equal(pixels, np.kron(to_gray8(frame), np.ones((ENLARGED, ENLARGED), np.uint8)))


@pytest.mark.parametrize("page", ["sheet", "key"])
def test_pages_need_no_other_file(worksheet: tuple[Worksheet, AnswerKey], page: str) -> None:
    sheet, key = worksheet
    texts = load_texts("en")
    html = render_worksheet(sheet, texts) if page == "sheet" else render_answer_key(sheet, key, COMMAND, texts)
    assert "<script" not in html
    assert "style=" not in html
    assert not re.search(r"https?:|url\(|@import", html)
    assert "default-src &#39;none&#39;" in html
    assert html.startswith('<!doctype html>\n<html lang="en">')
    assert all(name != "src" and not name.startswith("on") for name, _ in read(html).attributes)


def test_files_are_written_whole(worksheet: tuple[Worksheet, AnswerKey], tmp_path: Path) -> None:
    texts = load_texts("en")
    paths = write_worksheet(*worksheet, COMMAND, texts, tmp_path)
    assert [path.name for path in paths] == ["worksheet.html", "key.html"]
    assert {path.name for path in tmp_path.iterdir()} == {"worksheet.html", "key.html"}
    assert paths[0].read_text(encoding="utf-8") == render_worksheet(worksheet[0], texts)
