"""Facts of all lessons: typed, documented dataclasses that hold every ``{placeholder}`` of the catalogues."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from string import Formatter
from types import NoneType
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import pytest
from lesson_context import make_context, with_comparison_runs
from small_trajectory import make_trajectory

from viz_diffusion.files import to_json
from viz_diffusion.lessons import base
from viz_diffusion.lessons.base import AnyLesson, Finding, all_lessons
from viz_diffusion.lessons.facts import FactGroup, facts_by_name
from viz_diffusion.lessons.precomputed import load_results
from viz_diffusion.study.recording_study import recording_words
from viz_diffusion.study.wording import wording
from viz_diffusion.text.catalogue import Texts, languages, load_texts
from viz_diffusion.training.run import Run
from viz_diffusion.views.frames import recording_facts

FOLDER = Path(base.__file__).parent
NOTES = {
    "guess": {"first_guess"},
    "training": {"weighting_note", "objective_note"},
    "decision": {"calibration_note"},
}
"""What ``wording.wording`` adds to the facts of a lesson."""
WITHOUT_RECORDING = {"digit", "seed", "num_steps"}
"""What ``vizdiff lesson`` knows without a recording."""
RECORDING = set(wording(recording_facts(make_trajectory()), load_texts()))
"""What texts may name of a recording."""
RECORDING_ONLY = set(recording_words(make_trajectory(), load_texts().preferring("alone")))
"""The same of a recording without its network."""
ALWAYS = ("title", "question", "text", "table", "try_this", "say", "exercise", "answer", "series")
"""Texts that are shown whatever was measured."""


@dataclass(frozen=True)
class Fact:
    """What a text may name."""

    kind: Any
    """Its type."""
    always: bool
    """Whether it is there whatever was measured."""


def facts_of(kind: type, prefix: str = "", always: bool = True) -> Iterator[tuple[str, Fact]]:
    """Give (name, fact) for the fields of a dataclass of facts, those of its groups in their place."""
    hints = get_type_hints(kind, include_extras=True)
    for field in fields(kind):
        hint = hints[field.name]
        group = next((one for one in getattr(hint, "__metadata__", ()) if isinstance(one, FactGroup)), None)
        if group is None:
            yield prefix + field.name, Fact(hint, always)
            continue
        kinds = get_args(get_args(hint)[0]) or (get_args(hint)[0],)
        (inner,) = [one for one in kinds if one is not NoneType]
        yield from facts_of(inner, prefix + group.prefix, always and NoneType not in kinds)


def facts_class(lesson: AnyLesson) -> type:
    kind = get_type_hints(lesson.facts)["return"]
    assert isinstance(kind, type)
    return kind


LESSONS = {lesson.name: lesson for lesson in all_lessons()}
FACTS = {name: dict(facts_of(facts_class(lesson))) for name, lesson in LESSONS.items()}


@pytest.fixture(scope="module")
def findings() -> dict[str, Finding]:
    """Return a finding of every lesson: what ships where it does, else a quick measurement."""
    weights = Run.bundled().load_model()[1]
    known = load_results(LESSONS.values(), weights)
    context = with_comparison_runs(make_context(recorded_steps=7, precomputed=known))
    return {name: Finding.measure(lesson, context) for name, lesson in LESSONS.items()}


def owners() -> dict[str, str]:
    """Return the lesson of each figure."""
    return {figure: name for name, lesson in LESSONS.items() for figure in lesson.figure_names}


def lesson_of(key: str) -> str | None:
    """Return the lesson that a text belongs to; None for a text of none, or one that ``rows`` fills in itself."""
    parts = key.removeprefix("alone.").split(".")
    if parts[0] == "chapter" and not parts[2].startswith(("row_", "column_", "detector_")):
        return parts[1]
    if parts[0] == "picture" or parts[:2] == ["deck", "line"]:
        return owners().get(parts[-2] if parts[0] == "picture" else parts[2])
    return parts[2] if parts[:2] == ["deck", "correction"] and parts[2] in LESSONS else None


def known_names(key: str, lesson: AnyLesson, claims: Mapping[str, set[str]]) -> tuple[dict[str, Fact], set[str]]:
    """Return the facts that a text may name, and names that are there without being facts of the lesson."""
    if key.startswith("alone."):
        recording = RECORDING_ONLY
    else:
        recording = RECORDING if "recording" in lesson.needs or key.startswith("deck.") else WITHOUT_RECORDING
    own = claims.get(re.sub(r"^(?:alone\.)?chapter\.|_(not_found|found|open)$", "", key), set())
    return FACTS[lesson.name], recording | NOTES.get(lesson.name, set()) | own


def unknown(texts: Texts, claims: Mapping[str, set[str]]) -> list[str]:
    """Return every placeholder of a lesson's text that names no fact, or one that may not be there."""
    found = []
    for key, text in texts.items():
        name = lesson_of(key)
        if name is None:
            continue
        facts, others = known_names(key, LESSONS[name], claims)
        always = key.startswith(f"chapter.{name}.") and key.split(".")[2].startswith(ALWAYS)
        for _, placeholder, _, _ in Formatter().parse(text):
            if placeholder is None:
                continue
            root, *inside = re.split(r"[.\[\]]+", placeholder.removesuffix("]"))
            if root in facts:
                bad = (always and not facts[root].always) or not reaches(facts[root].kind, inside)
            else:
                bad = root not in others or bool(inside)
            if bad:
                found.append(f"{key}: {{{placeholder}}}")
    return found


def reaches(kind: Any, inside: list[str]) -> bool:
    """Return whether ``[0]`` or ``[name]`` can be taken of a fact's type."""
    for step in inside:
        options = [one for one in (get_args(kind) if NoneType in get_args(kind) else (kind,)) if one is not NoneType]
        (kind,) = options
        if step.isdigit():
            if get_origin(kind) is not tuple:
                return False
            inner = get_args(kind)
            if Ellipsis not in inner and int(step) >= len(inner):
                return False
            kind = inner[0] if Ellipsis in inner else inner[int(step)]
        elif is_dataclass(kind) and step in {field.name for field in fields(kind)}:
            kind = get_type_hints(kind)[step]
        else:
            return False
    return True


@pytest.fixture(scope="module")
def claims(findings: dict[str, Finding]) -> dict[str, set[str]]:
    """Return the names of each claim's own facts, by ``<lesson>.claim_<name>``."""
    return {
        f"{name}.claim_{claim.name}": set(claim.facts) for name, finding in findings.items() for claim in finding.claims
    }


@pytest.mark.parametrize("lang", languages())
def test_every_placeholder_of_a_lessons_text_is_a_fact(lang: str, claims: dict[str, set[str]]) -> None:
    assert unknown(load_texts(lang), claims) == []


@pytest.mark.parametrize("lang", languages())
def test_every_claim_of_the_catalogue_was_checked(lang: str, claims: dict[str, set[str]]) -> None:
    texts = load_texts(lang)
    written = {key.removeprefix("chapter.") for key in texts if re.fullmatch(r"chapter\.\w+\.claim_\w+", key)}
    questions = {key for key in written if f"{key}_found" in written}
    assert questions == set(claims)


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("picture.snr.caption", "Noise overtakes the signal at t = {crosing}."),
        ("chapter.layers.say", "{probe_best[nam]} knows most."),
        ("chapter.label.answer", "{cosine_min[0]}"),
        ("chapter.label.answer", "{pca_share[2]}"),
        ("chapter.noising.text", "Made by {sampler}."),
        ("chapter.clock.say", "{clock_steps} steps, where a wrong timestep may not have been measured."),
        ("chapter.guess.claim_beats_memory_open", "{ratios}"),
        ("chapter.guess.claim_beats_memory", "{rounding} belongs to another claim."),
        ("alone.picture.ledger.caption", "Made by {made_bye}."),
        ("deck.correction.step.holds", "{injects_mor}"),
    ],
)
def test_control_a_misspelt_placeholder_is_found(key: str, text: str, claims: dict[str, set[str]]) -> None:
    texts = load_texts("en")
    assert key in texts
    assert len(unknown(Texts("en", {**texts, key: text}), claims)) == 1


def test_facts_that_can_be_read_from_findings_are_those_of_the_classes(findings: dict[str, Finding]) -> None:
    for name, finding in findings.items():
        assert isinstance(finding.facts, facts_class(LESSONS[name]))
        values = facts_by_name(finding.facts)
        assert list(values) == list(FACTS[name]), name  # nothing is missing where all was measured
        to_json(values)  # finite, and JSON values throughout


@pytest.mark.parametrize("name", LESSONS)
def test_facts_are_frozen_and_no_name_is_there_twice(name: str) -> None:
    kind = facts_class(LESSONS[name])
    assert kind.__dataclass_params__.frozen  # type: ignore[attr-defined]
    names = [fact for fact, _ in facts_of(kind)]
    assert len(set(names)) == len(names)
    for figure in LESSONS[name].all_figures:
        assert figure.digit == "" or FACTS[name][figure.digit].kind is int, figure.name


@pytest.mark.parametrize("path", sorted(FOLDER.rglob("*.py")), ids=lambda path: str(path.relative_to(FOLDER)))
def test_every_field_is_documented(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ClassDef):
            for place, one in enumerate(node.body):
                if isinstance(one, ast.AnnAssign) and not ast.unparse(one.target).startswith("_"):
                    after = node.body[place + 1] if place + 1 < len(node.body) else None
                    documented = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
                    assert documented, f"{node.name}.{ast.unparse(one.target)}"


@dataclass(frozen=True)
class Inner:
    a: int
    b: tuple[float, ...]


@dataclass(frozen=True)
class Outer:
    first: Annotated[Inner, FactGroup()]
    c: str | None
    rows: tuple[Inner, ...]
    other: Annotated[Inner | None, FactGroup("other_")]
    missing: Annotated[Inner | None, FactGroup("missing_")]


def test_groups_stand_in_the_place_of_their_field_with_their_prefix() -> None:
    inner = Inner(1, (0.5, 2.0))
    assert list(facts_by_name(Outer(inner, None, (inner,), inner, None)).items()) == [
        ("a", 1),
        ("b", [0.5, 2.0]),
        ("c", None),
        ("rows", [{"a": 1, "b": [0.5, 2.0]}]),
        ("other_a", 1),
        ("other_b", [0.5, 2.0]),
    ]
    optional = [name for name, fact in facts_of(Outer) if not fact.always]
    assert optional == ["other_a", "other_b", "missing_a", "missing_b"]
