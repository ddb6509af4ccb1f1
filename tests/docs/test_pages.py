"""The pages of the documentation say what the program does: commands, options, names, figures, numbers, words."""

from __future__ import annotations

import json
import re
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

import viz_diffusion
from viz_diffusion.cli import app
from viz_diffusion.lessons.base import all_lessons
from viz_diffusion.text.glossary import ENTRIES
from viz_diffusion.training.presets import find_preset

ROOT = Path(__file__).parents[2]
DOCS, ASSETS = ROOT / "docs", Path(viz_diffusion.__file__).parent / "assets"
sys.path.insert(0, str(DOCS / "extensions"))
import package_text  # noqa: E402

READMES = ("README.md", "README.zh-CN.md")
WRITTEN = sorted({*DOCS.rglob("*.md")} - {DOCS / "ANSWERS.md"})
"""Pages that are written by hand; docs/ANSWERS.md is written by a script, from the catalogue."""
GROUP: Any = typer.main.get_command(app)
PAGES = [ROOT / name for name in READMES] + WRITTEN


def page_id(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def commands_on(text: str) -> list[str]:
    """Return every command line of ``vizdiff`` on a page: in blocks and in running text."""
    lines = re.findall(r"^(?:\$ |.*&& )?(vizdiff [^\n&]*)$", text, re.M) + re.findall(r"`(vizdiff [^`]*)`", text)
    return [line for line in lines if not re.match(r"vizdiff COMMAND|vizdiff\s*$", line)]


@pytest.mark.parametrize("path", PAGES, ids=page_id)
def test_the_program_accepts_every_command_line_of_a_page(path: Path) -> None:
    for line in commands_on(path.read_text("utf-8")):
        name, *arguments = shlex.split(line)[1:]
        assert name in GROUP.commands, line
        if "--help" not in arguments and len(shlex.split(line)) > 2:
            GROUP.commands[name].make_context(name, arguments)


def test_control_a_wrong_option_is_refused() -> None:
    assert commands_on("```console\n$ vizdiff report --digits 5\n```\n") == ["vizdiff report --digits 5"]
    with pytest.raises(Exception, match="No such option"):
        GROUP.commands["report"].make_context("report", ["--digits", "5"])


@pytest.mark.parametrize("path", [*PAGES, ROOT / "CONTRIBUTING.md"], ids=page_id)
def test_links_and_pictures_lead_to_files(path: Path) -> None:
    text = re.sub(r"```python.*?```", "", path.read_text("utf-8"), flags=re.S)
    targets = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'src="([^"]+)"', text)
    targets += re.findall(r"```\{(?:figure|include)\} (\S+)", text)
    for target in targets:
        if not target.startswith(("http", "#")) and not target.endswith(".html"):
            assert (path.parent / target).exists(), target


def test_command_reference_names_every_command_and_option() -> None:
    text = "\n".join(package_text.commands())
    for name, command in GROUP.commands.items():
        assert f"\n## vizdiff {name}\n" in f"\n{text}"
        section = text.split(f"## vizdiff {name}\n")[1].split("\n## ")[0]
        shown = [one for one in command.params if not getattr(one, "hidden", False)]
        listed = re.findall(r"^`(.+)`\n: ", section, re.M)
        assert len(listed) == len(shown)
        for option in shown:
            assert any(option.opts[0] in line for line in listed) or not option.opts[0].startswith("-"), option.name
    assert "`--digit <int>`\n: Digit" in text


def test_python_reference_names_every_public_name_once() -> None:
    found = re.findall(r"\.\. auto(?:class|function):: viz_diffusion\.(\w+)", "\n".join(package_text.reference()))
    assert sorted(found) == sorted(set(viz_diffusion.__all__) - {"__version__"})


def test_gallery_has_every_figure_of_every_lesson_and_no_picture_too_many() -> None:
    figures = package_text.gallery_figures()
    names = [figure.name for figure in figures]
    assert len(set(names)) == len(names)
    assert {name for lesson in all_lessons() for name in lesson.figure_names} < set(names)
    assert {path.stem for path in (DOCS / "gallery").rglob("*.*")} <= set(names)
    text = "\n".join(package_text.gallery())
    for line in commands_on(text):
        name, *arguments = shlex.split(line)[1:]
        GROUP.commands[name].make_context(name, arguments)
    assert all(f"(figure-{name})=" in text for name in names)


def test_text_from_the_program_is_not_read_as_markup() -> None:
    assert package_text.help_text("With --no-clip, [a]") == r"With `--no-clip`, \[a\]"
    assert package_text.plain("a_b *c* [d] <int> |e| $f$\n `g`") == r"a\_b \*c\* \[d\] \<int\> \|e\| \$f\$ \`g\`"


def test_glossary_has_all_terms_in_order_with_chapters_that_exist() -> None:
    text = package_text.fill((DOCS / "glossary.md").read_text("utf-8"))
    block = text.split("```{glossary}\n")[1].split("```")[0]
    terms = re.findall(r"^(\S.*)$", block, re.M)
    assert len(terms) == len(ENTRIES)
    assert [term.lower() for term in terms] == sorted(term.lower() for term in terms)
    for entry in re.split(r"^\S.*$", block, flags=re.M)[1:]:
        assert re.search(r"Shown\s+in", entry), entry
        assert entry.count("<math") == 2, "a symbol and a formula"
    lessons = {lesson.name for lesson in all_lessons()}
    assert set(re.findall(r"\(#lesson-(\w+)\)", text)) <= lessons


def test_readmes_are_short_and_load_small_pictures() -> None:
    for name in READMES:
        text = (ROOT / name).read_text("utf-8")
        assert len(text.splitlines()) < 150
        for picture in set(re.findall(r"images/[\w.]+", text)):
            assert (ROOT / picture).stat().st_size <= 150_000, picture


@pytest.mark.parametrize("page", [*READMES, "docs/measured.md"])
def test_numbers_of_the_bundled_weights_are_those_that_were_measured(page: str) -> None:
    text = (ROOT / page).read_text("utf-8")
    weights = json.loads((ASSETS / "weights" / "provenance.json").read_text("utf-8"))
    classifier = json.loads((ASSETS / "classifier" / "provenance.json").read_text("utf-8"))
    evaluation = find_preset("base").measured()
    assert evaluation is not None
    samples, real = evaluation["samples"], evaluation["real"]
    guided = weights["samples"]
    expected = [f"{guided['share']:.1%}", *(f"{end:.1%}" for end in guided["interval_95"])]
    expected += [f"{samples['accuracy']['value']:.1%}", *(f"{end:.1%}" for end in samples["accuracy"]["interval"])]
    expected += [f"{samples['frechet']:.2f}", f"{real['frechet']:.2f}", f"{weights['heldout_loss']:.4f}"]
    if page not in READMES:
        expected += [f"{value:.4f}" for value in weights["heldout_loss_by_quarter"]]
        expected += [f"{classifier['test_accuracy']:.2%}", *(f"{end:.2%}" for end in classifier["test_interval_95"])]
        expected += [f"{one[name]:.1%}" for one in (samples, real) for name in ("precision", "recall")]
        expected += [f"{evaluation['bits_per_pixel']:.2f}"]
    assert [number for number in expected if number not in text] == []


IDIOMS = re.compile(
    r"\b(read as asked|companions?|told|insist\w*|obey\w*|commission|strokes?|strikes?|dust|thrown on|stone"
    r"|chisel|sculptor|carv\w+|louder|beside it|exam|clock (is|was)|is asked|staged)\b|雕|石料|坚持|服从|要求越|凿"
)


@pytest.mark.parametrize("path", PAGES, ids=page_id)
def test_pages_speak_plainly(path: Path) -> None:
    assert [found[0] for found in IDIOMS.finditer(path.read_text("utf-8"))] == []
