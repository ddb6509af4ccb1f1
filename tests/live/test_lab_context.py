"""The lab's words and tasks: complete in both languages, and with the lessons' own numbers."""

from __future__ import annotations

import json
import re
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from viz_diffusion.errors import VizdiffInputError
from viz_diffusion.lessons.precomputed import PRECOMPUTED_DIR
from viz_diffusion.live.lab_context import SHAPES, lab_context
from viz_diffusion.live.page import LAB_SCRIPTS, LIVE_DIR
from viz_diffusion.live.tasks import PLANS, TASK_NAMES, guided_tasks, measured_weights
from viz_diffusion.text.catalogue import languages, load_texts

TEMPLATES = LIVE_DIR / "templates"
SETTINGS = {"seed", "steps", "label", "second", "share", "guidance", "offset", "frozen", "eta", "clock", "where"}
SETTINGS |= {"method", "variance", "at", "until"}


def script(name: str) -> str:
    return (TEMPLATES / name).read_text("utf-8")


@pytest.mark.parametrize("lang", languages())
def test_every_task_is_complete(lang: str) -> None:
    tasks = guided_tasks(load_texts(lang))
    assert len(tasks) == 12
    for task in tasks:
        assert len(set(task.options)) == 3
        assert 0 <= task.answer < 3
        assert task.title
        assert "{" not in task.measured
        assert re.search(r"\d", task.measured), "an answer without a number"


def test_measured_answers_are_those_of_the_lessons() -> None:
    measured = {task.name: task.measured for task in guided_tasks(load_texts("en"))}

    def facts(lesson: str) -> dict[str, object]:
        found = json.loads((PRECOMPUTED_DIR / f"{lesson}.json").read_text("utf-8"))["facts"]
        assert isinstance(found, dict)
        return found

    label, clock, decision = facts("label"), facts("clock"), facts("decision")
    assert f"{label['switch_new'][label['switch_timesteps'].index(499)]:.0%} of 900 runs" in measured["label"]
    assert f"{clock['clock_read']['ddim']['right']} of 200" in measured["clock"]
    assert f"with a fixed one {clock['clock_read']['ddim']['frozen']}:" in measured["clock"]
    assert f"t = {decision['commit_median']} " in measured["decide"]
    assert f"{decision['fork_agree'][decision['fork_timesteps'].index(199)]:.0%} at t = 199" in measured["fork"]


def test_the_page_of_the_docs_lists_the_tasks() -> None:
    page = (Path(__file__).parents[2] / "docs" / "tutorials" / "live-lab.md").read_text("utf-8")
    rows = re.findall(r"^\| (\d+) \| `(\w+)` \|.*\| \[(\w+)\]\(#lesson-\3\) \|$", page, re.MULTILINE)
    assert rows == [(str(number), plan.name, plan.lesson) for number, plan in enumerate(PLANS, 1)]


def test_scenes_set_only_what_a_link_may() -> None:
    assert len(set(TASK_NAMES)) == len(TASK_NAMES)
    for plan in PLANS:
        scene = parse_qs(plan.scene, strict_parsing=True)
        assert set(scene) <= SETTINGS
        assert {"label", "seed", "at"} <= set(scene)
        template = script("lab.html.j2")
        assert all(f'id="ui-{place}"' in template or f'range("{place}"' in template for place in plan.places)


def test_every_word_of_the_scripts_is_there_and_used() -> None:
    words = load_texts("en").section("live.script")
    code = "\n".join(map(script, LAB_SCRIPTS))
    named = set(re.findall(r"\btext\.(\w+)", code))
    built = [pattern.replace("*", r"\w+") for pattern in ("failed_*", "hold_*", "*_run")]
    assert named <= set(words)
    template = script("lab.html.j2")
    for word in set(words) - named:
        in_template = f'"script.{word}"' in template
        assert in_template or any(re.fullmatch(pattern, word) for pattern in built), f"{word} is not used"


def test_every_word_of_the_page_is_used() -> None:
    words = {key for key in load_texts("en").section("live") if "." not in key}
    template = script("lab.html.j2")
    used = set(re.findall(r"""t\[["'](\w+)["']\]""", template)) | {f"shape_{shape}" for shape in SHAPES} | {"foot"}
    assert words == used | {"title"}


def test_shapes_are_those_of_the_script() -> None:
    lines = re.search(r"const LINES = \{(.*?)\n  \};", script("shapes.js"), re.DOTALL)
    assert lines is not None
    assert tuple(re.findall(r"^    (\w+): ", lines[1], re.MULTILINE)) == SHAPES


def test_other_weights_have_no_tasks() -> None:
    facts = {
        "schedules": [{"alphas_cumprod": [0.9] * 30}],
        "model": {"image_size": 8},
        "weights_sha256": measured_weights(),
    }
    assert len(lab_context(facts, load_texts("en"))["tasks"]) == 12
    context = lab_context({**facts, "weights_sha256": "0" * 64}, load_texts("en"))
    assert context["tasks"] == ()
    assert context["step_choices"] == [10, 20, 30]
    assert context["last_timestep"] == 29


def test_a_missing_word_is_an_error() -> None:
    with pytest.raises(VizdiffInputError, match=r"live\.task\.nothing"):
        load_texts("en")["live.task.nothing.title"]
