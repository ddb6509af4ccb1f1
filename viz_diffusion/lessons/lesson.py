"""What a lesson is, what it may look at, and the list of all lessons.

Reports, decks and worksheets meet lessons only through :func:`all_lessons`. A new lesson is one new file in
this folder with a ``LESSON`` in it, and its words in the catalogues; nothing else is touched.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from viz_diffusion.catalogue import Texts
from viz_diffusion.data import Digits
from viz_diffusion.lessons.companions import Generation
from viz_diffusion.model import SimpleUNet
from viz_diffusion.schedule import NoiseSchedule
from viz_diffusion.timesteps import SAMPLERS
from viz_diffusion.trajectory import Trajectory

if TYPE_CHECKING:
    from viz_diffusion.run import Run


@dataclass(frozen=True, eq=False)
class Material:
    """Everything that lies on the table when lessons are measured."""

    run: Run
    """The run whose weights made the recording."""
    model: SimpleUNet
    """Its network."""
    trajectory: Trajectory
    """The recording."""
    heldout: Digits
    """Real digits the network never trained on."""
    others: tuple[Generation, ...]
    """The other digits from the recording's noise."""
    sample: int = 0
    """Which image of the recording the lessons are about."""

    @property
    def digit(self) -> int:
        """The digit that was asked for, 0..9."""
        return int(self.trajectory.labels[self.sample])

    @property
    def seed(self) -> int:
        """The seed of its noise."""
        return int(self.trajectory.seeds[self.sample])

    @property
    def schedule(self) -> NoiseSchedule:
        """The forward process."""
        return self.trajectory.schedule


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
class Lesson:
    """One question: how it is measured, drawn and told.

    The catalogue has, under ``chapter.<name>``: ``title``, ``question``, ``text``, ``table`` (the table's
    caption), ``try_this`` (a command), ``say`` (one sentence for the speaker), ``exercise`` and ``answer``;
    and under ``picture.<figure>``: ``title``, ``alt`` and ``caption``. All may name facts in braces.
    """

    name: str
    """Small letters, digits and ``_``; the chapter's anchor."""
    order: int
    """Where it stands in the story."""
    measure: Callable[[Material], Any]
    """Returns a frozen dataclass."""
    draw: Callable[[Any], dict[str, Figure]]
    """Draws what was measured, figures by name."""
    facts: Callable[[Any], dict[str, Any]]
    """Returns the numbers that captions, tables and JSON files are filled with."""
    rows: Callable[[dict[str, Any], Texts], Rows]
    """Lays the facts out as a table."""
    series: Callable[[Any], tuple[Series, ...]] = lambda _: ()
    """Returns what has one value at each recorded step."""
    folded: bool = False
    """Whether the chapter is an advanced one, closed at first."""
    figures: tuple[str, ...] = ()
    """The names of what ``draw`` gives, so that one figure can be asked for without measuring all lessons."""
    companions: bool = False
    """Whether ``measure`` looks at the recording's companions."""


@dataclass(frozen=True, eq=False)
class Finding:
    """A lesson with what it found."""

    lesson: Lesson
    """The question."""
    data: Any
    """What ``lesson.measure`` returned."""
    facts: dict[str, Any]
    """What ``lesson.facts`` returned."""

    @classmethod
    def measure(cls, lesson: Lesson, material: Material) -> Finding:
        """Measure one lesson."""
        data = lesson.measure(material)
        return cls(lesson, data, lesson.facts(data))


def recording_facts(trajectory: Trajectory, sample: int = 0) -> dict[str, Any]:
    """Return what captions say of a recording: what was asked for, and how it was sampled."""
    eta = f" (η = {trajectory.eta:g})" if trajectory.eta else ""
    return {
        "digit": int(trajectory.labels[sample]),
        "seed": int(trajectory.seeds[sample]),
        "sampler": SAMPLERS.get(trajectory.sampler, trajectory.sampler) + eta,
        "variance": trajectory.variance,
        "eta": trajectory.eta,
        "guidance_scale": trajectory.guidance_scale,
        "clip": trajectory.clip,
        "num_steps": trajectory.num_steps,
    }


@cache
def all_lessons() -> tuple[Lesson, ...]:
    """Return the ``LESSON`` of every module of this folder that has one, in the order of the story."""
    package = __name__.rpartition(".")[0]
    folder = import_module(package).__path__
    modules = (import_module(f"{package}.{found.name}") for found in pkgutil.iter_modules(folder))
    lessons = [module.LESSON for module in modules if hasattr(module, "LESSON")]
    return tuple(sorted(lessons, key=lambda lesson: lesson.order))
