"""What a report page is made of, checked: pictures, tables, charts, chapters, the page.

Knows nothing about HTML, sampling or drawing.
"""

from __future__ import annotations

from dataclasses import dataclass

from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.report.player import Player
from viz_diffusion.study.blocks import Chapter, Picture


@dataclass(frozen=True, eq=False)
class Page:
    """Everything the report shows."""

    title: str
    """The page's headline, one sentence."""
    lede: str
    """What follows it, one or two sentences."""
    players: tuple[Player, ...]
    """Recorded runs from one noise; the first is shown when the page opens."""
    comparisons: tuple[Player, ...]
    """The same digit from the same noise, guided or sampled otherwise; to stand beside the first."""
    command: str
    """The command that makes this page again."""
    facts: tuple[tuple[str, str], ...]
    """(name, value) pairs in the foot of the player: seed, weights, sampler."""
    strip: Picture
    """The run as one still picture, for paper and for readers without JavaScript."""
    chapters: tuple[Chapter, ...]
    """The chapters, in order."""
    provenance: tuple[tuple[str, str], ...]
    """(what, value) pairs: versions, hashes, settings."""
    lang: str = "en"
    """The catalogue of interface words, and the page's ``lang``."""
    alone: bool = False
    """Whether it tells of a recording alone, whose network is not at hand: in the words for that."""
    note: str = ""
    """What stands before the chapters; empty for nothing."""

    def __post_init__(self) -> None:
        if not self.players:
            raise VizdiffUsageError("a report needs at least one recorded run")
        ids = [chapter.id for chapter in self.chapters]
        if len(set(ids)) != len(ids):
            raise VizdiffUsageError(f"chapter ids must differ, found {', '.join(ids)}")
