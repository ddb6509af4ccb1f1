"""Contents of a report page, checked: players, facts, chapters, provenance.

Knows nothing about HTML, sampling or drawing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from viz_diffusion.errors import VizdiffUsageError, did_you_mean
from viz_diffusion.report.player import Player
from viz_diffusion.study.blocks import Chapter, Picture

AUDIENCES = ("lecturer", "student")
"""For whom a page is; a student's has the questions without answers, and no speaker notes."""


@dataclass(frozen=True, eq=False)
class Tile:
    """One small image."""

    uri: str
    """The image as a ``data:`` address."""
    width: int
    """Pixels across."""
    height: int
    """Pixels downwards."""
    label: str
    """Its symbol or timestep, as plain text."""
    word: str = ""
    """The key of the word beside its symbol, ``introduction.WORD``; empty for none."""
    sign: str = ""
    """What stands between it and the tile before: an arrow or a plus; empty for the first."""


@dataclass(frozen=True, eq=False)
class Process:
    """One part of the introduction."""

    name: str
    """forward, training or reverse: the key of its texts."""
    tiles: tuple[Tile, ...]
    """Its picture, from left to right."""


@dataclass(frozen=True, eq=False)
class Page:
    """Everything the report shows."""

    title: str
    """The heading, one sentence."""
    lede: str
    """The introduction below the heading, one or two sentences."""
    players: tuple[Player, ...]
    """Generations from the same noise; the first, the recording, is shown when the page opens."""
    comparisons: tuple[Player, ...]
    """For comparison with the first player: the same noise and label with another guidance scale or sampler, and the
    same label and seed by a network in the other space."""
    command: str
    """The command that makes this page again."""
    facts: tuple[tuple[str, str], ...]
    """(name, value) pairs below the player: seed, weights, sampler."""
    strip: Picture
    """The film strip of the recording, for print and for browsers without JavaScript."""
    chapters: tuple[Chapter, ...]
    """The chapters, in order."""
    provenance: tuple[tuple[str, str], ...]
    """(name, value) pairs: versions, hashes, settings."""
    lang: str = "en"
    """Language of the interface texts, and of the page."""
    recording_only: bool = False
    """Whether the page shows a recording only, without its network; it then uses the texts for that."""
    prompts: tuple[str, ...] = ()
    """The prompts that the labels stand for; empty where they are digits or classes."""
    class_names: tuple[str, ...] = ()
    """Names of the classes; empty for digits."""
    space: str = "pixel"
    """What the network works on: ``pixel`` or ``latent``."""
    note: str = ""
    """A paragraph before the chapters; empty for none."""
    introduction: tuple[Process, ...] = ()
    """What a diffusion model does, before the chapters; empty for none."""
    audience: str = "lecturer"
    """One of :data:`AUDIENCES`."""
    lab: str = ""
    """Name of the file of the live lab, which lies beside the page; empty for none."""
    warning: str = ""
    """A banner below the heading: that the model was not trained well; empty for none."""

    def __post_init__(self) -> None:
        if not self.players:
            raise VizdiffUsageError("a report needs at least one recorded run")
        check_audience(self.audience)
        ids = [chapter.id for chapter in self.chapters]
        if len(set(ids)) != len(ids):
            raise VizdiffUsageError(f"chapter ids must differ, found {', '.join(ids)}")

    @property
    def is_for_students(self) -> bool:
        """Whether the page shows neither answers nor speaker notes."""
        return self.audience == "student"

    @property
    def shown_chapters(self) -> tuple[Chapter, ...]:
        """The chapters as their audience gets them."""
        return tuple(map(_without_answers, self.chapters)) if self.is_for_students else self.chapters


def check_audience(audience: str) -> None:
    """Raise VizdiffUsageError for an audience that does not exist."""
    if audience not in AUDIENCES:
        hint = did_you_mean(audience, AUDIENCES)
        raise VizdiffUsageError(f"`audience` must be one of {', '.join(AUDIENCES)}, found {audience!r}{hint}")


def _without_answers(chapter: Chapter) -> Chapter:
    """Return a chapter without answers, speaker notes, and what its story's saying is worth."""
    questions = tuple(replace(one, verdict="", text="", holds=None) for one in chapter.answers)
    return replace(chapter, answers=questions, answer="", say="", correction=None)
