"""What a lesson is, and the list of all lessons.

Reports, decks, worksheets and ``vizdiff lesson`` meet lessons only through :func:`all_lessons`. A new lesson is one
new file in this folder with a ``LESSON`` in it, and its words in the catalogues; nothing else is touched.

How to write one
----------------
``measure(...)`` is a function of what it needs (a denoiser, a schedule, digits, traces, sizes) and returns a frozen
dataclass. It takes *any* denoiser (x, timesteps, labels) -> ε̂, so that a test can hand in an oracle whose answer is
known. ``LESSON.measure`` unpacks a :class:`~viz_diffusion.lessons.context.LessonContext` for it:

- ``context.traces`` is one recording that all lessons share (64 images, every step); it is made on first use, so
  touch it only where it is needed, and say so with ``traces=True``;
- ``context.training`` is read on first use, ``context.heldout`` is there;
- ``context.size(quick, full)`` picks a size: quick ones must keep a light lesson under 15 s and a heavy one under
  40 s on two cores, the traces apart; ``seconds=(quick, full)`` announces both;
- ``context.generator(1, 2)`` gives random numbers that depend on the seed and this key alone;
- ``context.progress(done, total, text)`` is to be called at least every few seconds;
- ``context.is_mnist`` decides whether a number known for MNIST alone may be shown.

``claims(data)`` says what was asked and whether it was found: never decide it in a text. ``facts(data)`` are plain
JSON values (numbers, texts, lists of them; no arrays), finite or None. Estimates carry their interval and N.

Where a lesson is too slow for a report, say ``core=False``: a report then shows it where its full results ship with
the weights (:mod:`viz_diffusion.lessons.precomputed`, which wants ``data=`` to be the dataclass), or where it is
asked for.
Where only a part of a core lesson is slow and looks at no recording, name it, with the figures that show it alone, as
``part=Part(kind, measure, figures)`` and get it by ``context.take(...)``: a plain report then shows that part's full
results where they ship, and leaves it out where they do not (it is None then); asked for by name, it is measured.

Where a recording shows something by itself, say how to measure that with neither network nor real digits
(``alone=``): it is told of recordings whose network is not at hand, such as a diffusers pipeline's. It must take any
number of channels, any size and fractional timesteps; and under ``alone`` the catalogues have the words that would
otherwise name digits, this package's network or its commands.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.lessons.context import LessonContext
from viz_diffusion.recording.trajectory import Trajectory
from viz_diffusion.text.catalogue import Texts


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
    """Whether it was found; None where this many samples cannot tell."""
    facts: Mapping[str, Any] = dataclass_field(default_factory=dict)
    """Numbers that the answer names, beside the lesson's own."""

    @property
    def outcome(self) -> str:
        """``found``, ``not_found`` or ``open``: the end of the answer's key."""
        return {True: "found", False: "not_found", None: "open"}[self.holds]


@dataclass(frozen=True)
class Rows:
    """The numbers of a lesson's table; its words stand in the catalogue."""

    columns: tuple[str, ...]
    """(C,) names; the catalogue has ``chapter.<lesson>.column_<name>`` for each."""
    rows: tuple[tuple[str, ...], ...]
    """(R, C) finished texts, the first of each naming its row."""


@dataclass(frozen=True, eq=False)
class Series:
    """Numbers that have one value at each recorded step: a line chart that the page's scrubber moves along.

    The catalogue has ``chapter.<lesson>.series_<name>`` (title with unit), ``…_<name>_caption``, and
    ``…_<name>_<line>`` for each line.
    """

    name: str
    """Names the chart in the catalogue."""
    steps_left: NDArray[np.int64]
    """(S,) int64, falling, in 1 .. T: where the values belong."""
    lines: Mapping[str, NDArray[np.float64]]
    """(S,) float64 values by the line's name, all finite."""


@dataclass(frozen=True)
class Part:
    """The part of a core lesson that takes long and looks at no recording: its full results may ship."""

    kind: type
    """The frozen dataclass it is."""
    measure: Callable[[LessonContext], Any]
    """Returns one."""
    figures: tuple[str, ...] = ()
    """The names of the figures that show nothing else."""


@dataclass(frozen=True)
class Lesson:
    """One question: how it is measured, drawn and told.

    The catalogue has, under ``chapter.<name>``: ``title``, ``question``, ``text``, ``table`` (the table's
    caption), ``try_this`` (a command), ``say`` (one sentence for the speaker), ``exercise`` and ``answer``, where
    there is an advanced part ``advanced`` (a paragraph), and the words of the claims; and under ``picture.<figure>``:
    ``title``, ``alt`` and ``caption``. All may name facts in braces.
    """

    name: str
    """Small letters, digits and ``_``; the chapter's anchor."""
    order: int
    """Where it stands in the story."""
    measure: Callable[[LessonContext], Any]
    """Returns a frozen dataclass."""
    draw: Callable[[Any], Mapping[str, Figure]]
    """Returns what was measured as figures by name, each drawn when it is first asked for."""
    facts: Callable[[Any], dict[str, Any]]
    """Returns the numbers that captions, tables and JSON files are filled with."""
    rows: Callable[[dict[str, Any], Texts], Rows]
    """Lays the facts out as a table."""
    series: Callable[[Any], tuple[Series, ...]] = lambda _: ()
    """Returns what has one value at each recorded step."""
    claims: Callable[[Any], tuple[Claim, ...]] = lambda _: ()
    """Says what was found, and what was not."""
    core: bool = True
    """Whether every report measures it. A chapter that is not of the core is closed at first."""
    figures: tuple[str, ...] = ()
    """The names of what ``draw`` gives, so that one figure can be asked for without measuring all lessons."""
    asks: tuple[str, ...] = ()
    """Which of the figures the exercise asks one to look at: it is asked where they are shown."""
    of_digit: Mapping[str, str] = dataclass_field(default_factory=dict)
    """Of figures that are pictures of one digit, which may have shipped: the fact that names the digit, by figure."""
    advanced: tuple[str, ...] = ()
    """Which of the figures stand in the advanced part, the chapter's last."""
    recording: bool = False
    """Whether ``measure`` looks at the recorded generation."""
    comparison_runs: bool = False
    """Whether ``measure`` looks at the recording's companions; it then looks at the recording too."""
    traces: bool = False
    """Whether ``measure`` looks at the shared traces."""
    seconds: tuple[float, float] = (1.0, 1.0)
    """How long the quick and the full measurement take on two cores, recording and traces apart."""
    data: type | None = None
    """The dataclass that ``measure`` returns, where its full results may ship."""
    part: Part | None = None
    """The slow part of a core lesson, where there is one."""
    alone: Callable[[Trajectory], Any] | None = None
    """Measures what a recording shows of its first image by itself, as ``measure`` returns it; gives None where this
    recording does not show it. None where the lesson needs the network or real digits."""


@dataclass(frozen=True, eq=False)
class Finding:
    """A lesson with what it found."""

    lesson: Lesson
    """The question."""
    data: Any
    """What ``lesson.measure`` returned."""
    facts: dict[str, Any]
    """What ``lesson.facts`` returned."""
    claims: tuple[Claim, ...] = ()
    """What ``lesson.claims`` returned."""
    full: bool = False
    """Whether it was measured with the full sizes."""
    shipped: bool = False
    """Whether it, or its slow part, was not measured now, but came with the weights."""
    pictures: Mapping[str, bytes] = dataclass_field(default_factory=dict)
    """Those of its figures that came drawn with the weights, as the page shows them (WebP)."""

    @classmethod
    def measure(cls, lesson: Lesson, context: LessonContext) -> Finding:
        """Measure one lesson, but for what is known of it already."""
        shipped = lesson.part is not None and lesson.name in context.known
        return cls.of(lesson, lesson.measure(context), full=context.full or shipped, shipped=shipped)

    @classmethod
    def of(cls, lesson: Lesson, data: Any, *, full: bool, shipped: bool = False) -> Finding:
        """Return what measured data say."""
        return cls(lesson, data, lesson.facts(data), lesson.claims(data), full, shipped)

    def to_dict(self) -> dict[str, Any]:
        """Return all of it but the data, as JSON values."""
        claims = [{"name": claim.name, "holds": claim.holds, **claim.facts} for claim in self.claims]
        return {"full": self.full, "shipped": self.shipped, "claims": claims, **self.facts}


@cache
def all_lessons() -> tuple[Lesson, ...]:
    """Return the ``LESSON`` of every package of this folder, in the order of the story."""
    package = __name__.rpartition(".")[0]
    folder = import_module(package).__path__
    packages = (found.name for found in pkgutil.iter_modules(folder) if found.ispkg)
    modules = (import_module(f"{package}.{name}.lesson") for name in packages)
    lessons = [module.LESSON for module in modules]
    return tuple(sorted(lessons, key=lambda lesson: lesson.order))


def choose_lessons(choice: str) -> tuple[Lesson, ...]:
    """Return the lessons that names with commas between them mean, in order; ``core`` and ``all`` may be among them.

    Raises
    ------
    VizdiffUsageError
        Where there is no such lesson.
    """
    known = {lesson.name: lesson for lesson in all_lessons()}
    names = [name.strip() for name in choice.split(",")]
    strange = [name for name in names if name not in (*known, "core", "all")]
    if strange:
        raise VizdiffUsageError(f"there is no lesson {strange[0]!r}; choose from {', '.join(known)}, or core, or all")
    return tuple(
        lesson for name, lesson in known.items() if name in names or "all" in names or (lesson.core and "core" in names)
    )
