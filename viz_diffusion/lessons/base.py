"""Lessons: one question each, with its measurement, figures, facts, claims and table; and the list of all lessons.

How to write a lesson
---------------------
A lesson is a folder ``lessons/NAME/`` and its words in the catalogues; nothing else has to be touched. It holds

- ``lesson.py``: the facts, claims and table of the lesson, and its declaration, a :class:`Lesson` named ``LESSON``;
- one module or more that measure, named after what they measure;
- ``figures.py``: arrays in, matplotlib figures out, without torch.

**Measure.** A measuring function takes what it needs (a denoiser, a schedule, digits, sizes) and returns a frozen
dataclass of arrays and numbers. It takes *any* denoiser (x, timesteps, labels) -> ε̂, so that a test can pass one whose
predictions are known. ``lesson.py`` calls it with what a :class:`~viz_diffusion.lessons.context.LessonContext` holds:

- ``needs`` names the recordings that the lesson reads: ``recording`` is the recorded generation, ``comparison_runs``
  the other digits from the same noise, ``traces`` 64 unguided generations that all lessons share;
- ``context.size(quick, full)`` chooses a sample size. A quick measurement takes at most 15 s on two cores, or 40 s in
  a lesson that is precomputed as a whole, without the time of the recordings; ``seconds`` states both times;
- ``context.generator(1, 2)`` gives random numbers that depend on the seed and on this key only;
- ``context.progress(done, total, text)`` is called at least every few seconds;
- ``context.is_mnist`` says whether numbers that hold for MNIST only may be shown.

**Precompute.** What takes too long for a report, and does not read the recorded generation, is one dataclass with one
measuring function and the figures that are drawn from it: ``PRECOMPUTED = Precomputed(result, measure, figures)``. Its
full results ship with the bundled weights (:mod:`viz_diffusion.lessons.precomputed`, ``scripts/ship_lessons.py``).
``measure`` of the lesson gets them from ``PRECOMPUTED.results(context)``, which is None where a report has none and
does not measure them. Where the whole lesson is precomputed, ``measure`` is left out (:attr:`Lesson.core`).

**State.** ``facts(data)`` returns a frozen dataclass of the lesson: plain numbers, texts and tuples of them, finite or
None, each field documented, estimates with their interval and sample size; what may be missing as a whole is a group
(:class:`~viz_diffusion.lessons.facts.FactGroup`). Texts of the catalogue name its fields in braces, and JSON files have
the same names. ``claims(data)`` decides each yes-or-no question: a text never does. ``rows(facts, texts)`` is the
table, ``series(data)`` what has a value at each recorded step.

**A recording without its network.** Where a recording of any channels, size and timesteps answers the question by
itself, ``measure_recording`` measures it; the catalogues have, under ``alone``, the words that otherwise name digits.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib import import_module
from typing import Any, Generic, Literal, TypeVar

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from viz_diffusion.errors import VizdiffUsageError, did_you_mean
from viz_diffusion.lessons.context import LessonContext
from viz_diffusion.lessons.facts import facts_by_name
from viz_diffusion.recording.trajectory import Trajectory
from viz_diffusion.text.catalogue import Texts

Need = Literal["recording", "comparison_runs", "traces"]
"""A recording that a lesson reads; whoever needs the comparison runs needs the recording too."""
ResultT = TypeVar("ResultT")
DataT = TypeVar("DataT")
FactsT = TypeVar("FactsT")


@dataclass(frozen=True)
class Claim:
    """One yes-or-no question to the measurement, and its answer.

    The catalogue has ``chapter.<lesson>.claim_<name>``, the question, and an answer for each outcome:
    ``..._found``, ``..._not_found`` and, where ``holds`` can be None, ``..._open``. The answers may name the lesson's
    facts and these.
    """

    name: str
    """Small letters, digits and ``_``."""
    holds: bool | None
    """Whether it was found; None where the samples are too few to decide."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Numbers that only this answer names, by name; they come before the lesson's facts of the same name."""

    @property
    def outcome(self) -> str:
        """``found``, ``not_found`` or ``open``: the end of the answer's key."""
        return {True: "found", False: "not_found", None: "open"}[self.holds]


@dataclass(frozen=True)
class Rows:
    """The table of a lesson; its caption and the names of its columns stand in the catalogue."""

    columns: tuple[str, ...]
    """(C,) names; the catalogue has ``chapter.<lesson>.column_<name>`` for each."""
    rows: tuple[tuple[str, ...], ...]
    """(R, C) finished texts, the first of each naming its row."""


@dataclass(frozen=True, eq=False)
class Series:
    """Values at each recorded step: a line chart that the page's scrubber moves along.

    The catalogue has ``chapter.<lesson>.series_<name>`` (title with unit), ``…_caption``, and ``…_<line>`` for each.
    """

    name: str
    """Names the chart in the catalogue."""
    steps_left: NDArray[np.int64]
    """(S,) int64, falling, in 1 .. T: where the values belong."""
    lines: Mapping[str, NDArray[np.float64]]
    """(S,) float64 values by the line's name, all finite."""


@dataclass(frozen=True)
class LessonFigure:
    """One figure of a lesson.

    The catalogue has ``picture.<name>``: ``title``, ``alt`` and ``caption``, which may name facts in braces.
    """

    name: str
    """Its key in what ``Lesson.draw`` returns, and the name of its files."""
    advanced: bool = False
    """Whether it stands in the advanced part, the chapter's last."""
    in_exercise: bool = False
    """Whether the exercise is about it: an exercise is only set where its figures are shown."""
    digit: str = ""
    """Of a picture of one digit that may be precomputed: the fact that says which digit."""


@dataclass(frozen=True)
class Precomputed(Generic[ResultT]):
    """The part of a lesson whose full results can be precomputed: it takes long and depends on the weights only."""

    result: type[ResultT]
    """A frozen dataclass of arrays, numbers, texts, tuples and further such dataclasses."""
    measure: Callable[[LessonContext], ResultT]
    """Returns one."""
    figures: tuple[LessonFigure, ...]
    """The figures that are drawn from it only; they come after the lesson's others."""
    any_data: bool = True
    """Whether it can be measured on other images than grey digits of 28 × 28."""
    fits: Callable[[ResultT], bool] = lambda _: True
    """Whether results are of the other networks that come with the package, where any of them was measured."""
    also_of: tuple[str, ...] = ()
    """Names of the result's SHA-256, or None, of other networks' weights, for which the results ship as well."""

    def results(self, context: LessonContext) -> ResultT | None:
        """Return the results precomputed for these weights, or else measure them, or None: see ``measure_slow``."""
        if self.result in context.precomputed:
            found: ResultT = context.precomputed[self.result]
            return found
        measurable = context.measure_slow and (self.any_data or context.run.config.is_digits)
        return self.measure(context) if measurable else None


@dataclass(frozen=True, kw_only=True)
class Lesson(Generic[DataT, FactsT]):
    """One question: how it is measured, drawn, decided and put into words.

    The catalogue has, under ``chapter.<name>``: ``title``, ``question``, ``text``, ``table`` (the table's
    caption), ``try_this`` (a command), ``say`` (one sentence for the speaker), ``exercise`` and ``answer``, where
    there is an advanced part ``advanced`` (a paragraph), and the words of the claims. All may name facts in braces.
    """

    name: str
    """The folder's name: small letters, digits and ``_``; the chapter's anchor."""
    position: int
    """Where the lesson stands in the story: they are sorted by it."""
    measure: Callable[[LessonContext], DataT] | None = None
    """Returns a frozen dataclass; None where the lesson is precomputed as a whole."""
    precomputed: Precomputed[Any] | None = None
    """What can be precomputed; where it is the whole lesson, its result is the lesson's data."""
    measure_recording: Callable[[Trajectory], DataT | None] | None = None
    """Returns what the first image of a recording shows without its network, or None where it does not; None where
    the lesson needs the network or real digits."""
    needs: frozenset[Need] = frozenset()
    """The recordings that are read."""
    seconds: tuple[float, float] = (1.0, 1.0)
    """How long the quick and the full measurement take on two cores, without the recordings."""
    facts: Callable[[DataT], FactsT]
    """Returns the numbers that captions, tables and JSON files are filled with, as a frozen dataclass."""
    claims: Callable[[DataT], tuple[Claim, ...]] = lambda _: ()
    """Decides the yes-or-no questions."""
    rows: Callable[[FactsT, Texts], Rows]
    """Returns the facts as a table."""
    series: Callable[[DataT], tuple[Series, ...]] = lambda _: ()
    """Returns what has one value at each recorded step."""
    draw: Callable[[DataT], Mapping[str, Figure]]
    """Returns the figures by name, each drawn when it is first used; some may be missing for some data."""
    figures: tuple[LessonFigure, ...] = ()
    """The figures that are drawn from more than precomputed results, in order."""
    any_data: bool = False
    """Whether it is about images of any size, colour and classes; otherwise only about grey digits of 28 × 28."""
    latent: bool = False
    """Whether it can measure a network in latents."""
    prompts: bool = False
    """Whether it can measure a network of prompts, whichever they are."""
    least_labels: int = 1
    """How many classes it needs."""

    def __post_init__(self) -> None:
        if self.measure is None and self.precomputed is None:
            raise VizdiffUsageError(f"lesson {self.name!r} has neither measure nor precomputed; give one of them")

    @property
    def core(self) -> bool:
        """Whether every report measures it; one precomputed as a whole stands where its results ship, or named."""
        return self.measure is not None

    @property
    def result(self) -> type | None:
        """The dataclass of what can be precomputed, if there is any."""
        return None if self.precomputed is None else self.precomputed.result

    @property
    def all_figures(self) -> tuple[LessonFigure, ...]:
        """All figures, in order."""
        return self.figures + (() if self.precomputed is None else self.precomputed.figures)

    @property
    def figure_names(self) -> tuple[str, ...]:
        """The names of all figures, in order."""
        return tuple(figure.name for figure in self.all_figures)


AnyLesson = Lesson[Any, Any]


@dataclass(frozen=True, eq=False)
class Finding:
    """A lesson with what was measured."""

    lesson: AnyLesson
    """The lesson."""
    data: Any
    """What was measured."""
    facts: Any
    """What ``lesson.facts`` returned."""
    claims: tuple[Claim, ...] = ()
    """What ``lesson.claims`` returned."""
    full: bool = False
    """Whether it was measured with the full sizes."""
    precomputed: bool = False
    """Whether it, or its slow part, was not measured now but precomputed for these weights."""
    pictures: Callable[[str], Mapping[str, bytes]] = lambda _: {}
    """Returns, for a language, those of its figures that are drawn already, as the page shows them (SVG), by name."""

    @classmethod
    def measure(cls, lesson: AnyLesson, context: LessonContext) -> Finding:
        """Measure one lesson, except for what is precomputed in ``context``."""
        known = lesson.result in context.precomputed
        if lesson.measure is not None:
            data = lesson.measure(context)
        else:
            assert lesson.precomputed is not None  # see Lesson.__post_init__
            data = lesson.precomputed.results(context)
        return cls.of(lesson, data, full=context.full or known, precomputed=known)

    @classmethod
    def of(cls, lesson: AnyLesson, data: Any, *, full: bool, precomputed: bool = False) -> Finding:
        """Return the facts and claims of measured data."""
        return cls(lesson, data, lesson.facts(data), lesson.claims(data), full, precomputed)

    @cached_property
    def facts_by_name(self) -> dict[str, Any]:
        """The facts as JSON values, by name."""
        return facts_by_name(self.facts)

    def to_dict(self) -> dict[str, Any]:
        """Return everything except the data, as JSON values."""
        claims = [{"name": claim.name, "holds": claim.holds, **claim.facts} for claim in self.claims]
        return {"full": self.full, "shipped": self.precomputed, "claims": claims, **self.facts_by_name}


@cache
def all_lessons() -> tuple[AnyLesson, ...]:
    """Return the ``LESSON`` of every package of this folder, in the order of the story."""
    package = __name__.rpartition(".")[0]
    folder = import_module(package).__path__
    packages = (found.name for found in pkgutil.iter_modules(folder) if found.ispkg)
    modules = (import_module(f"{package}.{name}.lesson") for name in packages)
    lessons: list[AnyLesson] = [module.LESSON for module in modules]
    return tuple(sorted(lessons, key=lambda lesson: lesson.position))


def choose_lessons(choice: str) -> tuple[AnyLesson, ...]:
    """Return the lessons that names with commas between them mean, in order; ``core`` and ``all`` may be among them.

    Raises
    ------
    VizdiffUsageError
        Where there is no such lesson.
    """
    known = {lesson.name: lesson for lesson in all_lessons()}
    names, choices = [name.strip() for name in choice.split(",")], (*known, "core", "all")
    for name in (name for name in names if name not in choices):
        listed = f"{', '.join(known)}, or core, or all{did_you_mean(name, choices)}"
        raise VizdiffUsageError(f"there is no lesson {name!r}; choose from {listed}")
    return tuple(
        lesson for name, lesson in known.items() if name in names or "all" in names or (lesson.core and "core" in names)
    )
