"""Choice of a deck's slides by the minutes of the lecture and by name.

Knows nothing about what slides show.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from viz_diffusion.deck.outline import MINUTES, ON_REQUEST, OUTLINE, PlannedSlide
from viz_diffusion.errors import VizdiffInputError, VizdiffUsageError, did_you_mean

ALL = "all"
"""Instead of names: every slide."""
_NAMED = {name for slide in OUTLINE for name in (slide.name, slide.figure)}
"""Names that mean a slide of their own."""


@dataclass(frozen=True)
class Selection:
    """Which slides of the outline a deck shows."""

    minutes: int = 45
    """Length of the lecture, one of :data:`~viz_diffusion.deck.outline.MINUTES`."""
    only: frozenset[str] = field(default_factory=frozenset)
    """Names of the slides that are shown, whatever the minutes; empty for those of the minutes."""
    also: frozenset[str] = field(default_factory=frozenset)
    """Names of slides that are shown as well."""
    without: frozenset[str] = field(default_factory=frozenset)
    """Names of slides that are not shown."""

    @property
    def named(self) -> frozenset[str]:
        """All names in it."""
        return self.only | self.also | self.without

    def includes(self, slide: PlannedSlide, lesson: str, is_own: bool = False) -> bool:
        """Return whether a slide is shown; its lesson's and its figure's names mean it too.

        ``is_own`` says whether its lesson is about what the run itself is: each lecture shows it then, however short.
        """
        names = names_of(slide, lesson)
        if names & self.without:
            return False
        if self.only:
            return ALL in self.only or bool(names & self.only)
        return bool(names & self.also) or ON_REQUEST < slide.minutes <= (MINUTES[-1] if is_own else self.minutes)


def names_of(slide: PlannedSlide, lesson: str) -> set[str]:
    """Return the names by which a slide can be chosen; a figure that only its question shows is one of them."""
    asked = "" if slide.asked_with in _NAMED else slide.asked_with
    return {slide.name, slide.figure, asked, lesson} - {""}


def read_selection(minutes: int, slides: str | None, figures: Iterable[tuple[str, str]]) -> Selection:
    """Read the values of ``--minutes`` and ``--slides``.

    Parameters
    ----------
    minutes
        The length of the lecture.
    slides
        Names with commas between them: of slides that alone are shown, of those that are added (``+name``), and of
        those that are left out (``-name``). None for none.
    figures
        (lesson, figure) of every lesson: their names mean slides too.

    Raises
    ------
    VizdiffUsageError
        Where there is no lecture of so many minutes, or no slide of a name; the message lists those there are.
    """
    if minutes not in MINUTES:
        raise VizdiffUsageError(f"`minutes` must be one of {', '.join(map(str, MINUTES))}; you gave {minutes}")
    signs: dict[str, set[str]] = {"": set(), "+": set(), "-": set()}
    for word in (part.strip() for part in (slides or "").split(",")):
        sign = word[0] if word[:1] in ("+", "-") else ""
        signs[sign].add(word.removeprefix(sign).strip())
    signs[""] -= {""} if not slides else set()
    selection = Selection(minutes, *(frozenset(signs[sign]) for sign in ("", "+", "-")))
    _check_names(selection, list(figures))
    return selection


def _check_names(selection: Selection, figures: Collection[tuple[str, str]]) -> None:
    """Refuse a name of no slide, and a list that no order can be given to."""
    planned = {slide.name: slide for slide in OUTLINE}
    shown = {slide.figure for slide in OUTLINE}
    others = [figure for _, figure in figures if figure not in shown]
    known = {*planned, *shown, *others, *(lesson for lesson, _ in figures)} - {""}
    for name in sorted(selection.named - known):
        if name == ALL and name in selection.only:
            continue
        listed = ", ".join((*planned, *(name for name in others if name not in planned)))
        raise VizdiffUsageError(
            f"`slides`: there is no slide {name!r}; choose from {listed}; or a lesson's name; or {ALL}"
            f"{did_you_mean(name, known)}"
        )
    for name in sorted((selection.only | selection.also) & selection.without):
        raise VizdiffUsageError(f"`slides` both shows {name!r} and leaves it out; name it once")
    if selection.only and selection.also:
        raise VizdiffUsageError(
            "`slides` takes names alone, which choose exactly these slides, or names with + and -, which add slides "
            f"to the lecture or leave them out; found both {min(selection.only)} and +{min(selection.also)}"
        )


def check_available(selection: Selection, available: Iterable[tuple[PlannedSlide, str]]) -> None:
    """Refuse names that were asked for and that this study has no slide of.

    Raises
    ------
    VizdiffInputError
        Where a name of ``only`` or ``also`` means none of the (slide, lesson) of ``available``.
    """
    there = {name for slide, lesson in available for name in names_of(slide, lesson)}
    for name in sorted((selection.only | selection.also) - there - {ALL}):
        raise VizdiffInputError(
            f"slide {name!r} needs results that this study does not have; name its lesson in `lessons` to measure it, "
            "or leave it out"
        )
