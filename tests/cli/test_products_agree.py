"""Report, deck, worksheet and exported figures of one study show the same numbers, and the second one measures nothing.

The figures themselves are drawn blank, which takes most of the time: every number in words is compared.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from pptx import Presentation

from viz_diffusion.cli import main
from viz_diffusion.lessons.base import Finding
from viz_diffusion.lessons.guidance.lesson import GuidanceStudy
from viz_diffusion.lessons.precomputed import load_results
from viz_diffusion.recording import comparison_sampling, generation
from viz_diffusion.recording.trajectory import Trajectory
from viz_diffusion.study import lesson_plan, narrative

LESSONS = "noising,guess,step,label,guidance,decision"
"""Core lessons that are measured quickly, and lessons that ship as a whole."""
FIGURES = ("forward", "ideal", "ledger", "ten_digits", "guidance")
_NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?%?")


@dataclass(frozen=True)
class Product:
    """What one command wrote."""

    said: dict[str, Any]
    """Its JSON."""
    text: str
    """Its words."""


Products = dict[str, Product]
Make = Callable[..., Product]


def words_of_page(path: Path) -> str:
    text = re.sub(r"<(style|script|svg|sub)\b.*?</\1>", " ", path.read_text("utf-8"), flags=re.S)
    text = re.sub(r"""(src|href)=("data:[^"]*"|'data:[^']*')""", " ", text)
    return unescape(re.sub(r"<[^>]*>", " ", re.sub(r'\balt="([^"]*)"', r">\1<", text)))


def words_of_deck(path: Path) -> Iterator[str]:
    """Give the words of every slide and its notes, except for the list of references."""
    for slide in Presentation(str(path)).slides:
        texts = [shape.text_frame.text for shape in slide.shapes if shape.has_text_frame]
        if any(text.startswith("References") for text in texts):
            continue
        yield from texts
        if slide.has_notes_slide:
            yield slide.notes_slide.notes_text_frame.text


def numbers(text: str) -> list[str]:
    """Return the numbers in a text, in their order."""
    return [number.rstrip(",").replace(",", "") for number in _NUMBER.findall(text)]


def follow_each_other(part: list[str], whole: list[str]) -> bool:
    """Return whether numbers occur, one after the other, among others."""
    return not part or f" {' '.join(part)} " in f" {' '.join(whole)} "


def facts(value: Any) -> Iterator[float]:
    """Give every number in JSON values."""
    if isinstance(value, (dict, list)):
        for one in value.values() if isinstance(value, dict) else value:
            yield from facts(one)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield float(value)


def rounded_from(number: str, known: np.ndarray) -> bool:
    """Return whether a number is a fact of the report, rounded, or in percent."""
    digits = len(number.rstrip("%").partition(".")[2])
    values = np.abs(known) * (100 if number.endswith("%") else 1)
    return bool(np.isclose(values, float(number.rstrip("%")), rtol=0, atol=0.5 * 10**-digits * 1.001).any())


def contradictions(products: Products) -> list[str]:
    """Return what the products of one study say otherwise than its report."""
    report = products["report"]
    shown = numbers(report.text)
    known = np.array(list(facts([report.said["lessons"], report.said["recording"]])))
    found = []
    for name, product in products.items():
        for lesson, values in product.said.get("lessons", {}).items():
            if values != report.said["lessons"][lesson]:
                found.append(f"{name}: facts of {lesson}")
        for fact in {"digit", "seed"} & product.said.keys():
            if product.said[fact] != report.said["recording"][fact]:
                found.append(f"{name}: {fact}")
        if name.startswith("export"):
            parts = product.text.strip().split("\n\n")
            found += [f"{name}: {part}" for part in parts if not follow_each_other(numbers(part), shown)]
    strange = set(numbers(products["deck"].text)).difference(shown)
    found += [f"deck: {number}" for number in sorted(strange) if not rounded_from(number, known)]
    answers = products["worksheet"].said["answers"]
    if answers["crossing"] != report.said["lessons"]["noising"]["crossing"]:
        found.append("worksheet: crossing")
    return found


@pytest.fixture(scope="module")
def recording(make_recording: Callable[..., Path]) -> Path:
    return make_recording(20)


@pytest.fixture
def make(recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Make:
    """Return a function that runs a command on the recording."""
    monkeypatch.setattr(narrative, "draw_in_words", lambda *_: Figure(figsize=(2, 1)))
    monkeypatch.chdir(tmp_path)

    def run(command: str, out: str, *argv: str, recorded: Path = recording) -> Product:
        shared = ["--trajectory", str(recorded), "--run", "bundled", "--out", out, "--force", "--json", "--quiet"]
        assert main([command, *argv, *shared]) == 0
        said = json.loads(capsys.readouterr().out)
        if command == "worksheet":
            return Product(said, words_of_page(Path(said["key"])))
        if command == "report":
            return Product(said, words_of_page(tmp_path / out))
        if command == "deck":
            return Product(said, "\n".join(words_of_deck(tmp_path / out)).replace(" --size 360p", ""))
        return Product(said, (tmp_path / f"{out}.txt").read_text("utf-8"))

    return run


def measure_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make sampling and measuring fail."""
    for module, name in ((generation, "record_generation"), (comparison_sampling, "sample_comparison_runs")):
        monkeypatch.setattr(module, name, lambda *_, **__: pytest.fail("something was sampled"))
    monkeypatch.setattr(Finding, "measure", lambda *_: pytest.fail("something was measured"))


def deck(make: Make, **where: Path) -> Product:
    return make("deck", "d.pptx", "--lessons", LESSONS, "--slides", "all", "--size", "360p", **where)


def export(make: Make, figure: str, *argv: str, **where: Path) -> Product:
    return make("export", f"{figure}.png", "--figure", figure, "--dpi", "10", *argv, **where)


def test_all_products_of_a_study_show_the_numbers_of_its_report(
    make: Make, recording: Path, make_recording: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    products = {"report": make("report", "r.html", "--lessons", LESSONS)}
    with monkeypatch.context() as patch:
        measure_nothing(patch)
        products["deck"] = deck(make)
        products["worksheet"] = make("worksheet", "w")
        products |= {f"export {figure}": export(make, figure) for figure in FIGURES}
    assert contradictions(products) == []
    compared = {name: len(set(numbers(product.text))) for name, product in products.items()}
    assert min(compared.values()) > 1
    assert compared["deck"] > 50
    recorded = Trajectory.open(recording / "trajectory.zarr")
    answers, key = products["worksheet"].said["answers"], numbers(products["worksheet"].text)
    for left in filter(None, answers["steps_left"]):
        assert f"{recorded.alphas_cumprod[recorded.num_steps - left]:.0%}" in key

    # controls: each product once of other results
    other = make_recording(21, 3)
    assert contradictions(products | {"deck": deck(make, recorded=other)})
    assert contradictions(products | {"worksheet": make("worksheet", "w2", recorded=other)})
    assert contradictions(products | {"export ledger": export(make, "ledger", recorded=other)})


def test_control_changed_results_that_ship_are_noticed(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where a product shows quick results, and the report those that ship."""
    names = ("--lessons", "noising,guidance")
    products = {
        "report": make("report", "r.html", *names),
        "deck": make("deck", "d.pptx", *names, "--slides", "all", "--size", "360p"),
        "worksheet": make("worksheet", "w"),
        "export guidance": export(make, "guidance"),
    }
    assert contradictions(products) == []

    def changed(*argv: Any) -> dict[type, Any]:
        results = load_results(*argv)
        study: GuidanceStudy = results[GuidanceStudy]
        right = study.scales.right
        assert right is not None
        misread = right & (np.arange(right.shape[1]) % 3 > 0)  # every third sample
        results[GuidanceStudy] = replace(study, scales=replace(study.scales, right=misread))
        return results

    monkeypatch.setattr(lesson_plan, "load_results", changed)
    others = {
        "deck": make("deck", "d2.pptx", *names, "--slides", "all", "--size", "360p"),
        "export guidance": export(make, "guidance"),
    }
    for name, product in others.items():
        found = contradictions(products | {name: product})
        assert f"{name}: facts of guidance" in found
        assert name != "deck" or [one for one in found if re.match(r"deck: \d", one)], "its words have them too"
