"""The guided tasks of the lab: what each begins with, which answer is right, and what its lesson measured.

Every number in a task comes from the results that ship for the bundled weights. Knows nothing about the page.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from viz_diffusion.files import read_json
from viz_diffusion.lessons.precomputed import PRECOMPUTED_DIR
from viz_diffusion.text.catalogue import Texts
from viz_diffusion.text.math_html import typeset

OPTIONS = 3
"""Answers to choose from in every task."""
Facts = Mapping[str, Any]


@dataclass(frozen=True)
class TaskPlan:
    """A task without its words, which are at ``live.task.NAME``."""

    name: str
    """As in the link, ``#task=NAME``."""
    lesson: str
    """Whose facts the measured answer states."""
    scene: str
    """What the lab is set up with, as in a link: ``label=5&seed=1&at=499``."""
    answer: int
    """The right answer, from 1."""
    places: tuple[str, ...] = ()
    """Controls that it is tried with and that lie further down, by the end of their id: ``fork``."""
    more: Callable[[Facts], dict[str, Any]] = lambda _: {}
    """Further fields of the measured answer, from the lesson's facts."""


@dataclass(frozen=True)
class Task:
    """A task as the page shows it."""

    name: str
    """As in the link."""
    lesson: str
    """The lesson that measured the answer."""
    scene: str
    """What the lab is set up with."""
    places: tuple[str, ...]
    """Controls further down that it is tried with."""
    title: str
    """A few words."""
    question: str
    """What to predict."""
    options: tuple[str, ...]
    """The answers to choose from."""
    answer: int
    """The right one, from 0."""
    to_try: str
    """What to do in the lab."""
    measured: str
    """What the lesson measured, with its numbers."""


def _switched(facts: Facts) -> dict[str, Any]:
    share = dict(zip(facts["switch_timesteps"], facts["switch_new"], strict=True))
    return {"late": share[299], **{f"at_{t}": share[t] for t in (399, 499, 699)}}


def _pairs(facts: Facts) -> dict[str, Any]:
    latest, earliest = facts["switch_latest"], facts["switch_earliest"]
    return {
        "latest_t": facts["switch_latest_t"],
        "latest_from": latest[0],
        "latest_to": latest[1],
        "earliest_t": facts["switch_earliest_t"],
        "earliest_from": earliest[0],
        "earliest_to": earliest[1],
    }


def _clock(facts: Facts) -> dict[str, Any]:
    read = facts["clock_read"]["ddim"]
    return {"right": read["right"], "wrong": read["frozen"], "embedded": read["embedding_frozen"]}


def _guidance(facts: Facts) -> dict[str, Any]:
    at = {scale: index for index, scale in enumerate(facts["guidance_scales"])}
    return {
        f"{short}_{scale}": facts[f"guidance_{short}"][at[scale]]
        for short in ("accuracy", "recall")
        for scale in (1, 3)
    }


def _agreement(facts: Facts) -> dict[str, Any]:
    agree = dict(zip(facts["fork_timesteps"], facts["fork_agree"], strict=True))
    return {f"agree_{t}": agree[t] for t in (749, 499, 199)}


def _noise(facts: Facts) -> dict[str, Any]:
    return {"fork_half": facts["fork_spread_interval"][0]}


def _coarse(facts: Facts) -> dict[str, Any]:
    coarse, fine = facts["band_edges"]
    return {"coarse_limit": coarse, "fine_limit": fine}


def _steps(facts: Facts) -> dict[str, Any]:
    ddim = facts["accuracy"][facts["sampler_names"].index("DDIM")]
    return {"accuracy_10": ddim[facts["stroke_steps"].index(10)]}


def _returned(facts: Facts) -> dict[str, Any]:
    back = dict(zip(facts["decision_timesteps"], facts["returned"], strict=True))
    low, high = facts["returned_interval"][facts["decision_timesteps"].index(499)]
    return {"back_low": low, "back_high": high, **{f"back_{t}": back[t] for t in (499, 249, 749)}}


NO_LABEL = "label=10&guidance=1"
PLANS = (
    TaskPlan("guess", "guess", "label=5&seed=1&at=999", 2, ("new-seed",)),
    TaskPlan("labels", "label", "label=5&seed=1&at=999", 2, (), _switched),
    TaskPlan("label", "label", "label=5&seed=1&guidance=1&until=-1&at=499", 2, ("vote",), _switched),
    TaskPlan("pair", "label", "label=4&seed=1&guidance=1&until=-1&at=399", 1, (), _pairs),
    TaskPlan("clock", "clock", "label=5&seed=1&guidance=1&until=-1&at=999", 3, ("clock",), _clock),
    TaskPlan("guidance", "guidance", "label=5&seed=1&guidance=1&until=-1&at=599", 2, ("guidance", "vote"), _guidance),
    TaskPlan("noise", "decision", f"{NO_LABEL}&seed=1&eta=1&at=999", 3, ("fork", "eta"), _noise),
    TaskPlan("fork", "decision", f"{NO_LABEL}&seed=1&steps=20&eta=1&at=749", 1, ("fork",), _agreement),
    TaskPlan("coarse", "coarse_fine", "label=5&seed=1&until=-1&at=799", 2, ("stroke",), _coarse),
    TaskPlan("steps", "samplers", "label=5&seed=1&guidance=1&at=-1", 3, ("steps",), _steps),
    TaskPlan("return", "decision", f"{NO_LABEL}&seed=1&steps=20&eta=1&at=-1", 2, ("mine-take",), _returned),
    TaskPlan("decide", "decision", f"{NO_LABEL}&seed=1&eta=1&at=999", 2, ("new-seed",)),
)
TASK_NAMES = tuple(plan.name for plan in PLANS)
"""Names for links to a task: ``live.html#task=NAME``."""


def guided_tasks(texts: Texts) -> tuple[Task, ...]:
    """Return the tasks in the language of ``texts``, with what the lessons measured on the bundled weights."""
    return tuple(_task(plan, texts) for plan in PLANS)


def measured_weights() -> str:
    """Return the SHA-256 of the weights that all these lessons were measured on."""
    (digest,) = {_results(plan)["weights_sha256"] for plan in PLANS}
    return str(digest)


def task_json(task: Task) -> dict[str, Any]:
    """Return a task as the page's scripts get it: its texts are HTML, with their symbols typeset."""
    values = asdict(task)
    values["try"] = values.pop("to_try")
    values["options"] = [str(typeset(option)) for option in task.options]
    return values | {name: str(typeset(values[name])) for name in ("title", "question", "try", "measured")}


def _task(plan: TaskPlan, texts: Texts) -> Task:
    key = f"live.task.{plan.name}."
    facts: Facts = _results(plan)["facts"]
    plain = {name: value for name, value in facts.items() if isinstance(value, (int, float, str))}
    return Task(
        name=plan.name,
        lesson=plan.lesson,
        scene=plan.scene,
        places=plan.places,
        title=texts[key + "title"],
        question=texts[key + "question"],
        options=tuple(texts[f"{key}option{number}"] for number in range(1, OPTIONS + 1)),
        answer=plan.answer - 1,
        to_try=texts[key + "try"],
        measured=texts(key + "measured", **{**plain, **plan.more(facts)}),
    )


def _results(plan: TaskPlan) -> dict[str, Any]:
    return read_json(PRECOMPUTED_DIR / f"{plan.lesson}.json")
