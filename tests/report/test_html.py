"""HTML of a report page: escaping, content policy, size, and the checks of its parts."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import re
import socket
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from report_fakes import HOSTILE, fake_comparisons, fake_page, fake_player

from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.errors import VizdiffInputError, VizdiffIOError, VizdiffUsageError
from viz_diffusion.report import render, write_report
from viz_diffusion.report.html import _json_for_html
from viz_diffusion.text.glossary import ENTRIES

PLACES = (
    *("Title", "Lede", "Caption:", "Table:", "Story", "Question", "Paragraph", "vizdiff lesson", "vizdiff report"),
    *("Chart", "Chart caption", "down", "up", "Say", "Exercise", "Answer", "Folded", "Folded question"),
    *("Subtitle", "Asked", "Asked again", "Found in 7 of 8", "Found in none"),
)


class Reader(HTMLParser):
    """Collects elements with their attributes, all text, and the contents of each style and script."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.raw: dict[str, list[str]] = {"style": [], "script": []}
        self.text: list[str] = []
        self._inside = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = tag if tag in self.raw else ""
        if self._inside:
            self.raw[tag].append("")

    def handle_endtag(self, tag: str) -> None:
        if tag == self._inside:
            self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.raw[self._inside][-1] += data
        else:
            self.text.append(data)


@pytest.fixture(scope="module")
def html() -> str:
    return render(fake_page())


@pytest.mark.parametrize("words", HOSTILE)
def test_hostile_texts_stay_text(html: str, words: str) -> None:
    plain, attacked = Reader(html), Reader(render(fake_page(words=words)))
    # A command is cut into one <span> a word; everything else is the same element with the same attributes.
    shapes = [[(tag, sorted(a)) for tag, a in page.tags if (tag, a) != ("span", {})] for page in (plain, attacked)]
    assert shapes[0] == shapes[1]
    text = "".join(attacked.text)
    for place in PLACES:
        assert f"{place} {words}" in text, place
    attribute_values = [value or "" for _, attributes in attacked.tags for value in attributes.values()]
    assert any(f"Chart {words}. Chart caption {words}" == value for value in attribute_values)
    data = json.loads(next(text for text in attacked.raw["script"] if text.startswith("{")))
    assert [line["name"] for line in data["charts"][0]["lines"]] == [f"down {words}", f"up {words}"]


def test_there_are_enough_hostile_texts() -> None:
    assert len(set(HOSTILE)) >= 30


def test_lone_surrogates_do_not_stop_the_page(tmp_path: Path) -> None:
    write_report(fake_page(words="broken \ud800 name"), tmp_path / "report.html")
    assert "broken \ufffd name" in (tmp_path / "report.html").read_text("utf-8")


def test_policy_holds_the_hash_of_every_inlined_text(html: str) -> None:
    reader = Reader(html)
    policy = next(a["content"] for tag, a in reader.tags if tag == "meta" and a.get("http-equiv"))
    assert policy is not None
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    scripts = [a for tag, a in reader.tags if tag == "script"]
    runs = [text for a, text in zip(scripts, reader.raw["script"], strict=True) if a.get("type") is None]

    def source(text: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data:"
    assert rules["base-uri"] == rules["form-action"] == "'none'"
    assert rules["style-src"].split() == [source(text) for text in reader.raw["style"]]
    assert rules["script-src"].split() == [source(text) for text in runs]
    assert "unsafe" not in policy


def test_policy_comes_before_anything_it_governs(html: str) -> None:
    assert html.index("Content-Security-Policy") < min(html.index("<style"), html.index("<script"), html.index("<img"))


def test_no_inline_style_or_handler_and_nothing_to_fetch(html: str) -> None:
    for tag, attributes in Reader(html).tags:
        assert "style" not in attributes
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("src", "href", "srcset", "data", "action", "poster", "xlink:href"):
            value = attributes.get(name)
            assert value is None or value.startswith(("data:", "#")), (tag, name)
    assert not re.search(r"(https?:)?//[a-z]", re.sub(r"base64,[A-Za-z0-9+/=]+", "", html)), "an address"
    assert not re.search(r"@import|url\(|\bfetch\(|XMLHttpRequest|WebSocket|\beval\(|innerHTML", html)


def test_every_picture_has_an_alt_and_every_id_is_unique(html: str) -> None:
    tags = Reader(html).tags
    assert all("alt" in attributes for tag, attributes in tags if tag == "img")
    ids = [attributes["id"] for _, attributes in tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for _, attributes in tags:
        href = attributes.get("href") or ""
        if href.startswith("#"):
            assert href[1:] in ids


def test_page_says_its_language_and_title(html: str) -> None:
    tags = Reader(html).tags
    assert ("html", {"lang": "en"}) in tags
    assert "<title>Title plain words</title>" in html


def test_1000_noise_frames_of_three_fields_fit_in_5_mb(tmp_path: Path) -> None:
    players = (fake_player(5), *(fake_player(digit, 50, noise=False) for digit in (0, 1, 2, 3, 4, 6, 7, 8, 9)))
    path = tmp_path / "report.html"
    left = np.arange(1000, 0, -10)
    guided = dataclasses.replace(fake_player(5, 100, noise=False), guidance_scale=3.0)
    ddim = dataclasses.replace(fake_player(5, 100, noise=False, seed=1), sampler="ddim", steps_left=left // 10)
    write_report(dataclasses.replace(fake_page(players), comparisons=(guided, guided, ddim)), path)
    assert path.stat().st_size <= 5_000_000


def test_each_sprite_is_embedded_once(html: str) -> None:
    sheets = re.findall(r"data:image/webp;base64,([A-Za-z0-9+/=]+)", html)
    assert len(sheets) == 3 + 2 + 2 + 2 * len(fake_comparisons())
    assert len(set(sheets)) == len(sheets)


def test_page_is_the_same_every_time() -> None:
    assert render(fake_page()) == render(fake_page())


def test_nothing_of_this_machine_is_in_the_page(html: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIZDIFF_CANARY", "canary-5d41402abc4b")
    again = render(fake_page())
    assert again == html
    for secret in (str(Path.home()), str(Path(__file__).resolve().parents[2]), socket.gethostname(), "canary-5d41"):
        assert len(secret) < 5 or secret not in html


def test_data_round_trips_and_cannot_leave_its_script() -> None:
    value = {"text": "</script><!-- & \u2028\u2029 \x00 é 数"}
    text = str(_json_for_html(value))
    assert json.loads(text) == value
    assert not set(text) & set("<>&\u2028\u2029")


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_data_refuses_what_is_not_json(bad: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        _json_for_html([bad])


def test_script_data_holds_the_schedule_at_each_frame(html: str) -> None:
    text = next(text for text in Reader(html).raw["script"] if text.startswith("{"))
    run = json.loads(text)["runs"][1]
    table = NoiseSchedule.named("linear").alphas_cumprod
    assert run["digit"] == 3
    assert run["left"] == [t + 1 for t in run["timesteps"]]
    assert np.allclose(run["share"], table[run["timesteps"]], rtol=1e-9, atol=0)
    assert run["sprites"]["eps_pred"] is None


def test_a_students_page_has_the_questions_and_neither_answers_nor_notes() -> None:
    lecturers, students = render(fake_page()), render(fake_page(audience="student"))
    for words in ("Answer plain", "Found in 7 of 8", "Found in none", "Say plain", 'id="ui-lecture'):
        assert words in lecturers, words
        assert words not in students, words
    for words in ("Asked plain words?", "Asked again", "Exercise plain", "Paragraph plain", "Subtitle plain"):
        assert lecturers.count(words) == students.count(words) > 0, words


def test_a_page_with_one_label_offers_no_other_label() -> None:
    players = fake_player(5, 5, noise=False), fake_player(3, 5, noise=False)
    for count, radios, groups in ((2, 2, 2), (1, 0, 1)):
        page = Reader(render(fake_page(players[:count])))
        names = [attributes.get("name") for tag, attributes in page.tags if tag == "input"]
        assert names.count("digit") == radios
        labels = [attributes["label"] for tag, attributes in page.tags if tag == "optgroup"]
        assert len(labels) == groups
        assert ("Same noise, another digit" in labels) == (radios > 0)
        assert any("the requested digit" in text for text in page.text) == (radios > 0)


def test_an_unknown_audience_lists_what_exists() -> None:
    with pytest.raises(VizdiffUsageError, match="audience must be one of lecturer, student, found 'teacher'"):
        fake_page(audience="teacher")
    with pytest.raises(VizdiffUsageError, match="did you mean 'student'"):
        fake_page(audience="students")


def test_the_summary_has_every_question_with_its_verdict_and_first_sentence(html: str) -> None:
    summary = html.split('id="ui-summary"')[1].split("</section>")[0]
    assert 'href="#noising"' in summary
    assert 'href="#layers"' not in summary, "a chapter without questions"
    text = " ".join(re.sub("<[^>]*>", " ", summary).split())
    assert "Asked plain words? Yes Found in 7 of 8 plain words. More of the same." in text
    assert '<span class="paper">More of the same.</span>' in summary, "on paper only"
    assert "Asked again plain words? No Found in none plain words." in text


def test_each_term_is_marked_where_it_occurs_first_in_a_chapter(html: str) -> None:
    chapter = html.split('id="layers"')[1].split("</section>")[0]
    assert re.findall('href="#ui-term-([a-z_0-9]+)"', chapter) == ["label", "guidance_scale"]
    glossary = html.split('id="ui-glossary"')[1].split("</section>")[0]
    assert glossary.count("<math") == 2 * len(ENTRIES), "a symbol and a formula each"
    assert glossary.count('href="#noising"') == sum(entry.chapter == "noising" for entry in ENTRIES)
    assert "Chapter: Classifier-free guidance<" in glossary, "no link to a chapter that the page does not have"


def test_write_report_leaves_the_old_file_where_it_cannot_write(tmp_path: Path) -> None:
    with pytest.raises(VizdiffIOError, match="cannot write"):
        write_report(fake_page(), tmp_path / "missing" / "report.html")


def test_missing_catalogue_is_refused() -> None:
    with pytest.raises(VizdiffUsageError, match="language 'xx'"):
        render(dataclasses.replace(fake_page(), lang="xx"))


def test_a_missing_text_stops_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    from viz_diffusion.report import html as page
    from viz_diffusion.text.catalogue import Texts, load_texts

    full = dict(load_texts("en"))
    del full["interface.skip"]
    monkeypatch.setattr(page, "load_texts", lambda lang: Texts(lang, full))
    with pytest.raises(VizdiffInputError, match=r"interface\.skip"):
        render(fake_page())
